"""The config of a run."""

from pathlib import Path

import pytest
import torch

from ssod.config_parts import dicts_in
from ssod.studies.compose import Composer
from ssod.studies.plan import read_study
from ssod.studies.splits import read_names

CONFIGS = Path(__file__).parents[2] / 'configs'


def composer_of(study_file, data_root, tmp_path, **options):
    return Composer(read_study(study_file), data_root, tmp_path / 'work', options)


def find(composer, name):
    return next(run for run in composer.study.runs() if run.name == name)


def test_a_config(study_file, data_root, tmp_path):
    options = {'val_dataloader.num_workers': 0}
    composer = composer_of(study_file, data_root, tmp_path, **options)
    run = find(composer, 'cells/25pct/eager/2')
    cfg = composer.config(run)
    # The data set's settings win over the study's; the method's own and the machine's are there.
    assert cfg.train_cfg.max_iters == cfg.train_cfg.val_interval == 2
    assert cfg.default_hooks.teacher.burn_in == 1
    assert cfg.val_dataloader.num_workers == 0
    assert cfg.randomness.seed == 2
    # Its folder may be moved like that of any run.
    assert cfg.launcher == 'none'
    labeled, unlabeled = cfg.train_dataloader.dataset.datasets
    for dataset in (labeled, unlabeled, cfg.val_dataloader.dataset):
        assert dataset.type == 'CocoDataset'
        assert dataset.metainfo.classes == ('red', 'white')
        assert dataset.data_prefix.img == f'{data_root}/cells/images/'
    assert cfg.model.detector.roi_head.bbox_head.num_classes == 2
    assert labeled.ann_file.endswith('cells/25pct/fold2/labeled.json')
    assert unlabeled.ann_file.endswith('cells/25pct/fold2/unlabeled.json')
    assert cfg.default_hooks.quality.ann_file.endswith('cells/25pct/fold2/truth.json')
    assert cfg.val_evaluator.ann_file.endswith('cells/val.json')
    # The splits lie beside the study; as many as the largest budget needs.
    assert len(read_names(study_file.parent / 'splits/cells/fold2.txt')) == 6
    assert cfg.val_dataloader.dataset.data_prefix.img == f'{data_root}/cells/images/'
    held_out = composer.config(run, held_out=True)
    assert held_out.val_evaluator.ann_file.endswith('cells/held_out.json')


def test_all_methods_start_alike(study_file, data_root, tmp_path):
    composer = composer_of(study_file, data_root, tmp_path)
    starts = [composer.config(run).load_from for run in composer.study.runs()]
    # One for each data set and seed.
    assert len(set(starts)) == 4
    first = torch.load(starts[0])['state_dict']
    assert first['roi_head.bbox_head.fc_cls.weight'].shape[0] == 3
    seeds = {run.seed: start for run, start in zip(composer.study.runs(), starts, strict=True)}
    one, two = (torch.load(seeds[seed])['state_dict'] for seed in (1, 2))
    assert not torch.equal(one['rpn_head.rpn_conv.weight'], two['rpn_head.rpn_conv.weight'])


def test_all_methods_start_from_one_training(started_study_file, data_root, tmp_path):
    composer = composer_of(started_study_file, data_root, tmp_path)
    start = find(composer, 'scenes/25pct/start/2')
    assert '/scenes/initialized2-' in composer.config(start).load_from
    for name, last in [('scenes/25pct', 3), ('cells/50pct', 2), ('cells/25pct', 2)]:
        run = find(composer, f'{name}/teacher/2')
        weights = composer.place(find(composer, f'{name}/start/2')) / f'iter_{last}.pth'
        assert composer.config(run).load_from == str(weights)
    # What the start does is part of what the others do.
    before = {run.name: composer.digest(run) for run in composer.study.runs()}
    text = started_study_file.read_text()
    more = "burn_in': 4, 'optim_wrapper.optimizer.lr': 0.5"
    started_study_file.write_text(text.replace("burn_in': 4", more))
    after = composer_of(started_study_file, data_root, tmp_path)
    assert all(after.digest(run) != before[run.name] for run in after.study.runs())


@pytest.mark.parametrize(
    'method', ['configs/mt_fasterrcnn_small', 'studies/mmdet/softteacher_fasterrcnn_small']
)
def test_the_size_of_images(study_file, data_root, tmp_path, method):
    config = CONFIGS.parent / f'{method}.py'
    text = study_file.read_text().replace('percents=[25]', 'percents=[25], size=128')
    study_file.write_text(text.replace("teacher='", f"small='{config}',\n    teacher='"))
    composer = composer_of(study_file, data_root, tmp_path)
    cfg = composer.config(find(composer, 'scenes/25pct/small/1'))
    loaders = [cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader]
    resizes = [p for p in dicts_in(loaders) if p.get('type') in ('RandomResize', 'Resize')]
    # Of the labelled, the weak and the strong view, and in validation and test.
    assert {part.type for part in resizes} == {'RandomResize', 'Resize'}
    assert len(resizes) >= 5
    assert {tuple(part.scale) for part in resizes} == {(128, 128)}


def test_an_option_that_changes_what_is_trained_is_refused(study_file, data_root, tmp_path):
    with pytest.raises(ValueError, match=r'^train_cfg.max_iters: changes what .*/small\.py'):
        composer_of(study_file, data_root, tmp_path, **{'train_cfg.max_iters': 7})


def test_a_digest_is_of_the_settings(study_file, data_root, tmp_path):
    before = composer_of(study_file, data_root, tmp_path)
    digests = {run.name: before.digest(run) for run in before.study.runs()}
    # Neither the seed nor the budget is a setting; the data set's own are.
    assert digests['cells/50pct/teacher/1'] == digests['cells/25pct/teacher/2']
    assert digests['cells/50pct/teacher/1'] != digests['scenes/25pct/teacher/1']
    assert digests['cells/50pct/teacher/1'] != digests['cells/50pct/eager/1']
    # Cells have iterations of their own.
    study_file.write_text(study_file.read_text().replace("max_iters': 3", "max_iters': 4"))
    after = composer_of(study_file, data_root, tmp_path, **{'model.x.weights': 1})
    changed = {name for name in digests if after.digest(find(after, name)) != digests[name]}
    assert changed == {name for name in digests if name.startswith('scenes')}
    # A run of other settings would go on where the old one ended.
    for run in before.study.runs():
        assert (after.place(run) != before.place(run)) == (run.name in changed)


@pytest.mark.parametrize('name', ['train', 'val', 'images', 'val_images'])
def test_a_digest_is_of_the_files(name, study_file, data_root, tmp_path):
    before = composer_of(study_file, data_root, tmp_path)
    text = study_file.read_text()
    study_file.write_text(text.replace('percents=[50, 25]', f"percents=[50, 25], {name}='other'"))
    after = composer_of(study_file, data_root, tmp_path)
    for run in before.study.runs():
        same = after.digest(find(after, run.name)) == before.digest(run)
        assert same == (run.data.name != 'cells')


def test_another_detector_is_initialized_anew(study_file, data_root, tmp_path):
    before = composer_of(study_file, data_root, tmp_path)
    study_file.write_text(
        study_file.read_text().replace(
            "max_iters': 3", "max_iters': 3, 'model.detector.rpn_head.feat_channels': 32"
        )
    )
    after = composer_of(study_file, data_root, tmp_path)
    run = before.study.runs()[0]
    assert before._initialized(run) != after._initialized(after.study.runs()[0])


def test_what_no_run_reads_is_in_no_digest(study_file, data_root, tmp_path):
    text = study_file.read_text()

    def digests_with(line):
        """With a line more in the config of the mean teacher, from which the others are derived."""
        config = tmp_path / 'mt_fasterrcnn_digits10pct.py'
        base = CONFIGS / config.name
        config.write_text(f"_base_ = '{base}'\n{line}\n")
        labels_alone = tmp_path / 'supervised.py'
        never = dict(teacher=dict(burn_in=10**6))
        labels_alone.write_text(f"_base_ = './{config.name}'\ndefault_hooks = {never}\n")
        study_file.write_text(
            text.replace(str(base), str(config)).replace(
                f'{CONFIGS}/supervised_fasterrcnn_digits10pct.py', str(labels_alone)
            )
        )
        composer = composer_of(study_file, data_root, tmp_path)
        return {run.method.name: composer.digest(run) for run in composer.study.runs()}

    before = digests_with('')
    assert digests_with('note = 1') == before
    assert digests_with('auto_scale_lr = dict(enable=False, base_batch_size=3)') == before
    assert digests_with('auto_scale_lr = dict(enable=True, base_batch_size=3)') != before
    # Those whose burn-in is longer than the run never teach, whatever λ is.
    after = digests_with('model = dict(pseudo_weight=3.0)')
    assert {name for name in before if after[name] != before[name]} == {'eager'}
    after = digests_with('optim_wrapper = dict(optimizer=dict(lr=0.5))')
    assert {name for name in before if after[name] != before[name]} == before.keys()
