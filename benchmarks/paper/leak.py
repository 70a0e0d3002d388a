"""Rules that give validation losses far below the training losses, as the paper reports them.

The paper's five runs take place under rules that differ in two ways. The weights that an
individual starts from are

- `fresh`: newly initialized, as the paper's section 4 says;
- `inherited`: those of its fitter parent after training;
- `shared`: those of the last individual whose training did not diverge.

The images are split into training and validation `once`, or `anew` for each individual. In a new
split, weights that were trained before are validated on images that they were trained on. Under
all rules the network of the best individual is scored on images that no individual sees.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path

import optuna
import torch

from benchmarks.options import Options, at_least
from benchmarks.paper.leak_report import report
from benchmarks.paper.runs import PAPER, PaperRun
from benchmarks.rows import RESULTS, Row, device_name, environment, rows_to_continue
from benchmarks.runner import Job, Missing, run_missing
from benchmarks.trainings import default_device, load
from optuna_ga import GASampler
from optuna_ga.fashion_mnist import (
    SEARCH_SPACE,
    Data,
    DivergedError,
    Images,
    Network,
    evaluate,
    initial_network,
    train,
)

RULES = [
    ("fresh", "once"), ("fresh", "anew"), ("inherited", "once"), ("inherited", "anew"),
    ("shared", "once"), ("shared", "anew"),
]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then report; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    device = default_device()
    out = options.out or RESULTS / f"leak_{device.type}.csv"
    if options.step == "run":
        settings = {"data": options.data, "images": options.images, "epochs": options.epochs}
        parser.checked(load, options.data, device, options.images)
        rows = parser.checked(rows_to_continue, out, settings)
        jobs = [
            Job(
                {"run": run.name, "weights": weights, "split": split, "seed": seed},
                (run, weights, split, seed, *settings.values(), device.type),
            )
            for seed in range(options.seeds)
            for run in PAPER
            for weights, split in RULES
        ]
        facts = settings | environment(device_name(device))
        run_missing(Missing(out, rows, jobs, facts), row_of, options.processes)
    parser.report(out, report)


def row_of(
    run: PaperRun,
    weights: str,
    split: str,
    seed: int,
    data: str,
    n_images: int,
    epochs: int,
    device: str,
) -> Row:
    """Return the result columns of one run under the rules `weights` and `split`.

    Of the images, five in six are for training, as in the paper, and one in six for validation.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    population = _Population(
        load(data, torch.device(device)), n_images, epochs, weights=weights, split=split
    )
    sampler = GASampler(run.population_size, mutation_prob=run.mutation_prob, seed=seed)
    study = optuna.create_study(sampler=sampler)
    study.optimize(population, n_trials=run.n_trials)
    best = study.best_trial
    held_out = population.held_out_loss(best.number)
    return {
        "individuals": len(study.trials),
        "diverged": sum(math.isinf(trial.value or 0.0) for trial in study.trials),
        "training_loss": _digits(best.user_attrs.get("training_loss", math.inf)),
        "validation_loss": _digits(best.value),
        "held_out_loss": _digits(held_out[0]),
        "held_out_accuracy": _digits(held_out[1]),
    }


class _Population:
    """Objective in which an individual's weights may be those of another after training."""

    def __init__(self, data: Data, n_images: int, epochs: int, *, weights: str, split: str):
        self._images = data.training.take(slice(n_images))
        self._held_out = data.validation
        self._n_training = n_images * 5 // 6
        self._epochs = epochs
        self._weights = weights
        self._split = split
        self._networks: dict[int, Network] = {}  # By trial number.

    def __call__(self, trial: optuna.Trial) -> float:
        rate, momentum, decay = (
            trial.suggest_float(name, d.low, d.high) for name, d in SEARCH_SPACE.items()
        )
        network = self._start(trial)
        training, validation = self._divide(trial.number if self._split == "anew" else 0)
        try:
            *_, last = train(
                network, training, validation,
                learning_rate=rate, momentum=momentum, weight_decay=decay,
                epochs=self._epochs, seed=trial.number,
            )  # fmt: skip
        except DivergedError:
            return math.inf
        network.zero_grad()  # Gradients take as much memory as the weights.
        self._networks[trial.number] = network
        trial.set_user_attr("training_loss", last.training_loss)
        return last.metrics["loss"]

    def held_out_loss(self, number: int) -> tuple[float, float]:
        """Return loss and accuracy on images that no individual sees."""
        if number not in self._networks:
            return math.inf, math.nan
        return evaluate(self._networks[number], self._held_out)

    def _start(self, trial: optuna.Trial) -> Network:
        """Return the network from which an individual's training starts."""
        ancestors: Sequence[int] = []
        if self._weights == "shared":
            ancestors = list(self._networks)[-1:]
        elif self._weights == "inherited":
            trials = trial.study.get_trials(deepcopy=False)
            parents = trials[trial.number].user_attrs.get("ga_parents", [])
            ancestors = sorted(parents, key=lambda number: trials[number].value or 0.0)[:1]
        for number in ancestors:
            if number in self._networks:
                return copy.deepcopy(self._networks[number])
        return initial_network(0, self._images.labels.device)

    def _divide(self, seed: int) -> tuple[Images, Images]:
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self._images.labels), generator=generator)
        order = order.to(self._images.labels.device)
        return (
            self._images.take(order[: self._n_training]),
            self._images.take(order[self._n_training :]),
        )


def _digits(value: float | None) -> str:
    return f"{value:.6g}"


def _parser() -> Options:
    parser = Options("python -m benchmarks.paper.leak", __doc__)
    parser.add_step(run="runs what is missing and reports", report="only reports")
    parser.add("--data", "images", "subset", choices=["subset", "full"])
    parser.add(
        "--images",
        "images for training and validation together",
        300,
        type=at_least(100),
    )
    parser.add("--epochs", "epochs of each training", 1, type=at_least(1))
    parser.add("--seeds", "number of seeds, 0 and up", 1, type=at_least(1))
    parser.add("--processes", "worker processes", 2, type=at_least(1))
    parser.add("--out", "file of rows (default: leak_DEVICE.csv in benchmarks/results)", type=Path)
    return parser


if __name__ == "__main__":
    main()
