"""Time training steps in turn: the floor, ours, and mmdet's own, on the same weights and images.

The floor is the minimum that a semi-supervised step computes: the teacher's prediction, the
student's losses, the backward pass and the optimizer's step, on batches that are already loaded.

Further parts: where our step spends its time (phases), the memory of a step, the teacher's update
(ema), the data pipeline, COCO scoring, the time to the first iteration of a run that is resumed
late, and two ranks compared with one.

Examples:
    python tools/benchmark.py
    python tools/benchmark.py --parts ema data scoring
    python tools/benchmark.py configs/mt_fasterrcnn_small.py \\
        studies/mmdet/softteacher_fasterrcnn_small.py --pictures 320x240 --out small.json
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from ssod.arguments import add_cfg_options, count, size, tool_parser
from ssod.benchmarks.pictures import digits, pictures
from ssod.benchmarks.report import machine, memory_table, phase_table, table
from ssod.benchmarks.running import PARTS, Task
from ssod.benchmarks.steps import Bench
from ssod.benchmarks.views import check_configs, find_views
from ssod.errors import errors_in_one_line
from ssod.files import write_indented

LEAST = 32
"""Least pixels of a picture's shorter side; views of smaller ones may be empty."""

TABLES = {'phases': phase_table, 'memory': memory_table}
OURS = ('mt', 'softteacher')
CONFIGS = [Path(f'configs/{name}_fasterrcnn_digits10pct.py') for name in OURS]
CONFIGS += [
    Path(f'studies/mmdet/{name}_fasterrcnn_digits.py') for name in ('semibase', 'softteacher')
]


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        'configs',
        nargs='*',
        type=Path,
        default=CONFIGS,
        help='configs of the same detector, ours first',
    )
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=list(PARTS))
    parser.add_argument(
        '--rounds', type=count, default=20, help='rounds to time each config; default: %(default)s'
    )
    parser.add_argument(
        '--pictures',
        type=size,
        metavar='WIDTHxHEIGHT',
        help='use generated pictures of this size instead of the digits',
    )
    parser.add_argument(
        '--data-root', type=Path, default=Path('data/digits'), help='default: %(default)s'
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision (bfloat16)')
    parser.add_argument('--out', type=Path, help='write all times to this JSON file')
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.out and not args.out.parent.is_dir():
        parser.error(f'--out: {args.out.parent} does not exist; make it first')
    if args.pictures and min(args.pictures) < LEAST:
        parser.error(f'--pictures: sides must have at least {LEAST} pixels')
    return args


def main() -> None:
    args = parse_args()
    measured: dict[str, Any] = {}
    with errors_in_one_line(), tempfile.TemporaryDirectory() as place:
        check_configs(args.configs)
        if args.pictures:
            height, width = args.pictures
            data = pictures(Path(place), width, height)
        else:
            data = digits(args.data_root)
        views = find_views(args.configs)
        bench = Bench(data, Path(place), args.cfg_options, args.amp, views)
        about = machine()
        for part in args.parts:
            measured[part] = PARTS[part](Task(bench, args.configs, args.rounds))
            print(f'\n{part}\n{TABLES.get(part, table)(measured[part])}', flush=True)
            if args.out:
                write(args.out, about, measured)
        print(f'\n{about}')


def write(path: Path, about: dict[str, Any], measured: dict[str, Any]) -> None:
    """Write what has been measured so far."""
    seconds = {part: values for part, values in measured.items() if part != 'memory'}
    content = {'machine': about, 'seconds': seconds, 'bytes': measured.get('memory', {})}
    write_indented(path, content)


if __name__ == '__main__':
    main()
