# All of train2017: 8 GPUs × 4 images, 360k.
_base_ = './supervised_fasterrcnn_coco10pct.py'

labeled = _base_.labeled
labeled.ann_file = 'annotations/instances_train2017.json'
train_dataloader = dict(batch_size=4, dataset=dict(datasets=[labeled]))
train_cfg = dict(max_iters=360000)
default_hooks = dict(teacher=dict(burn_in=360000))
optim_wrapper = dict(optimizer=dict(lr=0.04))
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [240000, 320000]
auto_scale_lr = dict(base_batch_size=32)
