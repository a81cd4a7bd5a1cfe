# mmdet's own hook and loops for semi-supervised detection, with our checkpoints and summary.
_base_ = 'mmdet::_base_/default_runtime.py'
custom_imports = dict(imports=['ssod'], allow_failed_imports=False)

val_cfg = dict(type='TeacherStudentValLoop')
test_cfg = dict(type='TestLoop')

default_hooks = dict(
    pretrained=dict(type='PretrainedDetectorHook'),
    summary=dict(type='SummaryHook'),
    checkpoint=dict(type='WholeCheckpointHook', by_epoch=False, interval=5000, max_keep_ckpts=2),
    logger=dict(interval=50, log_metric_by_epoch=False),
)
custom_hooks = [dict(type='MeanTeacherHook')]
log_processor = dict(by_epoch=False)
