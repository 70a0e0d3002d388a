"""Train generations of convolutional networks at once, with batch normalisation and dropout.

Each network keeps statistics of its own, and its dropout depends on its seed alone. Networks with
another dropout have another structure, and train in a group of their own.

    pip install -e ".[torch]" scikit-learn && python examples/train_cnns.py
"""

import argparse

import optuna
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from optuna_ga import GASampler, optimize_generations
from optuna_ga.torch import Member, PopulationTrainer, TensorData


class Digits:
    """Ten classes of images of 8 x 8."""

    def model(self, seed: int, dropout: float = 0.1) -> nn.Module:
        convolve = nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3)
        classify = nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(256, 10)
        return nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *convolve, nn.BatchNorm2d(16), *classify)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return cross_entropy(model(batch[0]), batch[1])

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return {"errors": (model(batch[0]).argmax(1) != batch[1]).sum()}


def suggest(trial: optuna.Trial) -> Member:
    """Return the settings of a trial's network."""
    dropout = trial.suggest_categorical("dropout", [0.1, 0.4])
    return Member(trial.suggest_float("rate", 1e-3, 1.0), 0.9, model={"dropout": dropout})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="auto", help="loop, threads, vmap or branches")
    parser.add_argument("--epochs", type=int, default=5, help="of each training")
    parser.add_argument("--generations", type=int, default=2, help="in total")
    options = vars(parser.parse_args())
    n = options.pop("generations")
    x, y = (torch.tensor(each) for each in load_digits(return_X_y=True))
    train, test = (TensorData(x[p].float() / 16, y[p]) for p in (slice(1200), slice(1200, None)))
    trainer = PopulationTrainer(Digits(), train=train, validation=test, optimizer="sgd", **options)
    study = optuna.create_study(sampler=GASampler.adaptive(population_size=10, seed=0))
    optimize_generations(study, trainer.objective(suggest, metric="errors"), n_generations=n)
    best = study.best_trial
    print(f"Errors {best.value:.3f} with {best.params}")
