r"""Train a detector from labelled and unlabelled images.

Examples:
    python tools/train.py configs/mt_fasterrcnn_digits10pct.py
    python tools/train.py configs/mt_fasterrcnn_coco10pct.py --resume
    python tools/train.py configs/mt_any_coco10pct.py \
        --detector mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py
    python tools/train.py configs/mt_fasterrcnn_custom.py \
        --labeled my/train.json --images my/pictures --unlabeled my/folder --val my/val.json
    python tools/train.py CONFIG --cfg-options train_dataloader.batch_size=10 randomness.seed=1
"""

import argparse
import os

from ssod import runs
from ssod.arguments import (
    add_cfg_options,
    add_detector,
    add_launcher,
    add_own_data,
    own_data,
    tool_parser,
)
from ssod.errors import errors_in_one_line


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file')
    add_detector(parser)
    add_own_data(parser)
    parser.add_argument('--work-dir', help='where results go; default: work_dirs/<config name>')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from a checkpoint; without a file, from the last one in the work directory',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision (bfloat16)')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the actual batch size',
    )
    for name in runs.BACKENDS:
        parser.add_argument(f'--{name}', action='store_true', help=f'also log to {name}')
    add_cfg_options(parser)
    add_launcher(parser)
    args = parser.parse_args()
    args.data = own_data(parser, args)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    args = parse_args()
    with errors_in_one_line('--resume continues from the last checkpoint'):
        cfg = runs.load_config(
            args.config,
            args.work_dir,
            args.cfg_options,
            args.launcher,
            args.detector,
            args.data,
            fit=not args.no_fit,
            amp=args.amp,
        )
        runs.log_to(cfg, [name for name in runs.BACKENDS if vars(args)[name]])
        if args.auto_scale_lr:
            runs.scale_lr(cfg)
        if args.resume:
            runs.set_resume(cfg, args.resume)
        runs.build_runner(cfg).train()


if __name__ == '__main__':
    main()
