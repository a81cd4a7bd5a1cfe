"""Options that several tools have."""

import argparse
from pathlib import Path

import pytest

from ssod.arguments import add_cfg_options, add_own_data, count, own_data
from ssod.own_data import OwnData


def options(*arguments):
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    return parser.parse_args(arguments).cfg_options


def test_cfg_options():
    assert options() == {}
    given = ['a.b=3', 'c=[x,(1,2)]', '--cfg-options', 'd=e=f', 'g=a(b', 'h=']
    assert options('--cfg-options', *given) == {
        'a.b': 3,
        'c': ['x', (1, 2)],
        'd': 'e=f',
        # A bracket in a name opens nothing.
        'g': 'a(b',
        'h': '',
    }


@pytest.mark.parametrize(
    ('text', 'told'),
    [
        (
            'foo',
            "--cfg-options: 'foo' is not of the form KEY=VALUE, such as train_cfg.max_iters=1000",
        ),
        ('', "'' is not of the form KEY=VALUE"),
        # Would be a setting without a name.
        ('=3', "'=3' is not of the form KEY=VALUE"),
        ('a=[1,2', "--cfg-options: 'a=[1,2' has brackets that do not match; close every"),
    ],
)
def test_cfg_options_that_cannot_be_read(capsys, text, told):
    with pytest.raises(SystemExit) as caught:
        options('--cfg-options', 'a=1', text)
    assert caught.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


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
    assert parsed(*given, '--truth', 'g.json') == OwnData(
        json, images, folder, truth=Path('g.json')
    )
    given[-1] = 'c.json'
    assert parsed(*given, '--unlabeled-images', 'f').unlabeled_images == Path('f')


@pytest.mark.parametrize(
    'useless',
    [
        ['--unlabeled', 'c', '--unlabeled-images', 'f'],
        ['--unlabeled', 'c', '--val-images', 'f'],
        ['--unlabeled', 'c', '--val', 'voc', '--val-images', 'f'],
    ],
)
def test_a_folder_of_what_no_json_names_is_refused(capsys, useless):
    with pytest.raises(SystemExit):
        parsed('--labeled', 'a.json', '--images', 'b', *useless)
    assert 'give that JSON, or leave it out' in capsys.readouterr().err


@pytest.mark.parametrize('labels', ['voc', 'yolo/data.yaml'])
def test_voc_and_yolo_know_their_images(labels):
    data = parsed('--labeled', labels, '--unlabeled', 'c')
    assert data.labeled == Path(labels)
    assert data.unlabeled == Path('c')


def test_a_config_of_labels_alone_needs_no_unlabelled_images():
    assert parsed('--labeled', 'a.json', '--images', 'b') == OwnData(Path('a.json'), Path('b'))
    assert parsed('--labeled', 'voc') == OwnData(Path('voc'))


def test_voc_beside_a_json_of_other_images():
    data = parsed('--labeled', 'voc', '--images', 'b', '--unlabeled', 'c.json', '--val', 'd.json')
    assert data == OwnData(Path('voc'), Path('b'), Path('c.json'), Path('d.json'))
    given = ['--labeled', 'voc', '--images', 'b', '--unlabeled', 'c.json']
    assert parsed(*given, '--unlabeled-images', 'd').unlabeled_images == Path('d')


@pytest.mark.parametrize(
    ('arguments', 'missing'),
    [
        (['--labeled', 'a.json'], '--images'),
        (['--unlabeled', 'c'], '--labeled'),
        (['--val', 'a.json'], '--labeled'),
        (['--val-images', 'a'], '--labeled'),
        (['--unlabeled-images', 'a'], '--labeled'),
        (['--truth', 'a.json'], '--labeled'),
    ],
)
def test_they_go_together(capsys, arguments, missing):
    with pytest.raises(SystemExit) as caught:
        parsed(*arguments)
    assert caught.value.code == 2
    assert f'own data need {missing} too' in capsys.readouterr().err


def test_counts():
    assert count('12') == 12
    for text in ('0', '-1', '1.5', '', 'x'):
        with pytest.raises(argparse.ArgumentTypeError, match=f"^'{text}' is not an integer of at"):
            count(text)
