"""``tools/export_onnx.py``."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from ssod.export import Exported
from ssod.export.verification import Comparison
from ssod.plain_detector import detector_cfg

CONFIGS = Path(__file__).parents[2] / 'configs'
CONFIG = CONFIGS / 'mt_fasterrcnn_digits10pct.py'


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        ([], (None, None, 'teacher', [], False)),
        (
            [
                '--out=y.onnx',
                '--size=320x256',
                '--model=student',
                '--images',
                'a',
                'b',
                '--overwrite',
            ],
            ('y.onnx', (256, 320), 'student', ['a', 'b'], True),
        ),
    ],
)
def test_its_options(call, monkeypatch, capsys, arguments, expected):
    given = []

    def export(config, checkpoint, *rest):
        given.append((Path(config), checkpoint, rest))
        return Exported(Path('y.onnx'), Comparison(3, 9, 0.0, 0.0, 0), None)

    monkeypatch.setattr('ssod.api.export_onnx', export)
    call('export_onnx', CONFIG, 'x.pth', *arguments)
    assert given == [(CONFIG, 'x.pth', expected)]
    assert capsys.readouterr().out.splitlines() == [
        'y.onnx',
        'compared with mmdet: 9 boxes in 3 images differ by at most 0 pixels and 0 in score; '
        'without counterpart: 0',
    ]


@pytest.mark.parametrize('size', ['320', '320x', '0x10', 'axb', '3x4x5'])
def test_what_is_no_size(call, capsys, size):
    with pytest.raises(SystemExit) as left:
        call('export_onnx', CONFIG, 'x.pth', '--size', size)
    assert left.value.code == 2
    assert f"'{size}' is not a size such as 320x256" in capsys.readouterr().err


def test_a_mistake_is_told_in_one_line(call, capsys, tmp_path):
    name = 'mixpl_dino_digits10pct'
    detector = MODELS.build(detector_cfg(Config.fromfile(CONFIGS / f'{name}.py')))
    torch.save({'state_dict': detector.state_dict()}, tmp_path / 'x.pth')
    for config, message in (
        (name, f'{name}.py: DINO cannot be exported: DINO has its own prediction code; one and'),
        (CONFIG.stem, 'x.pth is of another detector'),
    ):
        with pytest.raises(SystemExit) as left:
            call('export_onnx', CONFIGS / f'{config}.py', tmp_path / 'x.pth')
        assert left.value.code == 1
        told = capsys.readouterr().err.splitlines()[-1]
        assert told.startswith('error: ')
        assert message in told
    assert [path.name for path in tmp_path.iterdir()] == ['x.pth']
