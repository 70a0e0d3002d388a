"""States are saved and loaded to the bit, and refused when damaged or foreign."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

import optuna
import pytest
import torch
from optuna import Study
from optuna.artifacts import Backoff, FileSystemArtifactStore
from optuna.trial import FrozenTrial

from optuna_ga import Checkpoints
from tests.training.walks import sampler

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


def test_a_state_comes_back_as_it_was(checkpoints: Checkpoints) -> None:
    """Tensors come back to the bit, and so does all else that a state may hold."""
    tensor = torch.tensor([1.0, float("nan"), -0.0, 5e-324], dtype=torch.float64)
    rest = {"i": 1, "f": 0.1, "b": True, "n": None, "s": "é", "y": b"\0", "l": [1, (2, "3")]}
    study, trial = finished(checkpoints, {"tensor": tensor, "rest": rest})
    state = checkpoints.load(trial)

    assert state["tensor"].numpy().tobytes() == tensor.numpy().tobytes()
    assert state["rest"] == rest
    assert study.trials[0].user_attrs["ga_checkpoint"]


def test_a_model_and_its_optimizer_resume(checkpoints: Checkpoints) -> None:
    """PyTorch's `state_dict()` of both is restored, momentum buffers included."""
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
    """Changing a state after saving or after loading changes nothing that is stored."""
    tensor = torch.zeros(3)
    study, trial = finished(checkpoints, {"parts": [tensor]})
    tensor += 1.0
    first = checkpoints.load(trial)
    first["parts"][0] += 2.0

    assert torch.equal(checkpoints.load(trial)["parts"][0], torch.zeros(3))
    del study  # In memory, states live as long as their study.


def test_a_view_takes_only_its_own_room(tmp_path: Path) -> None:
    """The row of a stack is saved without the stack."""
    saved(Checkpoints(tmp_path), {"row": torch.zeros(1000, 1000)[7]})

    (path,) = tmp_path.iterdir()
    assert 4_000 < path.stat().st_size < 10_000


@pytest.mark.parametrize(
    "unsafe", [Fraction(1, 2), Path("x"), Path.home], ids=["number", "path", "method"]
)
def test_a_state_that_could_not_be_read_safely_is_not_written(
    checkpoints: Checkpoints, unsafe: Any
) -> None:
    """The error says what a state may hold, and the trial records no checkpoint."""
    study = optuna.create_study(sampler=sampler())
    trial = study.ask()
    with pytest.raises(TypeError, match="`state` must be made of tensors"):
        checkpoints.save(trial, {"x": unsafe})

    assert "ga_checkpoint" not in study.trials[0].user_attrs


class Malicious:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("write", ["torch", "pickle"])
def test_reading_runs_no_pickled_code(write: str, tmp_path: Path) -> None:
    """A file that would run code is refused."""
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
    """The trial may have saved none, or the store may have lost it."""
    study = optuna.create_study(sampler=sampler())
    study.tell(study.ask(), 1.0)
    with pytest.raises(FileNotFoundError, match="Trial 0 has saved no state"):
        checkpoints.load(study.trials[0])
    with pytest.raises(
        FileNotFoundError, match=r"The state of trial 0, 'ga-[\w-]+-0', does not exist"
    ):
        checkpoints.load(saved(Checkpoints(), {"x": 1}))


def test_a_foreign_state_is_refused(tmp_path: Path) -> None:
    """Another trial's state in this one's place is refused, and so is any other file."""
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
    """It does not matter where the file is cut off."""
    checkpoints = Checkpoints(tmp_path)
    trial = saved(checkpoints, {"x": torch.zeros(9)})
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:n_bytes])

    with pytest.raises(ValueError, match="is damaged or not a state"):
        checkpoints.load(trial)


@pytest.mark.filterwarnings("ignore")  # PyTorch wonders about what it reads.
def test_any_damage_is_reported_as_damage(tmp_path: Path) -> None:
    """Changed bytes give a state or this error, and never a report of a missing file."""
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
    """Either kind of trial is refused in the other's place."""
    checkpoints = Checkpoints()
    study, trial = finished(checkpoints, {})
    with pytest.raises(TypeError, match="`trial` must be a running"):
        checkpoints.save(trial, {})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`trial` must be a `FrozenTrial`"):
        checkpoints.load(study.ask())  # type: ignore[arg-type]


def test_a_finished_trial_keeps_the_state_it_had(checkpoints: Checkpoints) -> None:
    """Saving another state for it is refused before anything is written."""
    study = optuna.create_study(sampler=sampler())
    trial = study.ask()
    checkpoints.save(trial, {"x": 1})
    study.tell(trial, 1.0)
    with pytest.raises(TypeError, match="`trial` must be a running"):
        checkpoints.save(trial, {"x": 2})

    assert checkpoints.load(study.trials[0]) == {"x": 1}


def test_checkpoints_in_memory_cannot_be_pickled() -> None:
    """Pickling such checkpoints is an error that says what to do."""
    with pytest.raises(TypeError, match=r"Give it a folder.*`Checkpoints\(folder\)`"):
        pickle.dumps(Checkpoints())


class Slow:
    """A store that calls a function before it writes."""

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
    """While its state is being written, a trial cannot be continued."""
    store = Slow(tmp_path)
    checkpoints = Checkpoints(store)
    study = optuna.create_study(sampler=sampler())
    trial = study.ask()
    seen: list[dict[str, Any]] = []
    store.during = lambda: seen.append(study.trials[0].user_attrs)
    checkpoints.save(trial, {"x": 1})

    assert "ga_checkpoint" not in seen[0]
    assert "ga_checkpoint" in study.trials[0].user_attrs
