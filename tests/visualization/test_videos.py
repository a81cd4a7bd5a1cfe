"""Videos that are whole or not there."""

import os
import resource

import mmcv
import numpy as np
import pytest

from ssod.visualization.videos import VideoFile, count_frames


def frame(value):
    return np.full((48, 64, 3), value, np.uint8)


# What each row proves:
RATES = [
    (1, 10, 10),  # a video of one frame
    (3, 12.5, 12.5),  # of three
    (2, 0, 25),  # whose camera does not tell its rate
    (2, 29.97002997, 29.97),  # NTSC
    (2, 119.8326, 119.83),  # slow motion, of which mp4's fractions would be too fine
    (2, 90000, 25),  # a stream's clock, and no rate at all
]


@pytest.mark.parametrize(('count', 'rate', 'told'), RATES)
def test_frames_and_rate(tmp_path, count, rate, told):
    path = tmp_path / 'new/clip.mp4'
    with VideoFile(path, rate) as video:
        for number in range(count):
            video.write(frame(100 * number))
    read = mmcv.VideoReader(str(path))
    assert (read.frame_cnt, read.fps, read.resolution) == (count, told, (64, 48))
    # The frames are what was written, in that order; the code loses little.
    assert [int(image.mean().round(-1)) for image in read] == [100 * n for n in range(count)]
    assert os.listdir(path.parent) == ['clip.mp4']


def test_how_many_frames_there_are(tmp_path, monkeypatch):
    with VideoFile(tmp_path / 'clip.mp4', 10) as video:
        for _ in range(3):
            video.write(frame(0))
    assert count_frames(tmp_path / 'clip.mp4') == 3
    (tmp_path / 'none.mp4').write_bytes(b'no video')
    assert count_frames(tmp_path / 'none.mp4') == 0
    # What OpenCV reckons with a clock of milliseconds in the place of a rate is not believed.
    monkeypatch.setattr(mmcv.VideoReader, 'fps', 1000.0)
    assert count_frames(tmp_path / 'clip.mp4') == 0


def test_without_a_frame_there_is_no_file(tmp_path):
    with VideoFile(tmp_path / 'clip.mp4', 10):
        pass
    assert os.listdir(tmp_path) == []


def test_the_longest_name_there_can_be(tmp_path):
    with VideoFile(tmp_path / f'{"x" * 251}.mp4', 10) as file:
        file.write(np.zeros((32, 32, 3), np.uint8))
    assert file.path.is_file()


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / 'clip.mp4'
    path.write_bytes(b'old')
    with pytest.raises(KeyboardInterrupt), VideoFile(path, 10) as video:
        video.write(frame(0))
        raise KeyboardInterrupt
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['clip.mp4']


def test_what_cannot_be_written_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr('cv2.VideoWriter.isOpened', lambda writer: False, raising=False)
    cannot = pytest.raises(OSError, match=r'clip\.mp4 cannot be written')
    with cannot, VideoFile(tmp_path / 'clip.mp4', 10) as video:
        video.write(frame(0))


def test_a_full_disk_leaves_what_was_there(tmp_path):
    path = tmp_path / 'clip.mp4'
    path.write_bytes(b'old')
    noise = np.random.default_rng(0).integers(0, 256, (20, 240, 320, 3), np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    cannot = pytest.raises(OSError, match=r'clip\.mp4 cannot be written')
    try:
        with cannot, VideoFile(path, 10) as video:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
            for image in noise:
                video.write(image)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['clip.mp4']
