"""Mean teacher against supervised training alone: same labels, start and iterations, some seeds.

Each seed trains configs/mt_fasterrcnn_digits10pct.py, and then goes on from the end of its burn-in
with configs/supervised_fasterrcnn_digits10pct.py. What is done is not done again: an interrupted
comparison goes on where it was.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean

from ssod.errors import errors_in_one_line
from ssod.files import write_whole
from ssod.runs import load_config

MEAN_TEACHER = 'configs/mt_fasterrcnn_digits10pct.py'
SUPERVISED = 'configs/supervised_fasterrcnn_digits10pct.py'


def train(config: str, work_dir: Path, seed: int, start: Path | None = None) -> dict[str, float]:
    """Run tools/train.py, or what an interruption left of it to run, and return its summary."""
    summary = work_dir / 'summary.json'
    if not summary.exists():
        begun = start is None or (work_dir / 'last_checkpoint').exists()
        command = [sys.executable, 'tools/train.py', config, '--work-dir', str(work_dir)]
        command += ['--resume'] if begun else ['--resume', str(start)]
        # All checkpoints are kept, for the supervised run begins with one.
        command += ['--cfg-options', f'randomness.seed={seed}']
        command += ['default_hooks.checkpoint.max_keep_ckpts=-1']
        code = subprocess.run(command).returncode
        if code != 0:
            sys.exit(code)
    return json.loads(summary.read_text())


def compare(seed: int, root: Path) -> dict[str, float]:
    """Both runs of one seed; mAP in points."""
    burn_in = load_config(MEAN_TEACHER).default_hooks.teacher.burn_in
    teacher_dir = root / f'mean_teacher_{seed}'
    taught = train(MEAN_TEACHER, teacher_dir, seed)
    start = teacher_dir / f'iter_{burn_in}.pth'
    supervised = train(SUPERVISED, root / f'supervised_{seed}', seed, start)
    return {
        'seed': seed,
        'start': taught['start_mAP'],
        'supervised': supervised['student_mAP'],
        'student': taught['student_mAP'],
        'teacher': taught['teacher_mAP'],
        'gain': round(taught['teacher_mAP'] - supervised['student_mAP'], 1),
    }


def table(rows: list[dict[str, float]]) -> str:
    """A Markdown table with the means below."""
    names = list(rows[0])
    lines = [f'| {" | ".join(names)} |', f'|{" --- |" * len(names)}']
    lines += [f'| {" | ".join(str(row[name]) for name in names)} |' for row in rows]
    means = [f'{mean(row[name] for row in rows):.1f}' for name in names[1:]]
    return '\n'.join([*lines, f'| mean | {" | ".join(means)} |'])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/compare'))
    args = parser.parse_args()
    rows = []
    for seed in args.seeds:
        with errors_in_one_line():
            rows.append(compare(seed, args.work_dir))
        print(table(rows), flush=True)
    write_whole(args.work_dir / 'compare.json', (json.dumps(rows, indent=2) + '\n').encode())
    write_whole(args.work_dir / 'compare.md', (table(rows) + '\n').encode())


if __name__ == '__main__':
    main()
