"""Label the unlabelled images of a config, or a folder's, with a trained model.

Writes COCO JSON with scores, to train on or to be corrected by hand. What an interrupted call has
done is not done again. With --sweep the model is tried on the validation images: which score
threshold suits each class.

Examples:
    python tools/pseudo_label.py configs/stac_fasterrcnn_coco10pct.py \\
        work_dirs/supervised_fasterrcnn_coco10pct/iter_180000.pth
    python tools/pseudo_label.py CONFIG CHECKPOINT photos/ --out labels.json --score-thr 0.05
    python tools/pseudo_label.py CONFIG CHECKPOINT --sweep
"""

import argparse
from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmengine.config import DictAction
from mmengine.registry import init_default_scope

from ssod import runs
from ssod.checkpoints import load_checkpoint
from ssod.errors import errors_in_one_line
from ssod.own_data import use_folder
from ssod.pseudo_labels.offline import label_images
from ssod.pseudo_labels.sweep import selector_of, sweep_table, sweep_validation
from ssod.recipes.stac import NAME


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of a run with the same detector')
    parser.add_argument(
        'folder', nargs='?', type=Path, help="images, in sub-folders too; default: the config's own"
    )
    parser.add_argument('--out', help=f'default: work_dirs/<config name>/{NAME}')
    parser.add_argument(
        '--model', choices=['teacher', 'student'], default='teacher', help='who predicts'
    )
    parser.add_argument(
        '--score-thr', type=float, default=0.2, help='least score of a box; %(default)s'
    )
    parser.add_argument(
        '--sweep', action='store_true', help='try score thresholds on the validation images first'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace the file if it is there')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='config overrides'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with errors_in_one_line():
        cfg = runs.load_config(args.config, options=args.cfg_options)
        out = Path(args.out or Path(cfg.work_dir, NAME))
        if out.exists() and not args.overwrite:
            raise FileExistsError(f'{out} exists; remove it, or pass --overwrite')
        if args.folder:
            use_folder(cfg, args.folder)
        init_default_scope('mmdet')
        model = MODELS.build(cfg.model)
        state = load_checkpoint(args.checkpoint, 'cpu')['state_dict']
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            reason = str(error).split('\n')[1].strip()
            raise ValueError(f'{args.checkpoint} is of another detector: {reason}') from None
        model.predict_on = args.model
        model.to('cuda' if torch.cuda.is_available() else 'cpu')
        if args.sweep:
            rows = sweep_validation(cfg, model)
            print(f'{sweep_table(rows)}\n\n{selector_of(rows)}', flush=True)
        count = label_images(cfg, model, out, f'{args.model} of {args.checkpoint}', args.score_thr)
        print(f'{out}: pseudo-labels of {count} images')


if __name__ == '__main__':
    main()
