"""Tools started as a user starts them, in a directory of their own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Bench:
    """A directory in which tools run.

    Args:
        place: The directory; the tools' relative paths begin here.
        forks: Runs Python scripts without paying for their imports.
    """

    def __init__(self, place, forks):
        self.place, self.forks = place, forks

    def env(self, *path):
        """Environment variables of a process."""
        path = [str(ROOT), str(self.place), *path]
        return {'PYTHON': sys.executable, 'PYTHONPATH': os.pathsep.join(path)}

    def python(self, script, *arguments, log, code=0):
        """Run a script, which must end with this exit code; returns what it printed."""
        env = self.env(os.environ['PYTHONPATH'])
        self.forks.begin(script, *arguments, place=self.place, log=log, **env)
        return self._printed(self.forks.end(), log, code)

    def run(self, *command, log):
        """Run a command as a user does, which must not fail; returns what it printed."""
        return self._printed(self.start(*command, log=log).wait(), log)

    def start(self, *command, log):
        """Start a command in the background; what it prints goes into the file ``log``."""
        with (self.place / log).open('w') as output:
            return subprocess.Popen(
                [str(part) for part in command],
                cwd=self.place,
                env={**os.environ, 'OMP_NUM_THREADS': '1', **self.env()},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _printed(self, ended, log, code=0):
        printed = (self.place / log).read_text()
        assert ended == code, printed[-5000:]
        return printed


@pytest.fixture(scope='module')
def bench(tmp_path_factory, forks):
    """One directory for all tests of a file, for starting a tool takes seconds."""
    return Bench(tmp_path_factory.mktemp('bench'), forks)


@pytest.fixture
def call(monkeypatch):
    """Calls the ``main`` of a tool in this process, given its name and arguments."""

    def main(name, *arguments):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
        spec = importlib.util.spec_from_file_location(name, ROOT / f'tools/{name}.py')
        tool = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(tool)
        tool.main()

    return main
