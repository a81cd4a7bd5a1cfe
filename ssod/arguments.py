"""Command-line options that several tools share."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from mmengine.config import Config, DictAction

from ssod.checkpoint_content import WHOSE
from ssod.data.convert import is_coco
from ssod.own_data import OwnData, errors_as_given
from ssod.runs import load_config


def tool_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows a tool's docstring with its examples as it is written."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_model(parser: argparse.ArgumentParser, told: str) -> None:
    """Add ``--model``: the teacher or the student.

    Args:
        parser: The tool's.
        told: The help text.
    """
    parser.add_argument('--model', choices=WHOSE, default='teacher', help=told)


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Add ``--launcher``, and the rank that launchers pass on the command line."""
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none')
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by launchers'
    )


def add_cfg_options(parser: argparse.ArgumentParser, told: str = 'config overrides') -> None:
    """Add ``--cfg-options``: values that replace a config's, by their dotted keys.

    Args:
        parser: The tool's.
        told: The help text.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        type=key_value,
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help=told,
    )


def key_value(text: str) -> str:
    """Check one of ``--cfg-options``, and return it unchanged.

    Raises:
        argparse.ArgumentTypeError: If it has no key or no ``=``, or its brackets do not match.
    """
    key, equals, value = text.partition('=')
    if not (key and equals):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not of the form KEY=VALUE, such as train_cfg.max_iters=1000'
        )
    try:
        DictAction._parse_iterable(value)
    except AssertionError:
        raise argparse.ArgumentTypeError(
            f'{text!r} has brackets that do not match; close every bracket'
        ) from None
    return text


def count(text: str) -> int:
    """Parse a number of things.

    Raises:
        argparse.ArgumentTypeError: If it is not an integer of at least 1.
    """
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f'{text!r} is not an integer of at least 1')
    return int(text)


def size(text: str) -> tuple[int, int]:
    """Parse ``WxH`` into height and width.

    Raises:
        argparse.ArgumentTypeError: If it has another form, or one of the two is 0.
    """
    width, _, height = text.lower().partition('x')
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f'{text!r} is not a size such as 320x256')
    return int(height), int(width)


def add_detector(parser: argparse.ArgumentParser) -> None:
    """Add ``--detector``: another config, whose detector replaces this one's."""
    parser.add_argument(
        '--detector',
        metavar='CONFIG',
        help="use the detector of another config; mmdet's own are mmdet::FOLDER/FILE.py",
    )


def add_own_data(parser: argparse.ArgumentParser) -> None:
    """Add the options that replace a config's data with the user's own."""
    own = parser.add_argument_group('own data', "replace the config's data")
    own.add_argument(
        '--labeled',
        type=Path,
        metavar='LABELS',
        help='labelled images: COCO JSON, Pascal VOC folder or YOLO data.yaml',
    )
    own.add_argument('--images', type=Path, metavar='DIR', help='folder of the images in a JSON')
    own.add_argument(
        '--unlabeled',
        type=Path,
        metavar='DIR',
        help='folder of unlabelled images, or a COCO JSON; not for a supervised config',
    )
    own.add_argument(
        '--unlabeled-images',
        type=Path,
        metavar='DIR',
        help='folder of the images in a JSON --unlabeled; default: as --images',
    )
    own.add_argument(
        '--truth',
        type=Path,
        metavar='JSON',
        help='boxes of the unlabelled images, only to measure the pseudo-boxes; not used to train',
    )
    own.add_argument(
        '--val',
        type=Path,
        metavar='LABELS',
        help='validation images; default: those of a VOC or YOLO --labeled, or a fifth of it',
    )
    own.add_argument(
        '--val-images',
        type=Path,
        metavar='DIR',
        help='folder of the images in a JSON --val; default: as --images',
    )
    own.add_argument(
        '--no-fit',
        action='store_true',
        help='do not fit image size, anchors, batch, learning rate, iterations and start weights',
    )


def own_data(parser: argparse.ArgumentParser, args: argparse.Namespace) -> OwnData | None:
    """The data that the options of :func:`add_own_data` name; ``None`` if they are not given.

    Exits with a message if some are missing.
    """
    given = {field.name: getattr(args, field.name) for field in fields(OwnData)}
    if not any(given.values()):
        return None
    if args.labeled is None:
        parser.error('own data need --labeled too')
    if args.images is None and is_coco(args.labeled):
        parser.error('own data need --images too')
    for name in ('unlabeled', 'val'):
        if given[f'{name}_images'] and not (given[name] and is_coco(given[name])):
            parser.error(
                f'--{name}-images is the image folder of a JSON --{name}; give that JSON, or leave '
                f'it out'
            )
    return OwnData(**given)


@contextmanager
def config_to_look_at(args: argparse.Namespace) -> Iterator[tuple[Config, str]]:
    """The config of a tool that trains nothing, with the data that its options name.

    What is made of these, such as a part for validation, must not replace that of a run. It lies
    in a folder that is removed in the end, and errors name what the user gave.

    Args:
        args: ``config``, ``detector``, ``cfg_options``, ``no_fit``, and ``data`` as
            :func:`own_data` gives it.

    Yields:
        The config, and the folder.
    """
    with tempfile.TemporaryDirectory() as made, errors_as_given(args.data, made):
        cfg = load_config(
            args.config,
            options=args.cfg_options,
            detector=args.detector,
            data=args.data,
            fit=not args.no_fit,
            data_dir=made,
        )
        yield cfg, made
