"""What upstream packages say when they are imported."""

import subprocess
import sys


def test_an_import_says_nothing():
    run = subprocess.run([sys.executable, '-c', 'import ssod'], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, '', '')
