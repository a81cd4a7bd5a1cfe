"""The scripts that launch several processes, by what they would call."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ('script', 'arguments'),
    [
        ('dist_train.sh', []),
        ('dist_train.sh', ['config.py']),
        ('dist_test.sh', []),
        ('dist_test.sh', ['config.py', 'checkpoint.pth']),
        ('slurm_train.sh', []),
        ('slurm_train.sh', ['partition', 'job']),
    ],
)
def test_usage(script, arguments):
    done = subprocess.run([ROOT / 'tools' / script, *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ''
    (line,) = done.stderr.splitlines()
    assert line.startswith(f'usage: tools/{script} ')


def fake(folder, name):
    """A program that does nothing but print its arguments, one in a line."""
    program = folder / name
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    return program


def printed(script, *arguments, **env):
    command = [ROOT / 'tools' / script, *arguments]
    done = subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_slurm(tmp_path):
    fake(tmp_path, 'srun')
    env = {'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'PYTHON': 'py'}
    options = ['--amp', '--cfg-options', 'a.b=[1, 2]']
    # Four GPUs of one node; a space within an option survives.
    assert printed('slurm_train.sh', 'gpu', 'job', 'c.py', *options, GPUS='4', **env) == [
        '--partition=gpu',
        '--job-name=job',
        '--gres=gpu:4',
        '--ntasks=4',
        '--ntasks-per-node=4',
        '--cpus-per-task=5',
        '--kill-on-bad-exit=1',
        'py',
        '-u',
        f'{ROOT}/tools/train.py',
        'c.py',
        '--launcher',
        'slurm',
        *options,
    ]
    # Two nodes of eight GPUs, and two words of srun's own.
    env |= {'GPUS': '16', 'SRUN_ARGS': '--time=9 --quiet'}
    words = printed('slurm_train.sh', 'gpu', 'job', 'c.py', **env)
    assert {'--gres=gpu:8', '--ntasks=16', '--ntasks-per-node=8', '--time=9', '--quiet'} <= {*words}


def test_slurm_jobs_meet_at_ports_of_their_own(tmp_path):
    (tmp_path / 'srun').write_text('#!/bin/sh\necho "$MASTER_PORT"\n')
    (tmp_path / 'srun').chmod(0o755)
    env = {'PATH': f'{tmp_path}:{os.environ["PATH"]}'}
    call = ['slurm_train.sh', 'gpu', 'job', 'c.py']
    ports = {int(*printed(*call, **env)) for _ in range(8)}
    assert len(ports) > 1
    assert min(ports) >= 20000 and max(ports) < 30000
    assert printed(*call, **env, MASTER_PORT='7') == ['7']


@pytest.mark.parametrize(
    ('script', 'arguments'),
    [('dist_train.sh', ['c.py']), ('dist_test.sh', ['c.py', 'x.pth'])],
)
def test_one_node_takes_a_port_that_is_free(tmp_path, script, arguments):
    env = {'PYTHON': str(fake(tmp_path, 'python'))}
    words = printed(script, *arguments, '8', **env)
    assert words[:4] == ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=8']


@pytest.mark.parametrize('missing', ['NODE_RANK', 'MASTER_ADDR'])
def test_a_node_that_does_not_know_its_place(tmp_path, missing):
    node = {'NNODES': '2', 'NODE_RANK': '1', 'MASTER_ADDR': '10.0.0.1'}
    del node[missing]
    env = {**os.environ, 'PYTHON': str(fake(tmp_path, 'python')), **node}
    command = [ROOT / 'tools/dist_train.sh', 'c.py', '8']
    result = subprocess.run(command, env=env, capture_output=True, text=True)
    assert result.returncode != 0
    assert f'{missing}: the ' in result.stderr


@pytest.mark.parametrize(
    ('script', 'arguments'),
    [('dist_train.sh', ['c.py']), ('dist_test.sh', ['c.py', 'x.pth'])],
)
def test_several_nodes(tmp_path, script, arguments):
    env = {'PYTHON': str(fake(tmp_path, 'python'))}
    node = {'NNODES': '2', 'NODE_RANK': '1', 'MASTER_ADDR': '10.0.0.1', 'PORT': '1234'}
    tool = script.replace('dist_', '').replace('.sh', '.py')
    assert printed(script, *arguments, '8', '--x', **env, **node) == [
        '-m',
        'torch.distributed.run',
        '--nnodes=2',
        '--node_rank=1',
        '--master_addr=10.0.0.1',
        '--master_port=1234',
        '--nproc_per_node=8',
        f'{ROOT}/tools/{tool}',
        *arguments,
        '--launcher',
        'pytorch',
        '--x',
    ]
