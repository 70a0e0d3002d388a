"""The table of trainings: its design, its figures, and how a stopped run resumes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.table import make as make_table
from benchmarks.table.make import HIGH, LOW, cloud, read_table, sobol
from benchmarks.trainings import load, train_settings
from optuna_ga.fashion_mnist import Data, _network
from optuna_ga.fashion_mnist._network import initial_network
from optuna_ga.fashion_mnist._training import train

CPU = torch.device("cpu")
TINY = [
    "--sobol", "16", "--cloud", "4", "--training-images", "64", "--validation-images", "64",
    "--epochs", "2", "--seeds", "2",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _little_training() -> Iterator[None]:
    """Use a small network, and a quarter of the images."""

    def load_few(name: str, device: torch.device, n_training: int, n_validation: int) -> Data:
        return load(name, device, n_training // 4, n_validation // 4)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_table, "load", load_few)
        patch.setattr(_network, "WIDTH", 4)
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table that was made in one go."""
    path = tmp_path_factory.mktemp("table") / "table.npz"
    make_table.main([*TINY, "--out", str(path)])
    return path


def test_the_table_holds_what_separate_trainings_give(path: Path) -> None:
    """One setting, trained on its own with each seed, epoch by epoch."""
    table = read_table(path)
    data = load("subset", CPU, 16, 16)
    rate, momentum, decay = table.settings[18]
    for seed in (0, 1):
        epochs = list(
            train(
                initial_network(seed, CPU), data.training, data.validation, learning_rate=rate,
                momentum=momentum, weight_decay=decay, epochs=2, seed=seed,
            )
        )  # fmt: skip
        losses = [epoch.validation_loss for epoch in epochs]
        accuracies = [epoch.validation_accuracy for epoch in epochs]
        assert table.outcomes.loss[18, seed] == pytest.approx(losses, abs=1e-3)
        assert table.outcomes.accuracy[18, seed] == pytest.approx(accuracies, abs=0.05)


@pytest.mark.slow
def test_a_stopped_table_goes_on_to_the_same(path: Path, tmp_path: Path) -> None:
    """It stops after 16 settings; each part records when and where it was made."""
    stopped = tmp_path / "table.npz"
    make_table.main([*TINY, "--minutes", "0", "--out", str(stopped)])
    assert len(read_table(stopped).trained) == 16

    make_table.main([*TINY, "--out", str(stopped)])
    whole, resumed = read_table(path), read_table(stopped)
    assert np.array_equal(whole.settings, resumed.settings)
    assert np.array_equal(whole.outcomes.loss, resumed.outcomes.loss)
    assert [part["first"] for part in resumed.parts] == [0, 16]


def test_another_recipe_is_refused(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the file; the table stays as it is."""
    before = path.read_bytes()
    with pytest.raises(SystemExit, match="2"):
        make_table.main([*TINY, "--epochs", "3", "--out", str(path)])

    assert "argument --out" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_more_images_than_there_are_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error comes before anything is trained."""
    monkeypatch.setattr(make_table, "load", load)
    out = tmp_path / "table.npz"
    with pytest.raises(SystemExit, match="2"):
        make_table.main([*TINY, "--training-images", "6001", "--out", str(out)])

    assert "there are 6000 training images, but 6001 are wanted" in capsys.readouterr().err
    assert not out.exists()


def test_diverged_trainings_are_kept() -> None:
    """From the epoch of divergence on, the loss is infinite and the accuracy NaN."""
    settings = np.array([[0.01, 0.5, 0.01], [1e8, 0.9, 0.1]])
    loss, accuracy = train_settings(settings, [0], load("subset", CPU, 128, 16), 2)

    assert np.isfinite(loss[0]).all()
    assert loss[1, 0].tolist() == [math.inf, math.inf]
    assert np.isnan(accuracy[1]).all()


def test_the_sequence_fills_the_search_space() -> None:
    """Each eighth of each range holds 32 of 256 settings, as a Sobol sequence promises."""
    unit = (sobol(256) - LOW) / (HIGH - LOW)

    for column in unit.T:
        assert np.histogram(column, bins=8, range=(0, 1))[0].tolist() == [32] * 8


def test_the_cloud_lies_around_the_best() -> None:
    """Losses that grow with the distance from a point draw the cloud towards it."""
    settings = sobol(256)
    point = np.array([0.1, 0.4, 0.02])
    losses = np.abs((settings - point) / (HIGH - LOW)).sum(axis=1)
    around = cloud(settings, losses, 200)

    assert ((around >= LOW) & (around <= HIGH)).all()
    assert np.median(around, axis=0) == pytest.approx(point, abs=0.1)
    assert np.ptp(around[:, 0]) < np.ptp(settings[:, 0])
