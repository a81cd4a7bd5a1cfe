# Soft Teacher on the built-in digits.
_base_ = './mt_fasterrcnn_digits10pct.py'

# The paper's 0.9, 0.02 and λ = 4 are for COCO and 180,000 iterations; after minutes of training, a
# detector is less confident.
model = dict(
    type='SoftTeacherDetector',
    score_threshold=0.7,
    uncertainty_threshold=0.05,
    box_jitter=dict(min_score=0.5),
    pseudo_weight=2.0,
)
default_hooks = dict(teacher=dict(selector=dict(threshold=0.5)))
