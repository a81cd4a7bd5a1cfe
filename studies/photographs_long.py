# What do three times the iterations gain, with the labels only and with the teacher?
_base_ = './photographs.py'
data = dict(_delete_=True, voc2007_s320=dict(percents=[10], size=192))
methods = dict(
    _delete_=True,
    supervised=dict(
        config='configs/supervised_fasterrcnn_small.py',
        settings={'default_hooks.teacher.burn_in': 3600},
    ),
    mean_teacher=_base_.methods.mean_teacher,
)
seeds = [1]
settings = {'train_cfg.max_iters': 3600, 'param_scheduler.1.milestones': [3000]}
