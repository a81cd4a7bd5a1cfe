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
from collections.abc import Sequence

from mmengine.config import Config
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
from ssod.checks.findings import Finding
from ssod.checks.images import Look, check_looks, look_at_all
from ssod.checks.leaks import check_shared
from ssod.checks.reports import ImageEntry, Report
from ssod.checks.settings import check_settings_of
from ssod.config_parts import require_parts
from ssod.data.broken_images import BrokenImagesHook
from ssod.data.data_sets import Part
from ssod.errors import errors_in_one_line
from ssod.own_data import as_given
from ssod.progress import progress_bar
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


def look_at_images(reports: Sequence[Report], workers: int) -> dict[ImageEntry, Look]:
    """Open each image of all data sets once, with a progress bar on stderr."""
    images = list(dict.fromkeys(image for report in reports for image in report.images))
    with progress_bar() as bar:
        looks = bar.track(look_at_all(images, workers), len(images), description='opening images')
        return {look.image: look for look in looks}


def check_images(reports: Sequence[Report], cfg: Config, workers: int) -> list[Finding]:
    """What is wrong with the images, and which of them are in several data sets."""
    looks = look_at_images(reports, workers)
    settings = dict((cfg.get('default_hooks') or {}).get('broken_images') or {})
    for of_every_hook in ('type', 'priority'):
        settings.pop(of_every_hook, None)
    max_share = BrokenImagesHook(**settings).max_share
    findings = []
    for report in reports:
        of_them = [looks[image] for image in report.images]
        findings += check_looks(report, of_them, max_share)
    digests = {image.path: look.digest for image, look in looks.items() if look.digest}
    return findings + check_shared(reports, digests)


def main() -> None:
    args = parse_args()
    with errors_in_one_line(), config_to_look_at(args) as (cfg, made):
        require_parts(cfg, args.config, ('train_dataloader',))
        init_default_scope(cfg.get('default_scope', 'mmdet'))
        check_settings_of(cfg)
        findings, reports = report_on_all(cfg, PARTS)
        findings += check_hidden_truth(cfg, reports)
        findings += check_images(reports, cfg, args.workers)
    for finding in findings:
        print(as_given(f'{finding.severity}: {finding}', args.data, made))
    for report in reports:
        if report.data_set.kind == 'other':
            print(f'not checked: {report.data_set.where}, a custom data set or made on first use')
    errors = sum(finding.severity == 'error' for finding in findings)
    images = sum(len(report.images) for report in reports)
    print(
        f'errors: {errors}, warnings: {len(findings) - errors}, data sets: {len(reports)}, '
        f'images: {images:,}'
    )
    sys.exit(1 if errors else 0)


if __name__ == '__main__':
    main()
