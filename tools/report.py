"""Write a page that shows a run: curves, alarms, pseudo-labels, pictures, mistakes, settings.

Works at any time, also during a run. The page is a single, self-contained HTML file.

Examples:
    python tools/report.py work_dirs/mt_fasterrcnn_digits10pct
    python tools/report.py WORK_DIR --out report.html
"""

import argparse

from ssod.arguments import tool_parser
from ssod.errors import errors_in_one_line
from ssod.visualization.report import write_report


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('work_dir', help="the run's folder")
    parser.add_argument('--out', metavar='FILE', help='default: report.html in that folder')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with errors_in_one_line():
        print(write_report(args.work_dir, args.out))


if __name__ == '__main__':
    main()
