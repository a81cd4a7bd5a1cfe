"""Convert labels from Pascal VOC's or YOLO's format to COCO JSON.

The images stay where they are. tools/train.py also takes such labels directly.

Examples:
    python tools/convert_dataset.py VOCdevkit/VOC2007 --out my/annotations
    python tools/convert_dataset.py my/yolo/data.yaml --out my/annotations
"""

import argparse

from ssod.arguments import tool_parser
from ssod.data.convert import convert
from ssod.errors import errors_in_one_line


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        'labels', help='folder of a Pascal VOC data set, or the data.yaml of a YOLO one'
    )
    parser.add_argument(
        '--out',
        required=True,
        metavar='DIR',
        help='folder for train.json, val.json, trainval.json and test.json',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace existing files')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with errors_in_one_line():
        written, remarks = convert(args.labels, args.out, args.overwrite)
    for made in written.values():
        print(f'{made.file}: {made.told}; images in {made.images}')
    for remark in remarks:
        print(f'note: {remark}')


if __name__ == '__main__':
    main()
