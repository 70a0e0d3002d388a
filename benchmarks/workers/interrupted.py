"""A run by generations that is interrupted in every way, and run again until it is done."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna import Trial
from tqdm import tqdm

from benchmarks.workers.common import (
    CONTEXT,
    ONE,
    SEED,
    SIZE,
    Problem,
    Row,
    differing,
    figure,
    left_running,
    open_storage,
    uneven,
)
from optuna_ga import InParallel, optimize_generations
from tests import servers

_N_WORKERS = 4
# What workers evaluate, what the pool's queue holds (one more), and results on their way.
_IN_FLIGHT = 3 * _N_WORKERS
_MOST_RUNS = 200

Interrupt = Callable[[str, Any, Path], None]  # Of the database, the driver and the log.


def interrupted(
    n_runs: int = 1,
    n_generations: int = 5,
    n_interruptions: int = 3,
    scale_s: float = 0.05,
    problem: Problem = ONE,
) -> Iterator[Row]:
    """Interrupt runs at random moments, and run again until all generations are done."""
    n_trials = n_generations * SIZE
    reference = problem.reference(n_generations)
    moments = random.Random(SEED)
    with servers.postgresql() as url:
        for name, interrupt in _INTERRUPTIONS.items():
            differ = running = again = n_drivers = 0
            for _ in tqdm(range(n_runs), desc=name, leave=False, disable=None):
                with tempfile.TemporaryDirectory() as folder:
                    log = Path(folder) / "evaluations.log"
                    log.touch()
                    with servers.opened(open_storage(url)) as storage:
                        study = problem.new_study(storage=storage)
                    arguments = (problem, url, study.study_name, str(log), n_generations, scale_s)
                    after = moments.sample(range(n_trials // 10, n_trials), n_interruptions)
                    n_drivers += _run(arguments, log, interrupt, sorted(after), moments)
                    with servers.opened(open_storage(url)) as storage:
                        study = optuna.load_study(study_name=study.study_name, storage=storage)
                        differ += differing(study, reference)
                        running += left_running(study)
                    again += len(_evaluations(log)) - n_trials
            case = f"{name}{problem.ending}"
            n, most = n_runs * n_trials, n_runs * n_interruptions * _IN_FLIGHT
            yield figure(case, "trials that differ from a quiet run's", differ, n, at_most=0)
            yield figure(case, "trials left running", running, n, at_most=0)
            yield figure(case, "evaluations that were begun again", again, n, at_most=most)
            yield figure(case, "times that the script was started", n_drivers, n_runs)


def _run(
    arguments: tuple[Any, ...], log: Path, interrupt: Interrupt, after: list[int], moments: Any
) -> int:
    """Interrupt after so many evaluations, run again if need be, and return the number of runs."""
    for n_drivers in range(1, _MOST_RUNS):
        driver = CONTEXT.Process(target=_drive, args=arguments)
        driver.start()
        while driver.is_alive():
            if after and len(_evaluations(log)) >= after[0]:
                del after[0]
                time.sleep(moments.uniform(0.0, 0.1))
                interrupt(arguments[1], driver, log)
            time.sleep(0.01)
        driver.join()
        if driver.exitcode == 0:
            return n_drivers
        time.sleep(0.2)
    raise RuntimeError("The run ends for another reason; see its messages.")


def _drive(
    problem: Problem, url: str, name: str, log: str, n_generations: int, scale_s: float
) -> None:
    """Be the user's script: end at once if it is interrupted; its workers then end, too."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    exit_code = 1
    try:
        storage = open_storage(url)
        study = problem.new_study(study_name=name, storage=storage, load_if_exists=True)
        objective = partial(_logged, log=log, scale_s=scale_s, objective=problem.objective)
        optimize_generations(study, InParallel(objective, _new_pool), n_generations)
        exit_code = 0
    finally:
        os._exit(exit_code)


def _new_pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(_N_WORKERS, get_context("fork"))  # It starts at once.


def _logged(trial: Trial, log: str, scale_s: float, objective: Callable[[Trial], float]) -> float:
    with Path(log).open("a") as file:
        file.write(f"{trial.number} {os.getpid()}\n")
    value: float = uneven(trial, scale_s, objective)
    return value


def _evaluations(log: Path) -> list[list[str]]:
    """Return the trial's number and the process of each evaluation that has begun."""
    return [line.split() for line in log.read_text().splitlines()]


def _signal(url: str, driver: Any, log: Path, number: signal.Signals) -> None:
    os.kill(driver.pid, number)


def _kill_worker(url: str, driver: Any, log: Path) -> None:
    with suppress(ProcessLookupError):  # It may have ended with its pool.
        os.kill(int(_evaluations(log)[-1][1]), signal.SIGKILL)


def _take_away(url: str, driver: Any, log: Path, seconds: float) -> None:
    """End all connections of PostgreSQL's database, and accept none for a time."""
    place = sqlalchemy.make_url(url)
    engine = sqlalchemy.create_engine(place.set(database="postgres"), isolation_level="AUTOCOMMIT")
    allow = f"alter database {place.database} allow_connections"
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"{allow} false"))
        ending = "select pg_terminate_backend(pid) from pg_stat_activity where datname = :name"
        connection.execute(sqlalchemy.text(ending), {"name": place.database})
        time.sleep(seconds)
        connection.execute(sqlalchemy.text(f"{allow} true"))
    engine.dispose()


_INTERRUPTIONS: dict[str, Interrupt] = {
    "Ctrl-C": partial(_signal, number=signal.SIGINT),
    "SIGTERM": partial(_signal, number=signal.SIGTERM),
    "a worker of the pool killed": _kill_worker,
    "the database away for 1 s": partial(_take_away, seconds=1.0),
    "the database away for 10 s": partial(_take_away, seconds=10.0),
}
