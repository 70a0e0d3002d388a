"""An ordinary objective over an executor: the same study, whatever happens in the workers."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Study, Trial, TrialPruned
from optuna.pruners import ThresholdPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler
from optuna.storages import InMemoryStorage, JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from optuna_ga import GASampler, InParallel, optimize_generations
from tests.servers import opened
from tests.studies import OpenDatabase, of_four, parents, run, sphere, story

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL

Submit = Callable[..., Any]


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Three worker processes that share nothing with this one."""
    with ProcessPoolExecutor(3, get_context("spawn")) as executor:
        yield executor


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    """Three worker threads."""
    with ThreadPoolExecutor(3) as executor:
        yield executor


@pytest.fixture(params=["threads", "processes"])
def executor(request: pytest.FixtureRequest) -> Executor:
    """Workers of both kinds."""
    found: Executor = request.getfixturevalue(request.param)
    return found


def journal(folder: Path, **options: Any) -> Study:
    """Return a new study that other processes can open."""
    storage = JournalStorage(JournalFileBackend(f"{folder}/journal.log"))
    return optuna.create_study(storage=storage, **{"sampler": of_four(), **options})


def uneven(trial: Trial) -> float:
    """Take longest for the first of a generation, and say who ran where."""
    time.sleep(0.02 * (3 - trial.number % 4))
    branch = trial.suggest_categorical("branch", ["flat", "steep"])
    steepness = trial.suggest_float("steepness", 1.0, 10.0) if branch == "steep" else 0.5
    trial.set_user_attr("steepness", steepness)
    value = steepness * sphere(trial)
    for step in range(2):
        trial.report(value + step, step)
    return value


def ending_in_every_way(trial: Trial) -> float:
    """Fail, prune, diverge or complete, by the trial's number."""
    value = sphere(trial)
    ending = trial.number % 5
    if ending == 0:
        raise OSError("no space left")
    if ending == 1:
        trial.report(value, 7)
        raise TrialPruned("too slow")
    return {2: math.inf, 3: math.nan}.get(ending, value)


def pruned_by_the_threshold(trial: Trial) -> float:
    """Ask the study's pruner."""
    value = sphere(trial)
    trial.report(value, 0)
    if trial.should_prune():
        raise TrialPruned
    return value


def stopping_at_five(trial: Trial) -> float:
    """Stop the study."""
    if trial.number == 5:
        trial.study.stop()
    return sphere(trial)


class UnreadableError(Exception):
    """An error that is pickled but cannot be read again."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{code}: {why}")


def raising_an_unreadable_error(trial: Trial) -> float:
    """Fail in one trial."""
    if trial.number == 2:
        raise UnreadableError(7, "cannot be read")
    return sphere(trial)


def dying_in_trial_two(trial: Trial) -> float:
    """Take the worker down."""
    if trial.number == 2:
        os._exit(1)
    return sphere(trial)


def process_id(trial: Trial) -> float:
    """Tell where it ran."""
    trial.set_user_attr("process", os.getpid())
    return sphere(trial)


def states(study: Study) -> list[TrialState]:
    """Return the state of every trial."""
    return [trial.state for trial in study.trials]


@pytest.mark.parametrize("elitism", [False, True])
@pytest.mark.parametrize("objective", [uneven, ending_in_every_way])
def test_a_study_in_parallel_is_the_study_in_sequence(
    objective: Callable[[Trial], float], elitism: bool, executor: Executor, tmp_path: Path
) -> None:
    """All that a trial is, reports, attributes, failed and pruned ones included."""
    sequence = run(of_four(elitism=elitism), 0)
    sequence.optimize(objective, n_trials=20, catch=OSError)
    parallel = journal(tmp_path, sampler=of_four(elitism=elitism))
    optimize_generations(parallel, InParallel(objective, executor), 5, catch=OSError)

    assert story(parallel) == story(sequence)
    for mine, theirs in zip(parallel.trials, sequence.trials, strict=True):
        assert mine.intermediate_values == theirs.intermediate_values


def test_trials_of_a_generation_run_at_the_same_time(threads: ThreadPoolExecutor) -> None:
    """Three trials that wait for each other all end."""
    barrier = threading.Barrier(3, timeout=30)

    def together(trial: Trial) -> float:
        barrier.wait()
        return sphere(trial)

    study = optuna.create_study(sampler=of_four())
    optimize_generations(study, InParallel(together, threads), 2, population_size=3)

    assert states(study) == [COMPLETE] * 6


def test_processes_are_others_than_this_one(processes: Executor, tmp_path: Path) -> None:
    """Their trials' attributes arrive in the study."""
    study = journal(tmp_path)
    optimize_generations(study, InParallel(process_id, processes), 2)

    found = {trial.user_attrs["process"] for trial in study.trials}
    assert os.getpid() not in found
    assert 1 <= len(found) <= 3


def test_sqlite_can_be_opened_by_processes(
    processes: Executor, open_database: OpenDatabase
) -> None:
    """What this process has cached of the study does not travel."""
    study = optuna.create_study(sampler=of_four(), storage=open_database())
    optimize_generations(study, InParallel(sphere, processes), 3)

    assert story(study) == story(run(of_four(), 12))


def test_pruners_are_asked_in_the_workers(executor: Executor, tmp_path: Path) -> None:
    """By the study's own pruner."""
    study = journal(tmp_path, pruner=ThresholdPruner(upper=1.0))
    optimize_generations(study, InParallel(pruned_by_the_threshold, executor), 3)

    assert {PRUNED, COMPLETE} == set(states(study))
    for trial in study.trials:
        assert (trial.state == PRUNED) == (trial.intermediate_values[0] > 1.0)


def test_an_objective_may_stop_the_study(executor: Executor, tmp_path: Path) -> None:
    """Its generation is finished, and no other is begun."""
    study = journal(tmp_path)
    optimize_generations(study, InParallel(stopping_at_five, executor), 5)
    assert states(study) == [COMPLETE] * 8

    optimize_generations(study, InParallel(stopping_at_five, executor), 3)
    assert states(study) == [COMPLETE] * 12


def stopping_and_pruned(trial: Trial) -> float:
    """Stop the study, and be pruned."""
    if trial.number == 1:
        trial.study.stop()
        raise TrialPruned
    return sphere(trial)


def test_a_pruned_trial_may_stop_the_study_too(executor: Executor, tmp_path: Path) -> None:
    """Now, and not when the next trial succeeds."""
    study, parallel = journal(tmp_path), InParallel(stopping_and_pruned, executor)
    optimize_generations(study, parallel, 5)
    assert states(study) == [COMPLETE, PRUNED, COMPLETE, COMPLETE]

    optimize_generations(study, parallel, 3)
    assert len(study.trials) == 12


class UnknownThreads(ThreadPoolExecutor):
    """Threads that are not known to share the study, as those of one Dask worker."""


def stopping_at_once(trial: Trial) -> float:
    """Stop the study."""
    trial.study.stop()
    return sphere(trial)


def test_a_stop_arrives_from_threads_that_share_a_worker(tmp_path: Path) -> None:
    """They open the study once among them."""
    study = journal(tmp_path)
    with UnknownThreads(4) as executor:
        optimize_generations(study, InParallel(stopping_at_once, executor), 5)

    assert states(study) == [COMPLETE] * 4


def test_other_samplers_learn_from_the_generations_before(
    executor: Executor, tmp_path: Path
) -> None:
    """NSGA-II sees them complete; what Optuna keeps for each thread would hide them."""
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
    """The study may get a new sampler between two calls."""
    study = journal(tmp_path, sampler=RandomSampler(seed=0))
    parallel = InParallel(sphere, executor)
    optimize_generations(study, parallel, 1, population_size=4)
    study.sampler = of_four()
    optimize_generations(study, parallel, 2)

    assert all(len(parents(trial)) == 2 for trial in study.trials[4:])


class UnreadablePruned(TrialPruned):
    """A pruning that is pickled but cannot be read again."""

    def __init__(self, step: int, why: str) -> None:
        super().__init__(f"{step}: {why}")


class UnreadableFloat(float):
    """A number that is pickled but cannot be read again."""

    def __reduce__(self) -> tuple[Any, ...]:
        return UnreadableFloat, (1, 2, 3)


def unreadable_results(trial: Trial) -> float:
    """Prune a trial and return a number, neither of which can be read elsewhere."""
    if trial.number == 1:
        raise UnreadablePruned(3, "too slow")
    return UnreadableFloat(2.0) if trial.number == 2 else sphere(trial)


def test_a_result_that_cannot_be_read_costs_no_other(processes: Executor, tmp_path: Path) -> None:
    """A pruned trial is pruned, and a strange number an error that says so."""
    study = journal(tmp_path)
    with pytest.raises(TypeError, match="must return a value that can be pickled"):
        optimize_generations(study, InParallel(unreadable_results, processes), 5)

    assert states(study) == [COMPLETE, PRUNED, FAIL, COMPLETE]


def test_an_error_says_where_it_was_raised(processes: Executor, tmp_path: Path) -> None:
    """Its note has the traceback of the worker."""
    study = journal(tmp_path)
    with pytest.raises(OSError) as caught:
        optimize_generations(study, InParallel(ending_in_every_way, processes), 5)

    notes = getattr(caught.value, "__notes__", ["in ending_in_every_way"])  # From Python 3.11 on.
    assert "in ending_in_every_way" in notes[0]


def test_an_error_of_one_trial_costs_no_other(executor: Executor, tmp_path: Path) -> None:
    """It is raised once all results of its generation are told."""
    study = journal(tmp_path)
    with pytest.raises(OSError, match="no space left"):
        optimize_generations(study, InParallel(ending_in_every_way, executor), 5)

    assert states(study) == [FAIL, PRUNED, COMPLETE, FAIL]


def test_an_error_that_cannot_be_read_is_told_in_words(
    processes: Executor, tmp_path: Path
) -> None:
    """It does not break the executor, as it would by itself."""
    study = journal(tmp_path)
    with pytest.raises(RuntimeError, match="UnreadableError: 7: cannot be read"):
        optimize_generations(study, InParallel(raising_an_unreadable_error, processes), 5)

    assert states(study) == [COMPLETE, COMPLETE, FAIL, COMPLETE]


def test_a_dying_worker_costs_what_its_executor_gives_up(tmp_path: Path) -> None:
    """No trial is left running, finished ones count, and another executor goes on."""
    study = journal(tmp_path)
    with (
        ProcessPoolExecutor(1, get_context("spawn")) as mortal,
        pytest.raises(RuntimeError, match="terminated abruptly"),
    ):
        optimize_generations(study, InParallel(dying_in_trial_two, mortal), 5)
    assert states(study) == [COMPLETE, COMPLETE, FAIL, FAIL]

    with ThreadPoolExecutor(2) as threads:
        optimize_generations(study, InParallel(sphere, threads), 2)
    assert states(study)[4:] == [COMPLETE] * 4


def test_a_closed_executor_is_an_error_and_leaves_no_trial_running(tmp_path: Path) -> None:
    """As any other error of the evaluation."""
    study = journal(tmp_path)
    with ThreadPoolExecutor(1) as executor:
        parallel = InParallel(sphere, executor)
    with pytest.raises(RuntimeError, match="after shutdown"):
        optimize_generations(study, parallel, 1)

    assert states(study) == [FAIL] * 4


class Interrupting(Executor):
    """An executor whose user presses Ctrl-C while its third trial runs."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Submit, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.futures.append(future)
        if len(self.futures) == 3:
            future.exception = self._interrupt  # type: ignore[method-assign]
        elif len(self.futures) < 3:
            future.set_result(fn(*args, **kwargs))
        return future

    def _interrupt(self, timeout: float | None = None) -> None:
        raise KeyboardInterrupt


def test_an_interrupt_begins_no_further_trial(tmp_path: Path) -> None:
    """The generation fails, as it does without an executor."""
    study, executor = journal(tmp_path), Interrupting()
    with pytest.raises(KeyboardInterrupt):
        optimize_generations(study, InParallel(sphere, executor), 2)

    assert executor.futures[3].cancelled()
    assert states(study) == [FAIL] * 4


class InterruptedWhileSubmitting(Interrupting):
    """An executor whose user presses Ctrl-C while it takes its third trial."""

    def submit(self, fn: Submit, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if len(self.futures) == 2:
            raise KeyboardInterrupt
        self.futures.append(Future())
        return self.futures[-1]


def test_an_interrupt_cancels_what_was_handed_over(tmp_path: Path) -> None:
    """Though not all of the generation had been."""
    study, executor = journal(tmp_path), InterruptedWhileSubmitting()
    with pytest.raises(KeyboardInterrupt):
        optimize_generations(study, InParallel(sphere, executor), 2)

    assert [future.cancelled() for future in executor.futures] == [True, True]
    assert states(study) == [FAIL] * 4


class OneAfterAnother(Executor):
    """An executor of this process that is not known to be one."""

    def submit(self, fn: Submit, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class KeepingTheSeed(RandomSampler):
    """A sampler that tells when it is reseeded."""

    def reseed_rng(self) -> None:
        super().reseed_rng()
        self.reseeded = True


def tell_whether_reseeded(trial: Trial) -> float:
    """Return whether the sampler was."""
    return float(getattr(trial.study.sampler, "reseeded", False))


def test_other_samplers_are_reseeded_in_their_workers(tmp_path: Path) -> None:
    """Otherwise all workers would draw the same; the study's own sampler is let be."""
    sampler = KeepingTheSeed(seed=0)
    study = journal(tmp_path, sampler=sampler)
    parallel = InParallel(tell_whether_reseeded, OneAfterAnother())
    optimize_generations(study, parallel, 1, population_size=2)

    assert [trial.value for trial in study.trials] == [1.0, 1.0]
    assert not hasattr(sampler, "reseeded")


def test_a_worker_opens_a_study_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many trials it evaluates, so that it need not be read again for each."""
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
    """The error says what to do, before any trial is asked."""
    study = optuna.create_study(storage=InMemoryStorage(), sampler=sampler)
    with pytest.raises(ValueError, match=r"`executor` must be a `ThreadPoolExecutor`.*Process"):
        optimize_generations(study, InParallel(sphere, processes), 2, population_size=4)

    assert not study.trials


def test_a_database_in_memory_is_in_memory(processes: Executor) -> None:
    """SQLite has one as well."""
    with opened(get_storage("sqlite:///:memory:")) as storage:
        study = optuna.create_study(storage=storage, sampler=of_four())
        with pytest.raises(ValueError, match="since the study is in memory"):
            optimize_generations(study, InParallel(sphere, processes), 2)
        assert not study.trials


def test_a_wrapped_evaluation_is_checked_too(processes: Executor) -> None:
    """As soon as it is called; before, nobody can know of it."""
    study, parallel = optuna.create_study(sampler=of_four()), InParallel(sphere, processes)
    with pytest.raises(ValueError, match="since the study is in memory"):
        optimize_generations(study, lambda trials: parallel(trials), 2)

    assert states(study) == [FAIL] * 4


def test_two_studies_may_share_the_workers(executor: Executor, tmp_path: Path) -> None:
    """In turns: each trial goes to its own."""
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
    """With what it was."""
    with pytest.raises(TypeError, match=message):
        InParallel(objective, executor)
