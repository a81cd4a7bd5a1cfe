"""Batches with a fixed ratio of labelled to unlabelled images."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmdet.registry import DATA_SAMPLERS
from mmengine.dist import get_dist_info, sync_random_seed
from numpy.typing import NDArray
from torch.utils.data import Sampler

from ssod.data.orientation import Orientations
from ssod.strict import strict_settings

DRAW = 'draw'
"""Name of the draw's key in an image's metainfo."""

WINDOW = 32
"""Batches that exchange images, so that each gets those of one orientation."""


class Draw(int):
    """The index of an image, with a key that seeds the randomness of its views.

    Args:
        index: The image's index in the concatenated data set.
        key: Seed, source, and the number of this draw from that source, counted over all ranks.
    """

    key: tuple[int, ...]

    def __new__(cls, index: int, key: tuple[int, ...]) -> 'Draw':
        """Make an ``int`` with a key."""
        draw = super().__new__(cls, index)
        draw.key = key
        return draw

    def __getnewargs__(self) -> tuple[int, tuple[int, ...]]:  # type: ignore[override]
        """Keep the key when pickled for a data worker."""
        return int(self), self.key


@DATA_SAMPLERS.register_module()
@strict_settings
class SourceRatioSampler(Sampler[int]):
    """Draws endlessly from several data sets in a fixed ratio.

    Of every ``sum(source_ratio)`` draws in a row, the first ``source_ratio[0]`` come from the first
    source, the next ``source_ratio[1]`` from the second, and so on. Which image a draw gives
    depends only on the seed and the number of the draw, so a resumed run continues where it was at
    no cost. All ranks together see every image of a shuffled source once before any image comes
    again. At each step, two ranks with batches of b images see the same images as one with 2b.

    A batch that mixes portrait and landscape images is padded to the height of the former and the
    width of the latter. ``by_orientation`` keeps them apart: of every 32 batches in a row, those of
    one rank exchange images of the same source until hardly any batch is mixed. At each step, all
    ranks have the same orientation, as far as their images allow; they see the same images as one
    process only within these 32 steps.

    Args:
        dataset: A ``ConcatDataset`` of the sources.
        source_ratio: Draws from each source, whole numbers of at least 1.
        seed: The same on all ranks. If ``None``, one is drawn and shared among them.
        by_orientation: Whether to keep portrait and landscape images apart. It has an effect after
            :meth:`use_batch_size`, which the teacher's hook calls.

    Raises:
        ValueError: If ``dataset`` is not a ``ConcatDataset``, a source is empty, or the ratio does
            not fit the sources.
    """

    def __init__(
        self,
        dataset: Any,
        source_ratio: Sequence[int],
        seed: int | None = None,
        by_orientation: bool = False,
    ) -> None:
        if not hasattr(dataset, 'cumulative_sizes'):
            raise ValueError(
                f'SourceRatioSampler: dataset is a {type(dataset).__name__}, but must be a '
                f'ConcatDataset with one data set for each number of source_ratio'
            )
        ends = [int(end) for end in dataset.cumulative_sizes]
        self._starts = [0, *ends[:-1]]
        self._sizes = [end - start for start, end in zip(self._starts, ends, strict=True)]
        self.source_ratio = list(source_ratio)
        self._check_sources()
        self.seed = int(sync_random_seed()) if seed is None else seed
        self.rank: int
        self.world_size: int
        self.rank, self.world_size = get_dist_info()
        # For each draw in a period: its source, and its number among that source's draws.
        self._slots = [(s, j) for s, n in enumerate(self.source_ratio) for j in range(n)]
        self._orders: dict[int, tuple[int, NDArray[np.int64]]] = {}
        self._first = 0
        self._orientations = Orientations(dataset) if by_orientation else None
        self._batch_size: int | None = None

    def __iter__(self) -> Iterator[Draw]:
        """Draw for ever, starting after the draws that :meth:`skip` set."""
        if self._orientations is None or self._batch_size is None:
            return map(self._draw, itertools.count(self._first))
        return self._exchanged(self._orientations, self._batch_size)

    def __len__(self) -> int:
        """Draws of this rank until every image of every source has been drawn at least once."""
        periods = [-(-size // n) for size, n in zip(self._sizes, self.source_ratio, strict=True)]
        return -(-max(periods) // self.world_size) * len(self._slots)

    def skip(self, num_samples: int) -> None:
        """Start the next iteration after some draws, without making them.

        Args:
            num_samples: Draws of this rank since training began; replaces an earlier skip.

        Raises:
            ValueError: If negative.
        """
        if num_samples < 0:
            raise ValueError(f'SourceRatioSampler: num_samples={num_samples} must be at least 0')
        self._first = num_samples

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: loops call it, but the draws have no epochs."""

    def use_batch_size(self, batch_size: int) -> None:
        """Take note of the batch size; refuse one by which batches would differ in composition.

        Args:
            batch_size: Images in a batch of one rank.

        Raises:
            ValueError: If it is not a multiple of the sum of ``source_ratio``; names the nearest.
        """
        period = len(self._slots)
        if batch_size >= 1 and batch_size % period == 0:
            self._batch_size = batch_size
            return
        below = batch_size // period * period
        near = f'{below} or {below + period}' if below > 0 else f'{period}'
        raise ValueError(
            f'batch_size={batch_size} does not fit source_ratio={self.source_ratio}: it must be a '
            f'multiple of {period}, such as {near}'
        )

    def _draw(self, number: int) -> Draw:
        """This rank's draw with a given number."""
        period, place = divmod(number, len(self._slots))
        source, slot = self._slots[place]
        period = period * self.world_size + self.rank
        position = period * self.source_ratio[source] + slot
        in_pass, at = divmod(position, self._sizes[source])
        index = self._starts[source] + int(self._order(source, in_pass)[at])
        return Draw(index, (self.seed, source, position))

    def _exchanged(self, orientations: Orientations, batch_size: int) -> Iterator[Draw]:
        """The draws, with those of each window in another order."""
        length = WINDOW * batch_size
        sources = np.resize([source for source, _ in self._slots], length)
        for window in itertools.count(self._first // length):
            start = window * length
            draws = [self._draw(number) for number in range(start, start + length)]
            portrait = np.array([orientations.is_portrait(draw) for draw in draws])
            # Each source keeps its places in the batches, and fills them with landscapes first.
            order = np.empty(length, np.int64)
            order[np.argsort(sources, kind='stable')] = np.lexsort((portrait, sources))
            # No source has this number.
            rng = np.random.default_rng([self.seed, len(self._sizes), window])
            order = order.reshape(WINDOW, batch_size)[rng.permutation(WINDOW)].ravel()
            yield from (draws[i] for i in order[max(0, self._first - start) :])

    def _order(self, source: int, in_pass: int) -> NDArray[np.int64]:
        """The order of a source's images in one pass; only the current one is kept."""
        kept, order = self._orders.get(source, (-1, np.empty(0, np.int64)))
        if kept != in_pass:
            rng = np.random.default_rng([self.seed, source, in_pass])
            order = rng.permutation(self._sizes[source])
            self._orders[source] = (in_pass, order)
        return order

    def _check_sources(self) -> None:
        ratio = self.source_ratio
        if len(ratio) != len(self._sizes):
            raise ValueError(
                f'SourceRatioSampler: source_ratio={ratio} has {len(ratio)} numbers for '
                f'{len(self._sizes)} data sets; give one for each'
            )
        if any(type(n) is not int or n < 1 for n in ratio):
            raise ValueError(
                f'SourceRatioSampler: source_ratio={ratio} must be whole numbers of at least 1; '
                f'leave a data set out rather than give it 0'
            )
        for number, size in enumerate(self._sizes):
            if size == 0:
                raise ValueError(
                    f'SourceRatioSampler: data set {number} of the ConcatDataset is empty; check '
                    f'its ann_file and filter_cfg'
                )
