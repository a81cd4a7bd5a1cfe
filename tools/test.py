"""Score a trained teacher or student on the test images of a config.

Examples:
    python tools/test.py configs/mt_fasterrcnn_coco10pct.py work_dirs/.../iter_180000.pth
    python tools/test.py CONFIG CHECKPOINT --model student
"""

import argparse
import os

from ssod import runs
from ssod.arguments import add_cfg_options, add_launcher, tool_parser
from ssod.checkpoint_content import WHOSE
from ssod.errors import errors_in_one_line


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of a run with that config')
    parser.add_argument(
        '--model',
        nargs='+',
        choices=WHOSE,
        help='which to score; default: the teacher. Leave out for a plain detector',
    )
    parser.add_argument('--work-dir', help='where results go; default: work_dirs/<config name>')
    add_cfg_options(parser)
    add_launcher(parser)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    args = parse_args()
    with errors_in_one_line():
        cfg = runs.load_config(args.config, args.work_dir, args.cfg_options, args.launcher)
        runs.set_scored(cfg, args.model)
        cfg.resume, cfg.load_from = False, args.checkpoint
        runs.build_runner(cfg, ['test']).test()


if __name__ == '__main__':
    main()
