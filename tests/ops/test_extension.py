"""The stand-in for mmcv._ext: when it serves, what it serves, and what it refuses."""

import importlib.util
import subprocess
import sys

import mmcv
import mmcv.ops
import pytest
import torch

from ssod.ops import extension


def _run(code: str) -> str:
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


def test_mmdet_can_be_imported_after_ssod_in_a_fresh_process():
    code = 'import ssod, mmdet.models, mmcv._ext; print(type(mmcv._ext).__name__)'
    assert _run(code) == 'ServedExtension'


def test_mmdet_modules_imported_too_early_are_mended():
    # Without the mending, crop_and_resize of masks raises for the rest of the process.
    code = (
        'import mmdet.structures.mask.structures as early\n'
        'from ssod.ops import extension\n'
        'from mmcv.ops.roi_align import roi_align\n'
        'print(early.roi_align is roi_align)'
    )
    assert _run(code) == 'True'


def test_a_compiled_extension_goes_first(tmp_path, monkeypatch):
    (tmp_path / '_ext.py').write_text("nms = 'compiled'\n")
    monkeypatch.delitem(sys.modules, 'mmcv._ext')
    assert isinstance(importlib.util.find_spec('mmcv._ext').loader, extension.ExtensionFinder)
    monkeypatch.setattr(mmcv, '__path__', [*mmcv.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    spec = importlib.util.find_spec('mmcv._ext')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.nms == 'compiled'


def test_the_finder_answers_for_nothing_else():
    assert importlib.util.find_spec('mmcv._exit') is None
    assert importlib.util.find_spec('no_such_package') is None


def test_installing_twice_leaves_one_finder():
    extension.install()
    finders = [f for f in sys.meta_path if isinstance(f, extension.ExtensionFinder)]
    assert len(finders) == 1


def test_an_unserved_operator_raises_its_name_and_the_remedy_when_called():
    boxes = torch.tensor([[5.0, 5.0, 4.0, 2.0, 0.3]])
    with pytest.raises(NotImplementedError, match="'box_iou_rotated'.*MMCV_WITH_OPS=1"):
        mmcv.ops.box_iou_rotated(boxes, boxes)
    with pytest.raises(NotImplementedError, match="'nms_rotated'"):
        mmcv.ops.nms_rotated(boxes, torch.ones(1), 0.5)


def test_names_of_the_import_system_are_not_operators():
    with pytest.raises(AttributeError, match='__path__'):
        extension.ServedExtension('mmcv._ext').__path__


def test_mmcv_reports_who_serves():
    assert 'ssod.ops' in mmcv.ops.get_compiler_version()
    assert mmcv.ops.get_compiling_cuda_version() == 'not available'
