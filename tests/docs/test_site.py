"""The site is built without a warning; no page leads nowhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_site(tmp_path):
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', tmp_path / 'site']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {path.stem for path in (tmp_path / 'site').glob('*.html')}
    assert pages == {path.stem for path in (ROOT / 'docs').glob('*.md')} | {'404'}
    assert (tmp_path / 'site/notebook.ipynb').is_file()
    # Nothing is fetched from elsewhere when a page is read.
    text = (tmp_path / 'site/index.html').read_text(encoding='utf-8')
    assert 'src="http' not in text and 'fonts.g' not in text


@pytest.mark.parametrize('page', ['README.md', 'CONTRIBUTING.md', 'data/README.md'])
def test_links_beside_the_site(page):
    text = (ROOT / page).read_text(encoding='utf-8')
    links = re.findall(r'\]\((?!https?:)([^)#]+)', text)
    missing = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    assert not missing
