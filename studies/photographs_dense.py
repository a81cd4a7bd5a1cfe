# Does the teacher help a dense detector on real photographs?
data = dict(voc2007_s320=dict(percents=[10, 5, 1]), bccd=dict(percents=[10, 5]))
methods = dict(
    supervised='configs/supervised_retinanet_small.py',
    mean_teacher='configs/mt_retinanet_small.py',
    mmdet_semi_base='studies/mmdet/semibase_retinanet_small.py',
)
seeds = [1, 2, 3]
