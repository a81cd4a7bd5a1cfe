"""Time training steps in turns: the floor, ours, and mmdet's own, on the same weights and images.

The floor is the least that a semi-supervised step computes: the teacher's prediction, the student's
losses, backward and the optimizer's step, on batches that lie ready.

Examples:
    python tools/benchmark.py
    python tools/benchmark.py --parts ema data scoring
    python tools/benchmark.py configs/mt_fasterrcnn_small.py \\
        studies/mmdet/softteacher_fasterrcnn_small.py --pictures 320x240 --out small.json
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from mmengine.config import DictAction

from ssod.benchmarks.parts import data_calls, ema_calls, scoring_calls
from ssod.benchmarks.phases import phases_of
from ssod.benchmarks.pictures import digits, pictures
from ssod.benchmarks.report import machine, phase_table, table
from ssod.benchmarks.steps import Bench, step_calls
from ssod.benchmarks.timing import interleave
from ssod.errors import errors_in_one_line
from ssod.files import write_whole

PARTS = ('steps', 'phases', 'ema', 'data', 'scoring')
OURS = ('mt', 'softteacher')
CONFIGS = [Path(f'configs/{name}_fasterrcnn_digits10pct.py') for name in OURS]
CONFIGS += [
    Path(f'studies/mmdet/{name}_fasterrcnn_digits.py') for name in ('semibase', 'softteacher')
]
# Calls in a turn, of what takes milliseconds.
OFTEN = {'ema': 50, 'data': 20}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'configs', nargs='*', type=Path, default=CONFIGS, help='of one detector; ours first'
    )
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=list(PARTS))
    parser.add_argument('--rounds', type=int, default=20, help='turns of each; %(default)s')
    parser.add_argument(
        '--pictures', metavar='WIDTHxHEIGHT', help='make pictures of this size, not digits'
    )
    parser.add_argument('--data-root', type=Path, default=Path('data/digits'), help='%(default)s')
    parser.add_argument('--amp', action='store_true', help='mixed precision (bfloat16)')
    parser.add_argument('--out', type=Path, help='a JSON file with all times')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    seconds: dict[str, Any] = {}
    with errors_in_one_line(), tempfile.TemporaryDirectory() as place:
        if args.pictures:
            data = pictures(Path(place), *map(int, args.pictures.split('x')))
        else:
            data = digits(args.data_root)
        bench = Bench(data, Path(place), args.cfg_options, args.amp)
        ours = bench.config(args.configs[0])
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        if 'steps' in args.parts:
            seconds['steps'] = interleave(step_calls(bench, args.configs), args.rounds)
        if 'phases' in args.parts:
            start = bench.start(args.configs[0])
            seconds['phases'] = phases_of(bench.trainer(args.configs[0], start), args.rounds)
        if 'ema' in args.parts:
            calls = ema_calls(ours.model.detector, device)
            seconds['ema'] = interleave(calls, args.rounds, OFTEN['ema'])
        if 'data' in args.parts:
            seconds['data'] = interleave(data_calls(ours), args.rounds, OFTEN['data'])
        if 'scoring' in args.parts:
            seconds['scoring'] = interleave(scoring_calls(Path(place)), 3)
    about = machine()
    for part, times in seconds.items():
        print(f'\n{part}\n{phase_table(times) if part == "phases" else table(times)}')
    print(f'\n{about}')
    if args.out:
        content = {'machine': about, 'seconds': seconds}
        write_whole(args.out, (json.dumps(content, indent=2) + '\n').encode())


if __name__ == '__main__':
    main()
