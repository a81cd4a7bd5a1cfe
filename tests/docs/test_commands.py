"""Every command of the documents, and every config snippet, against the tools as they are.

COCO, Slurm and eight GPUs are not here. So of most commands it is tested that the tool takes them:
scripts and make targets run with something that only prints in the place of Python, what they would
start is parsed by the tool's own parser, and configs, settings and checkpoints are looked up. The
quickstart is run. A command that nobody here knows is an error.
"""

import argparse
import ast
import functools
import importlib.util
import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from mmdet import registry
from mmengine.config import Config
from pip._internal.commands import create_command
from pip._vendor.packaging.requirements import Requirement
from torch.distributed.run import get_args_parser

import ssod
from ssod import runs, schedules
from ssod.checks.settings import KNOWN

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ('README.md', 'CONTRIBUTING.md', 'data/README.md')]
PAGES += sorted((ROOT / 'docs').glob('*.md'))
PLACEHOLDERS = {'CONFIG', 'CHECKPOINT', 'WORK_DIR'}
USERS_OWN = {'configs/mine.py'}
REGISTRIES = ('MODELS', 'DATASETS', 'TRANSFORMS', 'DATA_SAMPLERS', 'TASK_UTILS', 'HOOKS')
REGISTRIES += ('LOOPS', 'METRICS', 'OPTIM_WRAPPERS', 'OPTIMIZERS', 'PARAM_SCHEDULERS')
SMALL = {'train_images': 20, 'val_images': 4}


class Block(NamedTuple):
    """A block of code: its page, its line there, and what it holds."""

    page: str
    line: int
    text: str

    def __str__(self):
        return f'{self.page}:{self.line}'


def blocks(language):
    found = []
    for page in PAGES:
        content = page.read_text(encoding='utf-8')
        for match in re.finditer(rf'^```{language}\n(.*?)^```', content, re.M | re.S):
            found.append(Block(page.name, content.count('\n', 0, match.start()) + 1, match[1]))
    return found


def commands(text):
    """The environment and the words of each command of a block."""
    for line in text.replace('\\\n', ' ').splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index('&&') if '&&' in words else len(words)
            command, words = words[:end], words[end + 1 :]
            env = {}
            while re.match(r'[A-Z_]+=', command[0]):
                name, _, value = command.pop(0).partition('=')
                env[name] = value
            yield env, command


class Parsed(Exception):
    """What a tool's parser made of a command line."""


class Checker:
    """Looks at one command.

    Args:
        monkeypatch: Pytest's.
        place: A directory for the programs that stand in for others.
    """

    def __init__(self, monkeypatch, place):
        self.monkeypatch = monkeypatch
        self.printer = place / 'srun'
        self.printer.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        self.printer.chmod(0o755)
        monkeypatch.chdir(ROOT)

    def check(self, env, words):
        if words[0] == 'python' and words[1] == '-c':
            exec(words[2], {})
        elif words[0] == 'python' and words[1].startswith('tools/'):
            self.tool(words[1:])
        elif words[0].startswith('tools/') and words[0].endswith('.sh'):
            self.script(env, words)
        elif words[0] == 'make':
            self.target(words)
        elif words[0] == 'pip':
            installs(words[1:])
        elif words[0] == '.venv/bin/pre-commit':
            assert words[1:] == ['install']
            assert (ROOT / '.pre-commit-config.yaml').is_file()
            assert re.search('^pre-commit==', (ROOT / 'requirements/lock.txt').read_text(), re.M)
        else:
            pytest.fail(f'nobody here knows how to test {shlex.join(words)!r}')

    def tool(self, words):
        """A tool takes its options, and what they name is there."""
        given = self.parsed(words)
        for config in (given.get('config'), *given.get('configs', [])):
            config = config and config_of(str(config))
            if config is not None:
                options = given.get('cfg_options') or {}
                for key in options:
                    assert knows(read(config), key), f'{config} has no {key}'
                if any(key.startswith('default_hooks.teacher.') for key in options):
                    check_teacher(config, options)
                if given.get('detector'):
                    runs.load_config(config, detector=given['detector'])
        if given.get('checkpoint'):
            check_checkpoint(given['checkpoint'])
        for name in ('study', 'work_dir'):
            path = str(given.get(name) or '.')
            known = path in PLACEHOLDERS or path.startswith('work_dirs/')
            assert known or Path(path).exists(), f'{path} does not exist'

    def parsed(self, words):
        """What a tool's own parser makes of the words."""
        parse = argparse.ArgumentParser.parse_args

        def stop(parser, *arguments):
            raise Parsed(parse(parser, *arguments))

        self.monkeypatch.setattr(sys, 'argv', words)
        tool = load(words[0])
        try:
            if hasattr(tool, 'parse_args'):
                return vars(tool.parse_args())
            with self.monkeypatch.context() as patch:
                patch.setattr(argparse.ArgumentParser, 'parse_args', stop)
                tool.main()
        except Parsed as parsed:
            return vars(parsed.args[0])
        except SystemExit:
            pytest.fail(f'{words[0]} does not take {shlex.join(words[1:])}; it says so above')

    def script(self, env, words):
        """What a script would start."""
        path = f'{self.printer.parent}{os.pathsep}{os.environ["PATH"]}'
        env = {**os.environ, 'PATH': path, 'PYTHON': str(self.printer), **env}
        done = subprocess.run(words, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        started = done.stdout.splitlines()
        (at,) = [i for i, word in enumerate(started) if re.fullmatch(r'tools/\w+\.py', word)]
        if started[:2] == ['-m', 'torch.distributed.run']:
            get_args_parser().parse_args(started[2 : at + 1])
        self.tool(started[at:])

    def target(self, words):
        """A target of the Makefile is there, and the tool behind it takes its options."""
        done = subprocess.run([*words, '-n'], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for line in done.stdout.splitlines():
            if ' tools/' in line:
                self.tool(shlex.split(line)[1:])


@functools.cache
def load(path):
    """A tool as a module."""
    assert (ROOT / path).is_file(), f'{path} does not exist'
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


@functools.cache
def read(config):
    return Config.fromfile(config)


def config_of(path):
    """The config of the repository that is meant: of one in a work directory, its origin."""
    if path in PLACEHOLDERS | USERS_OWN:
        return None
    if path.startswith('work_dirs/'):
        place, name = path.split('/')[1], Path(path).name
        assert place.startswith(Path(name).stem), f'{path} is not where that config goes'
    if path.startswith(('work_dirs/', 'my/')):
        path = f'configs/{Path(path).name}'
    assert (ROOT / path).is_file(), f'{path} does not exist'
    return path


def check_checkpoint(path):
    """A run with its config writes such a checkpoint, or tools/publish.py does."""
    if path in PLACEHOLDERS:
        return
    if path.startswith('my/'):
        config_of(str(Path(path).with_suffix('.py')))
        return
    folder, name = path.split('/')[1], Path(path).name
    cfg = read(config_of(f'configs/{folder}.py'))
    number = re.fullmatch(r'iter_(\d+)\.pth', name)
    if number is None:
        assert path == f'work_dirs/{folder}/published/{folder}.pth'
    else:
        last, interval = cfg.train_cfg.max_iters, cfg.default_hooks.checkpoint.interval
        assert int(number[1]) <= last and int(number[1]) % interval == 0, f'no run writes {path}'


def check_teacher(config, options):
    """A config's teacher takes the options, with what the config says besides."""
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(options)
    registry.HOOKS.build(cfg.default_hooks.teacher)


def knows(cfg, key):
    """Whether a config has a setting, or it belongs to a class that takes it."""
    node = cfg
    for number, part in enumerate(key.split('.')):
        if isinstance(node, list):
            node = node[int(part)]
        elif part in node:
            node = node[part]
        else:
            return part in KNOWN if number == 0 else part in settings_of(node.get('type'))
    return True


def settings_of(name):
    """What a class takes, with what it hands on to its bases."""
    found = next(filter(None, (getattr(registry, r).get(name) for r in REGISTRIES)), None)
    assert found is not None, f'there is no {name}'
    signatures = [inspect.signature(base.__init__) for base in found.__mro__]
    return {name for signature in signatures for name in signature.parameters}


def installs(words):
    """pip takes the options, and what is to be installed has a name that it can read."""
    command = create_command(words[0])
    options, wanted = command.parse_args(words[1:])
    for name in (*wanted, *getattr(options, 'editables', [])):
        extra = re.fullmatch(r'\.(?:\[(\w+)\])?', name)
        if extra is None:
            Requirement(name)
        elif extra[1]:
            assert f'\n{extra[1]} = [' in (ROOT / 'pyproject.toml').read_text()


@pytest.mark.parametrize('block', blocks('bash'), ids=str)
def test_commands_of_a_block(block, monkeypatch, tmp_path):
    checker, found = Checker(monkeypatch, tmp_path), list(commands(block.text))
    assert found
    for env, words in found:
        checker.check(env, words)


@pytest.mark.parametrize(
    ('command', 'message'),
    [
        # Nobody knows how to test it.
        ('curl example.org', 'nobody here knows'),
        # There is no such tool, option, config, setting or checkpoint.
        ('python tools/trian.py CONFIG', 'tools/trian.py does not exist'),
        ('python tools/report.py WORK_DIR --pages 2', 'does not take'),
        ('python tools/train.py configs/mt_missing.py', 'configs/mt_missing.py does not exist'),
        (
            'python tools/train.py configs/mt_fasterrcnn_digits10pct.py --cfg-options '
            'default_hooks.teacher.burnin=9',
            'has no default_hooks.teacher.burnin',
        ),
        # Options that do not go with what the config says besides.
        (
            'python tools/train.py configs/mt_fasterrcnn_small.py --cfg-options '
            'default_hooks.teacher.decay.decay.values=[0.9,0.99]',
            'stepwise schedule: 2 milestones need 3 values, got 2',
        ),
        (
            'python tools/test.py CONFIG work_dirs/mt_fasterrcnn_digits10pct/iter_1501.pth',
            'no run writes',
        ),
        # What a script and a target start is looked at too.
        ('tools/dist_train.sh configs/mt_missing.py 8', 'configs/mt_missing.py does not exist'),
        ('make compare ARGS=--seed=x', 'does not take'),
        ('make cake', 'No rule to make target'),
    ],
)
def test_a_wrong_command_is_noticed(command, message, monkeypatch, tmp_path):
    ((env, words),) = commands(command)
    wrong = (AssertionError, ValueError, pytest.fail.Exception)
    with pytest.raises(wrong, match=re.escape(message)):
        Checker(monkeypatch, tmp_path).check(env, words)


def test_no_block_is_passed_over():
    for page in PAGES:
        strange = re.findall(r'^.+```|^```(?:sh|shell|console)\n', page.read_text(), re.M)
        assert not strange, f'{page.name}: write blocks of commands as ```bash, at the left'


@functools.cache
def define_classes_of(page):
    """Run the blocks of a page that show how to write a class; others name it."""
    for block in blocks('python'):
        if block.page == page and 'register_module()' in block.text:
            exec(block.text, {})


@pytest.mark.parametrize('block', blocks('python'), ids=str)
def test_python_of_a_block(block):
    define_classes_of(block.page)
    for node in ast.walk(ast.parse(block.text)):
        if not isinstance(node, ast.Call):
            continue
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        if isinstance(node.func, ast.Name) and node.func.id == 'dict' and 'type' in keywords:
            kind = keywords.pop('type').value
            schedule = schedules._KINDS.get(kind)
            known = set(inspect.signature(schedule).parameters) if schedule else settings_of(kind)
            wrong = keywords.keys() - known - {'_delete_'}
            assert not wrong or 'kwargs' in known, f'{kind} has no {wrong}'
        elif isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == 'ssod':
            verb = getattr(ssod, node.func.attr)
            inspect.signature(verb).bind(*node.args, **keywords)


def test_the_quickstart(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path('configs').symlink_to(ROOT / 'configs')
    # The same run in seconds: two iterations on few scenes, and boxes however unsure.
    loaders = ['train_dataloader.dataset.datasets.0', 'train_dataloader.dataset.datasets.1']
    loaders += ['val_dataloader.dataset', 'test_dataloader.dataset']
    scenes = [f'{loader}.scenes.{k}={v}' for loader in loaders for k, v in SMALL.items()]
    short = ['train_cfg.max_iters=2', 'train_dataloader.batch_size=4', 'visualizer.name=docs']
    short += ['train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False']
    short += ['default_hooks.teacher.burn_in=1', 'default_hooks.checkpoint.interval=2']
    options = ['--cfg-options', *scenes, *short, 'model.detector.test_cfg.rcnn.score_thr=0.01']
    extra = {'train': options, 'test': options, 'predict': ['--score-thr', '0.01']}
    done = []
    for block in (b for b in blocks('bash') if b.page == 'index.md'):
        for _, words in commands(block.text.replace('iter_1500', 'iter_2')):
            if words[:1] == ['python']:
                tool = load(words[1])
                name = Path(words[1]).stem
                monkeypatch.setattr(sys, 'argv', [*words[1:], *extra.get(name, [])])
                tool.main()
                done.append(name)
    assert done == ['train', 'report', 'test', 'publish', 'predict']
    run = Path('work_dirs/mt_fasterrcnn_digits10pct')
    assert (run / 'summary.json').is_file() and (run / 'report.html').is_file()
    assert len(list((run / 'published/predictions/pictures').iterdir())) == 4
