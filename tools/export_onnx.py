"""Write a trained detector as an ONNX file, from the pixels of an image to its boxes.

It is compared with mmdet's own prediction first, on images of yours or on noise.

Examples:
    python tools/export_onnx.py configs/mt_atss_small.py work_dirs/.../iter_2000.pth
    python tools/export_onnx.py published/x.py published/x.pth --out x.onnx --images a.jpg b.jpg
"""

import argparse

from ssod import api
from ssod.arguments import size
from ssod.errors import errors_in_one_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file of a run, or of a plain mmdet detector')
    parser.add_argument('checkpoint', help='checkpoint that goes with it')
    parser.add_argument('--out', help="the file; default: the config's name beside the checkpoint")
    parser.add_argument(
        '--size',
        type=size,
        metavar='WxH',
        help='fix the width and height of the input, for runtimes that want it; default: free',
    )
    parser.add_argument(
        '--model', choices=['teacher', 'student'], default='teacher', help='whose detector'
    )
    parser.add_argument(
        '--images', nargs='+', default=[], metavar='IMAGE', help='compare on these; default: noise'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace the file if it is there')
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
