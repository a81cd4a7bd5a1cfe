"""Videos that are whole or not there."""

import os

import mmcv
import numpy as np
import pytest

from ssod.visualization.videos import VideoFile


def frame(value):
    return np.full((48, 64, 3), value, np.uint8)


# A video of one frame; one of three; one whose camera does not tell its rate.
@pytest.mark.parametrize(('count', 'rate', 'told'), [(1, 10, 10), (3, 12.5, 12.5), (2, 0, 25)])
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


def test_without_a_frame_there_is_no_file(tmp_path):
    with VideoFile(tmp_path / 'clip.mp4', 10):
        pass
    assert os.listdir(tmp_path) == []


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
