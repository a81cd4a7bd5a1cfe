"""Options that several tools have."""

import argparse
from pathlib import Path

import pytest

from ssod.arguments import add_own_data, own_data
from ssod.own_data import OwnData


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    add_own_data(parser)
    return own_data(parser, parser.parse_args(arguments))


def test_own_data_are_optional():
    assert parsed() is None
    # What is fitted without them is nothing.
    assert parsed('--no-fit') is None


def test_own_data():
    json, images, folder = Path('a.json'), Path('b'), Path('c')
    given = ['--labeled', 'a.json', '--images', 'b', '--unlabeled', 'c']
    assert parsed(*given) == OwnData(json, images, folder)
    more = ['--val', 'd.json', '--val-images', 'e']
    assert parsed(*given, *more) == OwnData(json, images, folder, Path('d.json'), Path('e'))


@pytest.mark.parametrize('labels', ['voc', 'yolo/data.yaml'])
def test_voc_and_yolo_know_their_images(labels):
    data = parsed('--labeled', labels, '--unlabeled', 'c')
    assert data.labeled == Path(labels)
    assert data.unlabeled == Path('c')


def test_voc_beside_a_json_of_other_images():
    data = parsed('--labeled', 'voc', '--images', 'b', '--unlabeled', 'c.json', '--val', 'd.json')
    assert (data.images, data.val_images, data.unlabeled_images) == (Path('voc'), *[Path('b')] * 2)


@pytest.mark.parametrize(
    ('arguments', 'missing'),
    [
        (['--labeled', 'a.json'], '--images'),
        (['--labeled', 'a.json', '--images', 'a'], '--unlabeled'),
        (['--labeled', 'voc'], '--unlabeled'),
        (['--unlabeled', 'c'], '--labeled'),
        (['--val', 'a.json'], '--labeled'),
        (['--val-images', 'a'], '--labeled'),
    ],
)
def test_they_go_together(capsys, arguments, missing):
    with pytest.raises(SystemExit) as caught:
        parsed(*arguments)
    assert caught.value.code == 2
    assert f'own data need {missing} too' in capsys.readouterr().err
