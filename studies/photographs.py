# Does the teacher help on real photographs, and by more than mmdet's own?
data = dict(voc2007_s320=dict(percents=[10, 5, 1]), bccd=dict(percents=[10, 5]))
methods = dict(
    supervised='configs/supervised_fasterrcnn_small.py',
    mean_teacher='configs/mt_fasterrcnn_small.py',
    soft_teacher='configs/softteacher_fasterrcnn_small.py',
    mmdet_semi_base='studies/mmdet/semibase_fasterrcnn_small.py',
    mmdet_soft_teacher='studies/mmdet/softteacher_fasterrcnn_small.py',
)
seeds = [1, 2, 3]
