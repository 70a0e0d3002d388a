"""Another network and other images in the paper's place: an MLP on scikit-learn's digits.

The search space, SGD and schedule are the paper's. Samplers can be compared on it, too:

    python -m benchmarks --objective examples.train_digits:objective --seeds 0 1 2
"""

import optuna
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from optuna_ga import GASampler, optimize_generations
from optuna_ga.torch import Member, PopulationTrainer, StepDecay, TensorData


class Digits:
    """A network with two hidden layers, and ten classes of images of 8 x 8."""

    def model(self, seed: int) -> nn.Module:
        layers = nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)
        return nn.Sequential(*layers)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return cross_entropy(model(batch[0]), batch[1])

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        logits = model(batch[0])
        loss = cross_entropy(logits, batch[1], reduction="sum")
        return {"loss": loss, "accuracy": (logits.argmax(1) == batch[1]).sum()}


def suggest(trial: optuna.Trial) -> Member:
    """Return the settings of a trial's network."""
    return Member(
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 1.0),
        momentum=trial.suggest_float("momentum", 0.0, 0.9),
        weight_decay=trial.suggest_float("weight_decay", 0.0, 0.1),
    )


x, y = (torch.tensor(each) for each in load_digits(return_X_y=True))
parts = slice(1200), slice(1200, None)
training, validation = (TensorData(x[p].float() / 16, y[p], batch_size=64) for p in parts)
trainer = PopulationTrainer(
    Digits(),
    train=training,
    validation=validation,
    epochs=5,
    optimizer="sgd",
    schedule=StepDecay(0.7),
)
objective = trainer.objective(suggest)

if __name__ == "__main__":
    study = optuna.create_study(sampler=GASampler.adaptive(10, seed=0))
    optimize_generations(study, objective, n_generations=4)
    print(f"Loss {study.best_value:.3f} with {study.best_params}")
