"""Write a trained teacher as a plain mmdet detector: a checkpoint and a config.

mmdet's DetInferencer, init_detector and tools load them without ssod if mmcv has its compiled
operators; if it has none, import ssod first.

Examples:
    python tools/publish.py configs/mt_fasterrcnn_coco10pct.py work_dirs/.../iter_180000.pth
    python tools/publish.py CONFIG CHECKPOINT --model student --out my/detectors
"""

import argparse

from ssod import api
from ssod.arguments import add_model, tool_parser
from ssod.errors import errors_in_one_line


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file of the run')
    parser.add_argument('checkpoint', help='checkpoint of the run')
    parser.add_argument(
        '--out', help='folder for both files; default: published/ next to the checkpoint'
    )
    add_model(parser, 'whose detector to publish')
    parser.add_argument('--overwrite', action='store_true', help='replace existing files')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with errors_in_one_line():
        written = api.publish(args.config, args.checkpoint, args.out, args.model, args.overwrite)
        print(written.config)
        print(written.checkpoint)
        if written.needs:
            print(f'mmdet does not have {", ".join(written.needs)}; the config imports it')


if __name__ == '__main__':
    main()
