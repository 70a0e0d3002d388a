"""Every storage that processes can share, on the real servers."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest.mock import patch

import optuna
import pytest
from distributed import Client
from optuna import Study, Trial, TrialPruned
from optuna.storages import BaseStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from optuna_ga import Checkpoints, GASampler, InParallel, optimize_generations
from tests.pbt.walks import Walk
from tests.pbt.walks import sampler as walks_on
from tests.processes import FRESH
from tests.servers import opened
from tests.studies import (
    assert_parents_by_the_rules,
    bred,
    fresh_genes,
    of_four,
    parents,
    run,
    sphere,
    story,
)

slow_with_elitism = pytest.param(True, marks=pytest.mark.slow)
EXAMPLE = Path(__file__).parents[1] / "examples" / "distributed.py"


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Three worker processes."""
    with ProcessPoolExecutor(3, FRESH) as executor:
        yield executor


def varied(trial: Trial) -> float:
    """Branch, report, record and prune."""
    branch = trial.suggest_categorical("branch", ["flat", "steep"])
    value = sphere(trial) * (trial.suggest_int("n", 1, 9) if branch == "steep" else 1)
    trial.report(value, 0)
    trial.set_user_attr("branch", branch)
    if trial.number % 7 == 5:
        raise TrialPruned
    return value


@pytest.mark.parametrize("elitism", [False, slow_with_elitism])
def test_a_search_is_the_same_on_every_storage(shared_storage: BaseStorage, elitism: bool) -> None:
    """Parameters, values, states and parents are those of a study in memory."""
    study = run(of_four(elitism=elitism), 22, varied, storage=shared_storage)

    assert story(study) == story(run(of_four(elitism=elitism), 22, varied))


def test_training_resumes_on_every_storage(shared_storage: BaseStorage, tmp_path: Path) -> None:
    """The study is that in memory, and states that no trial needs are removed."""
    folder = tmp_path / "states"
    walks = [
        run(walks_on(), 24, Walk(Checkpoints(folder)), storage=shared_storage),
        run(walks_on(), 24, Walk(Checkpoints())),
    ]
    first, second = ([(t.params, t.values, parents(t)) for t in study.trials] for study in walks)

    assert first == second
    assert len(list(folder.iterdir())) <= 12


def test_processes_make_the_same_search_on_every_storage(
    shared_storage: BaseStorage, processes: Executor
) -> None:
    """Three processes that share generations make the search of one process."""
    study = optuna.create_study(sampler=of_four(), storage=shared_storage)
    optimize_generations(study, InParallel(varied, processes), 6)

    assert story(study) == story(run(of_four(), 24, varied))


def test_threads_make_the_same_search_on_every_storage(shared_storage: BaseStorage) -> None:
    """Four threads share one study object."""
    study = optuna.create_study(sampler=of_four(), storage=shared_storage)
    with ThreadPoolExecutor(4) as threads:
        optimize_generations(study, InParallel(varied, threads), 6)

    assert story(study) == story(run(of_four(), 24, varied))


@pytest.mark.slow
def test_dask_workers_make_the_same_search(postgresql: str) -> None:
    """Dask's workers are processes in front of PostgreSQL."""
    with (
        patch.dict(os.environ),  # Dask leaves its workers' variables there, as limits of threads.
        opened(optuna.storages.get_storage(postgresql)) as storage,
        Client(  # type: ignore[no-untyped-call]
            n_workers=2, threads_per_worker=1, dashboard_address=None, set_as_default=False
        ) as client,
    ):
        study = optuna.create_study(sampler=of_four(), storage=storage)
        optimize_generations(study, InParallel(lambda t: varied(t), client.get_executor()), 4)

    assert story(study) == story(run(of_four(), 16, varied))


def example(*arguments: str) -> str:
    """Return the output of examples/distributed.py."""
    command = [sys.executable, "-W", "error", str(EXAMPLE), *arguments, "--workers", "3"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.slow
def test_the_example_of_distributed_workers_runs(postgresql: str) -> None:
    """By generations the number of trials is exact; free workers add a few."""
    assert example(postgresql).startswith("200 trials, best 0.")
    with opened(optuna.storages.get_storage(postgresql)) as storage:
        study = optuna.load_study(study_name="distributed", storage=storage)
        assert len({str(trial.params) for trial in study.trials}) == 200
        optuna.delete_study(study_name="distributed", storage=storage)
        n_trials = int(example(postgresql, "--free").split()[0])
        optuna.delete_study(study_name="distributed", storage=storage)

    assert 200 <= n_trials <= 203


def work(storage: bytes, name: str, make: Callable[[], GASampler], n_trials: int) -> None:
    """Run trials as a free worker in its own process."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with opened(pickle.loads(storage)) as own:
        study = optuna.load_study(study_name=name, storage=own, sampler=make())
        study.optimize(uneven_sphere, n_trials=n_trials)


def uneven_sphere(trial: Trial) -> float:
    """Return the sphere's value after a time that depends on the trial."""
    time.sleep(0.01 * (trial.number * 7 % 5))
    return sphere(trial)


@pytest.mark.parametrize("elitism", [False, slow_with_elitism])
def test_free_workers_with_one_seed_share_every_storage(
    shared_storage: BaseStorage, processes: ProcessPoolExecutor, elitism: bool
) -> None:
    """Generations are exact, no draw is repeated, and no trial lacks parents."""
    study = optuna.create_study(storage=shared_storage)
    packed = pickle.dumps(shared_storage)
    make = partial(of_four, elitism=elitism)
    for done in [processes.submit(work, packed, study.study_name, make, 8) for _ in range(3)]:
        done.result()

    trials = study.trials
    assert [trial.number for trial in trials] == list(range(24))
    assert [trial.user_attrs["ga_generation"] for trial in trials] == [n // 4 for n in range(24)]
    assert all(len(parents(trial)) == 2 for trial in trials[8:])
    assert all(max(parents(trial)) < trial.number // 4 * 4 for trial in bred(study))
    for name in "xyz":
        genes = fresh_genes(study, name)
        assert len(genes) == len(set(genes)) >= 4


def beating(url: str) -> RDBStorage:
    """Return a database whose running trials need a heartbeat every second."""
    return RDBStorage(
        url,
        heartbeat_interval=1,
        grace_period=2,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=1),
    )


def dying_in_trial_nine(trial: Trial) -> float:
    """Suggest the first gene of trial 9 and be killed."""
    if trial.number == 9:
        trial.suggest_float("x", -1.0, 1.0)
        time.sleep(1)  # Its heart has beaten.
        os.kill(os.getpid(), signal.SIGKILL)
    return sphere(trial)


def work_until_killed(url: str, name: str) -> None:
    """Run trials as a worker that is killed in trial 9."""
    study = optuna.load_study(study_name=name, storage=beating(url), sampler=of_four())
    study.optimize(dying_in_trial_nine, n_trials=20)


@pytest.mark.slow
def test_the_trial_of_a_dead_worker_is_tried_again(postgresql: str) -> None:
    """It fails for want of a heartbeat; its retry has its gene, parents and generation."""
    with opened(optuna.storages.get_storage(beating(postgresql))) as storage:
        study = optuna.create_study(sampler=of_four(), storage=storage)
        worker = FRESH.Process(target=work_until_killed, args=(postgresql, study.study_name))
        worker.start()
        worker.join()
        assert worker.exitcode == -signal.SIGKILL
        time.sleep(3.5)
        study.optimize(sphere, n_trials=14)

    undisturbed = run(of_four(), 12).trials[9]
    dead, (retry,) = study.trials[9], [t for t in study.trials if "failed_trial" in t.system_attrs]
    assert dead.state == TrialState.FAIL
    assert retry.state == TrialState.COMPLETE
    assert retry.params["x"] == dead.params["x"] == undisturbed.params["x"]
    assert set(retry.params) == set("xyz")
    assert parents(retry) == parents(undisturbed) == parents(dead)
    assert retry.user_attrs["ga_generation"] == 2
    assert_parents_by_the_rules(study, 16)
    assert all(trial.state.is_finished() for trial in study.trials)


def stopped_half_way(url: str, name: str) -> None:
    """Run generations until the process is killed in generation 2."""
    storage = optuna.storages.get_storage(url)
    study = optuna.load_study(study_name=name, storage=storage, sampler=of_four())
    optimize_generations(study, lambda ts: [dying_in_trial_nine(t) for t in ts], 5)


@pytest.mark.slow
def test_a_killed_driver_is_replaced_by_one_with_workers(
    postgresql: str, processes: Executor
) -> None:
    """Left-over trials are evaluated in other processes; the study equals an undisturbed one."""
    with opened(optuna.storages.get_storage(postgresql)) as storage:
        study = optuna.create_study(sampler=of_four(), storage=storage)
        driver = FRESH.Process(target=stopped_half_way, args=(postgresql, study.study_name))
        driver.start()
        driver.join()
        assert driver.exitcode == -signal.SIGKILL
        assert study.trials[9].state == TrialState.RUNNING
        optimize_generations(study, InParallel(sphere, processes), 5)

    assert story(study) == story(run(of_four(), 20))


def test_a_study_copied_to_another_storage_continues(
    shared_storage: BaseStorage, tmp_path: Path
) -> None:
    """Half-way a study moves from SQLite, where its trials have other ids."""
    with opened(optuna.storages.get_storage(f"sqlite:///{tmp_path}/original.db")) as storage:
        original = run(of_four(), 10, storage=storage, study_name=f"copied to {shared_storage}")
        optuna.copy_study(
            from_study_name=original.study_name,
            from_storage=storage,
            to_storage=shared_storage,
            to_study_name=f"copy of {tmp_path}",
        )
    copy = optuna.load_study(
        study_name=f"copy of {tmp_path}", storage=shared_storage, sampler=of_four()
    )
    copy.optimize(sphere, n_trials=10)

    assert story(copy) == story(run(of_four(), 20))


def test_searches_of_two_samplers_alternate(shared_storage: BaseStorage) -> None:
    """TPE and GASampler take turns; children are bred from the generation before.

    TPE does not record which trials had finished when a generation began, so times decide, and
    trials that ended in the second of its beginning are late where a database keeps whole seconds.
    """
    study: Study = optuna.create_study(storage=shared_storage)
    for sampler, n_trials in [
        (optuna.samplers.TPESampler(seed=0), 6),
        (of_four(), 6),
        (optuna.samplers.TPESampler(seed=1), 4),
        (of_four(), 4),
    ]:
        study.sampler = sampler
        study.optimize(sphere, n_trials=n_trials)

    assert [trial.number for trial in bred(study)] == [*range(6, 12), *range(16, 20)]
    trials = study.trials
    for trial in bred(study):
        before = trials[trial.number // 4 * 4 - 4]
        assert before.datetime_start is not None
        for parent in (trials[number] for number in parents(trial)):
            assert parent.datetime_complete is not None
            assert parent.number // 4 == before.number // 4 or (
                parent.number < before.number and parent.datetime_complete >= before.datetime_start
            )
