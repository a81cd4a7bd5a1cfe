"""Features of regions from a pyramid of maps, with as little copying as can be."""

from collections.abc import Sequence

import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class PyramidRoIExtractor(SingleRoIExtractor):
    """Pools each region from the map of its scale, as mmdet's ``SingleRoIExtractor`` does.

    The numbers are the same, but that places of regions stay in single precision where maps are in
    half: bfloat16 knows a place near pixel 1000 to 4 pixels. There is one wait for the GPU in the
    place of one for each map, and the pooled regions are put in order by one copy, or none where
    all are of one map; mmdet's clears them first and goes over all of them for each map that has
    no region.

    Source: Lin et al., Feature Pyramid Networks (CVPR 2017), Sec. 4.2.
    """

    def forward(
        self, feats: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None
    ) -> Tensor:
        """Pool regions.

        Args:
            feats: One map (N, C, H, W) for each level, the finest first.
            rois: (R, 5) as (image index, x1, y1, x2, y2) in image pixels.
            roi_scale_factor: Regions are larger by this factor when pooled.

        Returns:
            (R, C, h, w).
        """
        # A region of no or no finite size has a level beyond all bounds.
        levels = self.map_roi_levels(rois, len(feats)).clamp(0, len(feats) - 1)
        if roi_scale_factor is not None:
            rois = self.roi_rescale(rois, roi_scale_factor)
        order = levels.argsort(stable=True)
        # Not by bincount, which waits for a GPU to look at the numbers first.
        numbers = torch.arange(len(feats), device=levels.device)
        counts: list[int] = (levels == numbers[:, None]).sum(dim=1).tolist()
        of_levels = torch.split(rois[order], counts)
        parts = zip(self.roi_layers, _linked(feats, counts), of_levels, strict=True)
        pooled = [layer(feat, some) for layer, feat, some in parts if len(some)]
        if not pooled:
            return feats[0].new_zeros(0, self.out_channels, *self.roi_layers[0].output_size)
        return pooled[0] if len(pooled) == 1 else torch.cat(pooled)[order.argsort()]


def _linked(feats: Sequence[Tensor], counts: Sequence[int]) -> Sequence[Tensor]:
    """Maps, those of no region in the graph of the coarsest one that has some.

    Ranks would wait for each other for ever if one had gradients that another had not.
    """
    used = [level for level, count in enumerate(counts) if count]
    unused = [feat for feat, count in zip(feats, counts, strict=True) if not count]
    if not used or not any(feat.requires_grad for feat in unused):
        return feats
    linked = list(feats)
    linked[used[-1]] = linked[used[-1]] + sum(0.0 * feat.sum() for feat in unused)
    return linked
