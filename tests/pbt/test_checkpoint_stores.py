"""States are saved and loaded to the bit, and refused when damaged or foreign."""

from __future__ import annotations

import os
import pickle
import resource
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator
from fractions import Fraction
from io import BufferedReader, BytesIO, RawIOBase
from pathlib import Path
from random import Random
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZipFile

import optuna
import pytest
import torch
from optuna import Study
from optuna.artifacts import Backoff, FileSystemArtifactStore
from optuna.trial import FrozenTrial

from optuna_ga import Checkpoints
from tests.pbt.walks import files, sampler

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


def test_no_changed_bit_changes_a_state(tmp_path: Path) -> None:
    """A state with a single bit flipped is refused, or the bit means nothing."""
    checkpoints, weights = Checkpoints(tmp_path), torch.arange(64.0)
    trial = saved(checkpoints, {"w": weights, "x": 1.25})
    (path,) = tmp_path.iterdir()
    whole, n_refused = path.read_bytes(), 0
    for position in range(0, len(whole), 2):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position // 2 % 8
        path.write_bytes(damaged)
        try:
            state = checkpoints.load(trial)
        except ValueError:
            n_refused += 1
        else:
            assert torch.equal(state.pop("w"), weights)
            assert state == {"x": 1.25}
    assert n_refused > weights.nbytes / 2


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


def test_only_its_owner_can_read_a_state(tmp_path: Path) -> None:
    """Whatever the user's mask is."""
    before = os.umask(0)
    try:
        saved(Checkpoints(tmp_path), {"x": 1})
    finally:
        os.umask(before)

    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def in_place_of_its_state(tmp_path: Path, plant: Callable[[Path], object]) -> str:
    """Return the error of loading a state whose file was replaced by something else."""
    checkpoints = Checkpoints(tmp_path)
    trial = saved(checkpoints, {"x": 1})
    path = tmp_path / trial.user_attrs["ga_checkpoint"]
    path.rename(tmp_path / "elsewhere")
    plant(path)
    with pytest.raises(ValueError, match="The state of trial 0") as error:
        checkpoints.load(trial)
    return str(error.value)


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (os.mkfifo, "is not a regular file"),
        (Path.mkdir, "is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a link"),
        (lambda path: path.symlink_to(path.parent / "elsewhere"), "is a link"),
        (lambda path: path.symlink_to(path), "is a link"),
    ],
    ids=["fifo", "folder", "device", "link", "loop"],
)
def test_only_a_regular_file_is_read(
    plant: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    """A FIFO would wait for its writer, and a device never ends."""
    assert message in in_place_of_its_state(tmp_path, plant)


def hole(path: Path) -> None:
    """Write a file of a terabyte that takes no room."""
    path.touch()
    os.truncate(path, 10**12)


def inflated(path: Path) -> None:
    """Write a small file with the state of a large tensor, as nothing but compression allows."""
    plain = BytesIO()
    torch.save({"key": path.name, "state": torch.zeros(1_000_000)}, plain)
    with ZipFile(plain) as source, ZipFile(path, "w", ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (hole, "is damaged or not a state"),
        (inflated, "is damaged or not a state: it is compressed"),
    ],
    ids=["hole", "compressed"],
)
def test_a_state_takes_no_more_memory_than_its_file(
    plant: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    """A terabyte of nothing is not read, and nothing is unpacked."""
    assert message in in_place_of_its_state(tmp_path, plant)


def test_a_link_in_place_of_a_state_is_replaced(tmp_path: Path) -> None:
    """Its target, which may be another user's file, stays as it was."""
    target = tmp_path / "target"
    target.write_text("precious")
    checkpoints = Checkpoints(tmp_path / "states")
    trial = optuna.create_study(sampler=sampler()).ask()
    checkpoints.save(trial, {"x": 1})
    path = tmp_path / "states" / trial.user_attrs["ga_checkpoint"]
    path.unlink()
    path.symlink_to(target)
    checkpoints.save(trial, {"x": 2})

    assert target.read_text() == "precious"
    assert checkpoints.load(trial.study.trials[0]) == {"x": 2}


@pytest.mark.parametrize("shown", ["../secret", "/etc/passwd", "secret", "ga-x-y-0", 5, None, ""])
def test_an_attribute_that_names_another_file_is_no_state(shown: Any, tmp_path: Path) -> None:
    """Nothing outside the folder, and no other file in it, is opened."""
    study = optuna.create_study(sampler=sampler())
    study.add_trial(optuna.create_trial(value=1.0, user_attrs={"ga_checkpoint": shown}))

    with pytest.raises(FileNotFoundError, match="Trial 0 has saved no state"):
        Checkpoints(tmp_path).load(study.trials[0])


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files that grow beyond 100 kB are refused, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_the_trial_alone(small_files: None, tmp_path: Path) -> None:
    """The error is the system's, nothing is left, and an earlier state of the trial stays."""
    checkpoints = Checkpoints(tmp_path)
    trial = optuna.create_study(sampler=sampler()).ask()
    checkpoints.save(trial, {"x": 1})
    with pytest.raises(OSError, match="File too large"):
        checkpoints.save(trial, {"x": torch.zeros(100_000)})

    assert files(tmp_path) == {trial.user_attrs["ga_checkpoint"]}
    assert checkpoints.load(trial.study.trials[0]) == {"x": 1}


class Disconnected(RawIOBase):
    """A file of a server that is gone."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raise OSError("stale file handle")


def test_a_store_that_cannot_be_read_is_not_said_to_be_damaged(tmp_path: Path) -> None:
    """The system's own error says why."""

    class Unreachable(FileSystemArtifactStore):
        def open_reader(self, artifact_id: str) -> BinaryIO:
            return BufferedReader(Disconnected())

    trial = saved(Checkpoints(tmp_path), {"x": 1})
    with pytest.raises(OSError, match="stale file handle"):
        Checkpoints(Unreachable(tmp_path)).load(trial)


def test_a_change_of_the_working_folder_loses_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is that of the time when the checkpoints were made."""
    monkeypatch.chdir(tmp_path)
    checkpoints = Checkpoints("states")
    trial = saved(checkpoints, {"x": 1})
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")

    assert checkpoints.load(trial) == {"x": 1}
    assert checkpoints.load(saved(checkpoints, {"x": 2})) == {"x": 2}
    assert files(tmp_path / "other") == set()


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a shell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    saved(Checkpoints("~/states"), {"x": 1})

    assert len(files(tmp_path / "states")) == 1


def test_a_store_must_be_a_folder(tmp_path: Path) -> None:
    """Neither a file nor nothing, which would be the working directory."""
    path = tmp_path / "states"
    path.write_text("mine")

    with pytest.raises(ValueError, match=r"`store` must be a folder, but the file .*states"):
        Checkpoints(path)
    with pytest.raises(ValueError, match="`store` must be a folder, but ''"):
        Checkpoints("")
    assert path.read_text() == "mine"


@pytest.mark.parametrize("address", ["s3://bucket/states", "gs://b", "file:///states"])
@pytest.mark.parametrize("kind", [str, Path])
def test_an_address_is_no_folder(
    address: str, kind: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the artifact stores, and no folder of this name is made."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"`store` must be a folder.*Boto3ArtifactStore"):
        Checkpoints(kind(address))

    assert files(tmp_path) == set()


def test_a_state_without_checksums_is_loaded(tmp_path: Path) -> None:
    """PyTorch can be told to write none."""
    checkpoints = Checkpoints(tmp_path)
    torch.serialization.set_crc32_options(False)
    try:
        trial = saved(checkpoints, {"w": torch.ones(3), "x": 1.25})
    finally:
        torch.serialization.set_crc32_options(True)

    assert checkpoints.load(trial)["x"] == 1.25


__all__ = ["checkpoints"]


@pytest.mark.parametrize("device", ["meta", torch.device("meta")])
def test_a_state_is_loaded_to_the_device_that_is_asked_for(
    checkpoints: Checkpoints, device: str | torch.device
) -> None:
    """All its tensors, by either way of loading; otherwise they are on the CPU."""
    study, trial = finished(checkpoints, {"parts": [torch.ones(3)], "x": 1})
    moved = checkpoints.load(trial, map_location=device)

    assert moved["parts"][0].device == torch.device("meta")
    assert moved["parts"][0].shape == (3,) and moved["x"] == 1
    assert torch.equal(checkpoints.load(trial)["parts"][0], torch.ones(3))
    del study  # In memory, states live as long as their study.


def test_damage_is_noticed_beside_an_empty_tensor(tmp_path: Path) -> None:
    """An empty part has no checksum, and the others have theirs."""
    checkpoints = Checkpoints(tmp_path)
    weights = torch.arange(64.0)
    trial = saved(checkpoints, {"none": torch.empty(0), "weights": weights})
    (path,) = tmp_path.iterdir()
    whole, numbers = path.read_bytes(), weights.numpy().tobytes()
    assert whole.count(numbers) == 1
    path.write_bytes(whole.replace(numbers, numbers[::-1]))

    with pytest.raises(ValueError, match="has another checksum"):
        checkpoints.load(trial)


def test_a_file_is_whole_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power failure leaves the whole state or none."""
    trial = optuna.create_study(sampler=sampler()).ask()
    synced: list[int] = []

    def fsync(handle: int) -> None:
        assert all(name.endswith(".part") for name in files(tmp_path))
        synced.append(os.fstat(handle).st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    Checkpoints(tmp_path).save(trial, {"x": 1.0})

    assert synced == [path.stat().st_size for path in tmp_path.iterdir()]
