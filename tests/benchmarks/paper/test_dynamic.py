"""The comparison of dynamic hyperparameters with static ones, run small, and its report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import torch

from benchmarks import runner, trainings
from benchmarks.paper import dynamic, dynamic_report
from benchmarks.paper.mlp import Pictures
from benchmarks.rows import RESULTS, read_frame, read_rows
from benchmarks.trainings import GUESSING
from optuna_ga import Checkpoints, GASampler, optimize_generations
from optuna_ga.fashion_mnist import _image_source, _network, _task
from optuna_ga.fashion_mnist._data import Data, load_subset
from optuna_ga.fashion_mnist._training import image_order

SETTING = dynamic.Setting(
    "cnn", population_size=5, epochs=2, training_images=16, validation_images=16, replays=2
)
SMALL = [
    "--population-size", "5", "--epochs", "2", "--training-images", "64",
    "--validation-images", "64", "--replays", "2", "--seeds", "1",
]  # fmt: skip


@pytest.fixture(autouse=True)
def subset_for_all(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use the shipped images, a small network, and this process instead of workers."""

    def load(folder: Path | None, device: torch.device) -> Data:
        data = load_subset(device)
        return Data(data.training, data.validation, data.training.take(slice(1000, 1064)))

    def here(function: Any, jobs: Any, *_: Any) -> Any:
        return ((job, function(*job.arguments)) for job in jobs)

    for module in (_image_source, trainings):
        monkeypatch.setattr(module, "load_full", load)
    monkeypatch.setattr(_network, "WIDTH", 4)
    monkeypatch.setattr(runner, "in_processes", here)
    monkeypatch.setattr(dynamic, "default_device", lambda: torch.device("cpu"))
    trainings.load.cache_clear()
    yield
    trainings.load.cache_clear()


@pytest.mark.slow
def test_a_run_goes_on_and_its_report_has_every_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second call adds what the first left out, and repeats nothing.

    Each says first how long its studies will take, of five trainings and two that follow.
    """
    out = tmp_path / "dynamic_cpu"
    dynamic.main([*SMALL, "--methods", "dynamic", "tpe", "--out", str(out)])
    first = read_rows(out.with_suffix(".csv"))
    assert " for 14 trainings, less" in capsys.readouterr().out
    dynamic.main([*SMALL, "--out", str(out)])
    rows = read_rows(out.with_suffix(".csv"))
    assert " for 35 trainings, less" in capsys.readouterr().out

    assert [row["method"] for row in rows] == list(dynamic.METHODS)
    assert [row for row in rows if row["method"] in ("dynamic", "tpe")] == first
    assert [int(row["trials"]) for row in rows] == [10, 10, 10, 5, 5, 5, 5]
    for row in rows:
        assert len(row["learning_rate"].split()) == len(row["replay_losses"].split()) == 2
    text = out.with_suffix(".md").read_text()
    assert text == dynamic_report.report(read_frame(out.with_suffix(".csv")), "dynamic_cpu")
    assert "At equal total epochs" in text
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_all_methods_may_have_the_time_that_dynamic_took(tmp_path: Path) -> None:
    """They run ten trials at a time until it is over; without `dynamic`'s row it is an error."""
    out = tmp_path / "dynamic_cpu"
    few = [*SMALL, "--limit", "seconds", "--methods", "random"]
    with pytest.raises(SystemExit):
        dynamic.main([*few, "--out", str(out)])
    dynamic.main([*few, "dynamic", "--out", str(out)])
    rows = {row["method"]: row for row in read_rows(out.with_suffix(".csv"))}

    assert rows["random"]["limit"] == "seconds"
    assert int(rows["random"]["trials"]) % 10 == 0
    assert float(rows["random"]["seconds"]) >= float(rows["dynamic"]["seconds"])
    assert "At equal seconds" in out.with_suffix(".md").read_text()


@pytest.mark.slow
def test_an_mlp_takes_the_place_of_the_papers_network(tmp_path: Path) -> None:
    """Its studies, answers and replays are those of the MLP, whose first layer has 64 units."""
    out = tmp_path / "dynamic_cpu"
    dynamic.main([*SMALL, "--network", "mlp", "--out", str(out)])
    rows = read_rows(out.with_suffix(".csv"))

    assert [row["method"] for row in rows] == list(dynamic.METHODS)
    assert {row["network"] for row in rows} == {"mlp"}
    assert out.with_suffix(".md").read_text().count("An MLP of 784, 64 and 10 units") == 1
    with pytest.raises(SystemExit):  # The rows of another network.
        dynamic.main([*SMALL, "--network", "cnn", "--out", str(out)])


def test_an_mlp_is_scored_as_trained_whichever_way_it_was_kept() -> None:
    """A saved network after one epoch has the score of the same training from scratch."""
    setting = SETTING._replace(network="mlp", training_images=64)
    saving = setting.objective(1, checkpoints=Checkpoints())
    study = optuna.create_study(sampler=GASampler.population_based_training(4, seed=0))
    optimize_generations(study, saving.evaluate_generation, 1)
    trial = study.best_trial
    score = setting.objective(1).test(trial.params)

    assert saving.test_trained(trial).loss == pytest.approx(score.loss, abs=2e-5)
    assert 0 < score.accuracy < 1
    assert setting.objective(1, seed=1).test(trial.params) != score


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_an_mlp_sees_the_images_in_the_papers_order(epoch: int) -> None:
    """The orders of a seed's epochs are those of the CNN's training."""
    pictures = Pictures(load_subset(torch.device("cpu")).training.take(slice(70)), 64)

    assert torch.equal(pictures.order(3, epoch), image_order(70, 3, epoch))


def test_the_static_methods_follow_the_papers_schedule() -> None:
    """Each epoch multiplies the learning rate by 0.7 and changes nothing else."""
    params = {"learning_rate": 0.5, "momentum": 0.1, "weight_decay": 0.01}
    rates = [one["learning_rate"] for one in dynamic._step_lr(params, 3)]

    assert rates == pytest.approx([0.5, 0.35, 0.245])
    assert dynamic._step_lr(params, 3)[2] == {**params, "learning_rate": rates[2]}


@pytest.mark.slow
def test_replays_begin_with_other_seeds_than_any_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replays take the seeds from 1,000 on, the same ones for every method."""
    seeds: list[int] = []

    order = _task.ImageData.order

    def spying(images: _task.ImageData, seed: int, epoch: int) -> torch.Tensor:
        seeds.append(seed)
        return order(images, seed, epoch)

    monkeypatch.setattr(_task.ImageData, "order", spying)
    for method in ("truncation", "random"):
        seeds.clear()
        dynamic.row_of(method, "epochs", 7, SETTING, math.inf)
        assert set(seeds) == {7, 1000, 1001}


def rows_of(method: str, losses: list[float], replays: float) -> list[dict[str, Any]]:
    """Return made-up rows, one per seed."""
    facts = {
        "limit": "epochs", "seconds": 1, "trials": 4, "diverged": 0, "training_loss": 1.0,
        "accuracy": 0.5, "test_loss": 1.0, "test_accuracy": 0.5, "network": "cnn",
        "population_size": 20,
        "epochs": 2, "training_images": 64, "validation_images": 64, "replays": 2,
        "device": "CPU", "processor": "p", "torch": "t", "momentum": "0.1 0.2",
        "learning_rate": "0.1 0.2", "weight_decay": "0.1 0.2",
    }  # fmt: skip
    return [
        facts
        | {"method": method, "seed": seed, "validation_loss": loss}
        | {"replay_losses": f"{loss + replays} inf"}
        for seed, loss in enumerate(losses)
    ]


def test_the_report_judges_made_up_rows() -> None:
    """Better by a half in each of six seeds is shown; divergence counts as guessing."""
    noise = [0.01 * seed for seed in range(6)]
    rows = [
        *rows_of("dynamic", [0.5 + 1.1 * each for each in noise], 0.1),
        *rows_of("truncation", [0.6 + 1.1 * each for each in noise], 0.1),
        *rows_of("tpe", [1.0 + each for each in noise], 0.1),
    ]
    text = dynamic_report.report(pd.DataFrame(rows), "made_up")
    verdicts = {
        cells[2].strip(): cells[-2].strip()
        for line in text.splitlines()
        if (cells := line.split("|"))[1:2] == [" `dynamic` beats `tpe` "]
    }
    for pair in ("`truncation` beats `tpe`", "`truncation` beats `dynamic`"):
        assert text.count(pair) == 3
    assert "`dynamic` beats `truncation`" not in text

    assert verdicts == {
        "validation loss": "shown",
        "validation loss of the replays": "shown",
        "test error": "not shown",
    }
    diverged = rows[0] | {"validation_loss": math.inf, "test_accuracy": math.nan}
    found = dynamic_report.measured(pd.DataFrame([rows[0], diverged]), "epochs")
    assert found["replayed"].tolist() == pytest.approx([(0.6 + GUESSING) / 2] * 2)
    assert found["answer"].tolist() == [0.5, GUESSING]
    assert found["tested"].tolist() == [0.5, 0.1]


@pytest.mark.parametrize("name", ["dynamic_3000_cuda", "dynamic_mlp_cpu"])
def test_the_committed_report_is_made_of_the_committed_rows(name: str) -> None:
    """The page equals the report to the letter."""
    path = RESULTS / f"{name}.csv"

    assert path.with_suffix(".md").read_text() == dynamic_report.report(
        read_frame(path), path.stem
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--population-size", "12"], "must be a multiple of 5, but 12 was given"),
        (["--training-images", "9999999"], "must be at most"),
        (["--epochs", "1"], "must be at least 2"),
    ],
)
def test_bad_options_are_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The error comes before anything is trained."""
    with pytest.raises(SystemExit, match="2"):
        dynamic.main([*options, "--out", str(tmp_path / "none")])
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_rows_of_another_setting_are_not_continued(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names what differs."""
    out = tmp_path / "dynamic_cpu"
    few = ["--methods", "random", "--out", str(out)]
    dynamic.main([*SMALL, *few])
    with pytest.raises(SystemExit, match="2"):
        dynamic.main([*SMALL, *few, "--epochs", "3"])

    assert "must have epochs 3" in capsys.readouterr().err
