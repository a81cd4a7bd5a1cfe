"""What the tools do, as functions of the package."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

import ssod
from ssod.checkpoints import load_checkpoint

CONFIG = Path(__file__).parents[1] / 'configs/mt_fasterrcnn_digits10pct.py'
SHORT = {
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 2,
    'train_dataloader.batch_size': 4,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'default_hooks.teacher.burn_in': 1,
    'default_hooks.checkpoint.interval': 1,
    'model.detector.test_cfg.rcnn.score_thr': 0.01,
    'experiment_name': 'api',
}


def test_what_is_there_is_shown():
    """In a new process, where no verb was asked for yet."""
    code = 'import ssod; print(*sorted({*ssod.__all__} - {*dir(ssod)}))'
    shown = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ''


@pytest.fixture(scope='module')
def trained(digits, tmp_path_factory):
    """The folder of a run, and what training returned."""
    place = tmp_path_factory.mktemp('api')
    data = ssod.OwnData(
        digits / 'annotations/val.json',
        digits / 'images/val',
        digits / 'images/train',
        digits / 'annotations/labeled.json',
        digits / 'images/train',
    )
    options = {**SHORT, 'visualizer.name': str(place)}
    return place, ssod.train(CONFIG, data, str(place), options), data


def test_training(trained):
    place, summary, data = trained
    assert summary == json.loads((place / 'summary.json').read_text())
    assert (summary['iterations'], summary['teacher_mAP'] is None) == (2, False)
    # There is nothing left to do.
    options = {**SHORT, 'visualizer.name': f'{place}/again'}
    last = place / 'iter_2.pth'
    for resume, amp in ((True, False), (last, True)):
        again = ssod.train(
            CONFIG, data, str(place), options, resume=resume, amp=amp, auto_scale_lr=amp
        )
        assert again['iterations'] == 2
        assert last.exists()
        written = (place / CONFIG.name).read_text()
        assert ('Bfloat16OptimWrapper' in written) == amp


def test_a_training_that_is_not_summed_up_is_refused(trained, tmp_path):
    place, _, _ = trained
    # Another run's, which would be taken for this one's.
    (tmp_path / 'summary.json').write_text('{"teacher_mAP": 99.9}')
    options = {'default_hooks.summary': None, 'experiment_name': 'unsummed'}
    with pytest.raises(ValueError, match=r'has no SummaryHook, which sums up a training; set'):
        ssod.train(place / CONFIG.name, work_dir=str(tmp_path), options=options)


def test_labels_of_a_folder(trained, digits):
    place, _, _ = trained
    config, checkpoint = place / CONFIG.name, place / 'iter_2.pth'
    out = place / 'labels.json'
    given = dict(folder=digits / 'images/val', out=out, score_thr=0.01)
    assert ssod.pseudo_label(config, checkpoint, **given) == out
    content = json.loads(out.read_text())
    assert len(content['images']) == 4
    assert [c['name'] for c in content['categories']] == [str(d) for d in range(10)]
    with pytest.raises(FileExistsError, match='labels.json exists'):
        ssod.pseudo_label(config, checkpoint, **given)
    ssod.pseudo_label(config, checkpoint, **given, model='student', overwrite=True)
    assert json.loads(out.read_text())['info']['source'].startswith('student of')


def test_a_configs_threshold_hides_no_box(trained, digits):
    place, _, _ = trained
    config, checkpoint = place / CONFIG.name, place / 'iter_2.pth'
    options = {'model.detector.test_cfg.rcnn.score_thr': 1.0}
    given = dict(folder=digits / 'images/val', out=place / 'low.json', options=options)
    file = ssod.pseudo_label(config, checkpoint, **given, score_thr=0.01)
    assert json.loads(file.read_text())['annotations']
    rows, lower = (ssod.sweep_thresholds(config, checkpoint, options=o) for o in (options, {}))
    assert rows == lower
    assert any(row.kept[0] for row in rows)


def test_labels_are_named_as_the_model_was_taught(trained, digits, tmp_path):
    place, _, _ = trained
    cfg = Config.fromfile(place / CONFIG.name)
    # Of unlabelled images alone the config says no classes; COCO's would be taken.
    cfg.train_dataloader.dataset.datasets[-1].pop('metainfo')
    cfg.dump(tmp_path / 'mine.py')
    file = ssod.pseudo_label(
        tmp_path / 'mine.py', place / 'iter_2.pth', out=tmp_path / 'x.json', score_thr=0.01
    )
    content = json.loads(file.read_text())
    assert [c['name'] for c in content['categories']] == [str(d) for d in range(10)]


def test_weights_alone_label_too(trained, digits, tmp_path):
    place, _, _ = trained
    torch.save(load_checkpoint(place / 'iter_2.pth')['state_dict'], tmp_path / 'x.pth')
    given = dict(folder=digits / 'images/val', out=tmp_path / 'x.json', score_thr=0.01)
    ssod.pseudo_label(place / CONFIG.name, tmp_path / 'x.pth', **given)
    whole = dict(given, out=tmp_path / 'whole.json')
    ssod.pseudo_label(place / CONFIG.name, place / 'iter_2.pth', **whole)
    parts = (json.loads((tmp_path / name).read_text()) for name in ('x.json', 'whole.json'))
    ours, theirs = (content['annotations'] for content in parts)
    assert ours == theirs != []


@pytest.mark.parametrize('whose', ['config', 'checkpoint'])
def test_a_verifier_has_no_say_in_labels(trained, digits, tmp_path, whose):
    place, _, _ = trained
    cfg, content = Config.fromfile(place / CONFIG.name), load_checkpoint(place / 'iter_2.pth')
    if whose == 'config':
        cfg.model.verifier = dict(scale=1.0)
    else:
        content['state_dict']['verifier.classifier.bias'] = torch.zeros(10)
    cfg.dump(tmp_path / 'mine.py')
    torch.save(content, tmp_path / 'mine.pth')
    given = dict(folder=digits / 'images/val', out=tmp_path / 'x.json', score_thr=0.01)
    file = ssod.pseudo_label(tmp_path / 'mine.py', tmp_path / 'mine.pth', **given)
    assert json.loads(file.read_text())['annotations']


def test_thresholds(trained, digits):
    place, _, _ = trained
    rows = ssod.sweep_thresholds(place / CONFIG.name, place / 'iter_2.pth')
    labels = json.loads((digits / 'annotations/labeled.json').read_text())['annotations']
    assert sum(row.truths for row in rows) == len(labels)


def test_thresholds_of_other_classes_are_refused(trained, digits, tmp_path):
    place, _, _ = trained
    content = json.loads((digits / 'annotations/labeled.json').read_text())
    content['categories'].reverse()
    (tmp_path / 'turned.json').write_text(json.dumps(content))
    options = {'val_dataloader.dataset.ann_file': str(tmp_path / 'turned.json')}
    with pytest.raises(ValueError, match=r'turned\.json: has the categories in the order 9, 8'):
        ssod.sweep_thresholds(place / CONFIG.name, place / 'iter_2.pth', options=options)


def test_a_published_detector_has_no_student(trained, tmp_path):
    place, _, _ = trained
    made = ssod.publish(place / CONFIG.name, place / 'iter_2.pth', tmp_path / 'published')
    with pytest.raises(ValueError, match='of a plain detector, which has no student'):
        ssod.sweep_thresholds(made.config, made.checkpoint, model='student')


def test_another_detectors_checkpoint(trained):
    place, _, _ = trained
    other = CONFIG.with_name('mixpl_fcos_digits10pct.py')
    with pytest.raises(ValueError, match='iter_2.pth is of another detector: '):
        ssod.pseudo_label(other, place / 'iter_2.pth', out=place / 'other.json')


def test_what_the_package_does_not_have():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = ssod.trian


def test_an_onnx_file_is_the_exports(monkeypatch):
    """What it holds, the tests of the export say."""
    given = []
    monkeypatch.setattr('ssod.export.export_onnx', lambda *args: given.append(args))
    ssod.export_onnx(CONFIG, 'a.pth', 'b.onnx', (256, 320), 'student', ['c.jpg'], True)
    ((cfg, *rest),) = given
    assert Path(cfg.filename) == CONFIG
    assert rest == ['a.pth', 'b.onnx', (256, 320), 'student', ['c.jpg'], True]
