"""Workers, copies and resumed runs share the states of a study."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Study, Trial
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from optuna_ga import Checkpoints, InParallel, optimize_generations
from tests.pbt.walks import (
    Walk,
    by_generations,
    files,
    one_by_one,
    sampler,
    story_without_keys,
)
from tests.processes import FRESH, exit_codes
from tests.studies import OpenDatabase, parents, run


def test_studies_share_a_folder(tmp_path: Path) -> None:
    """Studies of one name in one folder neither read nor remove each other's states."""
    stories = []
    for _ in range(3):
        study = run(sampler(), 20, Walk(Checkpoints(tmp_path)), study_name="same")
        stories.append(story_without_keys(study))

    assert stories[0] == stories[1] == stories[2]
    assert len(files(tmp_path)) == 3 * 9


def copied(tmp_path: Path, checkpoints: Checkpoints, name: str) -> tuple[Study, Study]:
    """Return a study of twelve trials named "first", and its copy in another database."""
    storages = [f"sqlite:///{tmp_path}/{part}.db" for part in ("original", "copy")]
    first = run(sampler(), 12, Walk(checkpoints), study_name="first", storage=storages[0])
    optuna.copy_study(
        from_study_name="first", from_storage=storages[0], to_storage=storages[1],
        to_study_name=name,
    )  # fmt: skip
    return first, optuna.load_study(study_name=name, storage=storages[1], sampler=sampler())


@pytest.mark.slow
def test_a_copied_study_removes_nothing_of_the_first(tmp_path: Path) -> None:
    """The copy continues from the original's states and leaves them in place."""
    checkpoints = Checkpoints(tmp_path / "states")
    first, second = copied(tmp_path, checkpoints, "second")
    before = files(tmp_path / "states")
    second.optimize(Walk(checkpoints), n_trials=20)

    assert before <= files(tmp_path / "states")
    first.optimize(Walk(checkpoints), n_trials=20)
    assert story_without_keys(second) == story_without_keys(first)


@pytest.mark.slow
def test_a_copy_by_the_same_name_never_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """Trials of the same number that came after the copying have states of their own."""
    checkpoints = Checkpoints(tmp_path / "states")
    first, second = copied(tmp_path, checkpoints, "first")
    second.sampler = sampler(seed=1)
    for study in (first, second):
        study.optimize(Walk(checkpoints), n_trials=4)

    for trial in [*first.trials[12:], *second.trials[12:]]:
        assert abs(checkpoints.load(trial)["x"] - 3.0) == trial.value


class Mortal(Checkpoints):
    """States whose process dies before or after that of trial 9 is saved."""

    def __init__(self, folder: Path, moment: str) -> None:
        super().__init__(folder)
        self.moment = moment

    def save(self, trial: Trial, state: Any) -> None:
        if trial.number == 9 and self.moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().save(trial, state)
        if trial.number == 9 and self.moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)


def run_until_killed(url: str, folder: Path, moment: str) -> None:
    """Run five generations, and die in the third."""
    study = optuna.create_study(study_name="killed", storage=url, sampler=sampler())
    optimize_generations(study, one_by_one(Walk(Mortal(folder, moment))), 5)


@pytest.mark.parametrize("moment", ["before", pytest.param("after", marks=pytest.mark.slow)])
def test_a_kill_between_saving_and_recording_changes_nothing(
    moment: str, open_database: OpenDatabase, tmp_path: Path
) -> None:
    """The resumed study equals an undisturbed one."""
    folder = tmp_path / "states"
    url = f"sqlite:///{tmp_path}/study.db"
    assert exit_codes(run_until_killed, url, folder, moment) == [-signal.SIGKILL]
    study = optuna.load_study(study_name="killed", storage=open_database(), sampler=sampler())
    assert [t.state for t in study.trials[8:]] == [TrialState.RUNNING] * 4
    optimize_generations(study, one_by_one(Walk(Checkpoints(folder))), 5)

    assert story_without_keys(study) == story_without_keys(by_generations(Walk(Checkpoints())))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_the_same_seed_gives_the_same_study_in_parallel(
    kind: str, open_database: OpenDatabase, tmp_path: Path
) -> None:
    """By generations, neither workers nor the store of states make a difference."""
    executor: Any = ThreadPoolExecutor(3) if kind == "threads" else ProcessPoolExecutor(2, FRESH)
    study = optuna.create_study(storage=open_database(), sampler=sampler())
    with executor:
        parallel = InParallel(Walk(Checkpoints(tmp_path / "states")), executor)
        optimize_generations(study, parallel, 5)

    assert story_without_keys(study) == story_without_keys(by_generations(Walk(Checkpoints())))


def work(url: str, folder: Path) -> None:
    """Run fourteen trials of the shared study."""
    study = optuna.load_study(study_name="shared", storage=url, sampler=sampler())
    study.optimize(Walk(Checkpoints(folder)), n_trials=14)


@pytest.mark.slow
def test_free_workers_share_a_folder(open_database: OpenDatabase, tmp_path: Path) -> None:
    """Each trial finds its parent's state and starts from the parent's position."""
    storage: BaseStorage = open_database()
    optuna.create_study(study_name="shared", storage=storage)
    url, folder = f"sqlite:///{tmp_path}/study.db", tmp_path / "states"

    assert exit_codes(work, url, folder, n_processes=3) == [0, 0, 0]
    trials = optuna.load_study(study_name="shared", storage=storage).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 42
    assert sum(bool(parents(trial)) for trial in trials) >= 30
    for trial in trials:
        line = [trial]
        while numbers := parents(line[0]):
            line.insert(0, min((trials[n] for n in numbers), key=lambda t: (t.value, t.number)))
        steps = sum(one.params["step"] for one in line)
        assert trial.value == pytest.approx(abs(steps - 3.0), abs=1e-12)
