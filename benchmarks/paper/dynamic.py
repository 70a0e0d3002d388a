"""Hyperparameters that change while networks train, beside hyperparameters that do not.

The dynamic methods are populations of networks, each of whose generations trains for one more
epoch: `dynamic` is `GASampler.population_based_training` with the paper's operators, `perturb` the
same with small mutations, and `truncation` has both operators of Jaderberg et al. 2017. The static
methods `ga`, `adaptive`, `random` and `tpe` train every trial from scratch, for as many epochs as
a population has generations, with the paper's StepLR. All train equally many epochs in total; with
`--limit seconds` the static methods search for as long as `dynamic` did instead. `--network mlp`
trains a small MLP on the same images in the place of the paper's CNN.

The answer of a population is the best network of its final generation, that of the others the
network of their best trial. Each answer is scored once on the test images. Then networks of other
seeds follow its schedule, which shows its worth without the luck for which it was chosen. A row is
one study. A run that was stopped resumes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import optuna
import torch
from optuna import Trial
from optuna.pruners import NopPruner
from optuna.study import Study
from optuna.trial import FrozenTrial

from benchmarks.options import Options, at_least
from benchmarks.paper import dynamic_report
from benchmarks.paper.mlp import MLPObjective, mlp_trainer
from benchmarks.rows import RESULTS, Row, device_name, environment, rows_to_continue
from benchmarks.runner import Job, Missing, run_missing
from benchmarks.samplers import SAMPLERS, Search
from benchmarks.trainings import (
    LEARNING_RATE_DECAY,
    MakeTrainer,
    default_device,
    expected_time,
)
from optuna_ga import (
    Checkpoints,
    GASampler,
    Result,
    best_of_final_generation,
    optimize_generations,
    replay,
    schedule_of,
)
from optuna_ga.fashion_mnist import SEARCH_SPACE, FashionMNISTObjective, Score, paper_trainer

# The operators of the populations, by method.
POPULATIONS: Mapping[str, Mapping[str, Any]] = {
    "dynamic": {},
    "perturb": {"mutation": "perturb"},
    "truncation": {"mutation": "perturb", "selection": "truncation"},
}
METHODS = (*POPULATIONS, "ga", "adaptive", "random", "tpe")
LIMITS = ("epochs", "seconds")
FIRST_REPLAY_SEED = 1000

Evaluate = Callable[[list[Trial]], Sequence[Result]]
Objective = FashionMNISTObjective | MLPObjective

# Trials that the static methods train together, the population of `ga`: few, so that they learn
# often, or as many as a GPU trains at once, so that no seconds are wasted.
ASKED_AT_ONCE = {"epochs": 5, "seconds": 10}


class Network(NamedTuple):
    """A network on the paper's images.

    Attributes:
        objective: Its objective, by epochs, numbers of images and other options.
        trainer: Its trainer, by images and epochs.
    """

    objective: Callable[..., Objective]
    trainer: MakeTrainer


NETWORKS: Mapping[str, Network] = {
    "cnn": Network(FashionMNISTObjective, paper_trainer),
    "mlp": Network(MLPObjective, mlp_trainer),
}


class Setting(NamedTuple):
    """The settings that all studies share.

    Attributes:
        network: One of `NETWORKS`.
        population_size: Networks of a population.
        epochs: Its generations, and the epochs of each trial of the static methods.
        training_images: Images to train on.
        validation_images: Images to evaluate on.
        replays: Networks of other seeds that follow an answer's schedule.
    """

    network: str
    population_size: int
    epochs: int
    training_images: int
    validation_images: int
    replays: int

    def objective(self, epochs: int, **options: Any) -> Objective:
        """Return an objective on these images."""
        return NETWORKS[self.network].objective(
            epochs=epochs,
            n_training_images=self.training_images,
            n_validation_images=self.validation_images,
            **options,
        )


def row_of(method: str, limit: str, seed: int, setting: Setting, seconds: float) -> Row:
    """Return the result columns of one study.

    Args:
        method: One of `METHODS`.
        limit: One of `LIMITS`.
        seed: Seed of the sampler, and of initial weights and batches.
        setting: The setting.
        seconds: How long to search, infinity to train as many epochs as `dynamic`.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    start = perf_counter()
    is_population = method in POPULATIONS
    if is_population:
        study, objective = _dynamic(method, seed, setting)
    else:
        study, objective = _static(method, seed, setting, seconds, ASKED_AT_ONCE[limit])
    found = {"seconds": f"{perf_counter() - start:.4g}", "trials": len(study.trials)}
    if is_population:
        answer = best_of_final_generation(study)
        diverged = "diverged" in answer.user_attrs
        test = Score(math.inf, math.nan) if diverged else objective.test_trained(answer)
        schedule = schedule_of(study, answer)
        ended = replay(study, answer, _replaying(setting, 1, Checkpoints()), setting.replays)
    else:
        answer = study.best_trial
        test = objective.test(answer.params)
        schedule = _step_lr(answer.params, setting.epochs)
        ended = _repeated(answer, setting)
    return (
        found
        | _results(study, answer, test)
        | {
            "replay_losses": " ".join(f"{trial.value:.6g}" for trial in ended),
            **{name: " ".join(f"{one[name]:.6g}" for one in schedule) for name in SEARCH_SPACE},
        }
    )


def _dynamic(method: str, seed: int, setting: Setting) -> tuple[Study, Objective]:
    objective = setting.objective(1, seed=seed, checkpoints=Checkpoints())
    sampler = GASampler.population_based_training(
        setting.population_size, seed=seed, **POPULATIONS[method]
    )
    study = optuna.create_study(sampler=sampler, pruner=NopPruner())
    optimize_generations(study, objective.evaluate_generation, setting.epochs)
    return study, objective


def _static(
    method: str, seed: int, setting: Setting, seconds: float, asked: int
) -> tuple[Study, Objective]:
    objective = setting.objective(setting.epochs, seed=seed)
    sampler = SAMPLERS[method](Search(seed, asked))
    study = optuna.create_study(sampler=sampler, pruner=NopPruner())
    n_generations = setting.population_size // asked  # As many epochs as `dynamic`.
    timed = math.isfinite(seconds)
    optimize_generations(
        study,
        objective.evaluate_generation,
        1_000_000 if timed else n_generations,
        population_size=asked,
        timeout=seconds if timed else None,
    )
    return study, objective


def _replaying(setting: Setting, epochs: int, checkpoints: Checkpoints | None) -> Evaluate:
    """Return an objective that evaluates trials with seeds that no search has."""
    objective = setting.objective(
        epochs, seed=FIRST_REPLAY_SEED, seed_per_trial=True, checkpoints=checkpoints
    )
    return objective.evaluate_generation


def _repeated(answer: FrozenTrial, setting: Setting) -> list[FrozenTrial]:
    """Return trials with the answer's parameters and other seeds."""
    study = optuna.create_study(pruner=NopPruner())
    for _ in range(setting.replays):
        study.enqueue_trial(answer.params)
    evaluate = _replaying(setting, setting.epochs, None)
    optimize_generations(study, evaluate, 1, population_size=setting.replays)
    return study.trials


def _step_lr(params: Mapping[str, float], epochs: int) -> list[dict[str, float]]:
    """Return the paper's schedule: the learning rate is multiplied by 0.7 after each epoch."""
    rates = (params["learning_rate"] * LEARNING_RATE_DECAY**epoch for epoch in range(epochs))
    return [{**params, "learning_rate": rate} for rate in rates]


def _results(study: Study, answer: FrozenTrial, test: Score) -> Row:
    return {
        "diverged": sum("diverged" in trial.user_attrs for trial in study.trials),
        "validation_loss": f"{answer.user_attrs.get('validation_loss', math.inf):.6g}",
        "training_loss": f"{answer.user_attrs.get('training_loss', math.inf):.6g}",
        "accuracy": answer.user_attrs.get("validation_accuracy", 0.1),
        "test_loss": f"{test.loss:.6g}",
        "test_accuracy": test.accuracy,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then report; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    device = default_device()
    path = (options.out or RESULTS / f"dynamic_{device.type}").with_suffix(".csv")
    if options.step == "run":
        setting = Setting(*(getattr(options, name) for name in Setting._fields))
        if setting.population_size % (few := ASKED_AT_ONCE["epochs"]):
            parser.error(
                f"argument --population-size: must be a multiple of {few}, but "
                f"{setting.population_size} was given"
            )
        parser.checked(setting.objective, 1)  # It checks the numbers of images.
        rows = parser.checked(rows_to_continue, path, setting._asdict())
        if n_studies := _n_missing(rows, options):
            print(_expected_time(n_studies, setting, device), flush=True)
        facts = setting._asdict() | environment(device_name(device))
        end = perf_counter() + 60 * options.minutes
        # The time of `dynamic` may limit the static methods, which therefore come after it.
        static = [method for method in METHODS if method not in POPULATIONS]
        for methods in (list(POPULATIONS), static):
            chosen = [method for method in methods if method in options.methods]
            jobs = _jobs(rows, chosen, setting, options)
            missing = Missing(path, rows, jobs, facts, _order)
            run_missing(missing, row_of, options.processes, end - perf_counter())
    frame = parser.report(path, lambda frame: dynamic_report.report(frame, path.stem))
    dynamic_report.plot(frame, path.with_suffix(".png"))


def _jobs(
    rows: Sequence[Row], methods: Sequence[str], setting: Setting, options: argparse.Namespace
) -> list[Job]:
    """Return a job for each study; none for a limit in seconds that is not known yet."""
    taken = {int(r["seed"]): float(r["seconds"]) for r in rows if r["method"] == "dynamic"}
    jobs = []
    for seed in range(options.seeds):
        for method in methods:
            limit = _limit(method, options)
            seconds = math.inf if limit == "epochs" else taken.get(seed)
            if seconds is not None:
                key = {"method": method, "limit": limit, "seed": seed}
                jobs.append(Job(key, (method, limit, seed, setting, seconds)))
    return jobs


def _n_missing(rows: Sequence[Row], options: argparse.Namespace) -> int:
    done = {(row["method"], row["limit"], int(row["seed"])) for row in rows}
    wanted = {
        (method, _limit(method, options), seed)
        for method in options.methods
        for seed in range(options.seeds)
    }
    return len(wanted - done)


def _limit(method: str, options: argparse.Namespace) -> str:
    return "epochs" if method in POPULATIONS else str(options.limit)


def _expected_time(n_studies: int, setting: Setting, device: torch.device) -> str:
    n_images = setting.training_images, setting.validation_images
    n_trainings = n_studies * (setting.population_size + setting.replays)
    together = min(ASKED_AT_ONCE.values())
    make_trainer = NETWORKS[setting.network].trainer
    return expected_time(
        n_trainings, together, setting.epochs, n_images, device, make_trainer=make_trainer
    )


def _order(row: Row) -> tuple[str, int, int]:
    return row["limit"], METHODS.index(row["method"]), int(row["seed"])


def _parser() -> Options:
    parser = Options("python -m benchmarks.paper.dynamic", __doc__)
    parser.add_step(run="runs what is missing and reports", report="only reports")
    parser.add("--methods", "methods to compare", list(METHODS), nargs="+", choices=METHODS)
    parser.add("--seeds", "number of seeds", 10, type=at_least(1))
    parser.add("--limit", "limit that all methods share", LIMITS[0], choices=LIMITS)
    names = list(NETWORKS)
    parser.add("--network", "network, the paper's or an MLP", names[0], choices=names)
    parser.add("--population-size", "networks of a population", 20, type=at_least(5))
    parser.add("--epochs", "generations of a population, epochs of a trial", 14, type=at_least(2))
    parser.add("--training-images", "training images", 50_000, type=at_least(64))
    parser.add("--validation-images", "validation images", 10_000, type=at_least(64))
    parser.add("--replays", "networks that follow each answer's schedule", 5, type=at_least(2))
    parser.add("--processes", "worker processes", 1, type=at_least(1))
    parser.add("--minutes", "minutes after which no study begins", math.inf, type=float)
    parser.add(
        "--out",
        "results, without ending (default: dynamic_DEVICE in benchmarks/results)",
        type=Path,
    )
    return parser


if __name__ == "__main__":
    main()
