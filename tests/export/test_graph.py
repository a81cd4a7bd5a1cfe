"""The module that is traced, before it is: it finds what mmdet finds."""

import pytest
import torch

from ssod.export.graph import TraceableDetector
from ssod.export.limits import why_not
from ssod.export.preparation import preparation_of
from ssod.export.verification import by_mmdet
from ssod.plain_detector import detector_cfg

FASTER_RCNN = 'mt_fasterrcnn_digits10pct'
FCOS = 'mixpl_fcos_digits10pct'
ATSS = 'mt_atss_small'
RETINANET = 'mt_retinanet_coco10pct'


@torch.no_grad()
def both(cfg, detector, image):
    """Boxes, scores and labels of mmdet and of ours."""
    graph = TraceableDetector(
        detector, preparation_of(cfg, detector_cfg(cfg).data_preprocessor, None)
    )
    ours = graph.eval()(torch.from_numpy(image)[None])
    return by_mmdet(detector)(image), [part.numpy() for part in ours]


def noise(height, width):
    random = torch.Generator().manual_seed(height)
    return torch.randint(0, 256, (3, height, width), generator=random).float().numpy()


def assert_same(theirs, ours):
    assert [part.shape for part in ours] == [part.shape for part in theirs]
    for one, other in zip(theirs, ours, strict=True):
        torch.testing.assert_close(
            torch.from_numpy(other), torch.from_numpy(one), rtol=0, atol=1e-4
        )


@pytest.mark.parametrize(
    ('name', 'change'),
    [
        (FASTER_RCNN, {}),
        # One box for all classes.
        (FASTER_RCNN, {'roi_head.bbox_head.reg_class_agnostic': True}),
        # Two classifiers, of which the first one predicts.
        ('mt_twoheads_fasterrcnn_digits10pct', {}),
        # The network gets blue first, as it comes.
        (FASTER_RCNN, {'data_preprocessor.bgr_to_rgb': False}),
        # What is padded with is seen at the border.
        (FASTER_RCNN, {'data_preprocessor.pad_value': 3}),
        # Points, and a centerness.
        (FCOS, {}),
        # Small boxes are left out.
        (FCOS, {'test_cfg.min_bbox_size': 12}),
        # All cells are candidates.
        (FCOS, {'test_cfg.nms_pre': 100_000}),
        # Several anchors to a cell.
        (RETINANET, {}),
        # An anchor to each, and a centerness.
        (ATSS, {}),
    ],
)
def test_the_same_boxes(small, built, name, change):
    cfg = small(name)
    for key, value in change.items():
        cfg.merge_from_dict({f'model.detector.{key}': value})
        if key.startswith('data_preprocessor'):
            cfg.merge_from_dict({f'model.data_preprocessor.{key}': value})
    detector = built(cfg)
    assert why_not(detector) is None
    for size in ((96, 96), (40, 70), (33, 64)):
        theirs, ours = both(cfg, detector, noise(*size))
        assert len(theirs[0]) > 2
        assert_same(theirs, ours)


@pytest.mark.parametrize('name', [FASTER_RCNN, FCOS, RETINANET, ATSS])
def test_nothing_found(small, built, name):
    cfg = small(name)
    test_cfg = cfg.model.detector.test_cfg
    test_cfg.get('rcnn', test_cfg).score_thr = 1.0
    theirs, ours = both(cfg, built(cfg), noise(64, 64))
    assert len(theirs[0]) == 0
    assert_same(theirs, ours)


def test_no_region_at_all(small, built):
    cfg = small(FASTER_RCNN)
    theirs, ours = both(cfg, built(cfg), noise(16, 16))
    assert len(theirs[0]) == 0
    assert_same(theirs, ours)
