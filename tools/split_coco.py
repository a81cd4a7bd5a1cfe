"""Split a COCO JSON into a labelled and an unlabelled part, once for each percentage and fold.

Examples:
    python tools/split_coco.py --data-root data/coco
    python tools/split_coco.py --data-root data/coco --percent 10 --fold 1
    python tools/split_coco.py --data-root data/mine --ann-file train.json --out-dir splits
    python tools/split_coco.py --unlabeled annotations/image_info_unlabeled2017.json
"""

import argparse
from pathlib import Path

from ssod.arguments import tool_parser
from ssod.data.splits import write_split, write_unlabeled
from ssod.errors import errors_in_one_line


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        '--data-root', type=Path, default=Path('data/coco'), help='default: %(default)s'
    )
    parser.add_argument(
        '--ann-file',
        default='annotations/instances_train2017.json',
        help='COCO JSON of the labelled images, relative to the data root; default: %(default)s',
    )
    parser.add_argument(
        '--out-dir',
        default='annotations/semi_supervised',
        help='output folder, relative to the data root; default: %(default)s',
    )
    parser.add_argument(
        '--percent',
        type=float,
        nargs='+',
        default=[1, 2, 5, 10],
        help='labelled shares; default: 1 2 5 10',
    )
    parser.add_argument(
        '--fold', type=int, nargs='+', default=[1, 2, 3, 4, 5], help='draws; default: 1 2 3 4 5'
    )
    parser.add_argument(
        '--unlabeled',
        metavar='FILE',
        help='split nothing; add the categories of --ann-file to this file, such as '
        'annotations/image_info_unlabeled2017.json',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace files that differ')
    args = parser.parse_args()
    splitting = ('out_dir', 'percent', 'fold')
    if args.unlabeled and any(getattr(args, x) != parser.get_default(x) for x in splitting):
        parser.error('--unlabeled splits nothing; leave out --out-dir, --percent and --fold')
    return args


def main() -> None:
    args = parse_args()
    ann_file = args.data_root / args.ann_file
    with errors_in_one_line():
        if args.unlabeled:
            image_info = args.data_root / args.unlabeled
            files = [write_unlabeled(image_info, ann_file, args.overwrite)]
        else:
            out_dir = args.data_root / args.out_dir
            files = write_split(ann_file, out_dir, args.percent, args.fold, args.overwrite)
    for file in files:
        print(file)


if __name__ == '__main__':
    main()
