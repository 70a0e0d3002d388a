"""Trains by the fused kernels in Triton's interpreter and by vmap, and prints how far they differ.

It is a script, since Triton reads TRITON_INTERPRET when the kernels are defined.
"""

from __future__ import annotations

import sys

import torch

from optuna_ga.fashion_mnist import _chunks, _fused
from optuna_ga.fashion_mnist._chunks import Chunk, Stack, VmapChunk
from optuna_ga.fashion_mnist._data import load_subset
from optuna_ga.fashion_mnist._fused import FusedChunk
from optuna_ga.fashion_mnist._trainers import Member
from optuna_ga.fashion_mnist._training import Epoch
from optuna_ga.torch._backends.cuda_graph import Capturer

CPU = torch.device("cpu")
MEMBERS = [Member(0.05, 0.9, 0.01), Member(0.1, 0.0, 0.0)]


def trained(kind: type[Chunk], dropout: bool) -> tuple[Stack, list[Epoch | None]]:
    """Return the population after a batch of 4 and one of 3, and the results of the epoch."""
    images = load_subset(CPU).training
    stack = Stack(MEMBERS, CPU, torch.float32)
    chunk = kind(
        2, images.take(slice(7)), images.take(slice(3000, 3003)), dtype=torch.float32,
        precision="float32", dropout=dropout, capturer=Capturer(CPU),
    )  # fmt: skip
    chunk.load(stack, [0, 1])
    epochs = chunk.train_epoch(torch.tensor([3, 1, 6, 0, 2, 5, 4]), 5)
    chunk.store(stack, [0, 1])
    return stack, epochs


def main() -> None:
    """Print the largest relative difference of any weight or momentum, then of any result."""
    for module in (_chunks, _fused):
        vars(module)["BATCH_SIZE"] = 4
    FusedChunk.EVALUATION_BATCH_SIZE = 4
    dropout = sys.argv[1] == "dropout"
    (mine, ended), (theirs, expected) = (
        trained(kind, dropout) for kind in (FusedChunk, VmapChunk)
    )
    print(
        max(
            ((first[name] - second[name]).norm() / second[name].norm()).item()
            for first, second in (
                (mine.weights, theirs.weights), (mine.momenta, theirs.momenta),
            )
            for name in second
        )
    )  # fmt: skip
    print(
        max(
            abs(a - b)
            for first, second in zip(ended, expected, strict=True)
            for a, b in zip(first or (), second or (), strict=True)
        )
    )


if __name__ == "__main__":
    main()
