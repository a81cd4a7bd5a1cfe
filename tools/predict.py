"""Detect objects in images, folders of images, and videos; write pictures and COCO JSON.

Examples:
    python tools/predict.py configs/mt_fasterrcnn_coco10pct.py work_dirs/.../iter_180000.pth photos/
    python tools/predict.py published/x.py published/x.pth one.jpg clip.mp4 --out found
    python tools/predict.py CONFIG CHECKPOINT INPUT --score-thr 0.5 --batch-size 8
"""

import argparse

from ssod import api
from ssod.arguments import add_model, tool_parser
from ssod.errors import errors_in_one_line


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file of a run, or of a plain mmdet detector')
    parser.add_argument('checkpoint', help='checkpoint for that config')
    parser.add_argument('inputs', nargs='+', metavar='INPUT', help='image, folder or video')
    parser.add_argument(
        '--out',
        help='folder for pictures/ and predictions.json; default: predictions/ next to the '
        'checkpoint',
    )
    add_model(parser, 'which model predicts')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='lowest score of a box; default: %(default)s'
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        default=1,
        metavar='N',
        help='images per batch; default: %(default)s',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace predictions.json and its pictures; allow other pictures in the folder',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with errors_in_one_line():
        found = api.predict(
            args.config,
            args.checkpoint,
            args.inputs,
            args.out,
            args.model,
            args.score_thr,
            args.batch_size,
            args.overwrite,
        )
        images, boxes = (len(found.content[part]) for part in ('images', 'annotations'))
        print(f'{found.file}: {boxes} boxes in {images} images, drawn in {found.pictures}')
        if found.passed_over:
            print(f'skipped: {len(found.passed_over)}, see above')


if __name__ == '__main__':
    main()
