"""Train generations of convolutional networks at once, each with a dropout of its own.

Networks that differ in the numbers of their tensors alone form a group; so the probability is a
buffer here, since `nn.Dropout(p)` would make a group of each. Trials that fall behind are pruned
between epochs.

    pip install optuna-ga scikit-learn torch && python examples/train_cnns.py
"""

import argparse

import optuna
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from optuna_ga import GASampler, best_of_final_generation, optimize_generations
from optuna_ga.torch import Member, PopulationTrainer, TensorData


class Network(nn.Sequential):
    """Two convolutions with batch normalisation."""

    dropout: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        hidden = pixels.unflatten(1, (1, 8, 8))
        for layer in list(self)[:-1]:
            hidden = layer(hidden)
        logits: Tensor = self[-1](F.dropout(hidden, self.dropout, self.training))  # type: ignore
        return logits


class Digits:
    """Ten classes of images of 8 x 8."""

    def model(self, seed: int, dropout: float = 0.1) -> nn.Module:
        first = nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU()
        second = nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.ReLU()
        network = Network(*first, *second, nn.Flatten(), nn.Linear(256, 10))
        network.register_buffer("dropout", torch.tensor(dropout))
        return network

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return {"errors": (model(batch[0]).argmax(1) != batch[1]).sum()}


def suggest(trial: optuna.Trial) -> Member:
    """Return the settings of a trial's network."""
    rate, dropout = trial.suggest_float("rate", 1e-3, 1.0), trial.suggest_float("dropout", 0, 0.5)
    return Member(rate, momentum=0.9, model={"dropout": dropout})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="auto", help="loop, threads, vmap or branches")
    parser.add_argument("--epochs", type=int, default=5, help="of each training")
    parser.add_argument("--generations", type=int, default=2, help="in total")
    options = parser.parse_args()
    x, y = (torch.tensor(each) for each in load_digits(return_X_y=True))
    data = [TensorData(x[part].float() / 16, y[part]) for part in (slice(1200), slice(1200, None))]
    trainer = PopulationTrainer(
        Digits(), train=data[0], validation=data[1], epochs=options.epochs, optimizer="sgd",
        backend=options.backend,
    )  # fmt: skip
    study = optuna.create_study(sampler=GASampler(population_size=10, seed=0))
    optimize_generations(study, trainer.objective(suggest, metric="errors"), options.generations)
    best = best_of_final_generation(study)
    print(f"Errors {best.value:.3f} with {best.params}")
