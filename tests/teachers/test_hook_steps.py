"""What is counted in a run: the steps of selector and weights, and the teacher's updates."""

from mmdet.registry import TASK_UTILS
from mmengine.runner import Runner

from ssod.pseudo_labels import Selector
from ssod.teachers import EMATeacherHook


def test_the_selector_is_asked_once_of_each_unlabelled_image(digits_cfg, monkeypatch):
    asked = []

    class Recording(Selector):
        def __call__(self, predictions, step):
            asked.append(step)
            return predictions

    monkeypatch.setitem(TASK_UTILS.module_dict, 'Recording', Recording)
    digits_cfg.default_hooks.teacher.burn_in = 1
    digits_cfg.default_hooks.teacher.selector = dict(type='Recording')
    digits_cfg.train_cfg.max_iters = 3
    Runner.from_cfg(digits_cfg).train()
    # Three unlabelled images in each of the two iterations that follow the burn-in.
    assert asked == [0, 0, 0, 1, 1, 1]


def test_what_counts_iterations_and_what_counts_updates(digits_cfg):
    """Of six iterations two are burn-in; the optimizer steps at every second one."""
    digits_cfg.default_hooks.teacher.update(burn_in=2, decay=dict(type='warm_up', decay=0.99))
    digits_cfg.optim_wrapper.accumulative_counts = 2
    digits_cfg.train_cfg.max_iters = 6
    digits_cfg.default_hooks.checkpoint.interval = 6
    digits_cfg.model.consistency = dict(num_regions=4)
    digits_cfg.experiment_name = 'steps'
    runner = Runner.from_cfg(digits_cfg)
    asked = {'pseudo': [], 'consistency': []}
    runner.model.pseudo_weight = lambda step: asked['pseudo'].append(step) or 1.0
    runner.model.consistency.weight = lambda step: asked['consistency'].append(step) or 1.0
    runner.train()
    # The weights are asked for at all iterations, from the teacher's first one on.
    steps = [-2, -1, 0, 1, 2, 3]
    assert asked == {'pseudo': steps, 'consistency': steps}
    # A copy in the burn-in; then 1 - 1 / (t + 1) of the teacher's updates t = 0 and 1.
    decays, _ = runner.message_hub.log_scalars['train/decay'].data
    assert decays.tolist() == [0, 0, 1 / 2]
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, EMATeacherHook))
    assert hook.updates == 2
