"""Trains by the fused kernels in Triton's interpreter and by the loop; prints how far they differ.

It is a script, since Triton reads TRITON_INTERPRET when the kernels are defined.
"""

from __future__ import annotations

import sys
from functools import partial

import torch

from optuna_ga.fashion_mnist import _fused, load_subset
from optuna_ga.fashion_mnist._fused import FusedChunk
from optuna_ga.fashion_mnist._fused_backend import FusedBackend
from optuna_ga.fashion_mnist._network import initial_network
from optuna_ga.fashion_mnist._task import ImageData, ImageTask
from optuna_ga.torch import Epoch, Member, PopulationTrainer, Trained
from optuna_ga.torch._dispatcher import MakeBackend

MEMBERS = [Member(0.05, momentum=0.9, weight_decay=0.01), Member(0.1)]


def trained(backend: str | MakeBackend, dropout: bool) -> list[Trained]:
    """Return the members after a batch of 4 and one of 3."""
    images = load_subset(torch.device("cpu")).training
    trainer = PopulationTrainer(
        ImageTask(partial(initial_network, device=torch.device("cpu"), dropout=dropout)),
        train=ImageData(images.take(slice(7)), 4, torch.float32),
        validation=ImageData(images.take(slice(3000, 3003)), 4, torch.float32),
        epochs=1,
        optimizer="sgd",
        backend=backend,
        device="cpu",
    )
    return trainer.train(MEMBERS)


def tensors(trained: Trained) -> list[torch.Tensor]:
    """Return weights and momenta."""
    assert trained.state is not None
    momenta = trained.state["optimizer"]["momentum_buffer"]
    return [*trained.state["weights"].values(), *momenta.values()]


def numbers(epoch: Epoch) -> list[float]:
    """Return the results of an epoch."""
    return [epoch.training_loss, *epoch.metrics.values()]


def main() -> None:
    """Print the largest relative difference of any weight or momentum, then of any result."""
    vars(_fused)["BATCH_SIZE"] = 4
    FusedChunk.EVALUATION_BATCH_SIZE = 4
    dropout = sys.argv[1] == "dropout"
    fused, loop = trained(FusedBackend, dropout), trained("loop", dropout)
    weights, results = 0.0, 0.0
    for mine, theirs in zip(fused, loop, strict=True):
        for found, expected in zip(tensors(mine), tensors(theirs), strict=True):
            error = (found - expected).norm() / expected.norm().clamp(1e-30)
            weights = max(weights, error.item())
        for one, other in zip(numbers(mine.epochs[0]), numbers(theirs.epochs[0]), strict=True):
            results = max(results, abs(one - other))
    print(weights)
    print(results)


if __name__ == "__main__":
    main()
