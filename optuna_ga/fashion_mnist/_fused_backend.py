"""Members in chunks that the kernels of `_fused` train: a backend of `PopulationTrainer`.

Shapes: P members, C members of a chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from optuna_ga.fashion_mnist._fused import FusedChunk
from optuna_ga.fashion_mnist._task import ImageData
from optuna_ga.torch._backends.branches import ByBranches
from optuna_ga.torch._backends.cuda_graph import Capturer, new_capturer
from optuna_ga.torch._backends.stack import StackBackend
from optuna_ga.torch._randomness.keys import member_key
from optuna_ga.torch._recipe import Recipe
from optuna_ga.torch._training import Epoch, Training

# A chunk takes the smallest of these sizes that holds it, so that few graphs are captured, and
# time falls as members drop out. More members at once would gain no speed and cost memory.
CHUNK_SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)


class FusedBackend:
    """Trains members of the paper's network; those of a chunk share seed and epoch.

    The kernels neither clip gradients, nor know other batch sizes than the data's, nor change a
    learning rate within an epoch. Members that want this train by `branches`.

    Args:
        recipe: The settings that all members share.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._capturer = Capturer(recipe.device)
        self._chunks: dict[int, FusedChunk] = {}
        self._branches = StackBackend(recipe, ByBranches(recipe.device))

    def train_epoch(self, members: Sequence[Training]) -> list[tuple[Training, Epoch]]:
        """Train the members; see `Backend`."""
        ended: dict[int, tuple[Training, Epoch]] = {}
        classes: dict[tuple[int, int], list[int]] = {}
        others = [position for position, each in enumerate(members) if not self._takes(each)]
        if others:
            results = self._branches.train_epoch([members[position] for position in others])
            ended.update(zip(others, results, strict=True))
        for position, each in enumerate(members):
            if position not in ended:
                classes.setdefault((each.member.seed, each.n_epochs), []).append(position)
        for positions in classes.values():
            for part in split_evenly(positions, CHUNK_SIZES[-1]):
                results = self._train_together([members[position] for position in part])
                ended.update(zip(part, results, strict=True))
        return [ended[position] for position in range(len(members))]

    def release(self) -> None:
        """Free all chunks and their graphs."""
        self._branches.release()
        self._chunks.clear()
        self._capturer = new_capturer(self._recipe.device)

    def _takes(self, training: Training) -> bool:
        """Return whether the kernels can train a member's next epoch."""
        member, size = training.member, self._recipe.train.batch_size
        usual = math.isinf(member.clip_norm) and self._recipe.batch_size(member) == size
        return usual and len({*self._rates(training)}) == 1

    def _rates(self, training: Training) -> list[float]:
        """Return the learning rates of a member's next epoch."""
        recipe, data = self._recipe, self._recipe.train
        n_epochs = recipe.n_epochs(training.member)
        return training.rates(recipe.schedule, n_epochs, data.n_batches(data.batch_size))

    def _train_together(self, members: Sequence[Training]) -> list[tuple[Training, Epoch]]:
        """Train members of one seed and epoch."""
        data, first, structure = self._recipe.train, members[0], members[0].structure
        chunk = self._chunk(len(members), first)
        padded = [*members, *[first] * (chunk.size - len(members))]
        n_steps = data.n_batches(data.batch_size)
        settings = torch.zeros(chunk.size, 3, dtype=torch.float64)  # Empty places do not learn.
        for row, each in enumerate(members):
            rate = self._rates(each)[0]
            settings[row] = torch.tensor([rate, each.member.momentum, each.member.weight_decay])
        chunk.load(
            structure.layout.views(torch.stack([each.weights for each in padded])),
            structure.layout.views(torch.stack([each.moments[0] for each in padded])),
            settings,
        )
        seed, epoch = first.member.seed, first.n_epochs
        assert isinstance(data, ImageData)
        results = chunk.train_epoch(data.order(seed, epoch), member_key(seed, epoch))
        weights, momenta = map(structure.layout.rows, chunk.read())
        return [
            (each.advanced(weights[row], (momenta[row],), {}, n_steps), results[row])
            for row, each in enumerate(members)
        ]

    def _chunk(self, n_members: int, like: Training) -> FusedChunk:
        size = next(size for size in CHUNK_SIZES if size >= n_members)
        if size not in self._chunks:
            train, validation = self._recipe.train, self._recipe.validation
            assert isinstance(train, ImageData)
            assert isinstance(validation, ImageData)
            self._chunks[size] = FusedChunk(
                size,
                train.images,
                validation.images,
                precision=self._recipe.precision,
                dropout=bool(like.structure.template.dropout),
                capturer=self._capturer,
            )
        return self._chunks[size]


def split_evenly(positions: Sequence[int], largest: int) -> Iterator[Sequence[int]]:
    """Yield parts of nearly equal length, none longer than `largest`.

    >>> [len(part) for part in split_evenly(range(50), 16)]
    [13, 13, 13, 11]
    """
    size = math.ceil(len(positions) / math.ceil(len(positions) / largest))
    for start in range(0, len(positions), size):
        yield positions[start : start + size]
