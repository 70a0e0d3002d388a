"""Population-based training: learning rate and momentum change while a network trains.

Each trial trains for two epochs and saves model and optimizer. A child resumes from its fitter
parent's state with other hyperparameters, so a lineage of trials is one training with a schedule.
Any model and any optimizer work, and parallel workers may share the folder.

    pip install -e ".[torch]" && python examples/population_based_training.py
"""

import argparse
from functools import partial

import optuna
import torch

import optuna_ga
from optuna_ga import Checkpoints, GASampler, optimize_generations

labels = torch.arange(800) // 400  # Two spirals; every second point is for validation.
angle = torch.linspace(0.5, 6.5, 400).repeat(2)
turned = angle + labels * torch.pi
points = torch.stack([angle * turned.cos(), angle * turned.sin()], dim=1) / 3
cross_entropy = torch.nn.CrossEntropyLoss()


def train(trial: optuna.Trial, checkpoints: Checkpoints) -> float:
    """Resume the parent's training for two epochs, and return the validation loss."""
    torch.manual_seed(trial.number)
    layers = torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Linear(32, 32), torch.nn.ReLU()
    model = torch.nn.Sequential(*layers, torch.nn.Linear(32, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    if state := checkpoints.load_parent(trial):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    for group in optimizer.param_groups:  # After loading, which restores the parent's.
        group["lr"] = trial.suggest_float("lr", 1e-3, 1.0, log=True)
        group["momentum"] = trial.suggest_float("momentum", 0.0, 0.9)
    for batch in torch.cat([torch.randperm(400), torch.randperm(400)]).split(20):
        optimizer.zero_grad()
        cross_entropy(model(points[::2][batch]), labels[::2][batch]).backward()
        optimizer.step()
    checkpoints.save(trial, {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    return float(cross_entropy(model(points[1::2]), labels[1::2]).item())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default="checkpoints", help="folder for the checkpoints")
    parser.add_argument("--generations", type=int, default=10, help="number of generations")
    options = parser.parse_args()
    objective = partial(train, checkpoints=Checkpoints(options.folder))
    study = optuna.create_study(sampler=GASampler.population_based_training(10, seed=0))
    optimize_generations(study, lambda trials: map(objective, trials), options.generations)
    best = optuna_ga.best_of_final_generation(study)
    rates = [round(segment["lr"], 3) for segment in optuna_ga.schedule_of(study, best)]
    print(f"Loss {best.value:.3g} with the learning rates {rates}")
    replays = optuna_ga.replay(study, best, lambda trials: map(objective, trials))
    print(f"Five replays of this schedule: {[float(f'{trial.value:.3g}') for trial in replays]}")
