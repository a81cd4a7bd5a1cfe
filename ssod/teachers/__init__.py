"""Teachers: the averaging, the hooks that apply it, and the watch on them."""

from ssod.teachers.ema import EMA
from ssod.teachers.ema_teacher import EMATeacherHook
from ssod.teachers.hook import TeacherHook
from ssod.teachers.pi_teacher import PiTeacherHook
from ssod.teachers.temporal_teacher import TemporalTeacherHook
from ssod.teachers.watch import TeacherWatchHook

__all__ = [
    'EMA',
    'EMATeacherHook',
    'PiTeacherHook',
    'TeacherHook',
    'TeacherWatchHook',
    'TemporalTeacherHook',
]
