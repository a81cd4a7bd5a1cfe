"""Which images are portrait."""

import numpy as np
import pytest
from PIL import Image

from ssod.data.folder import UnlabeledFolder
from ssod.data.orientation import Orientations


class Infos:
    """What a data set says of its images, and how often it was asked."""

    def __init__(self, *infos):
        self.infos, self.asked = infos, []

    def __len__(self):
        return len(self.infos)

    def get_data_info(self, index):
        """As MMEngine's data sets."""
        self.asked.append(index)
        return self.infos[index]


def test_sizes_of_annotations():
    infos = Infos({'width': 3, 'height': 4}, {'width': 4, 'height': 3}, {'width': 3, 'height': 3})
    orientations = Orientations(infos)
    assert [i for i in (0, 1, 2, 2, 0) if orientations.is_portrait(i)] == [0, 0]
    assert infos.asked == [0, 1, 2]


def save(path, size, orientation=1):
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.new('RGB', size).save(path, exif=exif)


def test_images_of_a_folder_as_they_are_loaded(tmp_path):
    save(tmp_path / 'a.jpg', (30, 40))
    save(tmp_path / 'b.jpg', (40, 30))
    save(tmp_path / 'c.jpg', (40, 30), orientation=6)
    (tmp_path / 'd.jpg').write_bytes(b'broken')
    folder = UnlabeledFolder(str(tmp_path))
    orientations = Orientations(folder)
    assert [orientations.is_portrait(i) for i in range(4)] == [True, False, True, False]
    assert [folder[i]['img_path'][-5] for i in range(4)] == list('abcd')


@pytest.mark.parametrize('info', [{}, {'width': 3}, {'img_path': 'none.jpg'}])
def test_an_unknown_size_counts_as_landscape(info):
    assert not Orientations(Infos(info)).is_portrait(np.int64(0))
