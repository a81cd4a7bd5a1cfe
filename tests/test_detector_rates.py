"""What another detector learns from, and at which rate: ``ssod/any_detector.py``."""

import pytest
from mmengine.config import Config

from ssod.any_detector import use_detector


@pytest.mark.parametrize(
    ('name', 'rate', 'loss'),
    [
        ('softteacher_fasterrcnn_cocofull', 0.01, 'CrossEntropyLoss'),
        ('unbiasedteacher_fasterrcnn_coco10pct', 0.01, 'SoftmaxFocalLoss'),
    ],
)
def test_a_recipe_teaches_another_faster_rcnn_as_its_own(name, rate, loss):
    cfg = Config.fromfile(f'configs/{name}.py')
    use_detector(cfg, 'mmdet::faster_rcnn/faster-rcnn_r50-caffe_fpn_1x_coco.py')
    assert cfg.optim_wrapper.optimizer.lr == rate
    assert cfg.model.detector.roi_head.bbox_head.loss_cls.type == loss
    assert cfg.model.detector.backbone.style == 'caffe'
    # Of another kind both come along: 0.01 for 16 images, of which 64 or 32 are labelled.
    cfg = Config.fromfile(f'configs/{name}.py')
    use_detector(cfg, 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')
    labeled = {'softteacher': 32, 'unbiasedteacher': 64}[name.partition('_')[0]]
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.01 * labeled / 16)
    assert cfg.model.detector.bbox_head.loss_cls.type == 'FocalLoss'


def test_the_rate_of_an_own_config(tmp_path):
    """Nobody says that it is for 8 GPUs."""
    cfg = Config.fromfile('configs/mt_any_coco10pct.py')
    own = tmp_path / 'retina.py'
    own.write_text("""_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
train_dataloader = dict(batch_size=32)
""")
    use_detector(cfg, str(own))
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.01 * 8 / 32)


def test_the_rate_of_training_on_labels_alone():
    cfg = Config.fromfile('configs/supervised_fasterrcnn_digits10pct.py')
    use_detector(cfg, 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')
    labeled = cfg.train_dataloader.batch_size
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.01 * labeled / 16)
