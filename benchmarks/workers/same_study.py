"""Studies of one seed that do not depend on workers, kills or threads."""

from __future__ import annotations

import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import Any

import optuna
from optuna import Study, Trial
from optuna.storages import BaseStorage
from optuna.trial import TrialState
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
    figure,
    in_turn,
    left_running,
    open_storage,
    story,
    uneven,
)
from optuna_ga import GASampler, InParallel, optimize_generations
from tests import servers


def identical(
    n_generations: int = 10, workers: Sequence[int] = (1, 2, 4, 8), problem: Problem = ONE
) -> Iterator[Row]:
    """Compare studies of one seed with that of one process in memory."""
    n_trials = SIZE * n_generations
    reference = problem.reference(n_generations)
    with servers.postgresql() as url, tempfile.TemporaryDirectory() as folder:
        places = {
            "SQLite": f"sqlite:///{folder}/study.db",
            "journal": f"{folder}/journal.log",
            "PostgreSQL": url,
        }
        for name, place in places.items():
            for n in workers:
                for kind, executor in {
                    "threads": ThreadPoolExecutor(n),
                    "processes": ProcessPoolExecutor(n, CONTEXT),
                }.items():
                    with executor, servers.opened(open_storage(place)) as storage:
                        study = problem.new_study(storage=storage)
                        objective = partial(uneven, scale_s=0.003, objective=problem.objective)
                        optimize_generations(study, InParallel(objective, executor), n_generations)
                        count = differing(study, reference)
                    case = f"{name}, {n} {kind}{problem.ending}"
                    yield figure(case, "trials that differ", count, n_trials, at_most=0)


def killed(n_kills: int = 50, n_trials: int = 60) -> Iterator[Row]:
    """Kill runs at random moments and resume them."""
    yield from _killed_one_by_one(n_kills, n_trials)
    yield from killed_by_generations(n_kills, n_trials)


def _killed_one_by_one(n_kills: int, n_trials: int) -> Iterator[Row]:
    reference = optuna.create_study(sampler=GASampler(10, seed=SEED))
    reference.optimize(evaluate, n_trials=n_trials)
    truth, moments = story(reference), random.Random(SEED)
    differ = compared = wrong_numbers = hits = 0
    for _ in tqdm(range(n_kills), desc="killed", leave=False, disable=None):
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/study.db"
            hits += _kill(_one_by_one, url, n_trials, moments)
            with servers.opened(open_storage(url)) as storage:
                study = _resume(ONE, storage)
                for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
                    study.tell(trial.number, state=TrialState.FAIL)
                study.optimize(evaluate, n_trials=n_trials - len(study.trials))
                mine = story(study)
            wrong_numbers += [number for number, *_ in mine] != list(range(n_trials))
            pairs = [
                pair for pair in zip(mine, truth, strict=False) if _unaffected(*pair, mine, truth)
            ]
            compared += len(pairs)
            differ += sum(a != b for a, b in pairs)
    case = "one by one, left-over trials failed"
    yield figure(case, "trials of unaffected generations that differ", differ, compared, at_most=0)
    yield figure(case, "runs with numbers missing or repeated", wrong_numbers, n_kills, at_most=0)
    yield _figure_of_hits(case, hits, n_kills)


def killed_by_generations(
    n_kills: int = 50, n_trials: int = 60, problem: Problem = ONE
) -> Iterator[Row]:
    """Kill runs by generations at random moments and resume them."""
    reference = problem.reference(n_trials // 10, size=10)
    moments = random.Random(SEED)
    hits = differ = n_running = 0
    for _ in tqdm(range(n_kills), desc="killed", leave=False, disable=None):
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/study.db"
            hits += _kill(partial(_by_generations, problem), url, n_trials, moments)
            with servers.opened(open_storage(url)) as storage:
                study = _resume(problem, storage)
                optimize_generations(study, partial(in_turn, problem.objective), n_trials // 10)
                differ += differing(study, reference)
                n_running += left_running(study)
    case = f"by generations{problem.ending}"
    yield figure(case, "trials that differ", differ, n_kills * n_trials, at_most=0)
    yield figure(case, "trials left running", n_running, n_kills * n_trials, at_most=0)
    yield _figure_of_hits(case, hits, n_kills)


def _figure_of_hits(case: str, hits: int, n_kills: int) -> Row:
    words = "kills that came before the run's end"
    return figure(case, words, hits, n_kills, at_least=n_kills // 2)


def _unaffected(
    mine: tuple[Any, ...],
    theirs: tuple[Any, ...],
    all_mine: Sequence[Any],
    all_theirs: Sequence[Any],
) -> bool:
    """Return whether a trial was not killed and its previous generation was not affected."""
    before = slice(max(mine[0] // 10 * 10 - 10, 0), mine[0] // 10 * 10)
    return mine[1] != TrialState.FAIL and all_mine[before] == all_theirs[before]


def _kill(run: Callable[..., None], url: str, n_trials: int, moments: random.Random) -> bool:
    """Run in a process and kill it at a random moment; return whether it was still running."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    with receiver, sender:
        process = CONTEXT.Process(target=run, args=(url, n_trials, sender))
        process.start()
        sender.close()  # So that `recv` ends if the run fails before it begins.
        receiver.recv()
        time.sleep(moments.uniform(0.0, 0.012 * n_trials))
        process.kill()
        process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"The run ended with {process.exitcode} before it was killed.")
    return process.exitcode != 0


def _resume(problem: Problem, storage: BaseStorage) -> Study:
    return problem.new_study(10, study_name="killed", storage=storage, load_if_exists=True)


def _one_by_one(url: str, n_trials: int, begins: Any) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = _resume(ONE, open_storage(url))
    begins.send(None)
    study.optimize(partial(uneven, scale_s=0.001), n_trials=n_trials)


def _by_generations(problem: Problem, url: str, n_trials: int, begins: Any) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = _resume(problem, open_storage(url))
    begins.send(None)
    objective = partial(uneven, scale_s=0.001, objective=problem.objective)
    optimize_generations(study, partial(in_turn, objective), n_trials // 10)


def threads(n_studies: int = 5, n_threads: int = 32, n_generations: int = 20) -> Iterator[Row]:
    """Share a sampler among the threads of several studies at the same time."""
    sampler = GASampler(SIZE, seed=SEED)
    together = [optuna.create_study(sampler=sampler) for _ in range(n_studies)]

    def objective(trial: Trial, offset: int) -> float:
        value, x = evaluate(trial), float(trial.params["x"])
        return value * (offset + 1) - offset * x

    with ThreadPoolExecutor(n_threads) as pool, ThreadPoolExecutor(n_studies) as drivers:
        parallel = [InParallel(partial(objective, offset=i), pool) for i in range(n_studies)]
        list(drivers.map(optimize_generations, together, parallel, [n_generations] * n_studies))
    differ = 0
    for offset, study in enumerate(together):
        alone = optuna.create_study(sampler=GASampler(SIZE, seed=SEED))
        alone.optimize(partial(objective, offset=offset), n_trials=SIZE * n_generations)
        differ += differing(study, alone)
    case = f"{n_threads} threads, {n_studies} studies"
    n = n_studies * n_generations * SIZE
    yield figure(case, "trials that differ from separate samplers'", differ, n, at_most=0)
