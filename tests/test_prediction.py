"""Predictions as pictures and COCO JSON: they are the model's own."""

import json
import os
import shutil
import weakref
from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from PIL import Image

import ssod
from ssod.inference import Detector
from ssod.prediction import predict
from ssod.publishing import publish
from ssod.visualization.detections import DETECTION

CONFIG = Path(__file__).parents[1] / 'configs/mt_fasterrcnn_digits10pct.py'


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A config's file, a checkpoint of an untrained teacher and another student, and both."""
    init_default_scope('mmdet')
    place = tmp_path_factory.mktemp('run')
    cfg = Config.fromfile(CONFIG)
    cfg.model.detector.test_cfg.rcnn.score_thr = 0.0
    cfg.dump(place / 'mine.py')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.save({'state_dict': model.state_dict()}, place / 'iter_2.pth')
    return place / 'mine.py', place / 'iter_2.pth', model.eval()


@pytest.fixture
def cfg(run):
    return Config.fromfile(run[0])


@pytest.fixture(scope='module')
def photos(digits, tmp_path_factory):
    """Four scenes in a folder with sub-folders, one of them under an upper-case extension."""
    root = tmp_path_factory.mktemp('photos')
    scenes = sorted((digits / 'images/val').glob('*.png'))
    names = ['a.png', 'sub/B.JPG', 'sub/deeper/c.bmp', 'z.tiff']
    for name, path in zip(names, scenes, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).convert('RGB').save(root / name)
    (root / 'notes.txt').write_text('no image')
    return root


def own_predictions(run, cfg, images, whose='teacher'):
    """What the model itself finds in images (BGR): (box as x1, y1, x2, y2, score, label) each."""
    steps = [dict(type='mmdet.LoadImageFromNDArray'), *cfg.test_dataloader.dataset.pipeline[1:]]
    prepare, found = Compose(steps), []
    for image in images:
        data = pseudo_collate([prepare({'img': image, 'img_id': 0})])
        with torch.no_grad(), run[2].predicting_on(whose):
            boxes = run[2].test_step(data)[0].pred_instances
        found.append([boxes.bboxes.numpy(), boxes.scores.numpy(), boxes.labels.numpy()])
    return found


def check(content, names, images, found, score_thr=0.0):
    """Whether a COCO JSON says what a model found."""
    assert [image['file_name'] for image in content['images']] == names
    assert [(i['height'], i['width']) for i in content['images']] == [i.shape[:2] for i in images]
    assert [c['name'] for c in content['categories']] == [str(digit) for digit in range(10)]
    label_of = {c['id']: int(c['name']) for c in content['categories']}
    assert [a['id'] for a in content['annotations']] == [*range(1, len(content['annotations']) + 1)]
    for image, (boxes, scores, labels) in zip(content['images'], found, strict=True):
        own = [a for a in content['annotations'] if a['image_id'] == image['id']]
        kept = scores >= score_thr
        assert [label_of[a['category_id']] for a in own] == labels[kept].tolist()
        np.testing.assert_allclose([a['score'] for a in own], scores[kept], atol=1e-4)
        corners = np.array([a['bbox'] for a in own]).reshape(-1, 4)
        areas = corners[:, 2] * corners[:, 3]
        np.testing.assert_allclose([a['area'] for a in own], areas, atol=0.01)
        corners[:, 2:] += corners[:, :2]
        np.testing.assert_allclose(corners, boxes[kept], atol=0.02)
        assert all(a['iscrowd'] == 0 for a in own)


def test_one_image(run, cfg, photos, tmp_path):
    done = predict(cfg, run[1], [photos / 'a.png'], tmp_path / 'out', score_thr=0.0)
    image = cv2.imread(str(photos / 'a.png'))
    check(done.content, ['a.png'], [image], own_predictions(run, cfg, [image]))
    assert len(done.content['annotations']) == 20  # As many as the config allows.
    assert json.loads(done.file.read_text()) == done.content
    assert done.file == tmp_path / 'out/predictions.json'
    assert done.passed_over == []
    picture = np.asarray(Image.open(done.pictures / 'a.png'))
    assert picture.shape == image.shape
    assert (picture == DETECTION).all(axis=-1).any()


def test_a_folder(run, cfg, photos, tmp_path, capfd):
    done = predict(cfg, run[1], [photos], tmp_path / 'out', score_thr=0.0)
    names = ['a.png', 'sub/B.JPG', 'sub/deeper/c.bmp', 'z.tiff']
    images = [cv2.imread(str(photos / name)) for name in names]
    check(done.content, names, images, own_predictions(run, cfg, images))
    written = [p for p in done.pictures.rglob('*') if p.is_file()]
    assert sorted(p.relative_to(done.pictures).as_posix() for p in written) == names
    assert all(Image.open(path).size == (96, 96) for path in written)
    assert Image.open(done.pictures / 'sub/B.JPG').format == 'JPEG'
    # How many of how many, the rate and the time left.
    bar = capfd.readouterr().err
    assert 'predicting' in bar and '4/4' in bar and '/s' in bar and '0:00:00' in bar


def test_the_threshold(run, cfg, photos, tmp_path):
    image = cv2.imread(str(photos / 'a.png'))
    found = own_predictions(run, cfg, [image])
    scores = found[0][1]
    middle = float(scores[9] + scores[10]) / 2  # They are sorted.
    # The config's own is lowered.
    cfg.model.detector.test_cfg.rcnn.score_thr = 1.0
    done = predict(cfg, run[1], [photos / 'a.png'], tmp_path / 'some', score_thr=middle)
    assert len(done.content['annotations']) == 10
    check(done.content, ['a.png'], [image], found, middle)
    # Nothing is found: the image is listed and drawn as it is.
    none = predict(cfg, run[1], [photos / 'a.png'], tmp_path / 'none', score_thr=1.0)
    assert none.content['annotations'] == []
    assert [image['file_name'] for image in none.content['images']] == ['a.png']
    assert (np.asarray(Image.open(none.pictures / 'a.png')) == image[..., ::-1]).all()


def test_a_video(run, cfg, photos, tmp_path):
    writer = cv2.VideoWriter(
        str(tmp_path / 'clip.avi'), cv2.VideoWriter.fourcc(*'MJPG'), 10, (96, 96)
    )
    for name in ('a.png', 'z.tiff', 'sub/B.JPG'):
        writer.write(cv2.imread(str(photos / name)))
    writer.release()
    given = [tmp_path / 'clip.avi', photos / 'a.png']
    done = predict(cfg, run[1], given, tmp_path / 'out', score_thr=0.0, batch_size=2)
    frames = list(mmcv.VideoReader(str(tmp_path / 'clip.avi')))
    assert len(frames) == 3
    images = [cv2.imread(str(photos / 'a.png')), *frames]
    # Images first; names are from the folder that all are in.
    root = Path(os.path.commonpath([tmp_path, photos]))
    video = (tmp_path / 'clip.avi').relative_to(root).as_posix()
    names = [(photos / 'a.png').relative_to(root).as_posix()]
    names += [f'{video}/{number:06d}' for number in range(3)]
    check(done.content, names, images, own_predictions(run, cfg, images))
    assert done.content['info']['images'] == str(root)
    drawn = mmcv.VideoReader(str(done.pictures / f'{video}.mp4'))
    assert (drawn.frame_cnt, drawn.fps, drawn.resolution) == (3, 10, (96, 96))
    # The boxes of all frames, in their own colour; the code loses some of it.
    assert all((abs(image - np.array(DETECTION[::-1])).max(-1) < 40).sum() > 50 for image in drawn)
    assert done.passed_over == []


def test_what_cannot_be_read_is_told_and_passed_over(run, cfg, photos, tmp_path, capfd):
    shutil.copytree(photos, tmp_path / 'in')
    (tmp_path / 'in/b.png').write_bytes((photos / 'a.png').read_bytes()[:500])
    (tmp_path / 'in/clip.mp4').write_bytes(b'no video')
    (tmp_path / 'in/sub/gone.png').symlink_to('nowhere.png')
    given = [tmp_path / 'in', tmp_path / 'in/clip.mp4']
    done = predict(cfg, run[1], given, tmp_path / 'out', score_thr=0.0, batch_size=4)
    names = ['a.png', 'sub/B.JPG', 'sub/deeper/c.bmp', 'z.tiff']
    assert [image['file_name'] for image in done.content['images']] == names
    told = ['sub/gone.png leads nowhere; copy', 'b.png is cut off', 'clip.mp4 is not a readable']
    told = [f'{tmp_path}/in/{why}' for why in told]
    assert all(why.startswith(t) for why, t in zip(done.passed_over, told, strict=True))
    errors = capfd.readouterr().err
    assert all(f'skipped: {why}' in errors for why in done.passed_over)
    assert '5/5' in errors
    assert not (done.pictures / 'b.png').exists()
    # If there is nothing else it is an error.
    with pytest.raises(ValueError, match=r'nothing could be read: .*b\.png is cut off'):
        predict(cfg, run[1], [tmp_path / 'in/b.png'], tmp_path / 'none')
    assert not (tmp_path / 'none').exists()


def test_names_that_nobody_could_read(run, cfg, photos, tmp_path):
    clip = tmp_path / 'caf\udce9.avi'
    clip.touch()
    given = [tmp_path / 'a.png', tmp_path / 'caf\udce9.png']
    for path in given:
        shutil.copy(photos / 'a.png', path)
    done = predict(cfg, run[1], [*given, clip], tmp_path / 'out')
    assert [image['file_name'] for image in done.content['images']] == ['a.png']
    assert done.passed_over == [
        rf'{tmp_path}/caf\xe9.avi is not UTF-8, so the video cannot be opened; rename it',
        rf'{tmp_path}/caf\xe9.png: its name is not UTF-8; rename it',
    ]


def test_a_folder_where_opencv_would_crash(run, cfg, photos, tmp_path):
    (tmp_path / 'clip.avi').touch()
    out = tmp_path / 'caf\udce9'
    # The detector, which takes long to build, is not.
    with pytest.raises(
        ValueError, match=r'caf\\xe9/pictures is not UTF-8, so no video can be writt'
    ):
        predict(cfg, 'no.pth', [tmp_path / 'clip.avi'], out)
    assert not out.exists()
    # Pictures can be.
    predict(cfg, run[1], [photos / 'a.png'], out)
    assert (out / 'pictures/a.png').is_file()


def test_one_video_at_a_time_is_open(run, cfg, photos, tmp_path, monkeypatch):
    paths = [tmp_path / f'{number}.avi' for number in range(3)]
    for path in paths:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 10, (96, 96))
        writer.write(cv2.imread(str(photos / 'a.png')))
        writer.release()
    there, most = weakref.WeakSet(), []

    class Reader(mmcv.VideoReader):
        def read(self):
            there.add(self)
            most.append(len(there))
            return super().read()

    monkeypatch.setattr(mmcv, 'VideoReader', Reader)
    done = predict(cfg, run[1], paths, tmp_path / 'out')
    assert len(done.content['images']) == 3
    assert most == [1] * 6  # A frame of each, and its end.


def test_a_video_that_ends_early(run, cfg, photos, tmp_path, monkeypatch):
    writer = cv2.VideoWriter(
        str(tmp_path / 'clip.avi'), cv2.VideoWriter.fourcc(*'MJPG'), 10, (96, 96)
    )
    writer.write(cv2.imread(str(photos / 'a.png')))
    writer.release()
    monkeypatch.setattr(mmcv.VideoReader, 'frame_cnt', 7)
    done = predict(cfg, run[1], [tmp_path / 'clip.avi'], tmp_path / 'out')
    assert done.passed_over == [f'{tmp_path}/clip.avi ends early: 1 of 7 frames could be read']
    assert [image['file_name'] for image in done.content['images']] == ['clip.avi/000000']


def test_teacher_student_and_published(run, cfg, photos, tmp_path):
    image = cv2.imread(str(photos / 'a.png'))
    for whose in ('teacher', 'student'):
        done = predict(cfg, run[1], [photos / 'a.png'], tmp_path / whose, whose, 0.0)
        check(done.content, ['a.png'], [image], own_predictions(run, cfg, [image], whose))
        assert done.content['info']['source'] == f'{whose} of {run[1]}'
    plain = publish(cfg, run[1], tmp_path / 'published')
    plain_cfg = Config.fromfile(plain.config)
    done = predict(plain_cfg, plain.checkpoint, [photos / 'a.png'], tmp_path / 'x', score_thr=0.0)
    check(done.content, ['a.png'], [image], own_predictions(run, cfg, [image]))
    with pytest.raises(ValueError, match=r'mine\.pth is of a plain detector, which has no student'):
        Detector(plain_cfg, plain.checkpoint, 'student')


def test_the_verb_and_what_is_there_already(run, photos, tmp_path, capfd):
    config, checkpoint, _ = run
    shutil.copytree(photos, tmp_path / 'in')
    out = tmp_path / 'in/found'
    first = ssod.predict(config, checkpoint, tmp_path / 'in', out, score_thr=0.0)
    with pytest.raises(FileExistsError, match=r'predictions\.json exists; remove it, or pass --ov'):
        ssod.predict(config, checkpoint, tmp_path / 'in', out)
    # The pictures that were drawn are not taken for new images.
    again = ssod.predict(config, checkpoint, tmp_path / 'in', out, score_thr=0.0, overwrite=True)
    assert again == first
    # But a training would.
    told = f'warning: {out}/pictures is inside {tmp_path}/in, which holds images: trainings on that'
    assert capfd.readouterr().err.count(told) == 2
    # Beside the checkpoint, if nothing else is said.
    there = ssod.predict(config, checkpoint, str(photos / 'a.png'))
    assert there.file == checkpoint.parent / 'predictions/predictions.json'
    assert 'is inside' not in capfd.readouterr().err


def test_pictures_of_the_user_are_not_replaced(run, cfg, photos, tmp_path):
    (tmp_path / 'pictures').mkdir()
    # An empty folder is no matter.
    predict(cfg, run[1], [photos / 'z.tiff'], tmp_path)
    (tmp_path / 'predictions.json').unlink()
    own = tmp_path / 'pictures/a.png'
    own.write_bytes(b'mine')
    with pytest.raises(FileExistsError, match=r'pictures has files and no predictions\.json next'):
        predict(cfg, run[1], [photos / 'a.png'], tmp_path)
    assert own.read_bytes() == b'mine'
    assert not (tmp_path / 'predictions.json').exists()
    predict(cfg, run[1], [photos / 'a.png'], tmp_path, overwrite=True)
    assert Image.open(own).size == (96, 96)


@pytest.mark.parametrize('link', ['sub', 'sub/B.JPG'])
def test_an_input_is_not_replaced_through_a_link(run, cfg, photos, tmp_path, link):
    shutil.copytree(photos, tmp_path / 'in')
    before = (tmp_path / 'in/sub/B.JPG').read_bytes()
    to = tmp_path / 'out/pictures' / link
    to.parent.mkdir(parents=True)
    to.symlink_to(tmp_path / 'in' / link)
    with pytest.raises(ValueError, match=r'sub/B\.JPG is a link to an input, which would be repl'):
        predict(cfg, run[1], [tmp_path / 'in'], tmp_path / 'out', overwrite=True)
    assert (tmp_path / 'in/sub/B.JPG').read_bytes() == before


def test_two_videos_are_not_drawn_to_one_file(run, cfg, tmp_path):
    clips = [tmp_path / name for name in ('clip.avi', 'clip.avi.mp4')]
    for clip in clips:
        clip.touch()
    with pytest.raises(ValueError, match=r'clip\.avi\.mp4 would both be drawn to'):
        predict(cfg, run[1], clips, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_video_is_not_replaced_through_a_link(run, cfg, tmp_path):
    (tmp_path / 'clip.mp4').write_bytes(b'mine')
    (tmp_path / 'out/pictures').mkdir(parents=True)
    (tmp_path / 'out/pictures/clip.mp4').symlink_to(tmp_path / 'clip.mp4')
    with pytest.raises(ValueError, match=r'clip\.mp4 is a link to an input, which would be replac'):
        predict(cfg, run[1], [tmp_path / 'clip.mp4'], tmp_path / 'out', overwrite=True)


def test_a_picture_that_cannot_be_written_is_named(run, cfg, photos, tmp_path):
    (tmp_path / 'pictures').mkdir()
    (tmp_path / 'pictures/a.png').symlink_to('/dev/full')
    with pytest.raises(OSError, match=r'pictures/a\.png cannot be written: .*No space left'):
        predict(cfg, run[1], [photos / 'a.png'], tmp_path, overwrite=True)


def test_old_pictures_do_not_stay_among_new_ones(run, cfg, photos, tmp_path):
    writer = cv2.VideoWriter(
        str(tmp_path / 'clip.avi'), cv2.VideoWriter.fourcc(*'MJPG'), 10, (96, 96)
    )
    writer.write(cv2.imread(str(photos / 'a.png')))
    writer.release()
    shutil.copytree(photos, tmp_path / 'in')
    shutil.move(tmp_path / 'clip.avi', tmp_path / 'in/clip.avi')
    out = tmp_path / 'out'
    predict(cfg, run[1], [tmp_path / 'in', tmp_path / 'in/clip.avi'], out)
    pictures = out / 'pictures'
    assert (pictures / 'clip.avi.mp4').is_file()
    (pictures / 'own.png').write_bytes(b'mine')
    # Names that lead out of the folder remove nothing.
    (out / 'kept.png').write_bytes(b'mine')
    (tmp_path / 'kept').mkdir()
    (tmp_path / 'kept/x.png').write_bytes(b'mine')
    (pictures / 'way').symlink_to(tmp_path / 'kept')
    content = json.loads((out / 'predictions.json').read_text())
    for name in ('../kept.png', 'way/x.png', str(tmp_path / 'kept/x.png'), 'gone.png'):
        content['images'].append({'id': len(content['images']) + 1, 'file_name': name})
    (out / 'predictions.json').write_text(json.dumps(content))
    predict(cfg, run[1], [tmp_path / 'in/a.png'], out, overwrite=True)
    left = sorted(p.relative_to(pictures).as_posix() for p in pictures.rglob('*') if p.is_file())
    assert [name for name in left if not name.startswith('way')] == ['a.png', 'own.png']
    assert (out / 'kept.png').exists() and (tmp_path / 'kept/x.png').exists()


@pytest.mark.parametrize(
    ('settings', 'told'),
    [
        (dict(score_thr=1.5), r'score_thr is 1\.5, but must be in \[0, 1\]'),
        (dict(batch_size=0), 'batch_size is 0, but must be at least 1'),
        (dict(inputs=['no.jpg']), r'no\.jpg does not exist'),
        (dict(checkpoint='no.pth'), r'checkpoint no\.pth does not exist'),
    ],
)
def test_what_is_refused(run, cfg, photos, tmp_path, settings, told):
    call = {'checkpoint': run[1], 'inputs': [photos], 'out': tmp_path / 'out', **settings}
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        predict(cfg, **call)
    assert os.listdir(tmp_path) == []


def test_an_empty_folder(run, cfg, tmp_path):
    with pytest.raises(FileNotFoundError, match='no image in this folder or its sub-folders'):
        predict(cfg, run[1], [tmp_path], tmp_path / 'out')


def test_a_config_whose_images_come_from_elsewhere(run, cfg, photos):
    cfg.test_dataloader.dataset.pipeline.pop(0)
    with pytest.raises(ValueError, match=r'mine\.py: test_dataloader.*has no LoadImageFromFile'):
        Detector(cfg, run[1])


def test_a_loader_that_gives_floats_still_does(run, cfg, photos):
    steps = cfg.test_dataloader.dataset.pipeline
    steps[0] = dict(type='mmdet.LoadImageFromFile', to_float32=True)
    prepare = Detector(cfg, run[1])._prepare
    image = cv2.imread(str(photos / 'a.png'))
    assert prepare({'img': image, 'img_id': 0})['inputs'].dtype == torch.float32
