"""The runs of a study."""

import shutil
import time

import pytest
import torch

from ssod.studies.compose import Composer
from ssod.studies.execution import (
    LOG,
    left,
    remaining,
    score_held_out,
    train_all,
    weights_digest,
)
from ssod.studies.plan import read_study
from ssod.studies.results import Result, Results

# In the place of tools/train.py: it fails for one method, and notes scores for the others.
TRAIN = """
import json, sys
from pathlib import Path

place = Path(sys.argv[sys.argv.index('--work-dir') + 1])
assert sys.argv[1] == str(place / 'config.py') and '--resume' in sys.argv
print('training', place)
if 'eager' in str(place):
    sys.exit('eager fails')
scalars = place / '1/vis_data/scalars.json'
scalars.parent.mkdir(parents=True)
scores = {f'{who}/coco/bbox_mAP{n}': v for who, n, v in SCORES}
scalars.write_text(json.dumps({'loss': 1.0, 'iter': 1, 'step': 1}) + '\\n')
with scalars.open('a') as file:
    file.write(json.dumps({**scores, 'step': 3}) + '\\n')
(place / 'summary.json').write_text(json.dumps({'seconds': 7.5}))
"""
SCORES = [
    ('student', '', 0.2),
    ('teacher', '', 0.3014),
    ('student', '_50', 0.4),
    ('teacher', '_50', 0.0),
]


@pytest.fixture
def composer(study_file, data_root, tmp_path):
    text = study_file.read_text().replace('seeds = [1, 2]', 'seeds = [1]')
    study_file.write_text(text.replace('percents=[50, 25]', 'percents=[25]'))
    return Composer(read_study(study_file), data_root, tmp_path / 'work', {})


def tool(tmp_path):
    path = tmp_path / 'train.py'
    path.write_text(TRAIN.replace('SCORES', repr(SCORES)))
    return path


def test_what_is_left_is_trained(composer, tmp_path):
    path = tmp_path / 'results.jsonl'
    ended = list(train_all(composer, Results(path), tool(tmp_path), jobs=2))
    # Two data sets with three methods, of which one fails and does not stop the others.
    assert len(ended) == 6
    assert {run.method.name for run, result in ended if result is None} == {'eager'}
    failed = next(run for run, result in ended if result is None)
    assert 'eager fails' in (composer.place(failed) / LOG).read_text()
    results = Results(path)
    run = composer.study.runs()[1]
    result = results.find(run, composer.digest(run))
    # To a tenth of a point.
    assert (result.student, result.teacher) == (20.0, 30.1)
    assert (result.student_50, result.teacher_50, result.seconds) == (40.0, 0.0, 7.5)
    assert len(path.read_text().splitlines()) == 4
    # Only the failed ones are tried again.
    again = list(train_all(composer, results, tool(tmp_path)))
    assert [run.method.name for run, _ in again] == ['eager', 'eager']


def test_a_run_without_scores_has_failed(composer, tmp_path):
    wrong = {
        'supervised': ([], 'student/coco/bbox_mAP is None'),
        'teacher': (SCORES[:3], 'teacher/coco/bbox_mAP_50 is None'),
        # COCO's own of images without a true box.
        'eager': ([('student', '', -1.0), *SCORES[1:]], 'student/coco/bbox_mAP is -1.0'),
    }
    train, scores = tool(tmp_path), {method: scores for method, (scores, _) in wrong.items()}
    text = TRAIN.replace("'eager' in str(place)", 'False')
    train.write_text(text.replace('SCORES', f'{scores}[place.parent.name]'))
    results = Results(tmp_path / 'results.jsonl')
    ended = list(train_all(composer, results, train))
    assert len(ended) == 6
    assert not results.path.exists()
    for run, result in ended:
        assert result is None
        line = (composer.place(run) / LOG).read_text().splitlines()[-1]
        told = wrong[run.method.name][1]
        assert line.startswith(f'error: {run.name}: ended without scores, {told}; ')


def test_a_run_without_a_summary_has_failed(composer, tmp_path):
    train = tool(tmp_path)
    train.write_text(train.read_text().replace("'summary.json'", "'x'").replace('eager', 'none'))
    ended = list(train_all(composer, Results(tmp_path / 'results.jsonl'), train))
    assert [result for _, result in ended] == [None] * 6
    run = ended[0][0]
    assert 'summary.json' in (composer.place(run) / LOG).read_text().splitlines()[-1]


def test_an_interrupted_study_begins_nothing_more(composer, tmp_path):
    train = tool(tmp_path)
    # The first one ends, the others would go on for an hour.
    train.write_text(
        train.read_text() + "if 'supervised' not in str(place):\n    import time; time.sleep(3600)"
    )
    trainings = train_all(composer, Results(tmp_path / 'results.jsonl'), train)
    run, result = next(trainings)
    assert (run.method.name, result.student) == ('supervised', 20.0)
    began = time.monotonic()
    trainings.close()
    assert time.monotonic() - began < 60
    begun = [run for run in composer.study.runs() if (composer.place(run) / LOG).exists()]
    # The one that ended, and at most one that had begun meanwhile.
    assert len(begun) in (1, 2)


def test_nothing_is_trained_where_a_config_cannot_be_made(composer, data_root, tmp_path):
    (data_root / 'scenes/train.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'scenes/train\.json'):
        next(train_all(composer, Results(tmp_path / 'results.jsonl'), tool(tmp_path)))
    assert not list((tmp_path / 'work').rglob(LOG))


def test_a_start_comes_before_what_needs_it(started_study_file, data_root, tmp_path):
    text = started_study_file.read_text().replace('seeds = [1, 2]', 'seeds = [1]')
    started_study_file.write_text(text)
    composer = Composer(read_study(started_study_file), data_root, tmp_path / 'work', {})
    runs = {run.name: run for run in composer.study.runs()}
    # One start fails, and with it what would begin with its weights; the others do not.
    train = tool(tmp_path)
    train.write_text(train.read_text().replace("'eager' in", "'cells/50pct/start' in"))
    results = Results(tmp_path / 'results.jsonl')
    failed = {run.name for run, result in train_all(composer, results, train, 2) if result is None}
    cell = {'start', 'supervised', 'teacher', 'eager'}
    assert failed == {f'cells/50pct/{method}/1' for method in cell}
    log = composer.place(runs['cells/50pct/teacher/1']) / LOG
    assert log.read_text() == 'error: the run it starts from was not trained\n'
    # A start whose weights are gone is trained again, but only where something needs it.
    results.path.write_text(
        ''.join(line for line in results.path.read_text().splitlines(True) if 'eager' not in line)
    )
    again = [run.name for run in left(composer, Results(results.path))]
    assert {name for name in again if 'scenes' in name} == {
        'scenes/25pct/start/1',
        'scenes/25pct/eager/1',
    }
    # Its line stays as it is; two would contradict each other.
    lines = results.path.read_text().splitlines()
    for run in composer.study.runs():
        shutil.rmtree(composer.place(run) / '1', ignore_errors=True)
    train.write_text(train.read_text().replace('0.2)', '0.25)'))
    list(train_all(composer, Results(results.path), train))
    after = results.path.read_text().splitlines()
    assert [line for line in after if '"start"' in line] == [x for x in lines if '"start"' in x]
    assert len(after) > len(lines)
    results.path.write_text(''.join(f'{line}\n' for line in lines))
    weights = composer.weights(runs['scenes/25pct/start/1'])
    weights.touch()
    again = [run.name for run in left(composer, Results(results.path))]
    assert 'scenes/25pct/start/1' not in again


def test_what_cannot_be_compared_is_not_trained(composer, tmp_path):
    path, train = tmp_path / 'results.jsonl', tool(tmp_path)
    list(train_all(composer, Results(path), train))
    # Trained or made again bit for bit, they are the same weights.
    runs = {run.name: run for run in composer.study.runs()}
    run = runs['cells/25pct/teacher/1']
    begun = composer.begins_with(run)
    checkpoint = torch.load(begun)
    torch.save({**checkpoint, 'meta': {'time': 'later'}}, begun)
    lines = path.read_text().splitlines(True)
    others = [x for x in lines if not ('"cells"' in x and '"method": "teacher"' in x)]
    assert len(others) == len(lines) - 1
    path.write_text(''.join(others))
    shutil.rmtree(composer.place(run))
    ended = {ended.name: result for ended, result in train_all(composer, Results(path), train)}
    assert ended['cells/25pct/teacher/1'] is not None
    # But not with another weight.
    for weight in checkpoint['state_dict'].values():
        weight.zero_()
    torch.save(checkpoint, begun)
    path.write_text(''.join(others))
    shutil.rmtree(composer.place(run))
    ended = {ended.name: result for ended, result in train_all(composer, Results(path), train)}
    assert ended['cells/25pct/teacher/1'] is None
    (line,) = (composer.place(run) / LOG).read_text().splitlines()
    assert line.startswith('error: it would begin with the weights ')
    assert line.endswith('or remove the lines of cells, 25 %, seed 1')
    # Nor with weights that cannot be read; the others are trained nevertheless.
    begun.write_bytes(b'no checkpoint')
    path.write_text(''.join(x for x in others if '"scenes"' not in x))
    for other in runs.values():
        if other.data.name == 'scenes' or other is run:
            shutil.rmtree(composer.place(other))
    ended = {ended.name: result for ended, result in train_all(composer, Results(path), train)}
    assert ended['cells/25pct/teacher/1'] is None
    assert f'error: checkpoint {begun} is' in (composer.place(run) / LOG).read_text()
    assert ended['scenes/25pct/teacher/1'] is not None


def test_a_resumed_run_began_with_the_start_of_then(started_study_file, data_root, tmp_path):
    """Although that was lost, and trained again with other weights."""
    text = started_study_file.read_text().replace('seeds = [1, 2]', 'seeds = [1]')
    started_study_file.write_text(text)
    composer = Composer(read_study(started_study_file), data_root, tmp_path / 'work', {})
    runs = {run.name: run for run in composer.study.runs()}
    run, start = runs['scenes/25pct/teacher/1'], runs['scenes/25pct/start/1']
    weights, train = composer.weights(start), tool(tmp_path)
    results = Results(tmp_path / 'results.jsonl')
    # Starts save weights; the run is killed after its first checkpoint.
    saving = f"""
import torch
if 'start' in str(place):
    torch.save({{'state_dict': {{'w': torch.tensor([VALUE])}}}}, place / '{weights.name}')
if 'teacher' in str(place) and VALUE == 1.0:
    (place / 'iter_1.pth').touch()
    sys.exit('killed')
"""
    body = (
        train.read_text()
        .replace("'eager' in", "'none' in")
        .replace('mkdir(', 'mkdir(exist_ok=True, ')
    )
    train.write_text(body + saving.replace('VALUE', '1.0'))
    list(train_all(composer, results, train))
    first = weights_digest(weights)
    assert results.find(run, composer.digest(run)) is None
    weights.unlink()
    results.path.unlink()
    results = Results(results.path)
    train.write_text(body + saving.replace('VALUE', '2.0'))
    list(train_all(composer, results, train))
    assert weights_digest(weights) != first
    assert results.find(run, composer.digest(run)).begun == first


def test_a_log_that_cannot_be_written_stops_no_other_run(composer, tmp_path, capsys):
    runs = composer.study.runs()
    (composer.place(runs[0]) / LOG).mkdir(parents=True)
    ended = list(train_all(composer, Results(tmp_path / 'results.jsonl'), tool(tmp_path)))
    failed = {run.name for run, result in ended if result is None}
    assert len(ended) == 6
    assert failed == {runs[0].name, *(run.name for run in runs if run.method.name == 'eager')}


def test_the_digest_of_weights(tmp_path):
    def digest(meta=None, **weights):
        torch.save({'state_dict': weights, 'meta': meta}, tmp_path / 'x.pth')
        return weights_digest(tmp_path / 'x.pth')

    first = digest(a=torch.ones(2, 3))
    assert len(first) == 8
    # When they were saved does not count.
    assert digest({'time': 5}, a=torch.ones(2, 3)) == first
    assert digest(a=torch.zeros(2, 3)) != first
    assert weights_digest(tmp_path / 'none.pth') == ''


@pytest.mark.parametrize(
    ('done', 'total', 'seconds', 'expected'),
    [(1, 3, 600, '20 min'), (2, 4, 14400, '4.0 h'), (1, 1, 60, '0 min')],
)
def test_the_time_left(done, total, seconds, expected):
    assert remaining(done, total, 0.0, now=lambda: float(seconds)) == expected


def test_only_what_was_trained_is_held_out(composer, tmp_path):
    trained, results = (Results(tmp_path / f'{name}.jsonl') for name in ('trained', 'held_out'))
    with pytest.raises(ValueError, match=r'trained.jsonl: 6 of 6 runs are not trained yet, '):
        list(score_held_out(composer, trained, results))
    done = [
        Result(run.data.name, 25, run.method.name, 1, composer.digest(run), *[1.0] * 5)
        for run in composer.study.runs()
    ]
    for result in done:
        trained.add(result)
    with pytest.raises(
        FileNotFoundError,
        match=r'supervised/1-\w+/iter_2.pth does not exist, so it and 5 others .*; .*trained.jsonl',
    ):
        list(score_held_out(composer, trained, results))
    # What has been scored once is not scored again.
    for result in done:
        results.add(result)
    assert list(score_held_out(composer, trained, results)) == []
