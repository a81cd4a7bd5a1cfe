"""Train methods on data sets with several label budgets, and show what unlabelled images gain.

A study is a small file, see studies/. Each finished run becomes a line in a file next to it, and
is not repeated; an interrupted run continues from its last checkpoint.

Examples:
    python tools/study.py studies/photographs.py --data-root data
    python tools/study.py studies/photographs.py --jobs 2
    python tools/study.py studies/photographs.py --table
    python tools/study.py studies/photographs.py --held-out
"""

import argparse
import contextlib
import signal
import sys
import time
from pathlib import Path

from ssod.arguments import add_cfg_options, count, tool_parser
from ssod.errors import errors_in_one_line
from ssod.files import alone_in, write_whole
from ssod.studies.compose import Composer
from ssod.studies.execution import LOG, left, remaining, score_held_out, train_all
from ssod.studies.plan import read_study
from ssod.studies.plot import plot_gains
from ssod.studies.results import Results, lead_table, rows_of, table


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('study', type=Path, help='the study file')
    parser.add_argument(
        '--data-root',
        type=Path,
        default=Path('data'),
        help='folder of the data sets; default: %(default)s',
    )
    parser.add_argument(
        '--work-dir', type=Path, help='where runs go; default: work_dirs/<study name>'
    )
    parser.add_argument(
        '--jobs', type=count, default=1, help='parallel trainings; default: %(default)s'
    )
    parser.add_argument(
        '--table', action='store_true', help='train nothing; only sum up the finished runs'
    )
    parser.add_argument(
        '--held-out', action='store_true', help='score on the held-out images; do this last'
    )
    add_cfg_options(
        parser, 'config overrides for this machine only: where weights are, numbers of data workers'
    )
    return parser.parse_args()


def train(composer: Composer, results: Results, jobs: int) -> int:
    """Train the remaining runs and print each result; return how many failed."""
    total, todo = len(composer.study.runs()), len(left(composer, results))
    print(f'{composer.study.file}: {total} runs, {todo} left to do', flush=True)
    began, failed = time.monotonic(), 0
    tool = Path(__file__).with_name('train.py')
    with contextlib.closing(train_all(composer, results, tool, jobs)) as ended:
        for done, (run, result) in enumerate(ended, 1):
            place = f'[{done}/{todo}] {run.name}'
            if result is None:
                failed += 1
                print(f'{place}: failed, see {composer.place(run) / LOG}', flush=True)
                continue
            scores = f'student {result.student}, teacher {result.teacher} ({result.seconds:.0f} s)'
            rest = f'; {remaining(done - failed, todo - failed, began)} left' if done < todo else ''
            print(f'{place}: {scores}{rest}', flush=True)
    return failed


def sum_up(composer: Composer, results: Results) -> None:
    """Print the table, and write it and the plot next to the results."""
    study = composer.study
    tried = [results.find(run, composer.digest(run)) for run in study.runs()]
    found = [result for result in tried if result is not None]
    rows = rows_of(study, found)
    text = '\n\n'.join(filter(None, [table(rows, study.baseline), lead_table(study, found)]))
    print(text)
    if rows:
        write_whole(results.path.with_suffix('.md'), (text + '\n').encode())
        plot_gains(rows, study.baseline, results.path.with_suffix('.png'))


def main() -> None:
    args = parse_args()
    # Like Ctrl-C, it must end the trainings too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with errors_in_one_line('the same command continues'):
        study = read_study(args.study)
        work_dir = args.work_dir or Path('work_dirs') / args.study.stem
        composer = Composer(study, args.data_root, work_dir, args.cfg_options)
        with contextlib.nullcontext() if args.table else alone_in(work_dir):
            results, failed = Results(args.study.with_suffix('.jsonl')), 0
            if args.held_out:
                trained, results = results, Results(args.study.with_suffix('.held_out.jsonl'))
                scored = [] if args.table else score_held_out(composer, trained, results)
                for run, result in scored:
                    told = f'student {result.student}, teacher {result.teacher}'
                    print(f'{run.name}: {told}', flush=True)
            elif not args.table:
                failed = train(composer, results, args.jobs)
            sum_up(composer, results)
    if failed:
        sys.exit(1)


if __name__ == '__main__':
    main()
