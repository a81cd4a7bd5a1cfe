"""The page of settings says what the code says."""

import importlib.util
from pathlib import Path

import pytest

from ssod.strict import strict_settings

FILE = Path(__file__).parents[2] / 'docs/write_settings.py'


@pytest.fixture
def writer():
    spec = importlib.util.spec_from_file_location('write_settings', FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(writer):
    remedy = 'run `python docs/write_settings.py` (or `make docs`) and commit docs/settings.md'
    assert writer.PAGE.read_text(encoding='utf-8') == writer.page(), remedy


def test_a_class_without_a_topic_is_an_error(writer, monkeypatch):
    known = writer.registered()
    monkeypatch.setattr(writer, 'registered', lambda: {**known, 'NewHook': object})
    with pytest.raises(ValueError, match=r"lacks or invents \['NewHook'\]"):
        writer.page()


class Base:
    """A base.

    Args:
        size: In pixels.
            On two lines.
        other: Of the base.
    """


@strict_settings
class Example(Base):
    """Does ``this`` as :class:`~ssod.somewhere.Base` does.

    More of it.

    Args:
        kind: One | another.
        size: As in the base.

    Raises:
        ValueError: Never.
    """

    def __init__(self, kind: str | None, size: float = 1.0, runner: int = 0) -> None: ...


def test_one_class(writer):
    text = writer._said(Example, {'Base': Base})
    assert text == (
        'Does `this` as [`Base`](#base) does.\n\nMore of it.\n\n'
        '| setting | type | default | meaning |\n| --- | --- | --- | --- |\n'
        # Needed; a line between cells is not one.
        '| `kind` | `str or None` |  | One \\| another. |\n'
        # What the base says of it; what the runner gives is not a setting.
        '| `size` | `float` | `1.0` | In pixels. On two lines. |'
    )


def test_a_setting_of_which_nothing_is_said(writer):
    def example(unknown: int) -> None:
        """An example.

        Args:
            known: Said.
        """

    with pytest.raises(ValueError, match='example: the docstring does not say what unknown is'):
        writer._said(example, {})
