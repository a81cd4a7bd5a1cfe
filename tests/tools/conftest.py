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
    """

    def __init__(self, place):
        self.place = place

    def start(self, *command, log, **env):
        """Start a command in the background; what it prints goes into the file ``log``."""
        env = {
            **os.environ,
            'PYTHON': sys.executable,
            'PYTHONPATH': os.pathsep.join([str(ROOT), str(self.place)]),
            'CUDA_VISIBLE_DEVICES': '',
            'OMP_NUM_THREADS': '1',
            **env,
        }
        with (self.place / log).open('w') as output:
            return subprocess.Popen(
                [str(part) for part in command],
                cwd=self.place,
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def run(self, *command, log, **env):
        """Run a command that must not fail; returns what it printed."""
        return self.finish(self.start(*command, log=log, **env), log)

    def finish(self, process, log):
        """Wait for a command that must not fail; returns what it printed."""
        code = process.wait()
        printed = (self.place / log).read_text()
        assert code == 0, printed[-5000:]
        return printed


@pytest.fixture(scope='module')
def bench(tmp_path_factory):
    """One directory for all tests of a file, for starting a tool takes seconds."""
    return Bench(tmp_path_factory.mktemp('bench'))


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
