# Your own data: images with COCO JSON labels and a folder of images without labels, on one GPU.
_base_ = './mt_fasterrcnn_coco10pct.py'

# Starts from a detector trained on all of COCO; with load_from = None, from an ImageNet backbone.
load_from = 'https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r50_fpn_1x_coco/faster_rcnn_r50_fpn_1x_coco_20200130-047c8118.pth'
# Edit these four lines, or use tools/train.py's options --labeled, --images, --unlabeled, --val.
classes = ('cat', 'dog')
data_root, unlabeled_images = 'data/custom/', 'data/custom/unlabeled/'
labeled_json, labeled_images = 'train.json', 'train/'
val_json, val_images = 'val.json', 'val/'

labeled, unlabeled = _base_.labeled, _base_.unlabeled
own = dict(data_root=data_root, metainfo=dict(classes=classes))
labeled.update(own, ann_file=labeled_json, data_prefix=dict(img=labeled_images))
unlabeled = dict(own, type='UnlabeledFolder', pipeline=unlabeled.pipeline)
unlabeled.update(data_root=unlabeled_images)
train_dataloader = dict(
    batch_size=8, sampler=dict(source_ratio=[1, 1]), dataset=dict(datasets=[labeled, unlabeled])
)
val_dataloader = dict(dataset=dict(own, ann_file=val_json, data_prefix=dict(img=val_images)))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(ann_file=data_root + val_json)

model = dict(detector=dict(roi_head=dict(bbox_head=dict(num_classes=len(classes)))))
train_cfg = dict(max_iters=30000, val_interval=1000)
default_hooks = dict(checkpoint=dict(interval=1000))
optim_wrapper = dict(optimizer=dict(lr=0.005))
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [20000, 27000]
auto_scale_lr = dict(base_batch_size=8)
