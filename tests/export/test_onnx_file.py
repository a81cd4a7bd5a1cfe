"""An exported detector in onnxruntime. Tracing takes seconds, so two of them serve all tests."""

import copy
import json
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from torch.torch_version import TorchVersion

import ssod
from ssod.export import export_onnx
from ssod.export.verification import by_onnx, compare
from ssod.inference import Detector


@pytest.fixture(scope='module')
def exports(small, built, tmp_path_factory):
    """Exports a small detector of a config, of a given size or a free one."""

    def export(name, size):
        place = tmp_path_factory.mktemp(name)
        small(name).dump(place / 'mine.py')
        cfg = Config.fromfile(place / 'mine.py')
        state = {f'teacher.{key}': v for key, v in built(cfg).state_dict().items()}
        checkpoint = place / 'x.pth'
        torch.save({'state_dict': state, 'meta': {}}, checkpoint)
        exported = export_onnx(cfg, checkpoint, size=size)
        session = onnxruntime.InferenceSession(exported.file, providers=['CPUExecutionProvider'])
        return SimpleNamespace(
            cfg=cfg, checkpoint=checkpoint, exported=exported, session=session, place=place
        )

    return export


@pytest.fixture(scope='module')
def free(exports):
    """A Faster R-CNN for images of any size."""
    return exports('mt_fasterrcnn_digits10pct', None)


@pytest.fixture(scope='module')
def fixed(exports):
    """An FCOS for images 96 wide and 64 high."""
    return exports('mixpl_fcos_digits10pct', (64, 96))


def noise(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def by_detector(detector, scale):
    """What the detector finds in an original image, in pixels of a resized one."""

    def find(image):
        (sample,) = detector([image])
        found = sample.pred_instances
        return found.bboxes.numpy() * scale, found.scores.numpy(), found.labels.numpy()

    return find


def test_images_of_any_size(free):
    assert free.exported.comparison.equal
    assert free.exported.comparison.boxes > 20
    detector = Detector(free.cfg, free.checkpoint)
    find = by_onnx(free.session)
    # Twice as large, the largest that it is made, and half as large.
    for (height, width), scale in (((40, 48), 2), ((96, 80), 1), ((160, 192), 0.5)):
        image = noise(height, width)
        ours = free.exported.preparation(image)
        assert ours.shape == (3, height * scale, width * scale)
        found = compare(by_detector(detector, scale), lambda image, x=ours: find(x), [image])
        assert found.equal
        assert found.boxes > 4


@pytest.mark.parametrize('size', [(16, 16), (8, 40)])
def test_no_region_at_all(free, size):
    found = by_onnx(free.session)(np.zeros((3, *size), np.float32))
    assert [(part.shape, part.dtype) for part in found] == [
        ((0, 4), np.float32),
        ((0,), np.float32),
        ((0,), np.int64),
    ]


def test_a_fixed_size(fixed):
    assert fixed.exported.comparison.equal
    assert fixed.exported.comparison.boxes > 20
    (given,) = fixed.session.get_inputs()
    assert (given.name, given.shape, given.type) == ('image', [1, 3, 64, 96], 'tensor(float)')


def test_nothing_is_found(fixed):
    # Nothing but the mean colour, which the normalization makes zeros.
    mean = np.reshape(fixed.exported.preparation.mean, (3, 1, 1)).astype(np.float32)
    found = by_onnx(fixed.session)(np.broadcast_to(mean, (3, 64, 96)))
    assert [part.shape for part in found] == [(0, 4), (0,), (0,)]


def test_what_the_file_says(free):
    told = free.session.get_modelmeta().custom_metadata_map
    assert json.loads(told['classes']) == ['cat', 'dog', 'emu']
    assert json.loads(told['resize']) == {'scale': [96, 96], 'keep_ratio': True}
    assert json.loads(told['channels']) == 'RGB'
    assert json.loads(told['ssod']) == ssod.__version__
    assert json.loads(told['inside'])['mean'] == [123.675, 116.28, 103.53]
    assert [(out.name, out.shape) for out in free.session.get_outputs()] == [
        ('boxes', ['found', 4]),
        ('scores', ['found']),
        ('labels', ['found']),
    ]
    assert free.exported.file == free.place / 'mine.onnx'
    assert [path.suffix for path in sorted(free.place.iterdir())] == ['.onnx', '.py', '.pth']


@pytest.fixture
def traced(fixed, monkeypatch):
    """The fixed one's graph, traced no second time."""
    content = fixed.exported.file.read_bytes()
    monkeypatch.setattr('ssod.export.onnx_file._traced', lambda *_: content)


# PyTorch fixes the size of what it cannot trace otherwise, such as VFNet and DDOD, and does not say
# so: the file would be for one size of image.
@pytest.mark.usefixtures('traced')
def test_only_one_size_could_be_traced(fixed, tmp_path):
    Image.fromarray(noise(64, 96)).save(tmp_path / 'fits.png')
    told = r'mine\.py: PyTorch can trace this FCOS only for images of one size.*fix .* with --size'
    with pytest.raises(ValueError, match=told):
        export_onnx(
            fixed.cfg, fixed.checkpoint, tmp_path / 'x.onnx', images=[tmp_path / 'fits.png']
        )
    assert not (tmp_path / 'x.onnx').exists()


@pytest.mark.usefixtures('traced')
def test_other_files_are_not_replaced(fixed):
    with pytest.raises(FileExistsError, match=r'mine\.onnx exists; remove it, or pass --overwrite'):
        export_onnx(fixed.cfg, fixed.checkpoint, size=(64, 96))
    export_onnx(fixed.cfg, fixed.checkpoint, size=(64, 96), overwrite=True)


@pytest.mark.usefixtures('traced')
def test_images_of_ones_own(fixed, tmp_path):
    paths = [tmp_path / f'{i}.png' for i in range(2)]
    for i, path in enumerate(paths):
        Image.fromarray(noise(50 + i, 30)).save(path)
    # A list, what gives them once, and one of them.
    for images, number in ((paths, 2), (iter(paths), 2), (str(paths[0]), 1)):
        out = tmp_path / 'new/x.onnx'
        found = export_onnx(
            fixed.cfg, fixed.checkpoint, out, (64, 96), images=images, overwrite=True
        )
        assert (found.comparison.images, found.comparison.equal) == (number, True)
        assert found.file.is_file()


def test_images_are_read_before_anything_is_traced(fixed, tmp_path, monkeypatch):
    monkeypatch.delattr('ssod.export.onnx_file._traced')
    given = fixed.cfg, fixed.checkpoint, tmp_path / 'y.onnx', (64, 96)
    with pytest.raises(FileNotFoundError, match=r'none\.png does not exist; give images to'):
        export_onnx(*given, images=['none.png'])
    (tmp_path / 'empty.png').touch()
    with pytest.raises(ValueError, match=r'empty\.png is empty: 0 bytes'):
        export_onnx(*given, images=[tmp_path / 'empty.png'])


@pytest.mark.usefixtures('traced')
def test_another_detector_is_not_written(fixed, tmp_path, monkeypatch):
    # As if it had been traced wrongly.
    monkeypatch.setattr('ssod.export.verification.MAX_PIXELS', -1)
    with pytest.raises(
        ValueError, match=r'the exported model does not match the detector: .*x\.onnx is'
    ):
        export_onnx(fixed.cfg, fixed.checkpoint, tmp_path / 'x.onnx', (64, 96))
    assert list(tmp_path.iterdir()) == []


# Of noise in which the detector finds nothing, boxes of lower scores are compared.
@pytest.mark.usefixtures('traced')
def test_nothing_is_found_in_noise(fixed, tmp_path, monkeypatch):
    cfg = copy.deepcopy(fixed.cfg)
    cfg.model.detector.test_cfg.score_thr = 0.9999
    given = cfg, fixed.checkpoint, tmp_path / 'x.onnx', (64, 96)
    found = export_onnx(*given)
    assert found.comparison.equal
    assert found.comparison.boxes > 20
    # The file has the threshold that was traced.
    assert found.file.read_bytes() == fixed.exported.file.read_bytes()
    monkeypatch.setattr('ssod.export.onnx_file.LEAST_SCORES', (1,))
    with pytest.raises(ValueError, match=r'no box is found in any image.*x\.onnx is not written'):
        export_onnx(*given, overwrite=True)


def test_what_is_missing(fixed, tmp_path, monkeypatch):
    monkeypatch.setattr('ssod.export.onnx_file.NEEDED', ('onnx', 'onnxscript', 'not_there'))
    with pytest.raises(ValueError, match=r"not_there is not installed.*'ssod\[export\]'"):
        export_onnx(fixed.cfg, fixed.checkpoint, tmp_path / 'x.onnx')


@pytest.mark.usefixtures('traced')
def test_whose(fixed, tmp_path):
    with pytest.raises(ValueError, match=r'x\.pth has no student'):
        export_onnx(fixed.cfg, fixed.checkpoint, tmp_path / 'x.onnx', whose='student')


def test_what_cannot_be_traced(fixed, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise torch.onnx.errors.OnnxExporterError('Failed\n') from ValueError('no way\nat all')

    monkeypatch.setattr('torch.onnx.export', fail)
    told = 'PyTorch cannot trace this FCOS: no way'
    with pytest.raises(ValueError, match=f'{told}$'):
        export_onnx(fixed.cfg, fixed.checkpoint, tmp_path / 'x.onnx')
    monkeypatch.setattr('torch.__version__', TorchVersion('2.6.0+cu124'))
    with pytest.raises(ValueError, match=rf'{told}; update PyTorch 2\.6\.0\S+ to 2\.12 or newer$'):
        export_onnx(fixed.cfg, fixed.checkpoint, tmp_path / 'x.onnx')
