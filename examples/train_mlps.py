"""Train generations of small networks at once: settings of AdamW, and the width, on digits.

For your own network write a class like `Digits`: a network for a seed, the loss of a batch, and
sums over a batch of what is to be known about the validation data.

    pip install -e ".[torch]" scikit-learn && python examples/train_mlps.py
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

    def model(self, seed: int, width: int = 64) -> nn.Module:
        return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return cross_entropy(model(batch[0]), batch[1])

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        logits = model(batch[0])
        loss = cross_entropy(logits, batch[1], reduction="sum")
        return {"loss": loss, "accuracy": (logits.argmax(1) == batch[1]).sum()}


def suggest(trial: optuna.Trial) -> Member:
    """Return the settings of a trial's network; a width makes a group of its own."""
    return Member(
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-4, 1.0, log=True),
        model={"width": trial.suggest_categorical("width", [32, 64])},
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="auto", help="loop, threads, vmap or branches")
    parser.add_argument("--epochs", type=int, default=10, help="of each training")
    parser.add_argument("--generations", type=int, default=3, help="in total")
    options = vars(parser.parse_args())
    n = options.pop("generations")
    x, y = (torch.tensor(each) for each in load_digits(return_X_y=True))
    train, test = (TensorData(x[p].float() / 16, y[p]) for p in (slice(1200), slice(1200, None)))
    trainer = PopulationTrainer(Digits(), train=train, validation=test, **options)
    study = optuna.create_study(sampler=GASampler.adaptive(population_size=20, seed=0))
    optimize_generations(study, trainer.objective(suggest), n_generations=n)
    best = study.best_trial
    print(f"Accuracy {best.user_attrs['validation_accuracy']:.3f} with {best.params}")
