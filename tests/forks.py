"""Runs scripts in forked processes, so that each need not import what all of them import.

Reads tasks from stdin, one JSON object per line: the ``command`` (a script and its arguments), the
``place`` it runs in, its environment variables ``env``, and the file ``log`` for what it prints.
Prints the number of its process when it begins, and its exit code when it has ended.
"""

import json
import os
import runpy
import sys
from pathlib import Path

import shortcuts  # noqa: F401

for line in sys.stdin:
    task = json.loads(line)
    child = os.fork()
    if child == 0:
        break
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()

os.chdir(task['place'])
os.environ.update(task['env'])
nothing = os.open(os.devnull, os.O_RDONLY)
log = os.open(task['log'], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
for theirs, ours in ((nothing, 0), (log, 1), (log, 2)):
    os.dup2(theirs, ours)
sys.argv = task['command']
sys.path[:1] = [str(Path(sys.argv[0]).parent), task['place']]
runpy.run_path(sys.argv[0], run_name='__main__')
