"""The stand-in for mmcv._ext: when it serves, what it serves, and what it refuses."""

import importlib.util
import subprocess
import sys

import mmcv
import mmcv.ops
import pytest
import torch
from mmdet.structures.mask import structures

from ssod.ops import extension


def test_mmdet_can_be_imported_after_ssod_in_a_fresh_process():
    code = 'import ssod, mmdet.models, mmcv._ext; print(type(mmcv._ext).__name__)'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == 'ServedExtension'


def test_mmdet_modules_imported_too_early_are_mended(monkeypatch):
    # What mmdet defines where it could not import mmcv.ops: a function that only raises,
    # for the rest of the process.
    def roi_align():
        raise RuntimeError

    roi_align.__module__ = structures.__name__
    monkeypatch.setattr(structures, 'roi_align', roi_align)
    extension.install()
    assert structures.roi_align is mmcv.ops.roi_align


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
    with pytest.raises(NotImplementedError, match=r"'box_iou_rotated'.*MMCV_WITH_OPS=1"):
        mmcv.ops.box_iou_rotated(boxes, boxes)
    with pytest.raises(NotImplementedError, match="'nms_rotated'"):
        mmcv.ops.nms_rotated(boxes, torch.ones(1), 0.5)


def test_names_of_the_import_system_are_not_operators():
    with pytest.raises(AttributeError, match='__path__'):
        _ = extension.ServedExtension('mmcv._ext').__path__


def test_mmcv_reports_who_serves():
    assert 'ssod.ops' in mmcv.ops.get_compiler_version()
    assert mmcv.ops.get_compiling_cuda_version() == 'not available'
