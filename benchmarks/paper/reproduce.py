"""The paper's five runs, each repeated with many seeds, beside random search and TPE.

Every run has its population, generations and mutation probability from the paper, where it states
them; the baseline's are assumed. Random search and TPE have the same number of trials, and they,
too, suggest a generation before any of it is evaluated. Runs with equally many trials share the
studies of these two. The answer of each study, the best of the final generation for the genetic
algorithm and the best trial for the others, is trained once more and scored on the test images.

All studies are kept in one storage, so that a run that was stopped resumes. A row is one trial;
rows are written after each study.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path
from time import monotonic

import optuna
import torch
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial
from tqdm import tqdm

from benchmarks.options import Options, at_least
from benchmarks.paper import reproduce_report
from benchmarks.paper.runs import PAPER, PaperRun
from benchmarks.paper.studies import (
    ENVIRONMENT,
    PROBLEM,
    SAMPLER,
    SEED,
    Problem,
    StudyJob,
    environment_of,
    is_complete,
    n_missing,
    n_results,
    run_studies,
)
from benchmarks.rows import RESULTS, Row, device_name, replacing, write_rows
from benchmarks.samplers import SAMPLERS, Factory
from benchmarks.trainings import PRECISIONS, default_device, expected_time
from optuna_ga import GASampler, best_of_final_generation
from optuna_ga.fashion_mnist import SEARCH_SPACE, FashionMNISTObjective

TEST = "benchmark:test"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then report; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    device = torch.device(options.device) if options.device else default_device()
    out = options.out or RESULTS / f"reproduce_{device.type}"
    rows, facts, figure = (out.with_name(f"{out.name}.{end}") for end in ("csv", "json", "png"))
    if options.step == "run":
        _run(parser, options, rows, facts)
    found = parser.report(
        rows, lambda frame: reproduce_report.report(frame, facts), *reproduce_report.TEXTS
    )
    reproduce_report.plot(found, figure)


def _run(parser: Options, options: argparse.Namespace, rows: Path, facts: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    objective = parser.checked(_objective, options)
    options.storage.parent.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.get_storage(f"sqlite:///{options.storage.as_posix()}")
    end = monotonic() + 60 * options.minutes
    wanted = jobs(objective, options)
    if n_trainings := n_missing(wanted, storage):
        print(_expected_time(options, objective.device, n_trainings), flush=True)
    keep = partial(_keep, {}, _name(options), rows, facts)
    keep(*_complete(storage, _name(options)))
    studies = run_studies(wanted, storage, end - monotonic(), after=keep)
    for study in tqdm(studies, desc="test", unit="answer", disable=None):
        if monotonic() < end:
            _test(study, objective)
    complete = _complete(storage, _name(options))
    if not complete:
        parser.error(f"argument --minutes: no study is complete after {options.minutes}")
    keep(*complete)


def _keep(
    found: dict[str, tuple[Study, list[Row]]],
    problem: str,
    rows: Path,
    facts: Path,
    *studies: Study,
) -> None:
    """Add complete studies to those found, and write the rows and the facts of all."""
    found.update({study.study_name: (study, _rows(study)) for study in studies})
    if not found:
        return
    in_order = [found[name] for name in sorted(found)]
    write_rows(rows, [row for _, of_study in in_order for row in of_study])
    with replacing(facts) as file:
        text = json.dumps(_facts([study for study, _ in in_order], problem), indent=1)
        file.write(text + "\n")


def _expected_time(options: argparse.Namespace, device: torch.device, n_trainings: int) -> str:
    n_images = options.training_images or 50_000, options.validation_images or 10_000
    together = max(run.population_size for run in PAPER if run.name in options.runs)
    return expected_time(
        n_trainings, together, options.epochs, n_images, device, options.precision
    )


def jobs(objective: FashionMNISTObjective, options: argparse.Namespace) -> list[StudyJob]:
    """Return a job for each sampler and seed of each run, the runs of a seed together."""
    found: dict[tuple[int, int, str, int], StudyJob] = {}
    for seed in options.seeds:
        for run in PAPER:
            if run.name not in options.runs:
                continue
            problem = Problem(
                _name(options),
                objective.evaluate_generation,
                run.population_size,
                run.n_generations,
                device_name(objective.device),
                label=f"{run.n_generations} x {run.population_size}",
            )
            for name, factory in _samplers(run).items():
                key = (run.population_size, run.n_generations, name, seed)
                found[key] = StudyJob(problem, name, factory, seed)
    return list(found.values())


def _samplers(run: PaperRun) -> dict[str, Factory]:
    return {
        run.sampler: lambda search: GASampler(
            **search.population, mutation_prob=run.mutation_prob
        ),
        "random": SAMPLERS["random"],
        "tpe": SAMPLERS["tpe"],
    }


def _objective(options: argparse.Namespace) -> FashionMNISTObjective:
    return FashionMNISTObjective(
        epochs=options.epochs,
        n_training_images=options.training_images,
        n_validation_images=options.validation_images,
        device=options.device,
        folder=options.folder,
        precision=options.precision,
    )


def _name(options: argparse.Namespace) -> str:
    training = options.training_images or 50_000
    validation = options.validation_images or 10_000
    epochs = "1 epoch" if options.epochs == 1 else f"{options.epochs} epochs"
    return (
        f"FashionMNIST, {training} + {validation} images, {epochs}, {options.precision}, "
        "training seed 0"
    )


def _answer(study: Study) -> FrozenTrial:
    """Return the study's answer; for the genetic algorithm as in the paper's section 4.6."""
    if study.user_attrs[SAMPLER].startswith("ga"):
        return best_of_final_generation(study)
    return study.best_trial


def _test(study: Study, objective: FashionMNISTObjective) -> None:
    """Score the study's answer on the test images, once."""
    if TEST not in study.user_attrs:
        study.set_user_attr(TEST, objective.test(_answer(study).params).accuracy)


def _complete(storage: BaseStorage, problem: str) -> list[Study]:
    """Return the problem's studies that have all their trials."""
    names = sorted(optuna.get_all_study_names(storage))
    studies = [optuna.load_study(study_name=name, storage=storage) for name in names]
    return [
        study
        for study in studies
        if study.user_attrs.get(PROBLEM, "").startswith(f"{problem}, ")
        and n_results(study) >= math.prod(_size(study))
    ]


def _size(study: Study) -> tuple[int, int]:
    """Return a study's population size and its generations."""
    *_, generations = study.user_attrs[PROBLEM].rpartition(", ")
    n_generations, _, _, population_size = generations.split()
    return int(population_size), int(n_generations)


def _rows(study: Study) -> list[Row]:
    answer = _answer(study).number
    trials = [trial for trial in study.get_trials(deepcopy=False) if is_complete(trial)]
    population_size, n_generations = _size(study)
    test = study.user_attrs.get(TEST, "unknown")  # The time may end before the tests.
    environments = study.user_attrs[ENVIRONMENT]
    return [
        {
            "population_size": population_size,
            "generations": n_generations,
            "sampler": study.user_attrs[SAMPLER],
            "seed": study.user_attrs[SEED],
            "trial": trial.number,
            "validation_loss": _digits(trial.user_attrs.get("validation_loss", math.inf)),
            "training_loss": _digits(trial.user_attrs.get("training_loss")),
            "accuracy": trial.user_attrs.get("validation_accuracy"),
            "seconds": _digits(trial.user_attrs["training_s"]),
            **{name: _digits(trial.params[name]) for name in SEARCH_SPACE},
            "test_accuracy": test if trial.number == answer else None,
            "device": environment_of(trial, environments)["device"],
        }
        for trial in trials
    ]


def _digits(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"


def _facts(studies: Sequence[Study], problem: str) -> Row:
    """Return the problem, the date, and the environments of the studies."""
    ran = [e for study in studies for e in study.user_attrs[ENVIRONMENT].values()]
    environments = [dict(items) for items in sorted({tuple(sorted(e.items())) for e in ran})]
    return {"problem": problem, "date": str(date.today()), "environments": environments}


def _parser() -> Options:
    parser = Options("python -m benchmarks.paper.reproduce", __doc__)
    parser.add_step(run="runs what is missing and reports", report="only reports")
    names = [run.name for run in PAPER]
    parser.add("--runs", "the paper's runs", names, nargs="+", choices=names)
    parser.add("--seeds", "seeds of the samplers", list(range(10)), nargs="+", type=at_least(0))
    parser.add("--epochs", "epochs of each training; the paper states none", 14, type=at_least(1))
    parser.add("--training-images", "training images (default: all)", type=at_least(64))
    parser.add("--validation-images", "validation images (default: all)", type=at_least(64))
    parser.add("--precision", "precision of the computations", "float32", choices=PRECISIONS)
    parser.add("--device", "PyTorch device (default: the GPU if there is one, else the CPU)")
    parser.add(
        "--folder", "folder of the full data (default: see benchmarks/paper/README.md)", type=Path
    )
    parser.add("--minutes", "minutes after which nothing begins", math.inf, type=float)
    parser.add("--storage", "SQLite file", Path("reproduce-results/studies.db"), type=Path)
    parser.add(
        "--out",
        "results, without ending (default: reproduce_DEVICE in benchmarks/results)",
        type=Path,
    )
    return parser


if __name__ == "__main__":
    main()
