"""Label the unlabelled images of a config, or those in a folder, with a trained model.

Writes COCO JSON with scores, to train on or to correct by hand. After an interruption, the same
call continues where it stopped. Images that cannot be read are skipped and reported at the end.
--sweep labels nothing: it tries score thresholds on the validation images, to find the best one
for each class.

Examples:
    python tools/pseudo_label.py configs/stac_fasterrcnn_coco10pct.py \\
        work_dirs/supervised_fasterrcnn_coco10pct/iter_180000.pth
    python tools/pseudo_label.py CONFIG CHECKPOINT photos/ --out labels.json --score-thr 0.05
    python tools/pseudo_label.py CONFIG CHECKPOINT --sweep
"""

import argparse
from pathlib import Path

from ssod import api
from ssod.arguments import add_cfg_options, add_model, tool_parser
from ssod.data.coco_json import read_coco
from ssod.errors import errors_in_one_line
from ssod.pseudo_labels.sweep import selector_of, sweep_table
from ssod.recipes.stac import NAME


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of a run with the same detector')
    parser.add_argument(
        'folder',
        nargs='?',
        type=Path,
        help="images, sub-folders included; default: the config's own",
    )
    parser.add_argument('--out', help=f'output file; default: work_dirs/<config name>/{NAME}')
    add_model(parser, 'which model predicts')
    parser.add_argument(
        '--score-thr', type=float, default=0.2, help='lowest score of a box; default: %(default)s'
    )
    parser.add_argument(
        '--sweep',
        action='store_true',
        help='label nothing; try score thresholds on the validation images',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace the file if it exists')
    add_cfg_options(parser)
    args = parser.parse_args()
    has_threshold = args.score_thr != parser.get_default('score_thr')
    if args.sweep and (args.folder or args.out or args.overwrite or has_threshold):
        parser.error(
            '--sweep labels nothing; leave out the folder, --out, --score-thr and --overwrite'
        )
    return args


def main() -> None:
    args = parse_args()
    given = dict(model=args.model, options=args.cfg_options)
    with errors_in_one_line('the same command continues'):
        if args.sweep:
            rows = api.sweep_thresholds(args.config, args.checkpoint, **given)
            print(f'{sweep_table(rows)}\n\n{selector_of(rows)}')
            return
        file = api.pseudo_label(
            args.config,
            args.checkpoint,
            args.folder,
            args.out,
            score_thr=args.score_thr,
            overwrite=args.overwrite,
            **given,
        )
        print(f'{file}: pseudo-labels of {len(read_coco(file)["images"])} images')


if __name__ == '__main__':
    main()
