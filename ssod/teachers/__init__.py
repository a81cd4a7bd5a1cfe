"""Teachers: the arithmetic of averaging, and the hooks that say when."""

from ssod.teachers.ema import EMA
from ssod.teachers.ema_teacher import EMATeacherHook
from ssod.teachers.hook import TeacherHook

__all__ = ['EMA', 'EMATeacherHook', 'TeacherHook']
