"""Tests of the open-ended table: its design, and rows that are added to."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch

from benchmarks.rows import Row, read_rows, write_rows
from benchmarks.runner import Missing
from benchmarks.table import make
from benchmarks.table.card import card
from benchmarks.table.design import EFFECTIVE_RATES, HIGH, LOW, setting
from benchmarks.table.model import fit, judge, models_path, noise
from benchmarks.table.problem import TableProblem
from benchmarks.table.surrogate import targets
from benchmarks.table.table import TABLE, read_table
from benchmarks.trainings import load, train_settings
from optuna_ga.fashion_mnist import SEARCH_SPACE, initial_network
from optuna_ga.fashion_mnist._training import train

CPU = torch.device("cpu")
SMALL = [
    "--data",
    "subset",
    "--training-images",
    "64",
    "--validation-images",
    "64",
    "--epochs",
    "1",
]

RECIPE = {
    "data": "subset",
    "training_images": 64,
    "validation_images": 64,
    "epochs": 2,
    "precision": "float32",
}


@pytest.mark.parametrize("n", [100, 250, 700])
def test_any_first_part_of_the_design_covers_the_space(n: int) -> None:
    """Each tenth of a parameter's range holds a tenth of the settings, within two."""
    whole = np.array([setting(number).values for number in range(0, 2 * n, 2)])
    for units in ((whole - LOW) / (HIGH - LOW)).T:
        counts, _ = np.histogram(units, bins=10, range=(0, 1))
        assert abs(counts - n / 10).max() <= 2


def test_every_second_setting_has_a_second_seed_and_lies_within_the_space() -> None:
    """The dense part stays within the search space and within its own rates."""
    dense = [setting(number) for number in range(1, 401, 2)]
    values = np.array([each.values for each in dense])
    assert {each.seeds for each in dense} == {2}
    assert np.all((values >= LOW) & (values <= HIGH))
    effective = values[:, 0] / (1 - values[:, 1])
    assert np.all((effective >= EFFECTIVE_RATES[0]) & (effective <= EFFECTIVE_RATES[1]))


@pytest.mark.slow
def test_more_settings_are_added_to_the_rows_that_are_there(tmp_path: Path) -> None:
    """A larger number of settings trains those that are missing, and keeps the others' rows."""
    out = ["--out", str(tmp_path / "rows.csv"), "--processes", "1"]
    make.main([*SMALL, *out, "--settings", "1"])
    first = read_rows(tmp_path / "rows.csv")
    make.main([*SMALL, *out, "--settings", "2"])
    rows = read_rows(tmp_path / "rows.csv")
    assert rows[:1] == first
    assert [(row["setting"], row["seed"]) for row in rows] == [("0", "0"), ("1", "0"), ("1", "1")]
    assert float(rows[1]["loss_1"]) != float(rows[2]["loss_1"])


@pytest.mark.slow
def test_trained_together_or_by_themselves_the_rows_are_the_same(tmp_path: Path) -> None:
    """A GPU's way of training them gives the rows of worker processes, and keeps what is there."""
    recipe = dict(zip(make.RECIPE, ("subset", 64, 64, 1, "float32"), strict=True))
    alone, together = (tmp_path / f"{name}.csv" for name in ("alone", "together"))
    make.main([*SMALL, "--out", str(alone), "--settings", "4"])
    rows = read_rows(alone)
    write_rows(together, rows[:2])
    wanted = list(make.jobs(4, recipe))
    make.run_together(Missing(together, read_rows(together), wanted, recipe))

    found = read_rows(together)
    figures = ("setting", "seed", "part", *SEARCH_SPACE, "loss_1", "accuracy_1")
    assert [[row[name] for name in figures] for row in found] == [
        [row[name] for name in figures] for row in rows
    ]


def test_rows_of_another_recipe_are_not_added_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trainings on other images make another table."""
    path = tmp_path / "rows.csv"
    recipe = {**RECIPE, "epochs": 3}
    write_rows(path, [{"setting": 0, "seed": 0, **recipe}])
    with pytest.raises(SystemExit):
        make.main([*SMALL, "--out", str(path)])
    assert "epochs 1" in capsys.readouterr().err


@pytest.mark.slow
def test_rows_make_a_table_with_a_model(tmp_path: Path) -> None:
    """A setting of which a seed is missing is left out; noise is that of settings with two."""
    path = tmp_path / "rows_cpu.csv"
    write_rows(path, list(made_up_rows(24))[:-1])
    make.main(["table", "--out", str(path)])
    table = read_table(path.with_suffix(".npz"))

    assert len(table.settings) == 23
    assert np.isnan(table.outcomes.loss[::2, 1]).all()
    assert np.isfinite(table.outcomes.loss[1::2]).all()
    assert np.isfinite(targets(table).log_losses).all()
    assert noise(table, np.arange(23)) == pytest.approx(
        np.sqrt(2 / np.pi) * np.sqrt(0.02 * np.mean([1.0] * 12 + [0.5] * 11))
    )
    path.with_suffix(".json").write_text(json.dumps(fit(table)))
    problem = TableProblem(path.with_suffix(".npz"), noise_seed=0)
    assert problem(optuna.create_study().ask()) > 0.0
    write_rows(models_path(path.with_suffix(".npz")), [judge(table, "six nearest")])
    text = card(path.with_suffix(".npz"), models_path(path.with_suffix(".npz")))
    assert "12 settings of a Sobol sequence" in text and "11 where losses are low" in text
    assert "Of 34 trainings 0 diverged, and 0 ended" in text


def test_rows_of_another_design_are_refused() -> None:
    """A table never has a setting at which its losses were not trained."""
    row, *_ = made_up_rows(1)

    with pytest.raises(ValueError, match=r"Setting 0 .*another"):
        make.table_of([row | {"momentum": 0.1}])


def test_the_committed_table_is_made_of_the_committed_rows() -> None:
    """Settings are equal, and figures up to the file's float32."""
    made, stored = make.table_of(read_rows(TABLE.with_suffix(".csv"))), read_table(TABLE)

    assert np.array_equal(made.settings, stored.settings)
    for mine, kept in zip(made.outcomes, stored.outcomes, strict=True):
        np.testing.assert_allclose(mine, kept, rtol=1e-6)
    assert made.recipe == stored.recipe


def test_targets_are_means_over_the_trainings_that_succeeded(tmp_path: Path) -> None:
    """A failure has its share, and no other figure; a seed that was not trained has none."""
    first, second, third, fourth = made_up_rows(3)
    rows = [first, second | {"loss_2": "inf"}, third, fourth | {"loss_2": 2.3}]
    found = targets(make.table_of(rows))

    assert np.exp(found.log_losses[:2, 1]) == pytest.approx([first["loss_2"], third["loss_2"]])
    assert np.isnan(found.log_losses[2]).all()
    assert found.shares.tolist() == [[0, 0], [0.5, 0.5], [1, 0]]


def test_the_table_holds_what_separate_trainings_give(tmp_path: Path) -> None:
    """One setting, trained on its own with each seed, epoch by epoch."""
    rows = make.train([1], 1, "subset", 64, 32, 2, "float32")
    data = load("subset", CPU, 64, 32)
    rate, momentum, decay = setting(1).values
    epochs = train(
        initial_network(1, CPU), data.training, data.validation, learning_rate=rate,
        momentum=momentum, weight_decay=decay, epochs=2, seed=1,
    )  # fmt: skip
    for number, epoch in enumerate(epochs, start=1):
        assert rows[0][f"loss_{number}"] == pytest.approx(epoch.metrics["loss"], abs=1e-3)
        assert rows[0][f"accuracy_{number}"] == pytest.approx(epoch.metrics["accuracy"], abs=0.05)


def test_diverged_trainings_are_kept() -> None:
    """From the epoch of divergence on, the loss is infinite and the accuracy NaN."""
    settings = np.array([[0.01, 0.5, 0.01], [1e8, 0.9, 0.1]])
    loss, accuracy = train_settings(settings, [0], load("subset", CPU, 128, 16), 2)

    assert np.isfinite(loss[0]).all()
    assert loss[1, 0].tolist() == [math.inf, math.inf]
    assert np.isnan(accuracy[1]).all()


def test_more_images_than_there_are_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error comes before anything is trained."""
    out = tmp_path / "rows.csv"
    with pytest.raises(SystemExit, match="2"):
        make.main([*SMALL, "--training-images", "6001", "--out", str(out)])

    assert "there are 6000 training images, but 6001 are wanted" in capsys.readouterr().err
    assert not out.exists()


def made_up_rows(n_settings: int) -> Iterator[Row]:
    """Yield a row for each training, in which the second seed's losses are 0.2 higher."""
    facts = dict.fromkeys(("device", "processor", "python", "torch", "commit", "date"), "x")
    for number in range(n_settings):
        for seed in range(setting(number).seeds):
            loss = 1.0 + setting(number).values[2] + 0.2 * seed
            losses = {"loss_1": loss + 0.1, "loss_2": loss, "accuracy_1": 0.5, "accuracy_2": 0.6}
            place = dict(zip(SEARCH_SPACE, setting(number).values, strict=True))
            yield {"setting": number, "seed": seed, **place, **losses, **RECIPE, **facts}
