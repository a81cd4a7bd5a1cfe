r"""Write a page that shows what a training would see: labelled images, weak and strong views.

If the true boxes of the unlabelled images are known (default_hooks.quality.ann_file), they are
drawn in both views: they must fit the objects in both.

Examples:
    python tools/browse_views.py configs/mt_fasterrcnn_digits10pct.py
    python tools/browse_views.py configs/mt_fasterrcnn_custom.py \
        --labeled my/train.json --images my/pictures --unlabeled my/folder
    python tools/browse_views.py CONFIG --number 20 --out views.html
"""

import argparse
from pathlib import Path

from ssod.arguments import (
    add_cfg_options,
    add_detector,
    add_own_data,
    config_to_look_at,
    own_data,
    tool_parser,
)
from ssod.errors import errors_in_one_line
from ssod.visualization.report import write_views


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file')
    add_detector(parser)
    add_own_data(parser)
    parser.add_argument(
        '--number', type=int, default=8, help='number of images of each kind; default: %(default)s'
    )
    parser.add_argument('--out', metavar='FILE', help='default: work_dirs/<config name>/views.html')
    add_cfg_options(parser)
    args = parser.parse_args()
    args.data = own_data(parser, args)
    return args


def main() -> None:
    args = parse_args()
    with errors_in_one_line(), config_to_look_at(args) as (cfg, _):
        out = Path(args.out or Path(cfg.work_dir, 'views.html'))
        print(write_views(cfg, out, args.number))


if __name__ == '__main__':
    main()
