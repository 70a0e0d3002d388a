"""The main job: tune the paper's CNN on FashionMNIST with every sampler, and compare them.

Without options this is the quick preset, a few minutes on two CPU cores. A run that was
interrupted goes on where it stopped. The genetic algorithm's studies have a `DashboardReport`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import optuna
import sqlalchemy
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial

from benchmarks.options import Options, at_least
from benchmarks.paper.studies import Callback, Problem, rows, run
from benchmarks.paper.tune_report import plot, read_runs, table
from benchmarks.rows import device_name, write_rows
from benchmarks.samplers import samplers
from optuna_ga import DashboardReport, GASampler, optimize_generations
from optuna_ga.fashion_mnist import FashionMNISTObjective
from optuna_ga.fashion_mnist._objective import PRECISIONS

TRAINING, LOOKED_UP = "fashion-mnist", "fashion-mnist-table"
ROWS, CURVES, STUDIES = "rows.csv", "curves.png", "studies.db"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then report; see `--help`."""
    parser = _parser()
    other, rest = _other_problem(arguments)
    if other:
        try:
            from benchmarks import compare
        except ImportError as error:  # It needs more packages than training.
            parser.error(f'{error}; `pip install -e ".[benchmark]"` installs all that is needed')
        return compare.main(rest)
    options = parser.parse_args(arguments)
    url = options.storage or f"sqlite:///{(options.out / STUDIES).as_posix()}"
    if options.step != "report":
        _run(parser, options, url)
    if options.step != "run":
        _report(parser, options.out)
    shown = sqlalchemy.make_url(url).render_as_string(hide_password=True)
    print(f"\nLook at the studies:  optuna-dashboard {shown}")


def _other_problem(arguments: Sequence[str] | None) -> tuple[bool, list[str]]:
    """Return whether the table is asked for, which has options of its own, and the other ones."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--problem")
    options, rest = parser.parse_known_args(arguments)
    return options.problem == LOOKED_UP, rest


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace, url: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options.out.mkdir(parents=True, exist_ok=True)
    storage = _storage(parser, url)
    try:
        factories = samplers(options.population_size)
        problem = _problem(options)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    chosen = {name: factories[name] for name in dict.fromkeys(options.samplers)}
    print(f"{problem.name}: {problem.n_trials} trials per study on the {problem.device}")
    _warm_up(options.device)
    start = perf_counter()
    seeds = list(dict.fromkeys(options.seeds))
    run(problem, chosen, seeds, storage, [_report_evolution(DashboardReport())])
    print(f"{perf_counter() - start:.0f} s in all")
    write_rows(options.out / ROWS, rows(storage))


def _report_evolution(report: Callback) -> Callback:
    """Return the callback for studies that have an evolution to report."""

    def report_if_bred(study: Study, trial: FrozenTrial) -> None:
        if isinstance(study.sampler, GASampler):
            report(study, trial)

    return report_if_bred


def _report(parser: argparse.ArgumentParser, out: Path) -> None:
    if not (out / ROWS).exists():
        parser.error(f"argument --out: there is no {ROWS} in {str(out)!r} to report on")
    for number, (problem, runs) in enumerate(read_runs(out / ROWS).items()):
        path = out / (f"curves-{number}.png" if number else CURVES)
        plot(runs, problem, path)
        print(f"\n{problem}\n\n{table(runs)}\nCurves: {path}")


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


def _warm_up(device: str | None) -> None:
    """Start what starts once, a CUDA context or a pool of threads: it is no trial's time."""
    objective = FashionMNISTObjective("subset", epochs=1, n_training_images=64, device=device)
    optimize_generations(
        optuna.create_study(), objective.evaluate_generation, 1, population_size=1
    )


def _storage(parser: argparse.ArgumentParser, url: str) -> BaseStorage:
    try:
        return optuna.storages.get_storage(url)
    except (ImportError, ValueError, sqlalchemy.exc.SQLAlchemyError) as error:
        parser.error(f"argument --storage: {url!r} cannot be opened: {error}")


def _parser() -> Options:
    parser = Options("python -m benchmarks", __doc__)
    names = list(samplers(population_size=5))
    parser.add_step(
        all="runs what is missing and reports",
        run="only runs, and writes rows",
        report="only makes table and curves from them",
    )
    parser.add(
        "--problem",
        f"train, or look up; see --problem {LOOKED_UP} --help for its options",
        TRAINING,
        choices=[TRAINING, LOOKED_UP],
    )
    parser.add("--samplers", "samplers to compare", names, nargs="+", choices=names)
    parser.add("--seeds", "seeds of the samplers", [0], nargs="+", type=at_least(0))
    parser.add("--population-size", "trials in a generation, at least 4", 5, type=at_least(4))
    parser.add("--generations", "generations in a study", 4, type=at_least(1))
    parser.add(
        "--data", "6,000 + 2,000 shipped images, or all", "subset", choices=["subset", "full"]
    )
    parser.add(
        "--training-images",
        "train on the first so many images only (default: 3000 of the subset, all of full)",
        type=at_least(1),
    )
    parser.add("--epochs", "epochs of each training", 1, type=at_least(1))
    parser.add("--training-seed", "seed of initial weights and batches", 0, type=at_least(0))
    parser.add(
        "--precision", "precision of computing (default: bfloat16 on a GPU, float32 elsewhere)",
        choices=PRECISIONS,
    )  # fmt: skip
    parser.add("--device", "PyTorch device (default: the GPU if there is one, else the CPU)")
    parser.add(
        "--folder",
        "folder of the full data, looked into first and downloaded to (default: see README)",
        type=Path,
    )
    parser.add("--storage", "URL of any Optuna storage (default: SQLite in the output folder)")
    parser.add("--out", "output folder", Path("benchmark-results"), type=Path)
    return parser


if __name__ == "__main__":
    main()
