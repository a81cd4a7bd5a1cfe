"""What is a published method's own and nobody else's, one file each; docs/recipes.md tells more."""

from ssod.recipes.dense_teacher import DenseTeacher

__all__ = ['DenseTeacher']
