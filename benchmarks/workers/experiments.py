"""What must hold when many workers share a study, die and are replaced: counted on real servers.

- `identical`: one seed, `optimize_generations` with 1 to 8 threads and processes on SQLite, a
  journal and PostgreSQL: the trials that differ from those of one process in memory.
- `killed`: a sequential run, and one by generations, killed with SIGKILL at random moments and
  resumed.
- `swarm`: 16 processes with one seed on PostgreSQL, trials of uneven (lognormal) length, 8 of them
  killed at random and replaced; GASampler as in the paper and with elitism, and NSGAIISampler.
- `faults`: 8 processes on PostgreSQL with heartbeats, whose objective fails, prunes, diverges or
  kills its process in 30 % of the trials; and one that goes by generations, and is replaced.
- `threads`: 32 threads, one sampler object, 5 studies.
- `suggestion`: one more trial of a study of 100,000 on PostgreSQL, beside RandomSampler.

A row is one figure: its value, what it must be (`bound`, if it must be anything) and whether that
holds. The servers are started by `servers.py` and stopped at the end.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna import Study, Trial, TrialPruned
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from optuna_ga import GASampler, InParallel, optimize_generations
from tests import oracles, servers

Row = dict[str, Any]

SIZE = 20
SEED = 0

# Its processes are forked from one that has imported all this and has no connection open.
_context = get_context("forkserver")
_context.set_forkserver_preload([__name__])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the experiments and write the rows; see `--help`."""
    from benchmarks.rows import RESULTS, environment, write_rows  # Workers need no PyTorch.

    options = _parser(RESULTS / "workers.csv").parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows, place = [], environment("CPU")
    for name in tqdm(options.experiments, unit="experiment", disable=None):
        for row in EXPERIMENTS[name]():
            rows.append({"experiment": name, **row, **place})
            write_rows(options.out, rows)  # What comes later may fail.
            verdict = {True: "holds", False: "FAILS", None: ""}[row["holds"]]
            tqdm.write(f"{name}, {row['case']}: {row['figure']}: {row['value']} {verdict}")
    sys.exit(int(any(row["holds"] is False for row in rows)))


def figure(
    case: str,
    name: str,
    value: float,
    n: int,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Row:
    """Return the row of a figure; `n` is of how many it was counted."""
    row: Row = {"case": case, "figure": name, "value": value, "of": n, "bound": "", "holds": None}
    if at_most is not None:
        row |= {"bound": f"<= {at_most}", "holds": value <= at_most}
    if at_least is not None:
        row |= {"bound": f">= {at_least}", "holds": value >= at_least}
    return row


# What is optimized


def evaluate(trial: Trial) -> float:
    """Return the value of a trial with numbers, choices and a branch."""
    value = trial.suggest_float("x", -5, 5) ** 2 + abs(
        trial.suggest_int("n", 1, 100, log=True) - 7
    )
    if trial.suggest_categorical("branch", ["flat", "steep"]) == "steep":
        value *= trial.suggest_float("steepness", 0.5, 2)
    return value


def uneven(trial: Trial, scale_s: float) -> float:
    """Evaluate, and take a lognormal time that the number decides."""
    value = evaluate(trial)
    time.sleep(scale_s * random.Random(trial.number).lognormvariate(0, 1))
    return value


def faulty(trial: Trial, scale_s: float, mortal: bool) -> float:
    """Fail, prune, diverge or kill the process in 30 % of the trials, as the number decides.

    A trial that killed its process and is tried again fails.
    """
    value = uneven(trial, scale_s)
    ending = random.Random(f"fault {trial.number}").random()
    if ending < 0.02 and "died" not in trial.user_attrs:
        trial.set_user_attr("died", True)
        if mortal:
            os._exit(1)
    if ending < 0.10:
        raise OSError("no space left")
    if ending < 0.20:
        trial.report(value, 1)
        raise TrialPruned
    return float("inf") if ending < 0.30 else value


def story(study: Study) -> list[tuple[Any, ...]]:
    """Return all that the trials are, but for ids and times."""
    trials = study.get_trials(deepcopy=False)
    return [(t.number, t.state, t.params, t.values, t.user_attrs) for t in trials]


def left_running(study: Study) -> int:
    """Return how many trials have not finished."""
    return sum(not trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


def differing(study: Study, reference: Study) -> int:
    """Return how many trials differ, missing and superfluous ones included."""
    mine, theirs = story(study), story(reference)
    differ = sum(a != b for a, b in zip(mine, theirs, strict=False))
    return differ + abs(len(mine) - len(theirs))


# Storages


def open_storage(place: str) -> BaseStorage:
    """Open a database by its URL or a journal by its path."""
    if "://" in place:
        return get_storage(place)
    return JournalStorage(JournalFileBackend(place))


def open_with_heartbeat(url: str) -> BaseStorage:
    """Open a database whose trials fail three seconds after their process has died."""
    return get_storage(RDBStorage(url, heartbeat_interval=1, grace_period=3))


# identical


def identical(n_generations: int = 10, workers: Sequence[int] = (1, 2, 4, 8)) -> Iterator[Row]:
    """Compare studies of one seed with that of one process in memory."""
    reference = optuna.create_study(sampler=GASampler(SIZE, seed=SEED))
    reference.optimize(evaluate, n_trials=SIZE * n_generations)
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
                    "processes": ProcessPoolExecutor(n, _context),
                }.items():
                    count = _differing_in_parallel(executor, place, n_generations, reference)
                    case = f"{name}, {n} {kind}"
                    n_trials = SIZE * n_generations
                    yield figure(case, "trials that differ", count, n_trials, at_most=0)


def _differing_in_parallel(
    executor: Executor, place: str, n_generations: int, reference: Study
) -> int:
    with executor, servers.opened(open_storage(place)) as storage:
        study = optuna.create_study(storage=storage, sampler=GASampler(SIZE, seed=SEED))
        objective = partial(uneven, scale_s=0.003)
        optimize_generations(study, InParallel(objective, executor), n_generations)
        return differing(study, reference)


# killed


def killed(n_kills: int = 50, n_trials: int = 60) -> Iterator[Row]:
    """Kill runs at random moments and resume them."""
    reference = optuna.create_study(sampler=GASampler(10, seed=SEED))
    reference.optimize(evaluate, n_trials=n_trials)
    truth, moments = story(reference), random.Random(SEED)
    differ = compared = wrong_numbers = hits = driver_differ = n_running = 0
    for _ in tqdm(range(n_kills), desc="killed", leave=False, disable=None):
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/study.db"
            hits += _kill(_one_by_one, url, n_trials, moments)
            with servers.opened(open_storage(url)) as storage:
                study = _resume(storage)
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
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/study.db"
            hits += _kill(_by_generations, url, n_trials, moments)
            with servers.opened(open_storage(url)) as storage:
                study = _resume(storage)
                optimize_generations(study, _each, n_trials // 10)
                driver_differ += differing(study, reference)
                n_running += left_running(study)
    one, all_of = "one by one, left-over trials failed", "by generations"
    yield figure(one, "trials of unaffected generations that differ", differ, compared, at_most=0)
    yield figure(one, "runs with numbers missing or repeated", wrong_numbers, n_kills, at_most=0)
    yield figure(all_of, "trials that differ", driver_differ, n_kills * n_trials, at_most=0)
    yield figure(all_of, "trials left running", n_running, n_kills * n_trials, at_most=0)
    yield figure(
        "both", "kills that came before the run's end", hits, 2 * n_kills, at_least=n_kills
    )


def _unaffected(
    mine: tuple[Any, ...],
    theirs: tuple[Any, ...],
    all_mine: Sequence[Any],
    all_theirs: Sequence[Any],
) -> bool:
    """Return whether a trial was not killed and bred from the trials that it should be."""
    before = slice(max(mine[0] // 10 * 10 - 10, 0), mine[0] // 10 * 10)
    return mine[1] != TrialState.FAIL and all_mine[before] == all_theirs[before]


def _kill(run: Callable[..., None], url: str, n_trials: int, moments: random.Random) -> bool:
    """Kill a run of this process at a random moment; return whether it was not over yet."""
    receiver, sender = _context.Pipe(duplex=False)
    with receiver, sender:
        process = _context.Process(target=run, args=(url, n_trials, sender))
        process.start()
        sender.close()  # So that a run that fails to begin ends the waiting.
        receiver.recv()
        time.sleep(moments.uniform(0.0, 0.012 * n_trials))
        process.kill()
        process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"The run ended with {process.exitcode} before it was killed.")
    return process.exitcode != 0


def _resume(storage: BaseStorage) -> Study:
    return optuna.create_study(
        study_name="killed", storage=storage, sampler=GASampler(10, seed=SEED), load_if_exists=True
    )


def _one_by_one(url: str, n_trials: int, begins: Any) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = _resume(open_storage(url))
    begins.send(None)
    study.optimize(partial(uneven, scale_s=0.001), n_trials=n_trials)


def _by_generations(url: str, n_trials: int, begins: Any) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = _resume(open_storage(url))
    begins.send(None)
    optimize_generations(study, lambda ts: [uneven(t, 0.001) for t in ts], n_trials // 10)


def _each(trials: list[Trial]) -> list[float]:
    return [evaluate(trial) for trial in trials]


# swarm and faults


class WatchedNSGAIISampler(NSGAIISampler):
    """NSGA-II that records who is in the populations that it selects parents from."""

    def select_parent(self, study: Study, generation: int) -> list[FrozenTrial]:
        """Return the parents."""
        population = [trial.number for trial in self.get_population(study, generation - 1)]
        key = f"watched:{generation}:{os.getpid()}:{time.monotonic_ns()}"
        study._storage.set_study_system_attr(study._study_id, key, population)
        return super().select_parent(study, generation)


SWARMS: Mapping[str, Callable[[], BaseSampler]] = {
    "GASampler": partial(GASampler, SIZE, seed=SEED),
    "GASampler, elitism": partial(GASampler, SIZE, seed=SEED, elitism=True),
    "NSGAIISampler": partial(WatchedNSGAIISampler, population_size=SIZE, seed=SEED),
}


def swarm(
    n_trials: int = 2000, n_workers: int = 16, n_kills: int = 8, scale_s: float = 0.1
) -> Iterator[Row]:
    """Let workers of one seed run freely, kill some and replace them."""
    with servers.postgresql() as url:
        for name, make in SWARMS.items():
            objective = partial(uneven, scale_s=scale_s)
            with servers.opened(open_storage(url)) as storage:
                study = optuna.create_study(storage=storage)
                run_swarm(study, open_storage, url, make, objective, n_trials, n_workers, n_kills)
                yield from (
                    _nsgaii_figures(study, n_kills)
                    if name == "NSGAIISampler"
                    else _ga_figures(name, study, "elitism" in name, n_kills)
                )


def run_swarm(
    study: Study,
    reopen: Callable[[str], BaseStorage],
    url: str,
    make: Callable[[], BaseSampler],
    objective: Callable[[Trial], float],
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
            n_started = study._storage.get_n_trials(study._study_id)
            progress.update(n_started - progress.n)
            workers = [worker for worker in workers if worker.is_alive()]
            if n_started < n_trials:
                while len(workers) < n_workers:
                    n_begun += 1
                    if n_begun > n_workers + n_kills + n_trials // 10:
                        raise RuntimeError(f"{n_begun} workers have died; see their messages.")
                    workers.append(_context.Process(target=_work_freely, args=arguments))
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
    objective: Callable[[Trial], float],
    n_trials: int,
) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def stop(study: Study, trial: FrozenTrial) -> None:
        if study._storage.get_n_trials(study._study_id) >= n_trials:
            study.stop()

    study = optuna.load_study(study_name=name, storage=reopen(url), sampler=make())
    study.optimize(objective, callbacks=[stop], catch=OSError)


def _ga_figures(case: str, study: Study, elitism: bool, n_dead: int) -> Iterator[Row]:
    trials = study.get_trials(deepcopy=False)
    n = len(trials)
    fresh = [t for t in trials if "x" in t.params and t.params["x"] not in _inherited(trials, t)]
    lost, judged = oracles.never_candidates(trials, SIZE, elitism)
    wrong = sum(
        t.user_attrs.get("ga_generation") != t.number // SIZE
        for t in trials
        if t.state.is_finished()  # One may have been killed before it wrote its own.
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
    if elitism:
        passed = oracles.passed_over(trials, SIZE, SIZE // 2)
        yield figure(case, "parents worse than a known candidate", passed, n_parents, at_most=0)
    yield figure(case, "finished trials never a candidate", lost, judged)


def _inherited(trials: Sequence[FrozenTrial], trial: FrozenTrial) -> list[Any]:
    return [trials[number].params.get("x") for number in oracles.parents(trial)]


def _repeats(trials: Sequence[FrozenTrial]) -> int:
    return len(trials) - len({trial.params["x"] for trial in trials})


def _nsgaii_figures(study: Study, n_dead: int) -> Iterator[Row]:
    trials, case = study.get_trials(deepcopy=False), "NSGAIISampler"
    label = "NSGAIISampler:generation"
    label = next((k for t in trials for k in t.system_attrs if k.endswith(":generation")), label)
    generations = Counter(t.system_attrs[label] for t in trials if label in t.system_attrs)
    first = [t for t in trials if t.system_attrs.get(label) == 0 and "x" in t.params]
    watched = study._storage.get_study_system_attrs(study._study_id)
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
    """Let free workers bear faults; then a driver that is replaced whenever it dies."""
    with servers.postgresql() as url, servers.opened(open_with_heartbeat(url)) as storage:
        for elitism in (False, True):
            make = partial(GASampler, SIZE, seed=SEED, elitism=elitism)
            study = optuna.create_study(storage=storage, sampler=make())
            objective = partial(faulty, scale_s=scale_s, mortal=True)
            run_swarm(study, open_with_heartbeat, url, make, objective, n_trials, n_workers, 0)
            time.sleep(4)
            study.optimize(evaluate, n_trials=1)  # It notices the last that died.
            name = "free workers, elitism" if elitism else "free workers"
            yield from _ga_figures(name, study, elitism, 0)
        yield from _replaced_driver(url, n_trials // 4 // SIZE * SIZE, scale_s)


def _replaced_driver(url: str, n_trials: int, scale_s: float) -> Iterator[Row]:
    """Compare a search by generations whose process dies again and again with a quiet one."""
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
                raise RuntimeError("The driver dies of something else; see its messages.")
            process = _context.Process(target=_drive, args=arguments)
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


# threads


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


# suggestion

_CLONE = """
insert into trials (trial_id, number, study_id, state, datetime_start, datetime_complete)
    select trial_id + :n * i, number + :n * i, study_id, state,
        datetime_start + i * interval '1 hour', datetime_complete + i * interval '1 hour'
    from trials, generate_series(1, :copies) as i where study_id = :study;
insert into trial_params (trial_id, param_name, param_value, distribution_json)
    select trial_id + :n * i, param_name, param_value, distribution_json
    from trial_params join trials using (trial_id), generate_series(1, :copies) as i
    where study_id = :study and number < :n;
insert into trial_values (trial_id, objective, value, value_type)
    select trial_id + :n * i, objective, value, value_type
    from trial_values join trials using (trial_id), generate_series(1, :copies) as i
    where study_id = :study and number < :n;
select setval('trials_trial_id_seq', (select max(trial_id) from trials));
"""


def suggestion(n_trials: int = 100_000, n_turns: int = 25, per_turn: int = 20) -> Iterator[Row]:
    """Time one more trial of a long study; its trials are copies of its first hundredth."""
    from benchmarks.performance.overhead import interval_of_median  # Workers need no PyTorch.

    makers: dict[str, Callable[[], BaseSampler]] = {
        "RandomSampler": partial(RandomSampler, SEED),
        "GASampler": SWARMS["GASampler"],
    }
    with servers.postgresql() as url, servers.opened(open_storage(url)) as storage:
        studies = {}
        for name in makers:
            studies[name] = optuna.create_study(storage=storage, study_name=name)
            studies[name].optimize(evaluate, n_trials=n_trials // 100)
            _multiply(url, studies[name], 99)
        first_s, seconds = {}, {}
        for name, make in makers.items():
            with servers.opened(open_storage(url)) as own:
                study = optuna.load_study(study_name=name, storage=own, sampler=make())
                first_s[name] = _seconds(study, 1)
        for name, make in makers.items():
            studies[name].sampler = make()
            _seconds(studies[name], SIZE)
            seconds[name] = list[float]()
        for _ in range(n_turns):
            for name, study in studies.items():
                seconds[name].append(_seconds(study, per_turn))
    ratios = [
        ga / rs for ga, rs in zip(seconds["GASampler"], seconds["RandomSampler"], strict=True)
    ]
    low, high = interval_of_median(ratios)
    case = f"{n_trials} trials on PostgreSQL"
    median = round(statistics.median(ratios), 3)
    yield figure(case, "time per trial, times RandomSampler's", median, n_turns, at_most=1.6)
    yield figure(case, "the same, lower end of the interval", round(low, 3), n_turns)
    yield figure(case, "the same, upper end of the interval", round(high, 3), n_turns)
    for name, s in first_s.items():
        yield figure(case, f"seconds of the first trial of a new process, {name}", round(s, 3), 1)


def _multiply(url: str, study: Study, copies: int) -> None:
    n = len(study.trials)
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        # Ids of the copies follow those of the originals, so nobody else may be adding trials.
        for statement in filter(str.strip, _CLONE.split(";")):
            connection.execute(
                sqlalchemy.text(statement), {"n": n, "copies": copies, "study": study._study_id}
            )
    engine.dispose()


def _seconds(study: Study, n_trials: int) -> float:
    start = time.perf_counter()
    for _ in range(n_trials):
        trial = study.ask()
        study.tell(trial, evaluate(trial))
    return time.perf_counter() - start


EXPERIMENTS: Mapping[str, Callable[[], Iterator[Row]]] = {
    "identical": identical,
    "killed": killed,
    "swarm": swarm,
    "faults": faults,
    "threads": threads,
    "suggestion": suggestion,
}


def _parser(out: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.workers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--experiments", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS),
        help="which to run (default: all)")  # fmt: skip
    add("--out", type=Path, default=out, help="file for the rows (default: in results)")
    return parser


if __name__ == "__main__":
    main()
