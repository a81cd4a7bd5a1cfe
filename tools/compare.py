"""Recipes against supervised training alone: same labelled images and iterations, some seeds.

A recipe is named as its config is: configs/RECIPE_DETECTOR_digits10pct.py; it is measured against
configs/supervised_DETECTOR_digits10pct.py. What is done is not done again: an interrupted
comparison goes on where it was.

Examples:
    python tools/compare.py
    python tools/compare.py --recipes softteacher_fasterrcnn denseteacher_fcos --seeds 0
    python tools/compare.py --recipes all
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from ssod.arguments import key_value
from ssod.errors import errors_in_one_line
from ssod.evaluation.comparison import Scores, by_recipe, by_seed
from ssod.files import write_whole

SUFFIX = '_digits10pct.py'
# Not a recipe but the way to one: tools/train.py --detector.
ANY = 'mt_any'


class Comparison:
    """Trainings of recipes in directories below one, each done once.

    Args:
        root: The directory.
        options: What else tools/train.py is told.
    """

    def __init__(self, root: Path, options: list[str]) -> None:
        self.root = root
        self.options = options

    def row(self, recipe: str, seed: int) -> Scores:
        """One recipe's scores and those of its baseline; mAP in points."""
        baseline = f'supervised_{recipe.rsplit("_", 1)[1]}'
        supervised = self._train(baseline, seed)['student_mAP']
        if recipe.startswith('stac_'):
            self._label(baseline, recipe, seed)
        scores = self._train(recipe, seed)
        teacher = scores['teacher_mAP']
        return {
            'recipe': recipe,
            'seed': seed,
            'start': scores['start_mAP'],
            'supervised': supervised,
            'student': scores['student_mAP'],
            'teacher': teacher,
            'gain': None if None in (teacher, supervised) else round(teacher - supervised, 1),
        }

    def _train(self, recipe: str, seed: int) -> Scores:
        """Run tools/train.py, or what an interruption left of it to run, for its summary."""
        place = self.root / f'{recipe}_{seed}'
        summary = place / 'summary.json'
        if not summary.exists():
            settings = [f'randomness.seed={seed}', *self.options]
            _run('train.py', f'configs/{recipe}{SUFFIX}', place, '--resume', options=settings)
        scores: Scores = json.loads(summary.read_text())
        return scores

    def _label(self, baseline: str, recipe: str, seed: int) -> None:
        """Let the supervised detector label the images, once."""
        labels = self.root / f'{recipe}_{seed}' / 'pseudo_labels.json'
        if not labels.exists():
            last = self.root / f'{baseline}_{seed}'
            checkpoint = Path((last / 'last_checkpoint').read_text()).name
            arguments = [f'configs/{recipe}{SUFFIX}', str(last / checkpoint), '--out', str(labels)]
            _run('pseudo_label.py', *arguments, options=self.options)


def _run(tool: str, config: str, place: Path | str, *arguments: str, options: list[str]) -> None:
    where = ['--work-dir', str(place)] if tool == 'train.py' else [str(place)]
    command = [sys.executable, f'tools/{tool}', config, *where, *arguments]
    if options:
        command += ['--cfg-options', *options]
    code = subprocess.run(command).returncode
    if code != 0:
        sys.exit(code)


def options_of(root: Path, given: list[str]) -> list[str]:
    """With which options a folder's runs were trained; what is given if it has none yet.

    Args:
        root: The folder; the options are noted there.
        given: Those of this call.
    """
    note = root / 'options.json'
    if any(next(root.glob(made), None) for made in ('*/*.pth', '*/summary.json')):
        noted: list[str] = json.loads(note.read_text()) if note.exists() else []
        return noted
    root.mkdir(parents=True, exist_ok=True)
    write_whole(note, json.dumps(given).encode())
    return given


def main() -> None:
    known = sorted(path.name.removesuffix(SUFFIX) for path in Path('configs').glob(f'*{SUFFIX}'))
    known = [name for name in known if not name.startswith('supervised_') and name != ANY]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
        parser.error(f'--seeds {" ".join(map(str, args.seeds))} has a seed twice; remove one')
    with errors_in_one_line():
        before = options_of(args.work_dir, args.cfg_options)
    if before != args.cfg_options:
        told = f'with --cfg-options {" ".join(before)}' if before else 'without --cfg-options'
        parser.error(f'{args.work_dir} has runs {told}; give the same, or another --work-dir')
    recipes = known if 'all' in args.recipes else args.recipes
    comparison, file = Comparison(args.work_dir, args.cfg_options), args.work_dir / 'compare.json'
    before_now: list[Scores] = json.loads(file.read_text()) if file.exists() else []
    rows = {(row['recipe'], row['seed']): row for row in before_now}
    for seed in args.seeds:
        for recipe in recipes:
            with errors_in_one_line():
                rows[recipe, seed] = comparison.row(recipe, seed)
            found = list(rows.values())
            table = (
                by_seed(found) if len({row['recipe'] for row in found}) == 1 else by_recipe(found)
            )
            print(table, flush=True)
            write_whole(file, (json.dumps(found, indent=2) + '\n').encode())
            write_whole(args.work_dir / 'compare.md', (table + '\n').encode())


if __name__ == '__main__':
    main()
