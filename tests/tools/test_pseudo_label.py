"""Labels that are made once, from the command line: the three commands of STAC."""

from pathlib import Path

import pytest

from ssod.checkpoints import load_checkpoint


def test_three_commands(digits_cfg, bench):
    root = Path(__file__).parents[2]
    digits_cfg.train_cfg.max_iters = 1
    for part in ('cfg', 'dataloader', 'evaluator'):
        digits_cfg[f'val_{part}'] = digits_cfg.pop(f'kept_{part}')
        digits_cfg.pop(f'test_{part}', None)
    digits_cfg.val_dataloader.num_workers = 0
    digits_cfg.default_hooks.teacher.burn_in = 1
    digits_cfg.work_dir = 'supervised'
    digits_cfg.dump(bench.place / 'supervised.py')
    selector = dict(type='ScoreSelector', threshold=0.0)
    digits_cfg.default_hooks.teacher = dict(type='OfflineTeacherHook', selector=selector)
    digits_cfg.work_dir = 'stac'
    digits_cfg.dump(bench.place / 'stac.py')
    bench.python(root / 'tools/train.py', 'supervised.py', log='1.txt')
    label = [root / 'tools/pseudo_label.py', 'stac.py', 'supervised/iter_1.pth']
    told = bench.python(*label, '--score-thr', '0.01', log='2.txt')
    assert 'stac/pseudo_labels.json: pseudo-labels of 18 images' in told
    bench.python(root / 'tools/train.py', 'stac.py', log='3.txt')
    assert (
        'student.backbone.conv1.weight'
        in load_checkpoint(bench.place / 'stac/iter_1.pth')['state_dict']
    )
    # What is there is not overwritten.
    told = bench.python(*label, log='4.txt', code=1)
    assert 'pseudo_labels.json exists; remove it, or pass --overwrite' in told
    # Any folder.
    options = ['--out', 'folder.json', '--score-thr', '0.01']
    images = Path(digits_cfg.val_dataloader.dataset.data_root) / 'images/val'
    told = bench.python(*label, images, *options, log='5.txt')
    assert 'folder.json: pseudo-labels of 4 images' in told
    # Which thresholds suit, as often as one likes.
    told = bench.python(*label, '--sweep', log='6.txt')
    assert 'pseudo-labels of' not in told
    assert '| class | labels | threshold | precision | recall |' in told
    assert "selector=dict(_delete_=True, type='ClassScoreSelector', thresholds=[" in told
    told = bench.python(*label, images, '--sweep', log='7.txt', code=2)
    assert '--sweep labels nothing; leave out the folder' in told


# What each row proves: what --sweep has no use for is refused, in the place of being passed over.
@pytest.mark.parametrize(
    'given', [['folder'], ['--out=x.json'], ['--overwrite'], ['--score-thr=0.5']]
)
def test_what_a_sweep_has_no_use_for(call, capsys, given):
    with pytest.raises(SystemExit) as left:
        call('pseudo_label', 'x.py', 'x.pth', *given, '--sweep')
    assert left.value.code == 2
    assert '--sweep labels nothing; leave out the folder, --out, --score' in capsys.readouterr().err
