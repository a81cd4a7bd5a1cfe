"""How what is wrong is told before a run; what is told is in ``test_bad_input.py``."""

import copy
import json
from types import SimpleNamespace

import pytest
from mmdet.evaluation import CocoMetric

from ssod import runs
from ssod.checks import before_run
from ssod.checks.before_run import check_data_of, report_on_all
from ssod.checks.findings import Finding, finding_of, first_of, some


@pytest.mark.parametrize(
    ('faults', 'rest'),
    [
        (1, ''),
        (2, ''),
        # The first two, and how many there are.
        (3, r' \| 1 more errors'),
        (4, r' \| 2 more errors'),
    ],
)
def test_the_first_errors_and_where_to_see_all(world, faults, rest):
    for fault in range(faults):
        part = ('labeled', 'unlabeled', 'val')[fault % 3]
        getattr(world, part)['images'][0]['width'] = None
        if fault == 3:
            world.val['images'][0]['height'] = None
    world.write()
    told = '.*'.join(f'{part}.json: ' for part in ('labeled', 'unlabeled')[:faults])
    tool = 'tools/check_data.py'
    with pytest.raises(ValueError, match=f'{told}.*{rest} \\| to see all, run {tool} with'):
        check_data_of(world.cfg)


def test_a_run_says_what_takes_so_long(world, monkeypatch):
    told = []
    monkeypatch.setattr(runs, 'print_log', lambda line, *_: told.append(line))
    monkeypatch.setattr(runs, 'check_data_of', lambda *_: told.append('checked'))
    monkeypatch.setattr(runs._Runner, 'from_cfg', lambda cfg: SimpleNamespace(cfg=cfg))
    runs.build_runner(world.cfg)
    assert told[-2:] == ['checking annotation files and folders of images', 'checked']


def test_a_missing_file_comes_first(world):
    world.labeled['images'] = []
    world.val = None
    world.write()
    with pytest.raises(FileNotFoundError, match=r'val\.json: does not exist'):
        check_data_of(world.cfg)


def test_only_what_is_used_is_checked(world):
    world.labeled['images'] = []
    world.write()
    check_data_of(world.cfg, ['val'])
    with pytest.raises(ValueError, match=r'labeled\.json'):
        check_data_of(world.cfg, ['train'])


def test_the_first_rank_looks_and_all_fail(world, monkeypatch):
    world.labeled['images'] = []
    world.write()
    sent = []
    monkeypatch.setattr(before_run, 'is_main_process', lambda: False)
    monkeypatch.setattr(before_run, 'broadcast_object_list', sent.append)
    check_data_of(world.cfg)
    assert sent == [[None]]

    def receive(problem):
        problem[0] = ValueError('of rank 0')

    monkeypatch.setattr(before_run, 'broadcast_object_list', receive)
    with pytest.raises(ValueError, match='of rank 0'):
        check_data_of(world.cfg)


def test_several_evaluators(world):
    # CocoMetric twice, and one that reads no file.
    own, other = str(world.root / 'val.json'), str(world.root / 'labeled.json')
    world.val['images'][1]['id'] = world.val['annotations'][1]['image_id'] = 7
    world.write()
    world.cfg.val_evaluator = [dict(type='DumpDetResults'), dict(type='CocoMetric', ann_file=own)]
    check_data_of(world.cfg)
    world.cfg.val_evaluator[0].ann_file = other
    with pytest.raises(ValueError, match='has no image with the id 7'):
        check_data_of(world.cfg)


# What stands in the file of true boxes, how it is scored, and how often each is told.
@pytest.mark.parametrize(
    ('kinds', 'bare', 'zero'),
    [
        ([], 0, 0),
        (['FastCocoMetric'], 0, 0),  # It numbers annotations itself and fills in what is missing.
        (['DumpDetResults'], 0, 0),  # It scores nothing.
        (['CocoMetric'], 1, 1),
        (['mmdet.CocoMetric'], 1, 1),
        ([CocoMetric], 1, 1),
        (['FastCocoMetric', 'CocoMetric'], 1, 1),
    ],
)
@pytest.mark.parametrize('name', ['val.json', 'scored.json'])
def test_what_pycocotools_needs_is_asked_for_where_it_scores(world, kinds, bare, zero, name):
    world.val['annotations'][0].update(id=0, ignore=1)
    del world.val['annotations'][1]['iscrowd']
    world.write()
    # The data set's own file, or another with the same content.
    file = world.root / name
    file.write_text(json.dumps(world.val))
    world.cfg.val_evaluator = [dict(type=kind, ann_file=str(file)) for kind in kinds]
    # A test that is scored alike has nothing more to tell.
    world.cfg.test_cfg = {}
    world.cfg.test_dataloader = copy.deepcopy(world.cfg.val_dataloader)
    world.cfg.test_evaluator = copy.deepcopy(world.cfg.val_evaluator)
    findings, _ = report_on_all(world.cfg, ('train', 'val', 'test'))
    told = [finding for finding in findings if finding.file == str(file)]
    assert sum("no 'iscrowd'" in finding.what for finding in told) == bare
    assert sum('never counts as found' in finding.what for finding in told) == zero
    # What COCO's scores count is told of the data set, and of any other file that is scored.
    own = name == 'val.json'
    assert sum("has only 'ignore'" in finding.what for finding in told) == (own or bool(kinds))


def test_images_without_labels_may_be_tested(world):
    # A test whose truth is elsewhere, as of COCO's test-dev.
    world.cfg.test_cfg = {}
    world.cfg.test_dataloader = copy.deepcopy(world.cfg.val_dataloader)
    world.cfg.test_dataloader.dataset.ann_file = 'test.json'
    (world.root / 'test.json').write_text(json.dumps({**world.val, 'annotations': []}))
    world.write()
    (line,) = world.told()
    assert line.startswith('warning: ')
    assert 'test.json: has no annotations;' in line
    check_data_of(world.cfg, ['test'])


def test_labelled_images_at_which_perhaps_nobody_has_looked(world):
    number = len(world.labeled['images'])
    bare = 'images have no annotation and are learnt as background; move those that'
    # They are not there, but that is told in a line of its own.
    world.labeled['images'] += [
        dict(world.labeled['images'][0], id=100 + i, file_name=f'{i}_.png')
        for i in range(2 * number)
    ]
    world.write()
    (line,) = [line for line in world.told() if bare in line]
    assert line.startswith('warning: ')
    assert f'of {3 * number} images' in line


def test_what_is_known_is_told_once(world):
    # A missing image is not opened, and a file in two data sets is no copy of itself.
    (world.root / 'labeled/2.png').unlink()
    world.cfg.val_dataloader.dataset.data_prefix = dict(img='labeled/')
    world.write()
    lines = world.told()
    assert len(lines) == 2
    assert 'labeled/2.png does not exist' in lines[0]
    assert '2 of its images are also in' in lines[1]


def test_data_that_are_tested_as_they_were_validated(world):
    world.cfg.test_cfg = {}
    world.cfg.test_dataloader = copy.deepcopy(world.cfg.val_dataloader)
    world.cfg.test_evaluator = dict(type='CocoMetric', ann_file=str(world.root / 'labeled.json'))
    world.val['images'][0]['file_name'] = '../labeled/0.png'
    world.val['images'][1]['id'] = world.val['annotations'][1]['image_id'] = 7
    world.write()
    # Their leak is told once, but what they are scored against is looked at.
    assert [line.split(': ')[0] for line in world.told()] == ['error', 'warning']


def test_findings():
    assert first_of('error', 'a.json', [], 'mend it') == []
    (one,) = first_of('error', 'a.json', ['x is wrong'], 'mend it')
    assert str(one) == 'a.json: x is wrong; mend it'
    (many,) = first_of('error', 'a.json', ['x is wrong'] * 1235, 'mend it')
    assert str(many) == 'a.json: x is wrong (and 1,234 more); mend it'
    error = ValueError('a.json is wrong: x; y; z')
    assert finding_of(error, 'a.json') == Finding('error', 'a.json', 'is wrong: x', 'y; z')
    assert finding_of('of no file', 'a.json').remedy == 'check the file'


@pytest.mark.parametrize(
    ('names', 'text'),
    [
        ([], 'none'),
        (['a'], 'a'),
        (['a', 'b', 'c', 'd', 'e'], 'a, b, c, d, e'),
        (['a', 'b', 'c', 'd', 'e', 'f'], 'a, b, c, d, e and 1 more'),
    ],
)
def test_some_names(names, text):
    assert some(names) == text
