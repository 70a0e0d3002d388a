"""An ordinary objective over an executor makes the same study."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import uuid4

import optuna
import pytest
from optuna import Study, Trial, TrialPruned
from optuna.pruners import ThresholdPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler
from optuna.storages import InMemoryStorage, get_storage
from sqlalchemy.exc import OperationalError

from optuna_ga import GASampler, InParallel, optimize_generations
from optuna_ga._optuna_internals import packed, trial_id
from optuna_ga._running.remote_objective import RemoteObjective
from tests.running.evaluations import COMPLETE, FAIL, PRUNED, ending_in_every_way, journal, states
from tests.servers import opened
from tests.studies import OpenDatabase, of_four, parents, run, sphere, story


def uneven(trial: Trial) -> float:
    """Take longest for the first trial of a generation, and report and record on the way."""
    time.sleep(0.02 * (3 - trial.number % 4))
    branch = trial.suggest_categorical("branch", ["flat", "steep"])
    steepness = trial.suggest_float("steepness", 1.0, 10.0) if branch == "steep" else 0.5
    trial.set_user_attr("steepness", steepness)
    value = steepness * sphere(trial)
    for step in range(2):
        trial.report(value + step, step)
    return value


def pruned_by_the_threshold(trial: Trial) -> float:
    """Report once, and prune where the study's pruner says so."""
    value = sphere(trial)
    trial.report(value, 0)
    if trial.should_prune():
        raise TrialPruned
    return value


def stopping_at_five(trial: Trial) -> float:
    """Stop the study in trial 5."""
    if trial.number == 5:
        trial.study.stop()
    return sphere(trial)


def n_threads(trial: Trial) -> float:
    """Return the number of threads of Python in the process."""
    trial.suggest_float("x", 0.0, 1.0)
    return threading.active_count()


def process_id(trial: Trial) -> float:
    """Record the process that evaluates the trial."""
    trial.set_user_attr("process", os.getpid())
    return sphere(trial)


@pytest.mark.parametrize("elitism", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("objective", [uneven, ending_in_every_way])
def test_a_study_in_parallel_is_the_study_in_sequence(
    objective: Callable[[Trial], float], elitism: bool, executor: Executor, tmp_path: Path
) -> None:
    """Reports, attributes, failed and pruned trials are the same too."""
    sequence = run(of_four(elitism=elitism), 0)
    sequence.optimize(objective, n_trials=20, catch=OSError)
    parallel = journal(tmp_path, sampler=of_four(elitism=elitism))
    optimize_generations(parallel, InParallel(objective, executor), 5, catch=OSError)

    assert story(parallel) == story(sequence)
    for mine, theirs in zip(parallel.trials, sequence.trials, strict=True):
        assert mine.intermediate_values == theirs.intermediate_values


def test_trials_of_a_generation_run_at_the_same_time(threads: ThreadPoolExecutor) -> None:
    """Three trials that wait for each other all finish."""
    barrier = threading.Barrier(3, timeout=30)

    def together(trial: Trial) -> float:
        barrier.wait()
        return sphere(trial)

    study = optuna.create_study(sampler=of_four())
    optimize_generations(study, InParallel(together, threads), 2, population_size=3)

    assert states(study) == [COMPLETE] * 6


def test_processes_are_others_than_this_one(processes: Executor, tmp_path: Path) -> None:
    """The attributes that workers set arrive in the study."""
    study = journal(tmp_path)
    optimize_generations(study, InParallel(process_id, processes), 2)

    found = {trial.user_attrs["process"] for trial in study.trials}
    assert os.getpid() not in found
    assert 1 <= len(found) <= 3


def test_sqlite_can_be_opened_by_processes(
    processes: Executor, open_database: OpenDatabase
) -> None:
    """This process's cache of the study is not sent along."""
    study = optuna.create_study(sampler=of_four(), storage=open_database())
    optimize_generations(study, InParallel(sphere, processes), 3)

    assert story(study) == story(run(of_four(), 12))


def test_pruners_are_asked_in_the_workers(executor: Executor, tmp_path: Path) -> None:
    """The study's own pruner decides."""
    study = journal(tmp_path, pruner=ThresholdPruner(upper=1.0))
    optimize_generations(study, InParallel(pruned_by_the_threshold, executor), 3)

    assert {PRUNED, COMPLETE} == set(states(study))
    for trial in study.trials:
        assert (trial.state == PRUNED) == (trial.intermediate_values[0] > 1.0)


def test_an_objective_may_stop_the_study(executor: Executor, tmp_path: Path) -> None:
    """Its generation is finished, and no other is started."""
    study = journal(tmp_path)
    optimize_generations(study, InParallel(stopping_at_five, executor), 5)
    assert states(study) == [COMPLETE] * 8

    optimize_generations(study, InParallel(stopping_at_five, executor), 3)
    assert states(study) == [COMPLETE] * 12


def stopping_and_pruned(trial: Trial) -> float:
    """Stop the study and be pruned in trial 1."""
    if trial.number == 1:
        trial.study.stop()
        raise TrialPruned
    return sphere(trial)


def test_a_pruned_trial_may_stop_the_study_too(executor: Executor, tmp_path: Path) -> None:
    """The stop holds at once, not when the next trial completes."""
    study, parallel = journal(tmp_path), InParallel(stopping_and_pruned, executor)
    optimize_generations(study, parallel, 5)
    assert states(study) == [COMPLETE, PRUNED, COMPLETE, COMPLETE]

    optimize_generations(study, parallel, 3)
    assert len(study.trials) == 12


class UnknownThreads(Executor):
    """Threads that `InParallel` takes for processes, as the threads of a Dask worker."""

    def __init__(self, n: int) -> None:
        self._threads = ThreadPoolExecutor(n)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._threads.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._threads.shutdown(wait, cancel_futures=cancel_futures)


def stopping_at_once(trial: Trial) -> float:
    """Stop the study."""
    trial.study.stop()
    return sphere(trial)


def test_a_stop_arrives_from_threads_that_share_a_worker(tmp_path: Path) -> None:
    """The threads open the study once among them."""
    study = journal(tmp_path)
    with UnknownThreads(4) as executor:
        optimize_generations(study, InParallel(stopping_at_once, executor), 5)

    assert states(study) == [COMPLETE] * 4


def test_a_stop_arrives_with_its_own_trial(tmp_path: Path) -> None:
    """Another trial of the same worker may be lost, and would take the stop with it."""
    has_stopped, has_ended = threading.Event(), threading.Event()

    def objective(trial: Trial) -> float:
        if trial.number == 0:
            trial.study.stop()
            has_stopped.set()
            assert has_ended.wait(30)
        else:
            assert has_stopped.wait(30)
        return sphere(trial)

    study = journal(tmp_path)
    remote = RemoteObjective("key", objective, packed(study), os.getpid())
    ids = [trial_id(study.ask()) for _ in range(2)]
    with ThreadPoolExecutor(1) as thread:
        stopping = thread.submit(remote, ids[0])
        other = remote(ids[1])
        has_ended.set()

        assert stopping.result().stops
        assert not other.stops


def test_other_samplers_learn_from_the_generations_before(
    executor: Executor, tmp_path: Path
) -> None:
    """NSGA-II sees complete generations, which Optuna's cache of each thread would hide."""
    study = journal(tmp_path, sampler=NSGAIISampler(population_size=4, seed=0))
    optimize_generations(study, InParallel(sphere, executor), 5)

    generations = [
        value
        for trial in study.trials
        for key, value in trial.system_attrs.items()
        if key.endswith(":generation")
    ]
    assert generations == [number // 4 for number in range(20)]


def test_another_sampler_takes_over_in_the_workers(executor: Executor, tmp_path: Path) -> None:
    """A study may get a new sampler between two calls."""
    study = journal(tmp_path, sampler=RandomSampler(seed=0))
    parallel = InParallel(sphere, executor)
    optimize_generations(study, parallel, 1, population_size=4)
    study.sampler = of_four()
    optimize_generations(study, parallel, 2)

    assert all(len(parents(trial)) == 2 for trial in study.trials[4:])


class NamedThreads(ThreadPoolExecutor):
    """Threads of a subclass, as programs define them."""


def test_threads_of_any_class_share_a_study_in_memory() -> None:
    """A subclass of `ThreadPoolExecutor` shares this process's memory, too."""
    study = optuna.create_study(sampler=of_four())
    with NamedThreads(2) as executor:
        optimize_generations(study, InParallel(sphere, executor), 2)

    assert story(study) == story(run(of_four(), 8))


class OneAfterAnother(Executor):
    """An executor that runs trials in this process, of a class that is not known to do so."""

    latest: Callable[..., Any]

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.latest = pickle.loads(pickle.dumps(fn))
        future: Future[Any] = Future()
        future.set_result(self.latest(*args, **kwargs))
        return future


class KeepingTheSeed(RandomSampler):
    """A sampler that remembers whether it was reseeded."""

    def reseed_rng(self) -> None:
        super().reseed_rng()
        self.reseeded = True


def tell_whether_reseeded(trial: Trial) -> float:
    """Return 1 if the sampler was reseeded."""
    return float(getattr(trial.study.sampler, "reseeded", False))


def test_other_samplers_are_reseeded_in_their_workers(tmp_path: Path) -> None:
    """Otherwise all workers would draw the same; the study's own sampler is not reseeded."""
    sampler = KeepingTheSeed(seed=0)
    study = journal(tmp_path, sampler=sampler)
    parallel = InParallel(tell_whether_reseeded, OneAfterAnother())
    optimize_generations(study, parallel, 1, population_size=2)

    assert [trial.value for trial in study.trials] == [1.0, 1.0]
    assert not hasattr(sampler, "reseeded")


def test_a_worker_opens_a_study_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening it anew for each trial would read all trials each time."""
    opened: list[str] = []

    def load(**options: Any) -> Study:
        opened.append(options["study_name"])
        return optuna.load_study(**options)

    monkeypatch.setattr("optuna_ga._optuna_internals.load_study", load)
    study = journal(tmp_path)
    optimize_generations(study, InParallel(sphere, OneAfterAnother()), 3)

    assert opened == [study.study_name]
    assert story(study) == story(run(of_four(), 12))


@pytest.mark.parametrize("sampler", [GASampler(4, seed=0), RandomSampler()])
def test_other_processes_cannot_reach_a_study_in_memory(
    sampler: BaseSampler, processes: Executor
) -> None:
    """The error says what to do, and comes before the first trial."""
    study = optuna.create_study(storage=InMemoryStorage(), sampler=sampler)
    with pytest.raises(ValueError, match=r"`executor` must be a `ThreadPoolExecutor`.*Process"):
        optimize_generations(study, InParallel(sphere, processes), 2, population_size=4)

    assert not study.trials


def test_a_wrapped_evaluation_is_checked_too(processes: Executor) -> None:
    """The wrapper hides the executor until the first call, whose trials then fail."""
    study, parallel = optuna.create_study(sampler=of_four()), InParallel(sphere, processes)
    with pytest.raises(ValueError, match="since the study is in memory"):
        optimize_generations(study, lambda trials: parallel(trials), 2)

    assert states(study) == [FAIL] * 4


class Counting:
    """An objective that counts in a folder how often it is pickled and unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getstate__(self) -> dict[str, Path]:
        (self.folder / f"pickled {uuid4()}").touch()
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__init__(**state)  # type: ignore[misc]
        (self.folder / f"unpickled {uuid4()}").touch()

    def __call__(self, trial: Trial) -> float:
        return sphere(trial)


def test_an_objective_is_sent_to_each_worker_once(processes: Executor, tmp_path: Path) -> None:
    """A large one would take longer to send than a trial to evaluate."""
    study = journal(tmp_path)
    parallel = InParallel(Counting(tmp_path), processes)
    optimize_generations(study, parallel, 5)

    assert states(study) == [COMPLETE] * 20
    assert len(list(tmp_path.glob("pickled *"))) == 1
    assert 1 <= len(list(tmp_path.glob("unpickled *"))) <= 3


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_keeps_no_thread_of_a_study_that_has_ended(tmp_path: Path, method: str) -> None:
    """One thread waits for the driver's end, however many studies a pool works on."""
    with ProcessPoolExecutor(1, get_context(method)) as pool:
        found = []
        for n in range(6):  # Of more studies than stay open.
            (folder := tmp_path / str(n)).mkdir()
            study = journal(folder)
            optimize_generations(study, InParallel(n_threads, pool), 1)
            found.append(study.trials[-1].value)

    assert found == [found[0]] * 6


def unpickled_in_a_thread(remote: Any) -> None:
    """Unpickle an object in another thread, and wait for it."""
    thread = threading.Thread(target=pickle.loads, args=(pickle.dumps(remote),), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_opening_a_study_blocks_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask unpickles the next task in the thread that its storage needs to open a study."""
    executor = OneAfterAnother()

    def load(**options: Any) -> Study:
        unpickled_in_a_thread(executor.latest)
        return optuna.load_study(**options)

    monkeypatch.setattr("optuna_ga._optuna_internals.load_study", load)
    study = journal(tmp_path)
    optimize_generations(study, InParallel(sphere, executor), 1)

    assert states(study) == [COMPLETE] * 4


def test_two_studies_may_share_the_workers(executor: Executor, tmp_path: Path) -> None:
    """Results go to the study that their trials belong to."""
    parallel = InParallel(sphere, executor)
    studies = [journal(tmp_path, sampler=GASampler(4, seed=seed)) for seed in (1, 2)]
    for n_generations in (1, 2, 3):
        for study in studies:
            optimize_generations(study, parallel, n_generations)

    for study, seed in zip(studies, (1, 2), strict=True):
        assert story(study) == story(run(GASampler(4, seed=seed), 12))


@pytest.mark.parametrize(
    ("objective", "executor", "message"),
    [
        (3, ThreadPoolExecutor(), "`objective` must be callable, but 3 was given"),
        (sphere, None, "`executor` must be a `concurrent.futures.Executor`, but None was given"),
    ],
)
def test_a_wrong_argument_is_named(objective: Any, executor: Any, message: str) -> None:
    """The error shows the value that was given."""
    with pytest.raises(TypeError, match=message):
        InParallel(objective, executor)


@pytest.mark.slow
def test_workers_read_the_password_where_they_are(
    guarded_postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no part of what is sent to them; without it the database refuses."""
    with pytest.raises(OperationalError, match="no password supplied"):
        optuna.create_study(storage=guarded_postgresql)
    monkeypatch.setenv("PGPASSWORD", "secret")
    with opened(get_storage(guarded_postgresql)) as storage:
        study = optuna.create_study(storage=storage, sampler=of_four())
        with ProcessPoolExecutor(2, get_context("spawn")) as executor:
            optimize_generations(study, InParallel(sphere, executor), 2)

        assert story(study) == story(run(of_four(), 8))
        assert b"secret" not in packed(study)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_in_memory_is_in_memory(processes: Executor, url: str) -> None:
    """SQLite in memory is refused as well, however its address is written."""
    with opened(get_storage(url)) as storage:
        study = optuna.create_study(storage=storage, sampler=of_four())
        with pytest.raises(ValueError, match="since the study is in memory"):
            optimize_generations(study, InParallel(sphere, processes), 2)
        assert not study.trials
