# The mean teacher and everything around a run: hooks, logs, checkpoints, validation.
_base_ = 'mmdet::_base_/default_runtime.py'
custom_imports = dict(imports=['ssod'], allow_failed_imports=False)

val_cfg = dict(type='SemiSupervisedValLoop')
test_cfg = dict(type='SemiSupervisedTestLoop')

default_hooks = dict(
    teacher=dict(
        type='EMATeacherHook',
        decay=dict(type='warm_up', decay=0.999),
        selector=dict(type='ScoreSelector', threshold=0.7),
    ),
    quality=dict(type='PseudoLabelQualityHook'),
    watch=dict(type='TeacherWatchHook'),
    pretrained=dict(type='PretrainedDetectorHook'),
    summary=dict(type='SummaryHook'),
    seeds=dict(type='SeedHook'),
    histories=dict(type='ShortHistoriesHook'),
    broken_images=dict(type='BrokenImagesHook'),
    checkpoint=dict(type='WholeCheckpointHook', by_epoch=False, interval=5000, max_keep_ckpts=2),
    logger=dict(interval=50, log_metric_by_epoch=False),
)
log_processor = dict(type='ShortLogProcessor', by_epoch=False)
