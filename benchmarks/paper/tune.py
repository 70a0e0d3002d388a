"""The main job: tune the paper's CNN on FashionMNIST with every sampler, and compare them.

Without options this is the quick preset, a few minutes on two CPU cores. A run that was stopped
resumes. The studies of `GASampler` have a `DashboardReport`. A training that diverges has twice
the loss of guessing. `--objective module:name` takes an objective of your own in the CNN's place,
with its own images and epochs; its value is minimized.
"""

from __future__ import annotations

import argparse
import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import optuna
import sqlalchemy
import torch
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial

from benchmarks.commands import other_commands
from benchmarks.options import Options, at_least
from benchmarks.paper.own_objective import load_objective
from benchmarks.paper.studies import Callback, Problem, StudyJob, n_missing, rows, run_studies
from benchmarks.paper.tune_report import WIDTH, plot, read_runs, table
from benchmarks.rows import device_name, write_rows
from benchmarks.samplers import PAPER_SAMPLERS, SAMPLERS
from benchmarks.trainings import PRECISIONS, default_device, expected_time
from optuna_ga import DashboardReport, GASampler, optimize_generations
from optuna_ga.fashion_mnist import FashionMNISTObjective

_OF_TRAINING = [
    "data",
    "training_images",
    "epochs",
    "training_seed",
    "precision",
    "device",
    "folder",
]
ROWS, CURVES, STUDIES = "rows.csv", "curves.png", "studies.db"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then report; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.objective is not None:
        _check_own(parser, options)
    url = options.storage or f"sqlite:///{(options.out / STUDIES).as_posix()}"
    if options.step != "report":
        _run(parser, options, url)
    if options.step != "run":
        _report(parser, options.out)
    shown = sqlalchemy.make_url(url).render_as_string(hide_password=True)
    print(f"\nLook at the studies:  optuna-dashboard {shlex.quote(shown)}")


def _check_own(parser: Options, options: argparse.Namespace) -> None:
    """End with an error if an option of the CNN's training goes with an objective of one's own."""
    for name in _OF_TRAINING:
        if getattr(options, name) != parser.get_default(name):
            option = "--" + name.replace("_", "-")
            parser.error(f"argument {option}: is not for --objective, which has its own training")


def _run(parser: Options, options: argparse.Namespace, url: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options.out.mkdir(parents=True, exist_ok=True)
    storage = _storage(parser, url)
    has_own = options.objective is not None
    problem = parser.checked(_own_problem if has_own else _problem, options)
    budget = f"{problem.n_trials} trials per study on the {problem.device}"
    print(textwrap.fill(f"{problem.name}: {budget}", WIDTH), flush=True)
    searches = [
        StudyJob(problem, name, SAMPLERS[name], seed)
        for seed in dict.fromkeys(options.seeds)
        for name in dict.fromkeys(options.samplers)
    ]
    if not has_own:
        _warm_up(options.device)
        if n_trainings := n_missing(searches, storage):
            print(_expected_time(options, n_trainings), flush=True)
    start = perf_counter()
    run_studies(searches, storage, callbacks=[_report_evolution(DashboardReport())])
    print(f"{perf_counter() - start:.0f} s in all")
    write_rows(options.out / ROWS, rows(storage))


def _report_evolution(report: Callback) -> Callback:
    """Return the callback for the studies of a genetic algorithm alone."""

    def report_if_bred(study: Study, trial: FrozenTrial) -> None:
        if isinstance(study.sampler, GASampler):
            report(study, trial)

    return report_if_bred


def _report(parser: Options, out: Path) -> None:
    if not (out / ROWS).exists():
        parser.error(f"argument --out: there is no {ROWS} in {str(out)!r} to report on")
    runs_of = parser.checked(read_runs, out / ROWS)
    for number, (problem, runs) in enumerate(runs_of.items()):
        path = out / (f"curves-{number}.png" if number else CURVES)
        plot(runs, problem, path)
        print(f"\n{textwrap.fill(problem, WIDTH)}\n\n{table(runs)}\nCurves: {path}")


def _problem(options: argparse.Namespace) -> Problem:
    n_images = options.training_images
    if n_images is None and options.data == "subset":
        n_images = 3000
    objective = FashionMNISTObjective(
        options.data,
        epochs=options.epochs,
        n_training_images=n_images,
        seed=options.training_seed,
        device=options.device,
        folder=options.folder,
        precision=options.precision,
    )
    images = options.data if n_images is None else f"{n_images} images of {options.data}"
    device = f"{objective.precision} on {objective.device.type.upper()}"
    epochs = "1 epoch" if options.epochs == 1 else f"{options.epochs} epochs"
    return Problem(
        name=f"FashionMNIST, {images}, {epochs}, training seed {options.training_seed}, {device}",
        evaluate=objective.evaluate_generation,
        population_size=options.population_size,
        n_generations=options.generations,
        device=device_name(objective.device),
    )


def _expected_time(options: argparse.Namespace, n_trainings: int) -> str:
    """Return how long this many trainings take, by two short ones."""
    sizes = {"subset": (3000, 2000), "full": (50_000, 10_000)}
    n_training, n_validation = sizes[options.data]
    device = torch.device(options.device) if options.device else default_device()
    return expected_time(
        n_trainings,
        options.population_size,
        options.epochs,
        (options.training_images or n_training, n_validation),
        device,
        options.precision or ("bfloat16" if device.type == "cuda" else "float32"),
    )


def _own_problem(options: argparse.Namespace) -> Problem:
    return Problem(
        name=options.objective,
        evaluate=load_objective(options.objective),
        population_size=options.population_size,
        n_generations=options.generations,
        device=device_name(default_device()),
    )


def _warm_up(device: str | None) -> None:
    """Start the CUDA context or the pool of threads, which is no part of a trial's time."""
    objective = FashionMNISTObjective("subset", epochs=1, n_training_images=64, device=device)
    optimize_generations(
        optuna.create_study(), objective.evaluate_generation, 1, population_size=1
    )


def _storage(parser: Options, url: str) -> BaseStorage:
    try:
        return optuna.storages.get_storage(url)
    except (ImportError, ValueError, sqlalchemy.exc.SQLAlchemyError) as error:
        parser.error(f"argument --storage: {url!r} cannot be opened: {error}")


def _parser() -> Options:
    parser = Options("python -m benchmarks", __doc__, other_commands())
    names, shown = [*PAPER_SAMPLERS, "ga-elitism"], list(PAPER_SAMPLERS)
    parser.add_step(
        all="runs what is missing and reports",
        run="only runs, and writes rows",
        report="only makes table and curves from them",
    )
    parser.add("--samplers", "samplers to compare", shown, nargs="+", choices=names)
    parser.add("--seeds", "seeds of the samplers", [0], nargs="+", type=at_least(0))
    parser.add("--population-size", "trials in a generation, at least 4", 5, type=at_least(4))
    parser.add("--generations", "generations in a study", 4, type=at_least(1))
    parser.add(
        "--objective",
        "module:name of an objective in the place of the paper's CNN, with its own images, device "
        "and epochs; the options of training are not for it",
    )
    parser.add(
        "--data", "6,000 + 2,000 shipped images, or all", "subset", choices=["subset", "full"]
    )
    parser.add(
        "--training-images",
        "number of training images (default: 3000 of the subset, all of full)",
        type=at_least(1),
    )
    parser.add("--epochs", "epochs of each training", 1, type=at_least(1))
    parser.add("--training-seed", "seed of initial weights and batches", 0, type=at_least(0))
    parser.add(
        "--precision", "precision of the computations (default: bfloat16 on a GPU, else float32)",
        choices=PRECISIONS,
    )  # fmt: skip
    parser.add("--device", "PyTorch device (default: the GPU if there is one, else the CPU)")
    parser.add(
        "--folder",
        "folder of the full data, searched first and downloaded to (default: FASHION_MNIST_DIR, "
        "then Debian's package dataset-fashion-mnist)",
        type=Path,
    )
    parser.add("--storage", "URL of any Optuna storage (default: SQLite in the output folder)")
    parser.add("--out", "output folder", Path("benchmark-results"), type=Path)
    return parser


if __name__ == "__main__":
    main()
