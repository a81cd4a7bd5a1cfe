r"""Check all data of a config before you train: settings, annotation files and every image.

Prints one line per problem. The exit code is 1 if there are errors, which would crash the training
or teach it something wrong, and otherwise 0; warnings do not count.

Examples:
    python tools/check_data.py configs/mt_fasterrcnn_custom.py
    python tools/check_data.py configs/mt_fasterrcnn_custom.py \
        --labeled my/train.json --images my/pictures --unlabeled my/folder
    python tools/check_data.py CONFIG --workers 16 > findings.txt
"""

import argparse
import os
import sys

from mmengine.registry import init_default_scope

from ssod.arguments import (
    add_cfg_options,
    add_detector,
    add_own_data,
    config_to_look_at,
    count,
    own_data,
    tool_parser,
)
from ssod.checks.before_run import report_on_all
from ssod.checks.findings import errors_of
from ssod.checks.images import check_images
from ssod.checks.settings import check_settings_of
from ssod.config_parts import require_parts
from ssod.data.data_sets import Part
from ssod.errors import errors_in_one_line
from ssod.own_data import as_given
from ssod.pseudo_labels.hidden_truth import check_hidden_truth

PARTS: tuple[Part, ...] = ('train', 'val', 'test')


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file')
    add_detector(parser)
    add_own_data(parser)
    parser.add_argument(
        '--workers',
        type=count,
        default=os.cpu_count() or 1,
        help='number of processes that open images; default: %(default)s',
    )
    add_cfg_options(parser)
    args = parser.parse_args()
    args.data = own_data(parser, args)
    return args


def main() -> None:
    args = parse_args()
    with errors_in_one_line(), config_to_look_at(args) as (cfg, made):
        require_parts(cfg, args.config, ('train_dataloader',))
        init_default_scope(cfg.get('default_scope', 'mmdet'))
        check_settings_of(cfg)
        findings, reports = report_on_all(cfg, PARTS)
        findings += check_hidden_truth(cfg, reports)
        findings += check_images(cfg, reports, args.workers)
    for finding in findings:
        print(as_given(f'{finding.severity}: {finding}', args.data, made))
    for report in reports:
        if report.data_set.kind == 'other':
            print(f'not checked: {report.data_set.where}, a custom data set or made on first use')
    errors = len(errors_of(findings))
    images = sum(len(report.images) for report in reports)
    print(
        f'errors: {errors}, warnings: {len(findings) - errors}, data sets: {len(reports)}, '
        f'images: {images:,}'
    )
    sys.exit(1 if errors else 0)


if __name__ == '__main__':
    main()
