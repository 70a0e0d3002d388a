"""Run problem x sampler x seed as studies in one storage, and turn them into flat rows.

Everything is kept in the storage, so that a second call runs only what is missing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from benchmarks.rows import Row, environment
from benchmarks.samplers import Factory, Search
from optuna_ga import GASampler, Result, best_of_final_generation, optimize_generations

Callback = Callable[[Study, FrozenTrial], None]

PROBLEM, SAMPLER, SEED, ENVIRONMENT = (
    f"benchmark:{name}" for name in ("problem", "sampler", "seed", "environment")
)


@dataclass(frozen=True)
class Problem:
    """An objective with its budget.

    Attributes:
        name: Its name with all settings that change a value; the studies record it.
        evaluate: Evaluates a generation's trials at once; `optimize_generations` minimizes its
            results.
        population_size: Trials in a generation.
        n_generations: Number of generations.
        device: Where the objective computes.
        label: Short name for the studies' names, where a storage has several problems.
    """

    name: str
    evaluate: Callable[[list[optuna.Trial]], Iterable[Result]]
    population_size: int
    n_generations: int
    device: str
    label: str = ""

    @property
    def n_trials(self) -> int:
        """The budget, the same for every sampler."""
        return self.population_size * self.n_generations


class StudyJob(NamedTuple):
    """One study to run.

    Attributes:
        problem: The objective with its budget.
        sampler: The sampler's name.
        factory: Makes the sampler.
        seed: Seed of the sampler.
    """

    problem: Problem
    sampler: str
    factory: Factory
    seed: int

    @property
    def title(self) -> str:
        """The sampler and its seed."""
        return f"{self.sampler}, seed {self.seed}"

    def make_sampler(self, seed: int) -> BaseSampler:
        """Return a sampler with a seed."""
        return self.factory(Search(seed, self.problem.population_size))


def run_studies(
    jobs: Sequence[StudyJob],
    storage: BaseStorage,
    seconds: float = math.inf,
    callbacks: Sequence[Callback] = (),
    after: Callable[[Study], object] | None = None,
) -> list[Study]:
    """Run each job until its study is complete, and return the complete studies.

    Only one process may do so at a time: trials that are still running are taken for those of a
    killed run, and evaluated again.

    Args:
        jobs: The studies, in the order in which they are run.
        storage: Where they are kept.
        seconds: No generation begins later than this.
        callbacks: Called with the study and each of its trials that has ended.
        after: Called with each study that has become complete.
    """
    end = monotonic() + seconds
    studies = [_study(job, storage) for job in jobs]
    n_done = sum(map(n_results, studies))
    n_trials = sum(job.problem.n_trials for job in jobs)
    with tqdm(total=n_trials, initial=n_done, unit="trial", disable=None) as progress:
        for study, job in zip(studies, jobs, strict=True):
            if n_results(study) >= job.problem.n_trials or monotonic() >= end:
                continue
            _complete(study, job, end - monotonic(), [_advance(job, progress), *callbacks])
            if after is not None and n_results(study) >= job.problem.n_trials:
                after(study)
    pairs = zip(studies, jobs, strict=True)
    return [study for study, job in pairs if n_results(study) >= job.problem.n_trials]


def n_missing(jobs: Sequence[StudyJob], storage: BaseStorage) -> int:
    """Return how many trials `run_studies` would run."""
    return sum(max(job.problem.n_trials - n_results(_study(job, storage)), 0) for job in jobs)


def rows(storage: BaseStorage) -> list[Row]:
    """Return one flat row per trial of every benchmark study in the storage."""
    return [
        row
        for summary in optuna.get_all_study_summaries(storage)
        if PROBLEM in summary.user_attrs
        for row in _rows(optuna.load_study(study_name=summary.study_name, storage=storage))
    ]


def n_results(study: Study) -> int:
    """Return how many trials of a study are complete."""
    return len(study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]))


def is_complete(trial: FrozenTrial) -> bool:
    """Return whether the trial has a result."""
    return trial.state == TrialState.COMPLETE


def _study(job: StudyJob, storage: BaseStorage) -> Study:
    problem = job.problem
    generations = f"{problem.n_generations} generations of {problem.population_size}"
    settings = f"{problem.name}, {generations}"
    name = ", ".join(filter(None, (job.title, problem.label)))
    for number in count(1):
        # Optuna's default would prune, each sampler another number of trials.
        study = optuna.create_study(
            study_name=name if number == 1 else f"{name} ({number})",
            storage=storage,
            pruner=NopPruner(),
            load_if_exists=True,
        )
        if study.user_attrs.get(PROBLEM, settings) == settings:
            break  # The others of this name have other settings.
    if PROBLEM not in study.user_attrs:
        study.set_user_attr(SAMPLER, job.sampler)
        study.set_user_attr(SEED, job.seed)
        study.set_user_attr(PROBLEM, settings)
    return study


def _advance(job: StudyJob, progress: tqdm[Any]) -> Callback:
    """Return a callback that advances the progress bar; name the job in the bar at once.

    Where there is no bar, because the output is no terminal, each generation prints a line.
    """
    progress.set_description(job.title)

    def advance(study: Study, trial: FrozenTrial) -> None:
        if not is_complete(trial):
            return
        generation, position = divmod(trial.number, job.problem.population_size)
        done, best = f"{job.title}, generation {generation}", f"best {study.best_value:.4f}"
        progress.set_description(done, refresh=False)
        progress.set_postfix_str(best, refresh=False)
        progress.update()
        if progress.disable and position == job.problem.population_size - 1:
            print(f"{done}: {best}", flush=True)

    return advance


def _complete(study: Study, job: StudyJob, seconds: float, callbacks: Sequence[Callback]) -> None:
    problem, seed = job.problem, job.seed
    n_done = n_results(study)
    if n_done >= problem.n_trials:
        return
    # A run may be resumed on another machine, so that each trial's row names its own.
    environments = study.user_attrs.get(ENVIRONMENT, {})
    first = str(len(study.trials))
    study.set_user_attr(ENVIRONMENT, {**environments, first: environment(problem.device)})
    study.sampler = job.make_sampler(seed)
    if n_done and not isinstance(study.sampler, GASampler):
        # A sampler whose random stream starts over would repeat its first suggestions.
        (other,) = np.random.SeedSequence([seed, n_done]).generate_state(1)
        study.sampler = job.make_sampler(int(other))

    # An interrupted run has failed a generation, which another generation replaces.
    n_failed = len(study.get_trials(deepcopy=False, states=[TrialState.FAIL]))
    optimize_generations(
        study,
        problem.evaluate,
        math.ceil((problem.n_trials + n_failed) / problem.population_size),
        population_size=problem.population_size,
        timeout=seconds if math.isfinite(seconds) else None,
        callbacks=callbacks,
    )


def _rows(study: Study) -> Iterator[Row]:
    answer = _answer(study)
    for trial in study.get_trials(deepcopy=False):
        yield {
            "problem": study.user_attrs[PROBLEM],
            "sampler": study.user_attrs[SAMPLER],
            "seed": study.user_attrs[SEED],
            "trial": trial.number,
            "generation": trial.user_attrs.get("ga_generation"),
            "answer": trial.number == answer,
            "state": trial.state.name,
            "value": trial.value,
            **{k: v for k, v in trial.user_attrs.items() if not k.startswith("ga_")},
            "params": json.dumps([*trial.params]),
            **trial.params,
            **environment_of(trial, study.user_attrs.get(ENVIRONMENT, {})),
        }


def environment_of(trial: FrozenTrial, environments: Mapping[str, Row]) -> Row:
    """Return where a trial ran: the last environment that begins at or before its number.

    Args:
        trial: The trial.
        environments: The study's attribute `ENVIRONMENT`.
    """
    begun = [int(first) for first in environments if int(first) <= trial.number]
    return environments[str(max(begun))] if begun else {}


def _answer(study: Study) -> int | None:
    """Return the number of the paper's algorithm's answer; None for other samplers."""
    if study.user_attrs[SAMPLER] != "ga":
        return None
    try:
        return best_of_final_generation(study).number
    except ValueError:  # The study has no final generation yet.
        return None
