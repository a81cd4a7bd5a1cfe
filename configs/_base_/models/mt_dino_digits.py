# A DINO for 96-pixel scenes that trains on two cores: ResNet-18 of width 16, strides 8-32, 64
# channels, two layers and 40 queries.
_base_ = './mt_dino_r50.py'

ffn = dict(embed_dims=64, feedforward_channels=128)
attention = dict(embed_dims=64, num_heads=4, num_levels=3)
model = dict(
    detector=dict(
        num_queries=40,
        backbone=dict(
            depth=18,
            base_channels=16,
            frozen_stages=-1,
            norm_cfg=dict(requires_grad=True),
            norm_eval=False,
            init_cfg=None,
        ),
        neck=dict(
            in_channels=[32, 64, 128],
            out_channels=64,
            norm_cfg=dict(num_groups=8),
            num_outs=3,
        ),
        encoder=dict(num_layers=2, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)),
        decoder=dict(
            num_layers=2,
            layer_cfg=dict(
                self_attn_cfg=dict(embed_dims=64, num_heads=4),
                cross_attn_cfg=attention,
                ffn_cfg=ffn,
            ),
        ),
        positional_encoding=dict(num_feats=32),
        bbox_head=dict(num_classes=10, embed_dims=64),
        dn_cfg=dict(group_cfg=dict(num_dn_queries=20)),
        test_cfg=dict(max_per_img=20),
    ),
)
