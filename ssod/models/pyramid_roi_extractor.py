"""Features of regions from a pyramid of maps, with little copying."""

from collections.abc import Sequence

import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor, nn

from ssod.ops.extension import is_served


@MODELS.register_module()
class PyramidRoIExtractor(SingleRoIExtractor):
    """Pools each region from the map of its scale, like mmdet's ``SingleRoIExtractor``.

    The results are the same, except that regions keep float32 coordinates where maps are in half
    precision (bfloat16 coordinates near 1000 are multiples of 4). It waits for the GPU once instead
    of once per map, and orders the pooled regions with one copy, or none if all come from one map.
    mmdet's clears the result first, and goes over all regions again for each map without regions.

    Source: Lin et al., Feature Pyramid Networks (CVPR 2017), Sec. 4.2.
    """

    def forward(
        self, feats: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None
    ) -> Tensor:
        """Pool regions.

        Args:
            feats: One map (N, C, H, W) for each level, the finest first.
            rois: (R, 5) as (image index, x1, y1, x2, y2) in image pixels.
            roi_scale_factor: Factor by which regions are enlarged before pooling.

        Returns:
            (R, C, h, w).
        """
        # A region of zero or infinite size has a level out of bounds.
        levels = self.map_roi_levels(rois, len(feats)).clamp(0, len(feats) - 1)
        if roi_scale_factor is not None:
            rois = self.roi_rescale(rois, roi_scale_factor)
        order = levels.argsort(stable=True)
        # Not by bincount, which would wait for the GPU first.
        numbers = torch.arange(len(feats), device=levels.device)
        counts: list[int] = (levels == numbers[:, None]).sum(dim=1).tolist()
        of_levels = torch.split(rois[order], counts)
        parts = zip(self.roi_layers, _linked(feats, counts), of_levels, strict=True)
        pooled = [_pooled(layer, feat, some) for layer, feat, some in parts if len(some)]
        if not pooled:
            shape = (0, self.out_channels, *self.roi_layers[0].output_size)
            return feats[0].new_zeros(shape) + sum(0.0 * feat.sum() for feat in feats)
        return pooled[0] if len(pooled) == 1 else torch.cat(pooled)[order.argsort()]


def _pooled(layer: nn.Module, feat: Tensor, regions: Tensor) -> Tensor:
    """Regions of one map. Compiled operators want both in one type, and know no bfloat16."""
    if is_served():
        return layer(feat, regions)
    return layer(feat.float(), regions.float()).to(feat.dtype)


def _linked(feats: Sequence[Tensor], counts: Sequence[int]) -> Sequence[Tensor]:
    """Maps; those without regions join the graph of the coarsest map with regions.

    Otherwise a rank could lack gradients that another has, and both would wait for ever.
    """
    used = [level for level, count in enumerate(counts) if count]
    unused = [feat for feat, count in zip(feats, counts, strict=True) if not count]
    if not used or not any(feat.requires_grad for feat in unused):
        return feats
    linked = list(feats)
    linked[used[-1]] = linked[used[-1]] + sum(0.0 * feat.sum() for feat in unused)
    return linked
