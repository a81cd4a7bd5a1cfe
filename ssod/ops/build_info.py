"""mmcv's reports on its build: ``get_compiler_version`` and the like.

mmdet logs both with the environment at the start of a run.
"""

import torchvision

__all__ = ['get_compiler_version', 'get_compiling_cuda_version']


def get_compiler_version() -> str:
    """Say that nothing was compiled, and where the operators come from."""
    return f'not compiled; ssod.ops uses torchvision {torchvision.__version__}'


def get_compiling_cuda_version() -> str:
    """Say that nothing was compiled for CUDA."""
    return 'not available'
