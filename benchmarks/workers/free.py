"""Free workers of one seed that die and are replaced, on PostgreSQL."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import optuna
from optuna import Study, Trial
from optuna.samplers import BaseSampler, NSGAIISampler
from optuna.storages import BaseStorage
from optuna.study import MaxTrialsCallback
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from benchmarks.workers.common import (
    CONTEXT,
    ONE,
    SEED,
    SIZE,
    Problem,
    Row,
    differing,
    evaluate,
    faulty,
    figure,
    left_running,
    open_storage,
    open_with_heartbeat,
    uneven,
)
from optuna_ga import GASampler, InParallel, optimize_generations
from tests import oracles, servers


class WatchedNSGAIISampler(NSGAIISampler):
    """NSGA-II that records the populations from which it selects parents."""

    def select_parent(self, study: Study, generation: int) -> list[FrozenTrial]:
        """Return the parents."""
        population = [trial.number for trial in self.get_population(study, generation - 1)]
        key = f"watched:{generation}:{os.getpid()}:{time.monotonic_ns()}"
        study.set_user_attr(key, population)
        return super().select_parent(study, generation)


SAMPLERS: Mapping[str, Callable[[], BaseSampler]] = {
    "GASampler": partial(GASampler, SIZE, seed=SEED),
    "GASampler, elitism": partial(GASampler, SIZE, seed=SEED, elitism=True),
    "GASampler.adaptive": partial(GASampler.adaptive, SIZE, seed=SEED),
    "NSGAIISampler": partial(WatchedNSGAIISampler, population_size=SIZE, seed=SEED),
}


def swarm(
    n_trials: int = 2000,
    n_workers: int = 16,
    n_kills: int = 8,
    scale_s: float = 0.1,
    problem: Problem = ONE,
) -> Iterator[Row]:
    """Let workers of one seed run freely, kill some and replace them."""
    with servers.postgresql() as url:
        for name, make in SAMPLERS.items():
            objective = partial(uneven, scale_s=scale_s, objective=problem.objective)
            with servers.opened(open_storage(url)) as storage:
                study = problem.new_study(storage=storage)
                # A suggestion of the adaptive sampler takes the processors that all workers share.
                n = n_trials // 4 if "adaptive" in name else n_trials
                run_swarm(study, open_storage, url, make, objective, n, n_workers, n_kills)
                case = name + problem.ending
                if name == "NSGAIISampler":
                    yield from _nsgaii_figures(case, study, n_kills)
                elif name == "GASampler.adaptive":
                    yield from _adaptive_figures(case, study, n_kills)
                else:
                    yield from _ga_figures(case, study, "elitism" in name, n_kills)


def run_swarm(
    study: Study,
    reopen: Callable[[str], BaseStorage],
    url: str,
    make: Callable[[], BaseSampler],
    objective: Callable[[Trial], Any],
    n_trials: int,
    n_workers: int,
    n_kills: int,
) -> None:
    """Run workers until the study has its trials; replace each that dies or is killed."""
    arguments = (reopen, url, study.study_name, make, objective, n_trials)
    choices = random.Random(SEED)
    kill_at = sorted(choices.sample(range(n_trials // 10, n_trials * 9 // 10), n_kills))
    workers: list[Any] = []
    n_begun = 0
    with tqdm(total=n_trials, desc=type(make()).__name__, leave=False, disable=None) as progress:
        while True:
            n_started = len(study.get_trials(deepcopy=False))
            progress.update(n_started - progress.n)
            workers = [worker for worker in workers if worker.is_alive()]
            if n_started < n_trials:
                while len(workers) < n_workers:
                    n_begun += 1
                    if n_begun > n_workers + n_kills + n_trials // 10:
                        raise RuntimeError(f"{n_begun} workers have died; see their messages.")
                    workers.append(CONTEXT.Process(target=_work_freely, args=arguments))
                    workers[-1].start()
            elif not workers:
                break
            if kill_at and n_started >= kill_at[0]:
                del kill_at[0]
                choices.choice(workers).kill()
            time.sleep(0.1)


def _work_freely(
    reopen: Callable[[str], BaseStorage],
    url: str,
    name: str,
    make: Callable[[], BaseSampler],
    objective: Callable[[Trial], Any],
    n_trials: int,
) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name=name, storage=reopen(url), sampler=make())
    study.optimize(objective, callbacks=[MaxTrialsCallback(n_trials, states=None)], catch=OSError)


def _ga_figures(case: str, study: Study, elitism: bool, n_dead: int) -> Iterator[Row]:
    trials = study.get_trials(deepcopy=False)
    n = len(trials)
    fresh = [t for t in trials if "x" in t.params and t.params["x"] not in _inherited(trials, t)]
    lost, judged = oracles.never_candidates(trials, SIZE, elitism)
    wrong = sum(
        t.user_attrs.get("ga_generation") != t.number // SIZE
        for t in trials
        if t.state.is_finished()  # A killed trial may lack the attribute.
    )
    orphans = oracles.without_parents(trials, SIZE)
    yield figure(
        case, "fresh draws of x that repeat another", _repeats(fresh), len(fresh), at_most=0
    )
    yield figure(case, "trials in another generation than number // size", wrong, n, at_most=0)
    yield figure(case, "trials at random for want of parents", orphans, n, at_most=0)
    yield figure(case, "trials left running", left_running(study), n, at_most=n_dead)
    outside = oracles.from_outside(trials, SIZE, elitism)
    n_parents = sum(len(oracles.parents(trial)) for trial in trials)
    yield figure(case, "parents from outside the pool", outside, n_parents, at_most=0)
    if elitism and len(study.directions) == 1:  # Fronts change with every trial.
        passed = oracles.passed_over(trials, SIZE, SIZE // 2)
        yield figure(case, "parents worse than a known candidate", passed, n_parents, at_most=0)
    yield figure(case, "finished trials never a candidate", lost, judged)


def _adaptive_figures(case: str, study: Study, n_dead: int) -> Iterator[Row]:
    trials = study.get_trials(deepcopy=False)
    finished = [trial for trial in trials if trial.state.is_finished()]
    yield figure(case, "trials that repeat another's x", _repeats(finished), len(finished))
    yield figure(case, "trials left running", left_running(study), len(trials), at_most=n_dead)
    bred = sum(bool(oracles.parents(trial)) for trial in finished)
    yield figure(case, "trials bred from others", bred, len(finished))


def _inherited(trials: Sequence[FrozenTrial], trial: FrozenTrial) -> list[Any]:
    return [trials[number].params.get("x") for number in oracles.parents(trial)]


def _repeats(trials: Sequence[FrozenTrial]) -> int:
    return len(trials) - len({trial.params["x"] for trial in trials})


def _nsgaii_figures(case: str, study: Study, n_dead: int) -> Iterator[Row]:
    trials = study.get_trials(deepcopy=False)
    label = "NSGAIISampler:generation"
    label = next((k for t in trials for k in t.system_attrs if k.endswith(":generation")), label)
    generations = Counter(t.system_attrs[label] for t in trials if label in t.system_attrs)
    first = [t for t in trials if t.system_attrs.get(label) == 0 and "x" in t.params]
    watched = study.user_attrs
    seen = {n for key, found in watched.items() if key.startswith("watched:") for n in found}
    judged = [
        t
        for t in trials
        if t.state == TrialState.COMPLETE
        and t.system_attrs.get(label, 0) < max(generations, default=0)
    ]
    lost = sum(trial.number not in seen for trial in judged)
    beyond = sum(max(count - SIZE, 0) for count in generations.values())
    yield figure(
        case, "draws of x of generation 0 that repeat another", _repeats(first), len(first)
    )
    yield figure(case, "trials beyond their generation's size", beyond, len(trials))
    yield figure(case, "trials left running", left_running(study), len(trials), at_most=n_dead)
    yield figure(case, "finished trials never a candidate", lost, len(judged))


def faults(n_trials: int = 1000, n_workers: int = 8, scale_s: float = 0.05) -> Iterator[Row]:
    """Run faulty trials by free workers, then by generations in a process that is replaced."""
    with servers.postgresql() as url, servers.opened(open_with_heartbeat(url)) as storage:
        for elitism in (False, True):
            make = partial(GASampler, SIZE, seed=SEED, elitism=elitism)
            study = optuna.create_study(storage=storage, sampler=make())
            objective = partial(faulty, scale_s=scale_s, mortal=True)
            run_swarm(study, open_with_heartbeat, url, make, objective, n_trials, n_workers, 0)
            time.sleep(4)
            study.optimize(evaluate, n_trials=1)  # Fails the trials of the last dead workers.
            name = "free workers, elitism" if elitism else "free workers"
            yield from _ga_figures(name, study, elitism, 0)
        yield from _replaced_driver(url, n_trials // 4 // SIZE * SIZE, scale_s)


def _replaced_driver(url: str, n_trials: int, scale_s: float) -> Iterator[Row]:
    """Compare a search by generations whose process dies repeatedly with one that runs through."""
    reference = optuna.create_study(sampler=GASampler(SIZE, seed=SEED))
    survivor = partial(faulty, scale_s=0.0, mortal=False)
    reference.optimize(survivor, n_trials=n_trials, catch=OSError)
    with servers.opened(open_storage(url)) as storage:
        study = optuna.create_study(storage=storage, sampler=GASampler(SIZE, seed=SEED))
        arguments = (url, study.study_name, n_trials // SIZE, scale_s)
        n_deaths, exitcode = -1, None
        while exitcode != 0:
            n_deaths += 1
            if n_deaths > n_trials:
                raise RuntimeError("The process dies for another reason; see its messages.")
            process = CONTEXT.Process(target=_drive, args=arguments)
            process.start()
            process.join()
            exitcode = process.exitcode
        differ = differing(study, reference)
        running = left_running(study)
    case = "driver that dies and is replaced"
    yield figure(case, "deaths", n_deaths, n_trials, at_least=1)
    yield figure(case, "trials that differ from those of a quiet run", differ, n_trials, at_most=0)
    yield figure(case, "trials left running", running, n_trials, at_most=0)


def _drive(url: str, name: str, n_generations: int, scale_s: float) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = GASampler(SIZE, seed=SEED)
    study = optuna.load_study(study_name=name, storage=open_storage(url), sampler=sampler)
    objective = partial(faulty, scale_s=scale_s, mortal=True)
    with ThreadPoolExecutor(4) as executor:
        parallel = InParallel(objective, executor)
        optimize_generations(study, parallel, n_generations, catch=OSError)
