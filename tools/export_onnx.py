"""Write a trained detector as an ONNX file that goes from the pixels of an image to its boxes.

The file is first compared with mmdet's own predictions, on your images or on noise.

Examples:
    python tools/export_onnx.py configs/mt_atss_small.py work_dirs/.../iter_2000.pth
    python tools/export_onnx.py published/x.py published/x.pth --out x.onnx --images a.jpg b.jpg
"""

import argparse

from ssod import api
from ssod.arguments import add_model, size, tool_parser
from ssod.errors import errors_in_one_line


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file of a run, or of a plain mmdet detector')
    parser.add_argument('checkpoint', help='checkpoint for that config')
    parser.add_argument(
        '--out', help="output file; default: the config's name, next to the checkpoint"
    )
    parser.add_argument(
        '--size',
        type=size,
        metavar='WxH',
        help='fix the width and height of the input, if the runtime needs that; default: free',
    )
    add_model(parser, 'whose detector to export')
    parser.add_argument(
        '--images',
        nargs='+',
        default=[],
        metavar='IMAGE',
        help='images to compare on; default: noise',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace the file if it exists')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with errors_in_one_line():
        exported = api.export_onnx(
            args.config,
            args.checkpoint,
            args.out,
            args.size,
            args.model,
            args.images,
            args.overwrite,
        )
    print(exported.file)
    print(f'compared with mmdet: {exported.comparison}')


if __name__ == '__main__':
    main()
