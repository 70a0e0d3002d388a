"""Workers with the same seed never draw the same, and agree on the first generation."""

from __future__ import annotations

import threading
import time

import optuna
import pytest
from optuna import Study, Trial
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from optuna_ga import GASampler
from tests.processes import exit_codes
from tests.studies import fresh_genes, run, sphere, story


def run_on_eight_threads(population_size: int, n_trials: int) -> Study:
    """Return a study whose trials ran in overlapping batches of eight."""
    barrier = threading.Barrier(8, timeout=60)

    def objective(trial: Trial) -> float:
        barrier.wait()
        return sphere(trial)

    study = optuna.create_study(sampler=GASampler(population_size, seed=0))
    study.optimize(objective, n_trials=n_trials, n_jobs=8)
    return study


def test_threads_draw_what_one_thread_draws() -> None:
    """The first generation is the same trial by trial on any number of threads."""
    alone, together = run(GASampler(16, seed=0), 16), run_on_eight_threads(16, 48)

    assert story(alone) == story(together)[:16]


def test_threads_never_draw_the_same() -> None:
    """No fresh gene appears twice, however many threads draw at once."""
    study = run_on_eight_threads(16, 48)

    for name in "xyz":
        assert len(set(genes := fresh_genes(study, name))) == len(genes) > 16


def sphere_when_all_have_a_trial(trial: Trial) -> float:
    """Hold a worker's first trial until each of four workers has one."""
    end = time.monotonic() + 60
    while len(trial.study.get_trials(deepcopy=False)) < 4:
        assert time.monotonic() < end
        time.sleep(0.01)
    return sphere(trial)


def work(path: str) -> None:
    """Run fifteen trials of the shared study."""
    storage = JournalStorage(JournalFileBackend(path))
    sampler = GASampler(10, seed=0)
    study = optuna.load_study(study_name="shared", storage=storage, sampler=sampler)
    study.optimize(sphere_when_all_have_a_trial, n_trials=15)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study on which four processes with the same seed have worked at once."""
    path = str(tmp_path_factory.mktemp("shared") / "journal.log")
    study = optuna.create_study(
        study_name="shared", storage=JournalStorage(JournalFileBackend(path))
    )
    assert exit_codes(work, path, n_processes=4) == [0, 0, 0, 0]
    return study


@pytest.mark.slow
def test_processes_draw_what_one_process_draws(shared: Study) -> None:
    """The first generation is the same trial by trial on any number of processes."""
    assert story(run(GASampler(10, seed=0), 10)) == story(shared)[:10]


def test_processes_with_the_same_seed_never_draw_the_same(shared: Study) -> None:
    """No fresh gene appears twice, though all processes have the same seed."""
    assert [trial.state for trial in shared.trials] == [TrialState.COMPLETE] * 60
    for name in "xyz":
        assert len(set(genes := fresh_genes(shared, name))) == len(genes) > 10
