"""The states of a population: saved, loaded, kept as long as needed, and never another's."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

import boto3
import optuna
import pytest
import torch
from moto import mock_aws
from optuna import Study, Trial
from optuna.artifacts import Backoff, Boto3ArtifactStore, FileSystemArtifactStore
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from optuna_ga import Checkpoints, GASampler, InParallel, optimize_generations, parent_to_continue
from optuna_ga._training import checkpoints as checkpoints_module
from tests.studies import OpenDatabase, parents, run
from tests.training.test_lineage import Walk, one_by_one, sampler, walk

Make = Callable[[], Checkpoints]

MODEL = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


@pytest.fixture(params=["memory", "folder", "store"])
def checkpoints(request: pytest.FixtureRequest, tmp_path: Path) -> Checkpoints:
    """Checkpoints of each kind."""
    stores: dict[str, Callable[[], Any]] = {
        "memory": lambda: None,
        "folder": lambda: tmp_path / "new" / "folder",
        "store": lambda: Backoff(FileSystemArtifactStore(tmp_path)),
    }
    return Checkpoints(stores[request.param]())


def saved(checkpoints: Checkpoints, state: Any) -> FrozenTrial:
    """Return a finished trial that has saved a state."""
    return finished(checkpoints, state)[1]


def finished(checkpoints: Checkpoints, state: Any) -> tuple[Study, FrozenTrial]:
    """Return a study and its finished trial, which has saved a state."""
    study = optuna.create_study(sampler=sampler())
    trial = study.ask()
    checkpoints.save(trial, state)
    study.tell(trial, 1.0)
    return study, study.trials[0]


def files(folder: Path) -> set[str]:
    """Return the names of the files in a folder."""
    return {path.name for path in folder.iterdir()}


def story(study: Study) -> list[Any]:
    """Return what the trials are, but for where their states are."""
    return [
        (
            trial.number,
            trial.state,
            trial.params,
            trial.values,
            {k: v for k, v in trial.user_attrs.items() if k != "ga_checkpoint"},
        )
        for trial in study.trials
    ]


def test_a_state_comes_back_as_it_was(checkpoints: Checkpoints) -> None:
    """Tensors to the bit, with everything else that a state may be made of."""
    tensor = torch.tensor([1.0, float("nan"), -0.0, 5e-324], dtype=torch.float64)
    rest = {"i": 1, "f": 0.1, "b": True, "n": None, "s": "é", "y": b"\0", "l": [1, (2, "3")]}
    study, trial = finished(checkpoints, {"tensor": tensor, "rest": rest})
    state = checkpoints.load(trial)

    assert state["tensor"].numpy().tobytes() == tensor.numpy().tobytes()
    assert state["rest"] == rest
    assert study.trials[0].user_attrs["ga_checkpoint"]


def test_a_model_and_its_optimizer_go_on_where_they_were(checkpoints: Checkpoints) -> None:
    """With PyTorch's own state_dict(), momentum buffers included."""
    optimizer = torch.optim.SGD(MODEL.parameters(), lr=0.1, momentum=0.9)
    MODEL(torch.ones(4, 3)).square().sum().backward()
    optimizer.step()
    state = {"model": MODEL.state_dict(), "optimizer": optimizer.state_dict()}
    study, trial = finished(checkpoints, state)
    loaded = checkpoints.load(trial)
    del study

    other = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    other.load_state_dict(loaded["model"])
    for mine, theirs in zip(MODEL.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    assert isinstance(loaded["model"], OrderedDict)
    again = torch.optim.SGD(other.parameters(), lr=0.5)
    again.load_state_dict(loaded["optimizer"])
    buffers = zip(optimizer.state.values(), again.state.values(), strict=True)
    assert all(torch.equal(a["momentum_buffer"], b["momentum_buffer"]) for a, b in buffers)


def test_a_state_is_a_copy_both_ways(checkpoints: Checkpoints) -> None:
    """Training on changes neither what was saved nor what another child loads."""
    tensor = torch.zeros(3)
    study, trial = finished(checkpoints, {"parts": [tensor]})
    tensor += 1.0
    first = checkpoints.load(trial)
    first["parts"][0] += 2.0

    assert torch.equal(checkpoints.load(trial)["parts"][0], torch.zeros(3))
    assert study is not None


def test_a_view_takes_only_its_own_room(tmp_path: Path) -> None:
    """The row of a stack is saved without the stack."""
    saved(Checkpoints(tmp_path), {"row": torch.zeros(1000, 1000)[7]})

    (path,) = tmp_path.iterdir()
    assert 4_000 < path.stat().st_size < 10_000


@pytest.mark.parametrize(
    "unsafe", [Fraction(1, 2), Path("x"), Path.home], ids=["number", "path", "method"]
)
def test_what_could_not_be_read_safely_is_not_written(
    checkpoints: Checkpoints, unsafe: Any
) -> None:
    """The error names it, and the trial shows no state."""
    study = optuna.create_study(sampler=sampler())
    trial = study.ask()
    with pytest.raises(TypeError, match="`state` must be made of tensors"):
        checkpoints.save(trial, {"x": unsafe})

    assert "ga_checkpoint" not in study.trials[0].user_attrs


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("write", ["torch", "pickle"])
def test_reading_runs_no_pickled_code(write: str, tmp_path: Path) -> None:
    """A file that would is refused, whoever put it in the place of a state."""
    checkpoints = Checkpoints(tmp_path)
    trial = saved(checkpoints, {"x": 1})
    key = trial.user_attrs["ga_checkpoint"]
    content = {"key": key, "state": Malicious(tmp_path / "made")}
    with (tmp_path / key).open("wb") as file:
        torch.save(content, file) if write == "torch" else pickle.dump(content, file, protocol=2)

    with pytest.raises(ValueError, match=f"state of trial 0, '{key}', is damaged or not a state"):
        checkpoints.load(trial)
    assert not (tmp_path / "made").exists()


def test_a_state_that_is_not_there_is_named(checkpoints: Checkpoints) -> None:
    """Of a trial that saved none, and in a store that has it not."""
    study = optuna.create_study(sampler=sampler())
    study.tell(study.ask(), 1.0)
    with pytest.raises(FileNotFoundError, match="Trial 0 has saved no state"):
        checkpoints.load(study.trials[0])
    with pytest.raises(
        FileNotFoundError, match=r"The state of trial 0, 'ga-[\w-]+-0', does not exist"
    ):
        checkpoints.load(saved(Checkpoints(), {"x": 1}))


def test_a_foreign_state_is_refused(tmp_path: Path) -> None:
    """One of another trial in the place of this one's, and one that is no state at all."""
    checkpoints = Checkpoints(tmp_path)
    mine, other = (saved(checkpoints, {"x": x}) for x in (1, 2))
    keys = [trial.user_attrs["ga_checkpoint"] for trial in (mine, other)]
    (tmp_path / keys[1]).rename(tmp_path / keys[0])
    with pytest.raises(
        ValueError, match=f"trial 0, '{keys[0]}', was saved under another key, '{keys[1]}'"
    ):
        checkpoints.load(mine)

    torch.save({"x": 1}, tmp_path / keys[0])
    with pytest.raises(ValueError, match="was not written by `Checkpoints`"):
        checkpoints.load(mine)


@pytest.mark.parametrize("n_bytes", [0, 1, 100, -1])
def test_a_damaged_state_is_refused(n_bytes: int, tmp_path: Path) -> None:
    """Wherever its file is cut off."""
    checkpoints = Checkpoints(tmp_path)
    trial = saved(checkpoints, {"x": torch.zeros(9)})
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:n_bytes])

    with pytest.raises(ValueError, match="is damaged or not a state"):
        checkpoints.load(trial)


@pytest.mark.filterwarnings("ignore")  # PyTorch wonders about what it reads.
def test_whatever_damage_does_it_is_called_damage(tmp_path: Path) -> None:
    """Bytes changed anywhere give the state or that error, and never tell of a missing file."""
    checkpoints = Checkpoints(tmp_path)
    trial = saved(checkpoints, {"model": MODEL.state_dict(), "rest": [1, "2", (3.0, None)]})
    (path,) = tmp_path.iterdir()
    whole, random = path.read_bytes(), Random(0)
    n_refused = 0
    for _ in range(1000):
        damaged = bytearray(whole)
        for _ in range(random.choice([1, 3, 20])):
            damaged[random.randrange(len(whole))] = random.randrange(256)
        path.write_bytes(damaged)
        try:
            checkpoints.load(trial)
        except ValueError as error:
            assert "The state of trial 0" in str(error)
            n_refused += 1
    assert 0 < n_refused < 1000


@pytest.mark.parametrize("store", [3, object(), ["folder"]])
def test_only_folders_and_stores_are_stores(store: Any) -> None:
    """The error names the argument."""
    with pytest.raises(TypeError, match="`store` must be a folder"):
        Checkpoints(store)


def test_only_finished_trials_are_loaded_and_running_ones_saved() -> None:
    """Each is refused in the other's place."""
    checkpoints = Checkpoints()
    study, trial = finished(checkpoints, {})
    with pytest.raises(TypeError, match="`trial` must be a running"):
        checkpoints.save(trial, {})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`trial` must be a `FrozenTrial`"):
        checkpoints.load(study.ask())  # type: ignore[arg-type]


def test_a_finished_trial_keeps_the_state_it_had(checkpoints: Checkpoints) -> None:
    """Saving another for it is refused before anything is written."""
    study = optuna.create_study(sampler=sampler())
    trial = study.ask()
    checkpoints.save(trial, {"x": 1})
    study.tell(trial, 1.0)
    with pytest.raises(TypeError, match="`trial` must be a running"):
        checkpoints.save(trial, {"x": 2})

    assert checkpoints.load(study.trials[0]) == {"x": 1}


def test_what_is_in_memory_stays_in_its_process() -> None:
    """The error says what to do, before another process looks for what it cannot find."""
    with pytest.raises(TypeError, match=r"Give it a folder.*`Checkpoints\(folder\)`"):
        pickle.dumps(Checkpoints())


def test_only_what_can_be_needed_is_kept(tmp_path: Path) -> None:
    """At most three generations of states after twelve, and every parent was still there."""
    study = run(sampler(), 48, Walk(Checkpoints(tmp_path)))
    keys = files(tmp_path)
    kept = {t.number for t in study.trials if t.user_attrs["ga_checkpoint"] in keys}

    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
    assert set(range(40, 48)) <= kept
    assert len(kept) == len(keys) <= 12


def test_states_in_memory_go_with_what_needs_them() -> None:
    """No more are kept there than in a folder, and none of a study that is gone."""
    study, objective = walk(48)
    store: Any = objective.checkpoints._store
    assert [len(states) for states in store._by_storage.values()] == [9]

    del study
    assert len(store._by_storage) == 0


def test_a_bucket_keeps_the_states_of_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """Amazon's client writes, reads and removes them, and tells of what is no longer there."""
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

    assert story(study) == story(walk()[0])
    assert {trial.user_attrs["ga_checkpoint"] for trial in study.trials[-8:]} <= kept
    assert len(kept) <= 12


def test_a_parent_of_a_running_trial_is_kept(tmp_path: Path) -> None:
    """However far others go on in the meantime, the slow one finds it."""
    objective = Walk(Checkpoints(tmp_path))
    study = run(sampler(), 8, objective)
    slow = study.ask()
    slow.suggest_float("step", -1.0, 1.0)
    study.optimize(objective, n_trials=40)

    assert objective(slow) >= 0.0


@pytest.mark.parametrize("record", [True, False])
def test_a_running_trial_that_has_asked_for_nothing_yet_finds_its_parent(
    record: bool, tmp_path: Path
) -> None:
    """Such as one that reads its data first, while others go on for five generations."""
    objective = Walk(Checkpoints(tmp_path))
    study = run(sampler(record=record), 8, objective)
    slow = study.ask()
    study.optimize(objective, n_trials=20)

    assert objective(slow) >= 0.0
    assert objective.continued[8] in range(4, 8)


def test_a_trial_that_is_held_up_while_it_starts_finds_its_parent(
    open_database: OpenDatabase, tmp_path: Path
) -> None:
    """Another process has its number, and waits for the database while these go on."""
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
    """It has the number of when it was enqueued, and so the parents of that generation."""
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
    """A store whose files another process holds open, as Windows has it."""

    def remove(self, artifact_id: str) -> None:
        raise PermissionError("in use")


def test_a_state_that_cannot_be_removed_fails_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays, and the log says so once."""
    warnings: list[str] = []
    monkeypatch.setattr(checkpoints_module._logger, "warning", warnings.append)
    study = run(sampler(), 20, Walk(Checkpoints(Unremovable(tmp_path))))

    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
    assert len(files(tmp_path)) == 20
    key = study.trials[0].user_attrs["ga_checkpoint"]
    assert len([words for words in warnings if f"trial 0, '{key}'" in words]) == 1
    assert all("could not be removed: PermissionError('in use')" in words for words in warnings)


def test_studies_share_a_folder(tmp_path: Path) -> None:
    """Even of the same name: none takes or removes what is another's."""
    stories = []
    for _ in range(3):
        study = run(sampler(), 20, Walk(Checkpoints(tmp_path)), study_name="same")
        stories.append(story(study))

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


def test_a_copied_study_removes_nothing_of_the_first(tmp_path: Path) -> None:
    """It goes on from the first one's states, and leaves them where they are."""
    checkpoints = Checkpoints(tmp_path / "states")
    first, second = copied(tmp_path, checkpoints, "second")
    before = files(tmp_path / "states")
    second.optimize(Walk(checkpoints), n_trials=20)

    assert before <= files(tmp_path / "states")
    first.optimize(Walk(checkpoints), n_trials=20)
    assert story(second) == story(first)


def test_a_copy_by_the_same_name_never_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """Trials of the same number that came after the copying have states of their own."""
    checkpoints = Checkpoints(tmp_path / "states")
    first, second = copied(tmp_path, checkpoints, "first")
    second.sampler = sampler(seed=1)
    for study in (first, second):
        study.optimize(Walk(checkpoints), n_trials=4)

    for trial in [*first.trials[12:], *second.trials[12:]]:
        assert abs(checkpoints.load(trial)["x"] - 3.0) == trial.value


KILLED = """
import os, signal, sys
import optuna
from optuna_ga import Checkpoints, optimize_generations
from tests.training.test_checkpoints import Walk, sampler

url, folder, moment = sys.argv[1:]

class Mortal(Checkpoints):
    def save(self, trial, state):
        if trial.number == 9 and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().save(trial, state)
        if trial.number == 9 and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)

study = optuna.create_study(study_name="killed", storage=url, sampler=sampler())
objective = Walk(Mortal(folder))
optimize_generations(study, lambda trials: [objective(trial) for trial in trials], 5)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_between_saving_and_telling_changes_nothing(
    moment: str, open_database: OpenDatabase, tmp_path: Path
) -> None:
    """Resumed, the study is that of a run that nobody killed."""
    folder = tmp_path / "states"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, f"sqlite:///{tmp_path}/study.db", str(folder), moment],
        capture_output=True, text=True,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    study = optuna.load_study(study_name="killed", storage=open_database(), sampler=sampler())
    assert [t.state for t in study.trials[8:]] == [TrialState.RUNNING] * 4
    optimize_generations(study, one_by_one(Walk(Checkpoints(folder))), 5)

    assert story(study) == story(by_generations(Walk(Checkpoints())))


def by_generations(objective: Any, **options: Any) -> Study:
    """Return a study of five generations in a single thread."""
    study = optuna.create_study(sampler=sampler(), **options)
    optimize_generations(study, one_by_one(objective), 5)
    return study


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_the_same_seed_gives_the_same_study_in_parallel(
    kind: str, open_database: OpenDatabase, tmp_path: Path
) -> None:
    """By generations it does not matter who trains what, or where the states are."""
    spawn = multiprocessing.get_context("spawn")
    executor: Any = (
        ThreadPoolExecutor(3) if kind == "threads" else ProcessPoolExecutor(2, mp_context=spawn)
    )
    study = optuna.create_study(storage=open_database(), sampler=sampler())
    with executor:
        parallel = InParallel(Walk(Checkpoints(tmp_path / "states")), executor)
        optimize_generations(study, parallel, 5)

    assert story(study) == story(by_generations(Walk(Checkpoints())))


WORKER = """
import sys
import optuna
from optuna_ga import Checkpoints
from tests.training.test_checkpoints import Walk, sampler

url, folder, n_trials = sys.argv[1:]
optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.load_study(study_name="shared", storage=url, sampler=sampler())
study.optimize(Walk(Checkpoints(folder)), n_trials=int(n_trials))
"""


def test_free_workers_share_a_folder(open_database: OpenDatabase, tmp_path: Path) -> None:
    """Each trial finds its parent's state, and goes on from where that one was."""
    storage: BaseStorage = open_database()
    optuna.create_study(study_name="shared", storage=storage)
    url, folder = f"sqlite:///{tmp_path}/study.db", str(tmp_path / "states")
    command = [sys.executable, "-c", WORKER, url, folder, "14"]
    workers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [worker.communicate()[1] for worker in workers]

    assert [worker.returncode for worker in workers] == [0, 0, 0], errors
    trials = optuna.load_study(study_name="shared", storage=storage).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 42
    assert sum(bool(parents(trial)) for trial in trials) >= 30
    for trial in trials:
        line = [trial]
        while numbers := parents(line[0]):
            line.insert(0, min((trials[n] for n in numbers), key=lambda t: (t.value, t.number)))
        steps = sum(one.params["step"] for one in line)
        assert trial.value == pytest.approx(abs(steps - 3.0), abs=1e-12)


class Slow:
    """A store in which a state arrives only when it is let through."""

    def __init__(self, folder: Path) -> None:
        self.store = FileSystemArtifactStore(folder)
        self.during: Callable[[], object] = lambda: None

    def open_reader(self, artifact_id: str) -> BinaryIO:
        return self.store.open_reader(artifact_id)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        self.during()
        self.store.write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        self.store.remove(artifact_id)


def test_a_trial_shows_its_state_only_when_that_has_arrived(tmp_path: Path) -> None:
    """While it is written, nobody takes the trial for a parent."""
    store = Slow(tmp_path)
    checkpoints = Checkpoints(store)
    study = optuna.create_study(sampler=sampler())
    trial = study.ask()
    seen: list[dict[str, Any]] = []
    store.during = lambda: seen.append(study.trials[0].user_attrs)
    checkpoints.save(trial, {"x": 1})

    assert "ga_checkpoint" not in seen[0]
    assert "ga_checkpoint" in study.trials[0].user_attrs


def test_a_retried_trial_continues_the_same_parent(tmp_path: Path) -> None:
    """What Optuna starts anew after a stopped heartbeat keeps its parents and their states."""
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
    """In a single process the running trial's parents are known all the same."""
    study = run(sampler(record=False), 40, Walk(Checkpoints(tmp_path)))

    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
    assert len(files(tmp_path)) <= 12


def test_other_states_may_be_kept_by_other_means() -> None:
    """All that the sampler wants is the attribute that says that the state is in its place."""
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
    """A `GASampler` that is not told to continue is refused before anything is written."""
    checkpoints = Checkpoints()
    trial = optuna.create_study(sampler=GASampler(4)).ask()
    with pytest.raises(ValueError, match="population_based_training"):
        checkpoints.save(trial, {})
    assert trial.study.trials[0].user_attrs == {"ga_generation": 0}
