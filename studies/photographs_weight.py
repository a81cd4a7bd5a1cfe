# How much should the teacher's whole distribution weigh, and over how many regions?
_base_ = './photographs.py'
data = dict(_delete_=True, voc2007_s320=dict(percents=[10], size=192))
methods = dict(
    _delete_=True,
    supervised=_base_.methods.supervised,
    mean_teacher=_base_.methods.mean_teacher,
    half_the_weight=dict(
        config='configs/mt_fasterrcnn_small.py',
        settings={
            'default_hooks.teacher.burn_in': 0,
            'model.consistency.weight.end': 1.0,
        },
    ),
    twice_the_weight_of_half_the_regions=dict(
        config='configs/mt_fasterrcnn_small.py',
        settings={
            'default_hooks.teacher.burn_in': 0,
            'model.consistency.weight.end': 4.0,
            'model.consistency.num_regions': 48,
        },
    ),
)
seeds = [1]
