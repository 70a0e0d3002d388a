"""The study's own seed, which samplers without a seed share."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

import optuna
import pytest
from optuna import Study
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from optuna_ga import GASampler
from optuna_ga._breeding import study_seed
from optuna_ga._breeding.unrepeated import UnrepeatedBreeder
from optuna_ga._sampler import breeder_of
from tests.breeding.samplers import KINDS, stepped
from tests.processes import exit_codes
from tests.studies import run, sphere, story

MAKERS: dict[str, Callable[[], GASampler]] = {
    "paper": GASampler,
    "elitism": partial(GASampler, elitism=True),
    "unrecorded": partial(GASampler, record=False),
    "population-based": GASampler.population_based_training,
    **KINDS,
}
of_every_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))


@of_every_maker
def test_the_search_is_that_of_the_recorded_seed(make: Callable[..., GASampler]) -> None:
    """The study shows its seed, with which the search can be repeated anywhere."""
    study = run(make(), 25)
    repeated = run(make(seed=study.user_attrs["ga_seed"]), 25)

    assert story(repeated) == story(study)


@of_every_maker
def test_a_resumed_run_takes_the_studys_seed(make: Callable[[], GASampler]) -> None:
    """It is the search of a run that was not interrupted."""
    study = run(make(), 12)
    uninterrupted = optuna.create_study(sampler=make())
    uninterrupted.set_user_attr("ga_seed", study.user_attrs["ga_seed"])
    uninterrupted.optimize(sphere, n_trials=25)
    study.sampler = pickle.loads(pickle.dumps(make()))
    study.optimize(sphere, n_trials=13)

    assert story(study) == story(uninterrupted)


def test_studies_have_seeds_of_their_own() -> None:
    """One sampler may serve several studies, also studies of the same name."""
    sampler = GASampler()
    studies = [run(sampler, 2, storage=InMemoryStorage(), study_name="a") for _ in range(2)]
    studies += [run(sampler, 2), run(GASampler(), 2)]

    assert len({study.user_attrs["ga_seed"] for study in studies}) == 4
    assert len({study.trials[0].params["x"] for study in studies}) == 4


def test_a_seed_that_is_given_is_taken() -> None:
    """It is the user's, and not the study's."""
    study = run(GASampler(), 1)
    study.sampler = GASampler(seed=0)
    study.optimize(sphere, n_trials=1)

    assert study.trials[1].params == run(GASampler(seed=0), 2).trials[1].params
    assert "ga_seed" not in run(GASampler(seed=0), 1).user_attrs


class WritingStorage(InMemoryStorage):
    """Storage that counts how often attributes of studies are written."""

    n_writes = 0

    def set_study_user_attr(self, study_id: int, key: str, value: object) -> None:
        self.n_writes += key == "ga_seed"
        super().set_study_user_attr(study_id, key, value)


def test_the_seed_is_written_once() -> None:
    """Neither trials nor further samplers write it again."""
    storage = WritingStorage()
    study = run(GASampler(), 10, storage=storage)
    study.sampler = GASampler()
    study.optimize(sphere, n_trials=10, n_jobs=4)

    assert storage.n_writes == 1


def test_threads_that_start_together_share_a_seed() -> None:
    """Workers of any number of samplers are of one mind, and repeat no trial."""
    for _ in range(20):
        study = optuna.create_study()
        workers = [
            optuna.load_study(
                study_name=study.study_name,
                storage=study._storage,
                sampler=GASampler.adaptive(surrogate=False),
            )
            for _ in range(8)
        ]
        seen = []
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda worker: worker.optimize(stepped, n_trials=1), workers))
        for worker in workers:
            assert isinstance(worker.sampler, GASampler)
            breeder = breeder_of(worker.sampler, worker)
            assert isinstance(breeder, UnrepeatedBreeder)
            seen.append(breeder._proposer.seed)
        assert set(seen) == {study.user_attrs["ga_seed"]}


def _work(path: str, n_trials: int) -> None:
    storage = JournalStorage(JournalFileBackend(path))
    study = optuna.load_study(
        study_name="shared", storage=storage, sampler=GASampler.adaptive(surrogate=False)
    )
    study.optimize(sphere, n_trials=n_trials)


def test_processes_that_start_together_share_a_seed(tmp_path: Path) -> None:
    """Their first trials are those of the recorded seed."""
    path = f"{tmp_path}/journal.log"
    storage = JournalStorage(JournalFileBackend(path))
    study = optuna.create_study(study_name="shared", storage=storage)
    assert exit_codes(_work, path, 1, n_processes=4) == [0, 0, 0, 0]
    expected = run(GASampler.adaptive(surrogate=False, seed=study.user_attrs["ga_seed"]), 4)

    params = [trial.params for trial in study.trials]
    assert len(params) == 4
    assert [p for p in params if p not in [trial.params for trial in expected.trials]] == []


def test_a_worker_that_died_as_it_began_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that waited for it record a seed themselves, and settle on one."""
    monkeypatch.setattr(study_seed, "_PATIENCE_S", 0.2)
    study = optuna.create_study(sampler=RandomSampler())
    study.ask()
    candidates = count(1)
    monkeypatch.setattr(study_seed, "randbits", lambda bits: next(candidates))
    workers = [
        optuna.load_study(study_name=study.study_name, storage=study._storage, sampler=GASampler())
        for _ in range(4)
    ]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda worker: worker.optimize(sphere, n_trials=1), workers))
    seed = study.user_attrs["ga_seed"]
    expected = run(GASampler(seed=seed), 5)

    assert study.trials[0].state == TrialState.RUNNING
    assert [t.params for t in study.trials[1:]] == [t.params for t in expected.trials[1:]]


def test_a_seed_that_nobody_can_have_recorded_is_replaced() -> None:
    """Anybody can write attributes."""
    study = optuna.create_study(sampler=GASampler())
    study.set_user_attr("ga_seed", "seven")
    study.optimize(sphere, n_trials=1)

    assert isinstance(study.user_attrs["ga_seed"], int)


def test_every_storage_keeps_the_seed_exactly(storage: BaseStorage) -> None:
    """Its 53 bits pass through JSON."""
    study = run(GASampler(), 3, storage=storage)
    again: Study = optuna.load_study(study_name=study.study_name, storage=storage)

    assert again.user_attrs["ga_seed"] == study.user_attrs["ga_seed"] < 2**53
