"""The paper's five runs: budgets, answers, resumption, verdicts."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import torch

from benchmarks.paper import reproduce, reproduce_report
from benchmarks.paper.runs import PAPER
from benchmarks.rows import RESULTS, read_frame, write_rows
from optuna_ga.fashion_mnist import _image_source, _network
from optuna_ga.fashion_mnist._data import Data, load_subset

TINY = ["--runs", "run 2", "run 3", "--seeds", "0", "1", "--epochs", "1",
        "--training-images", "64", "--validation-images", "64"]  # fmt: skip


def few_images(folder: Path | None, device: torch.device) -> Data:
    """Return the shipped images instead of all of FashionMNIST, which may not be installed."""
    data = load_subset(device)
    return data._replace(test=data.validation.take(slice(1000, 1100)))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The results of two runs with two seeds, from two calls of the command."""
    folder = tmp_path_factory.mktemp("reproduce")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_image_source, "load_full", few_images)
        patch.setattr(_network, "WIDTH", 4)
        where = ["--storage", str(folder / "studies.db"), "--out", str(folder / "results")]
        first = [argument for argument in TINY if argument != "run 3"]
        expected: list[int] = []
        patch.setattr(reproduce, "expected_time", lambda n, *_: expected.append(n))
        reproduce.main([*first, *where])
        reproduce.main([*TINY, *where])
        assert expected == [60, 20]  # Three studies of each of two seeds, then one more.
    yield folder / "results"


def studies(out: Path) -> list[optuna.Study]:
    """Return the studies behind the results."""
    storage = f"sqlite:///{out.with_name('studies.db')}"
    names = optuna.get_all_study_names(storage)
    return [optuna.load_study(study_name=name, storage=storage) for name in names]


@pytest.mark.slow
def test_runs_with_equally_many_trials_share_the_baselines(out: Path) -> None:
    """Two genetic algorithms, one random search and one TPE per seed, ten trials each."""
    found = [(s.user_attrs["benchmark:sampler"], len(s.trials)) for s in studies(out)]

    assert sorted(found) == sorted(
        [("ga, mutation 0.1", 10), ("ga, mutation 0.2", 10), ("random", 10), ("tpe", 10)] * 2
    )


@pytest.mark.slow
def test_rows_have_one_answer_per_study(out: Path) -> None:
    """The genetic algorithm's answer is its final generation's best, others' the best trial."""
    with out.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    for study in studies(out):
        sampler, seed = (study.user_attrs[f"benchmark:{k}"] for k in ("sampler", "seed"))
        (answer,) = (
            row
            for row in rows
            if (row["sampler"], row["seed"], bool(row["test_accuracy"]))
            == (sampler, str(seed), True)
        )
        eligible = study.trials[5:] if sampler.startswith("ga") else study.trials
        best = min(eligible, key=lambda trial: trial.value or math.inf)
        assert int(answer["trial"]) == best.number
        assert float(answer["validation_loss"]) == pytest.approx(best.value, rel=1e-5)


@pytest.mark.slow
def test_a_lower_mutation_rate_changes_children_only(out: Path) -> None:
    """With one seed, runs 2 and 3 begin with the same generation."""
    first, second = (
        next(s for s in studies(out) if s.study_name.startswith(f"ga, mutation {rate}, seed 1"))
        for rate in (0.1, 0.2)
    )
    assert [t.params for t in first.trials[:5]] == [t.params for t in second.trials[:5]]


def test_without_time_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the option; no trial is run."""
    monkeypatch.setattr(_image_source, "load_full", few_images)
    monkeypatch.setattr(reproduce, "expected_time", lambda *_: None)
    where = ["--storage", str(tmp_path / "studies.db"), "--out", str(tmp_path / "results")]
    with pytest.raises(SystemExit, match="2"):
        reproduce.main([*TINY, "--minutes", "0", *where])

    assert "argument --minutes: no study is complete" in capsys.readouterr().err
    assert not any(study.trials for study in studies(tmp_path / "results"))


def test_rows_are_written_after_each_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a run that is killed leaves those of its complete studies."""
    monkeypatch.setattr(_image_source, "load_full", few_images)
    monkeypatch.setattr(_network, "WIDTH", 4)
    monkeypatch.setattr(reproduce, "expected_time", lambda *_: None)
    written: list[int] = []

    def test(study: optuna.Study, objective: object) -> None:
        raise KeyboardInterrupt

    def write(path: Path, rows: list[Any]) -> None:
        written.append(len(rows))
        write_rows(path, rows)

    monkeypatch.setattr(reproduce, "_test", test)
    monkeypatch.setattr(reproduce, "write_rows", write)
    tiny = ["--runs", "run 2", "--seeds", "0", *TINY[TINY.index("--epochs") :]]
    where = ["--storage", str(tmp_path / "studies.db"), "--out", str(tmp_path / "results")]
    with pytest.raises(KeyboardInterrupt):
        reproduce.main([*tiny, *where])

    assert written == [10, 20, 30]
    assert set(read(tmp_path / "results.csv")["test_accuracy"]) == {"", "unknown"}
    assert (tmp_path / "results.json").exists()


def read(path: Path) -> pd.DataFrame:
    """Return the rows of a file as the report reads them."""
    return read_frame(path, *reproduce_report.TEXTS)


def rows_of(sampler: str, losses: list[list[float]], size: int, generations: int) -> list[Any]:
    """Return rows of made-up studies, one per seed, whose last trial is the answer."""
    return [
        {
            "population_size": size, "generations": generations, "sampler": sampler, "seed": seed,
            "trial": trial, "validation_loss": loss, "training_loss": 2 * loss,
            "accuracy": 0.5, "seconds": 1.0, "learning_rate": 0.1, "momentum": 0.1,
            "weight_decay": 0.0, "test_accuracy": 0.5 if trial == len(of_seed) - 1 else "",
            "device": "GPU",
        }
        for seed, of_seed in enumerate(losses)
        for trial, loss in enumerate(of_seed)
    ]  # fmt: skip


def test_the_report_judges_made_up_runs(tmp_path: Path) -> None:
    """Run 3 beats run 2 by 0.5 in each of eight seeds; against itself nothing is shown."""
    noise = [0.01 * seed for seed in range(8)]
    worse = [[2.0, 1.5 + each] for each in noise]
    better = [[2.0, 1.0 + each * 1.1] for each in noise]
    rows = [
        *rows_of("ga, mutation 0.1", worse, 5, 2),
        *rows_of("ga, mutation 0.2", better, 5, 2),
        *rows_of("random", worse, 5, 2),
        *rows_of("tpe", [[math.inf, math.inf]] * 8, 5, 2),
    ]
    path = tmp_path / "rows.csv"
    write_rows(path, rows)
    facts = tmp_path / "facts.json"
    facts.write_text('{"problem": "p", "date": "d", "environments": []}')
    text = reproduce_report.report(read(path), facts)

    verdicts = {
        tuple(cells[1:3]): cells[-2]
        for line in text.splitlines()
        if len(cells := [cell.strip() for cell in line.split("|")]) == 8
    }
    assert verdicts["a higher mutation rate helps", "run 3 against run 2, validation loss"] == (
        "shown"
    )
    assert verdicts["the GA beats random", "run 3 against random, validation loss"] == "shown"
    assert verdicts["the GA beats random", "run 2 against random, validation loss"] == (
        "not shown"
    )
    assert "| run 2 | tpe | 8 | 2.303 (2.303-2.303) |" in text
    assert not any(claim == "the GA beats tpe" for claim, _ in verdicts)  # Random search so far.


def test_answers_that_were_not_tested_are_counted_and_left_out(tmp_path: Path) -> None:
    """The mean is that of the others; a diverged answer counts as guessing."""
    rows = [
        *rows_of("ga, mutation 0.1", [[2.0, 1.5]] * 3, 5, 2),
        *rows_of("random", [[2.0, 1.4]] * 3, 5, 2),
    ]
    tested = {0: "0.7", 1: "unknown", 2: "nan"}
    for row in rows:
        if row["test_accuracy"]:
            row["test_accuracy"] = tested[row["seed"]] if "ga" in row["sampler"] else "unknown"
    write_rows(tmp_path / "rows.csv", rows)
    facts = tmp_path / "facts.json"
    facts.write_text('{"problem": "p", "date": "d", "environments": []}')
    found = read(tmp_path / "rows.csv")
    accuracies = reproduce_report.measured(found).set_index(["sampler", "seed"])["test_accuracy"]
    text = reproduce_report.report(found, facts)

    assert accuracies["ga, mutation 0.1"].dropna().tolist() == [0.7, 0.1]
    assert accuracies["random"].isna().all()
    assert "Of 6 answers 4 have not been scored on the test images." in text
    assert "test error of the answer" not in text


def test_studies_on_another_device_have_no_times(tmp_path: Path) -> None:
    """A CPU's minutes are not averaged with a GPU's seconds; their losses count."""
    rows = [
        *rows_of("ga, mutation 0.1", [[2.0, 1.5], [2.0, 1.3], [2.0, 1.1]], 5, 2),
        *rows_of("random", [[2.0, 1.4]] * 3, 5, 2),
    ]
    for row in rows:
        if row["seed"] == 2 and row["sampler"] != "random":
            row.update(device="CPU", seconds=100.0)
    write_rows(tmp_path / "rows.csv", rows)
    facts = tmp_path / "facts.json"
    facts.write_text('{"problem": "p", "date": "d", "environments": []}')
    found = read(tmp_path / "rows.csv")
    text = reproduce_report.report(found, facts)
    trials = reproduce_report.curves(found)
    times, _ = reproduce_report.mean_over_time(trials[trials["sampler"] != "random"])

    studies = reproduce_report.measured(found).set_index(["sampler", "seed"])
    assert studies["best"]["ga, mutation 0.1"].tolist() == [1.5, 1.3, 1.1]
    assert studies["seconds"]["ga, mutation 0.1"].dropna().tolist() == [2.0, 2.0]
    assert times.max() == 2.0
    assert "Trained on another device, CPU, and left out of the times: 5 x 2, ga" in text
    assert "ga, mutation 0.1, seed 2." in text


def test_the_committed_report_is_made_of_the_committed_rows() -> None:
    """The page equals the report to the letter."""
    path = RESULTS / "reproduce_cuda.csv"
    text = reproduce_report.report(read(path), path.with_suffix(".json"))

    assert path.with_suffix(".md").read_text() == text


def test_a_figure_is_drawn_of_what_has_ended(tmp_path: Path) -> None:
    """TPE is missing in one run, and all but random search in another."""
    path, figure = tmp_path / "rows.csv", tmp_path / "figure.png"
    rows = [
        *rows_of("ga, mutation 0.1", [[2.0, 1.5]], 5, 2),
        *rows_of("random", [[2.0, 1.4]], 5, 2),
        *rows_of("random", [[2.0, 1.4]], 5, 5),
    ]
    write_rows(path, rows)
    reproduce_report.plot(read(path), figure)
    assert figure.read_bytes().startswith(b"\x89PNG")

    write_rows(path, rows[2:])
    figure.unlink()
    reproduce_report.plot(read(path), figure)
    assert not figure.exists()


@pytest.mark.parametrize("losses", [[3.0, 2.0, 1.0], [3.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
def test_seconds_until_as_good_are_counted(losses: list[float], tmp_path: Path) -> None:
    """Each trial takes a second; the count ends at the lowest loss that both samplers reach."""
    path = tmp_path / "rows.csv"
    run = PAPER[4]._replace(population_size=1, n_generations=5)
    mine = rows_of(run.sampler, [[*losses, 0.9, 0.5]] * 3, 1, 5)
    other = rows_of("random", [[3.0, 3.0, 3.0, 3.0, 1.0]] * 3, 1, 5)
    write_rows(path, [*mine, *other])
    trials = reproduce_report.curves(read(path))
    ours, theirs = reproduce_report.seconds_until_as_good(trials, run, "random")

    assert ours.tolist() == [losses.index(1.0) + 1] * 3
    assert theirs.tolist() == [5] * 3


def test_training_efficiency_is_accuracy_over_training_time() -> None:
    """The accuracy is that of the trial with the lowest loss, whose mean over seeds is drawn."""
    rows = pd.DataFrame(rows_of("random", [[3.0, 1.0, 2.0], [2.0, 3.0, 1.0]], 5, 2))
    rows["accuracy"] = [0.1, 0.5, 0.6, 0.3, 0.2, 0.7]
    rows["seconds"] = [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    times, accuracies = reproduce_report.mean_over_time(reproduce_report.curves(rows))

    assert times.tolist() == [2.0, 3.0, 4.0, 6.0]
    assert accuracies.tolist() == pytest.approx([0.4, 0.4, 0.4, 0.6])
