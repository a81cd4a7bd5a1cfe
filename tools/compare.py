"""Compare recipes with supervised training: same labelled images and iterations, several seeds.

A recipe is named like its config, configs/RECIPE_DETECTOR_digits10pct.py, and is compared with
configs/supervised_DETECTOR_digits10pct.py. Finished runs are not repeated: an interrupted
comparison continues where it stopped.

Examples:
    python tools/compare.py
    python tools/compare.py --recipes softteacher_fasterrcnn denseteacher_fcos --seeds 0
    python tools/compare.py --recipes all
"""

import json
from pathlib import Path

from ssod.arguments import key_value, tool_parser
from ssod.errors import errors_in_one_line
from ssod.evaluation.comparison import SUFFIX, Comparison, Scores, options_of, table
from ssod.files import write_indented, write_whole

# Not a recipe, but the config for tools/train.py --detector.
ANY = 'mt_any'


def main() -> None:
    known = sorted(path.name.removesuffix(SUFFIX) for path in Path('configs').glob(f'*{SUFFIX}'))
    known = [name for name in known if not name.startswith('supervised_') and name != ANY]
    parser = tool_parser(__doc__)
    parser.add_argument(
        '--recipes', nargs='+', default=['mt_fasterrcnn'], choices=[*known, 'all'], metavar='RECIPE'
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/compare'))
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        type=key_value,
        default=[],
        metavar='KEY=VALUE',
        help='config overrides',
    )
    args = parser.parse_args()
    if len(set(args.seeds)) < len(args.seeds):
        parser.error(f'--seeds {" ".join(map(str, args.seeds))} repeats a seed; remove one')
    with errors_in_one_line():
        before = options_of(args.work_dir, args.cfg_options)
    if before != args.cfg_options:
        told = f'with --cfg-options {" ".join(before)}' if before else 'without --cfg-options'
        parser.error(
            f'{args.work_dir} has runs {told}; give the same options, or another --work-dir'
        )
    recipes = known if 'all' in args.recipes else args.recipes
    comparison, file = Comparison(args.work_dir, args.cfg_options), args.work_dir / 'compare.json'
    before_now: list[Scores] = json.loads(file.read_text()) if file.exists() else []
    rows = {(row['recipe'], row['seed']): row for row in before_now}
    for seed in args.seeds:
        for recipe in recipes:
            with errors_in_one_line('the same command continues'):
                rows[recipe, seed] = comparison.row(recipe, seed)
            found = list(rows.values())
            told = table(found)
            print(told, flush=True)
            write_indented(file, found)
            write_whole(args.work_dir / 'compare.md', (told + '\n').encode())


if __name__ == '__main__':
    main()
