"""States are kept as long as they are needed, and no longer."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import boto3
import optuna
import pytest
from moto import mock_aws
from optuna import Study, Trial
from optuna.artifacts import Boto3ArtifactStore, FileSystemArtifactStore
from optuna.trial import FrozenTrial, TrialState

from optuna_ga import Checkpoints, GASampler, optimize_generations, parent_to_continue
from optuna_ga._breeding import population_based_training as breeder_module
from optuna_ga._pbt import checkpoints as checkpoints_module
from tests.pbt.walks import Walk, files, sampler, story_without_keys, walk
from tests.studies import OpenDatabase, parents, run


def test_only_states_that_can_be_needed_are_kept(tmp_path: Path) -> None:
    """Of twelve generations three at most are left, and no parent's state was missing."""
    study = run(sampler(), 48, Walk(Checkpoints(tmp_path)))
    keys = files(tmp_path)
    kept = {t.number for t in study.trials if t.user_attrs["ga_checkpoint"] in keys}

    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
    assert set(range(40, 48)) <= kept
    assert len(kept) == len(keys) <= 12


def test_states_in_memory_are_removed_with_their_study() -> None:
    """Memory holds no more states than a folder, and none of a study that is gone."""
    study, objective = walk(48)
    store: Any = objective.checkpoints._store
    assert [len(states) for states in store._by_storage.values()] == [9]

    del study
    assert len(store._by_storage) == 0


def test_a_bucket_keeps_the_states_of_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """An S3 client writes, reads and removes states, and reports missing ones."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="states")
        objective = Walk(Checkpoints(Boto3ArtifactStore("states", client=client)))
        study = run(sampler(), 24, objective)
        kept = {found["Key"] for found in client.list_objects_v2(Bucket="states")["Contents"]}
        with pytest.raises(FileNotFoundError, match="The state of trial 0"):
            objective.checkpoints.load(study.trials[0])

    assert story_without_keys(study) == story_without_keys(walk()[0])
    assert {trial.user_attrs["ga_checkpoint"] for trial in study.trials[-8:]} <= kept
    assert len(kept) <= 12


def test_a_parent_of_a_running_trial_is_kept(tmp_path: Path) -> None:
    """A slow trial still finds its parent's state ten generations later."""
    objective = Walk(Checkpoints(tmp_path))
    study = run(sampler(), 8, objective)
    slow = study.ask()
    slow.suggest_float("step", -1.0, 1.0)
    study.optimize(objective, n_trials=40)

    assert objective(slow) >= 0.0
    assert objective.continued[8] in range(4, 8)


@pytest.mark.parametrize("record", [True, False])
def test_a_running_trial_without_suggestions_finds_its_parent(
    record: bool, tmp_path: Path
) -> None:
    """Such a trial may read its data first, while five generations pass."""
    objective = Walk(Checkpoints(tmp_path))
    study = run(sampler(record=record), 8, objective)
    slow = study.ask()
    study.optimize(objective, n_trials=20)

    assert objective(slow) >= 0.0
    assert objective.continued[8] in range(4, 8)


@pytest.mark.slow
def test_a_trial_that_is_held_up_while_it_starts_finds_its_parent(
    open_database: OpenDatabase, tmp_path: Path
) -> None:
    """Another process has created the trial but not started it for five generations."""
    objective = Walk(Checkpoints(tmp_path / "states"))
    storage = open_database()
    study = run(sampler(), 8, objective, storage=storage)
    slow = study._storage.create_new_trial(study._study_id)
    study.optimize(objective, n_trials=20)
    other = optuna.load_study(
        study_name=study.study_name, storage=open_database(), sampler=sampler()
    )

    assert objective(Trial(other, slow)) >= 0.0
    assert objective.continued[8] in range(4, 8)
    assert len(files(tmp_path / "states")) <= 5 * 4


def test_an_enqueued_trial_finds_a_parent_when_it_starts_at_last(tmp_path: Path) -> None:
    """Its number decides its generation, however late it starts."""
    objective = Walk(Checkpoints(tmp_path))
    study = run(sampler(), 8, objective)
    study.enqueue_trial({"step": 0.5})
    late = study.trials[8]
    for _ in range(20):
        trial = optuna.create_trial(value=1.0)
        study.add_trial(trial)
    assert late.state == TrialState.WAITING
    study.optimize(objective, n_trials=1)

    assert study.trials[8].state == TrialState.COMPLETE
    assert set(parents(study.trials[8])) <= set(range(8))


class Unremovable(FileSystemArtifactStore):
    """A store whose files are held open by another process, as on Windows."""

    def remove(self, artifact_id: str) -> None:
        raise PermissionError("in use")


def test_a_state_that_cannot_be_removed_fails_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state stays, and the log says so once."""
    warnings: list[str] = []
    monkeypatch.setattr(checkpoints_module._logger, "warning", warnings.append)
    study = run(sampler(), 20, Walk(Checkpoints(Unremovable(tmp_path))))

    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
    assert len(files(tmp_path)) == 20
    key = study.trials[0].user_attrs["ga_checkpoint"]
    assert len([words for words in warnings if f"trial 0, '{key}'" in words]) == 1
    assert all("could not be removed: PermissionError('in use')" in words for words in warnings)


def test_a_retried_trial_continues_the_same_parent(tmp_path: Path) -> None:
    """Optuna's retry after a missed heartbeat keeps the parents, whose states are kept too."""
    objective = Walk(Checkpoints(tmp_path))
    study = run(sampler(), 8, objective)
    dead = study.ask()
    dead.suggest_float("step", -1.0, 1.0)
    study.optimize(objective, n_trials=12)
    attributes = {**study.trials[8].user_attrs}
    study.tell(dead, state=TrialState.FAIL)
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=study.trials[8].params,
            distributions=study.trials[8].distributions,
            user_attrs=attributes,
            system_attrs={"failed_trial": 8},
        )
    )
    study.optimize(objective, n_trials=1)

    retried = study.trials[-1]
    assert retried.state == TrialState.COMPLETE
    assert parents(retried) == parents(study.trials[8])
    assert objective.continued[retried.number] in parents(retried)


def test_a_sampler_without_records_removes_what_it_can(tmp_path: Path) -> None:
    """Within one process the running trials' parents are known without records."""
    study = run(sampler(record=False), 40, Walk(Checkpoints(tmp_path)))

    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
    assert len(files(tmp_path)) <= 12


def test_other_states_may_be_kept_by_other_means() -> None:
    """The sampler only reads the attribute that says that a state was saved."""
    own: dict[int, float] = {}

    def objective(trial: Trial) -> float:
        parent = parent_to_continue(trial)
        x = 0.0 if parent is None else own[parent.number]
        own[trial.number] = x + trial.suggest_float("step", -1.0, 1.0)
        trial.set_user_attr("ga_checkpoint", True)
        return abs(own[trial.number] - 3.0)

    plain = [(t.params, t.value) for t in run(sampler(), 20, objective).trials]
    assert plain == [(t.params, t.value) for t in walk(20)[0].trials]


def test_the_sampler_is_the_studys() -> None:
    """A `GASampler` of another mode is refused before anything is written."""
    checkpoints = Checkpoints()
    trial = optuna.create_study(sampler=GASampler(4)).ask()
    with pytest.raises(ValueError, match="population_based_training"):
        checkpoints.save(trial, {})
    assert trial.study.trials[0].user_attrs == {"ga_generation": 0}


KILLED = """
import os, signal, sys
import optuna
from optuna_ga import Checkpoints, optimize_generations
from tests.pbt.walks import Walk, sampler

url, folder = sys.argv[1:]
walk = Walk(Checkpoints(folder))

def evaluate(trial):
    if trial.number == 5:
        os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
    return walk(trial)

study = optuna.create_study(study_name="killed", storage=url, sampler=sampler())
optimize_generations(study, lambda trials: map(evaluate, trials), 2)
"""


@pytest.mark.slow
def test_what_a_killed_process_has_written_is_removed_with_the_state(tmp_path: Path) -> None:
    """Trial 5 is killed while it saves its state, and evaluated again."""
    url, folder = f"sqlite:///{tmp_path}/study.db", tmp_path / "states"
    arguments = [sys.executable, "-c", KILLED, url, str(folder)]
    assert subprocess.run(arguments, timeout=120).returncode == -signal.SIGKILL
    assert len([name for name in files(folder) if name.endswith(".part")]) == 1

    study = optuna.load_study(study_name="killed", storage=url, sampler=sampler())
    optimize_generations(study, lambda t: map(Walk(Checkpoints(folder)), t), 6)
    keys = {trial.user_attrs["ga_checkpoint"] for trial in study.trials}
    assert files(folder) < keys


class HalfWritten(FileSystemArtifactStore):
    """A store that leaves half a file behind when the disk is full, as of trial 5."""

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        super().write(artifact_id, content_body)
        if artifact_id.endswith("-5"):
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_state_that_was_half_written_is_removed_later(tmp_path: Path) -> None:
    """Its trial has failed and shows no state."""
    study = optuna.create_study(sampler=sampler())
    study.optimize(Walk(Checkpoints(HalfWritten(tmp_path))), n_trials=6, catch=OSError)
    assert study.trials[5].state == TrialState.FAIL
    assert any(name.endswith("-5") for name in files(tmp_path))

    study.optimize(Walk(Checkpoints(HalfWritten(tmp_path))), n_trials=14)
    assert not any(name.endswith("-5") for name in files(tmp_path))


def test_only_a_trials_own_state_is_removed(tmp_path: Path) -> None:
    """An attribute that names another trial's state, or another file, removes neither."""
    walk = Walk(Checkpoints(tmp_path))
    study = run(sampler(), 19, walk)
    keys = {trial.number: trial.user_attrs["ga_checkpoint"] for trial in study.trials}
    (tmp_path / "precious").touch()
    storage: Any = study._storage
    for number, key in {
        0: keys[18],
        1: "precious",
        2: f"{keys[2][:16]}/../precious",
        3: 5,
    }.items():
        storage._studies[0].trials[number].user_attrs["ga_checkpoint"] = key
    walk.checkpoints = Checkpoints(tmp_path)  # It has removed nothing yet.
    study.sampler = sampler()
    study.optimize(walk, n_trials=1)

    assert {keys[18], "precious"} <= files(tmp_path)


def warned(monkeypatch: pytest.MonkeyPatch, objective: Any, n_trials: int) -> list[str]:
    """Return the warnings that a study of four trials in a generation logs."""
    warnings: list[str] = []
    monkeypatch.setattr(breeder_module._logger, "warning", warnings.append)
    study = optuna.create_study(sampler=sampler())
    study.optimize(objective, n_trials=n_trials, catch=ZeroDivisionError)
    return warnings


def stateless(trial: Trial) -> float:
    """Return a value, and save no state."""
    return trial.suggest_float("step", -1.0, 1.0)


def failing(trial: Trial) -> float:
    """Fail."""
    return 1 / 0


def test_a_search_whose_trials_save_no_state_is_warned_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once, after generation 0: without parents it is random search."""
    assert warned(monkeypatch, stateless, 4) == []
    (warning,) = warned(monkeypatch, stateless, 16)
    assert "Trial 4 trains from scratch" in warning
    assert "none of the 4 complete trials has saved a state" in warning


@pytest.mark.parametrize("objective", [Walk(Checkpoints()), failing], ids=["saves", "fails"])
def test_other_searches_are_not_warned_about(
    objective: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials that fail say themselves why there is no state."""
    assert warned(monkeypatch, objective, 12) == []


def test_the_error_about_a_lost_state_says_how_to_go_on(tmp_path: Path) -> None:
    """`load_parent` passes over lost states."""
    study = run(sampler(), 8, Walk(Checkpoints(tmp_path)))
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match="put it back, or call `load_parent`"):
        Checkpoints(tmp_path).load(study.trials[7])


def test_a_parent_of_another_workers_running_trial_is_kept(tmp_path: Path) -> None:
    """This worker knows it by the trial's record alone."""
    study = run(sampler(), 8, Walk(Checkpoints(tmp_path)))
    slow = study.ask()
    slow.suggest_float("step", -1.0, 1.0)
    study.sampler = sampler()
    study.optimize(Walk(Checkpoints(tmp_path)), n_trials=40)

    objective = Walk(Checkpoints(tmp_path))
    assert objective(slow) >= 0.0
    assert objective.continued[8] in parents(study.trials[8])
    assert "ga_lost_parents" not in study.trials[8].user_attrs


def test_a_trial_that_another_worker_is_about_to_start_finds_its_parent(tmp_path: Path) -> None:
    """It has been created and not started, while five generations pass."""
    objective = Walk(Checkpoints(tmp_path))
    study = run(sampler(), 8, objective)
    slow = study._storage.create_new_trial(study._study_id)
    study.optimize(objective, n_trials=20)
    study.sampler = sampler()

    assert objective(Trial(study, slow)) >= 0.0
    assert objective.continued[8] in range(4, 8)
    assert len(files(tmp_path)) <= 5 * 4


def test_states_are_removed_where_start_times_lose_their_parts_of_a_second(
    tmp_path: Path,
) -> None:
    """As on MariaDB: a trial shows the key of its state, which its time no longer gives."""

    def cut(study: Study, trial: FrozenTrial) -> None:
        storage: Any = study._storage
        kept = storage._studies[study._study_id].trials[trial.number]
        kept.datetime_start = kept.datetime_start.replace(microsecond=0)

    study = optuna.create_study(sampler=sampler())
    study.optimize(Walk(Checkpoints(tmp_path)), n_trials=48, callbacks=[cut])

    assert len(files(tmp_path)) <= 12


class Noting(FileSystemArtifactStore):
    """A store that notes what it is to remove."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.removed: list[str] = []

    def remove(self, artifact_id: str) -> None:
        self.removed.append(artifact_id)
        super().remove(artifact_id)


def test_a_copied_study_asks_to_remove_its_own_states_alone(tmp_path: Path) -> None:
    """The store is asked for no state of the original, and for nothing without a name."""
    store = Noting(tmp_path)
    study = run(sampler(), 12, Walk(Checkpoints(store)))
    copy = optuna.create_study(sampler=sampler())
    copy.add_trials(study.trials)
    store.removed.clear()
    copy.optimize(Walk(Checkpoints(store)), n_trials=20)
    own = {trial.user_attrs["ga_checkpoint"] for trial in copy.trials[12:]}

    assert store.removed
    assert {*store.removed} <= own


class Interrupting(FileSystemArtifactStore):
    """A store that Ctrl-C comes to, once, as it is to remove a state."""

    interrupts = True

    def remove(self, artifact_id: str) -> None:
        if self.interrupts:
            self.interrupts = False
            raise KeyboardInterrupt
        super().remove(artifact_id)


def test_a_removal_that_is_interrupted_is_made_up_for(tmp_path: Path) -> None:
    """By the next trial that saves its state."""
    walk = Walk(Checkpoints(Interrupting(tmp_path)))
    study = optuna.create_study(sampler=sampler())
    evaluate = partial(map, walk)
    with pytest.raises(KeyboardInterrupt):
        optimize_generations(study, evaluate, 12)
    optimize_generations(study, evaluate, 12)

    assert len(files(tmp_path)) == 9


def test_the_states_of_a_study_with_the_id_of_a_deleted_one_are_removed(tmp_path: Path) -> None:
    """SQLite gives the id of the latest study again."""
    walk = Walk(Checkpoints(tmp_path / "states"))
    storage = optuna.storages.get_storage(f"sqlite:///{tmp_path}/study.db")
    first = run(sampler(), 48, walk, storage=storage, study_name="s")
    n_left = len(files(tmp_path / "states"))
    optuna.delete_study(study_name="s", storage=storage)
    second = run(sampler(), 48, walk, storage=storage, study_name="s")

    assert second._study_id == first._study_id
    assert len(files(tmp_path / "states")) == 2 * n_left
