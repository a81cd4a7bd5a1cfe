"""Random choice of the regions a detector trains on, independent for each image."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from mmdet.models import BaseDetector
from mmdet.models.task_modules.samplers import BaseSampler, PseudoSampler
from mmdet.structures import DetDataSample

from ssod.data.sampler import DRAW
from ssod.models.task_modules import task_modules_of
from ssod.replaced import replaced


def region_samplers(detector: BaseDetector) -> list[BaseSampler]:
    """The random samplers of a detector's heads, one for each stage."""
    found = {
        id(part): part
        for part in task_modules_of(detector)
        if isinstance(part, BaseSampler) and not isinstance(part, PseudoSampler)
    }
    return list(found.values())


@contextmanager
def sampling_by_image(
    samplers: Sequence[BaseSampler], samples: Sequence[DetDataSample]
) -> Iterator[None]:
    """Let the regions sampled in an image depend only on that image's draw.

    MMDetection's samplers use one random stream for all images of a batch, so the choice in an
    image depends on the images before it, and thus on the number of ranks. Inside this context each
    image has a stream of its own. Heads must call a sampler for the images one by one, in their
    order, as all of MMDetection's do.

    Args:
        samplers: See :func:`region_samplers`.
        samples: The images of the batch; nothing changes without
            :data:`~ssod.data.sampler.DRAW` in their metainfo.
    """
    draws = [sample.get(DRAW) for sample in samples]
    with ExitStack() as stack:
        if draws and None not in draws:
            for stage, sampler in enumerate(samplers):
                seeded = _seeded(sampler.sample, [(*draw, stage) for draw in draws])
                stack.enter_context(replaced(sampler, 'sample', seeded))
        yield


def _seeded(sample: Callable[..., Any], keys: list[tuple[int, ...]]) -> Callable[..., Any]:
    """Seed a sampler's calls with one key after the other, over and over."""
    calls = 0

    def seeded_sample(*args: Any, **kwargs: Any) -> Any:
        """Sample in the next image, then restore the generator."""
        nonlocal calls
        key, calls = keys[calls % len(keys)], calls + 1
        # The samplers permute with the CPU's generator, wherever their boxes are.
        before = torch.default_generator.get_state()
        (seed,) = np.random.SeedSequence(key).generate_state(1, np.uint64)
        torch.default_generator.manual_seed(int(seed))
        try:
            return sample(*args, **kwargs)
        finally:
            torch.default_generator.set_state(before)

    return seeded_sample
