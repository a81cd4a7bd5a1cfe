# Does the teacher help a dense detector on real photographs? Data, start and schedule are the same.
_base_ = './photographs.py'
start = dict(config='configs/supervised_atss_small.py')
methods = dict(
    _delete_=True,
    supervised=dict(
        config='configs/supervised_atss_small.py',
        settings={'default_hooks.teacher.burn_in': 1200},
    ),
    mean_teacher=dict(
        config='configs/mt_atss_small.py', settings={'default_hooks.teacher.burn_in': 0}
    ),
    mmdet_semi_base='studies/mmdet/semibase_atss_small.py',
)
