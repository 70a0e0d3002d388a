"""The report on a suite: ranks, wins, targets reached and cost, of made-up rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.rows import RESULTS, read_frame
from benchmarks.suites import overview, plot, ranks, recheck, report

Scores = Mapping[str, Sequence[float]]


def rows_of(scores: Scores, **others: Any) -> pd.DataFrame:
    """Return rows of one task with these scores after 25 trials, by sampler and seed."""
    facts = {"suite": "tiny", "part": "held-out", "task": "t", "workers": 1, "trials": 25}
    facts |= {"optimum": math.nan, "optuna": "5", "commit": "c", "sampler_s": 0.05}
    return pd.DataFrame(
        [
            {**facts, "sampler": name, "seed": seed, "best_25": float(score)} | others
            for name, of_sampler in scores.items()
            for seed, score in enumerate(of_sampler)
        ]
    )


def test_ranks_are_averaged_within_tasks_first() -> None:
    """Ties share ranks, and all tasks weigh the same, however many seeds they have."""
    rows = rows_of({"a": [1, 1, 3], "b": [2, 1, 1], "c": [3, 2, 2]})
    rows = pd.concat([rows, rows_of({"a": [1], "b": [0], "c": [2]}, task="u")])
    field = ranks.nearly_complete(ranks.scores_after(rows, 1, 25))
    assert field is not None
    found = ranks.mean_ranks(field)

    by_hand: dict[str, list[float]] = {"a": [1, 1.5, 3], "b": [2, 1.5, 1], "c": [3, 3, 2]}
    of_task = field.rank(axis="columns").loc["t"]
    assert {name: of_task[name].tolist() for name in by_hand} == by_hand
    last = {"a": 2, "b": 1, "c": 3}
    means = {name: (np.mean(by_hand[name]) + last[name]) / 2 for name in by_hand}
    assert {name: rank.mean for name, rank in found.items()} == pytest.approx(means)
    assert all(rank.low <= rank.mean <= rank.high for rank in found.values())
    assert found["a"].low == (1 + 2) / 2  # Once in 27 times its best seed is drawn thrice.


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    """With one seed there is nothing to resample."""
    text = report.report(rows_of({"a": [1], "b": [2]}), tmp_path / "rows.csv")

    assert "| a | 1.00 |\n| b | 2.00 |" in text


def test_times_that_were_not_measured_are_not_reported(tmp_path: Path) -> None:
    """Rows of a busy machine have no times."""
    scores: Scores = {"a": [1], "b": [2]}
    timed, untimed = rows_of(scores), rows_of(scores, sampler_s=math.nan)

    assert "## Cost" in report.report(timed, tmp_path / "rows.csv")
    assert "## Cost" not in report.report(untimed, tmp_path / "rows.csv")


def test_a_sampler_with_fewer_seeds_is_in_the_second_table(tmp_path: Path) -> None:
    """That table ranks all samplers on the pairs that they share."""
    rows = rows_of({"a": range(10), "b": range(1, 11), "slow": [-1, -1, -1]})
    text = report.report(rows, tmp_path / "rows.csv")
    first, second = text.split("All samplers, on the pairs")

    assert "| a | 1.00 (1.00-1.00) |" in first
    assert "| samplers / pairs | 2 / 10 |" in first
    assert "| slow |" not in first
    assert "| slow | 1.00 (1.00-1.00) |\n| a | 2.00 (2.00-2.00) |" in second
    assert "| samplers / pairs | 3 / 3 |" in second


def test_the_adaptive_sampler_is_compared_with_each_other(tmp_path: Path) -> None:
    """Wins, ties and losses are counted; a star marks significance, and words list losses."""
    adaptive = [1.0] * 20
    rows = rows_of({"adaptive": adaptive, "worse": [2.0] * 18 + [1.0] * 2, "better": [0.0] * 20})
    rows = pd.concat([rows, rows_of({"even": [0.0, 2.0] * 10})])
    text = report.report(rows, tmp_path / "rows.csv")

    assert "| worse | 18/2/0 * |" in text
    assert "| better | 0/0/20 * |" in text
    assert "| even | 10/0/10 |" in text
    assert "`adaptive` loses significantly to `better` after 25 trials." in text
    assert "| adaptive | 2.00 |" in text  # Milliseconds per trial.


def test_generations_are_compared_with_one_trial_after_another(tmp_path: Path) -> None:
    """The page of that kind has no table for a sampler alone, and `adaptive` against itself."""
    # As good as 2, 2, 3 and 2 after 25, 5, 10 and 10 trials.
    sooner = {"best_5": [9, 2, 9, 9], "best_10": [3, 1, 3, 2]}
    by_one = rows_of({"adaptive": [1, 1, 2, 2]}).assign(**sooner)
    rows = pd.concat(
        [by_one, rows_of({"adaptive": [2, 2, 3, 2], "tpe": [0, 3, 4, 5]}, workers=20)]
    )
    text = report.report(rows, tmp_path / "suite_tiny_generations.csv")
    usual = report.report(rows, tmp_path / "suite_tiny.csv")

    assert "| against | 25 trials |\n| --- | --- |\n| one worker | 0/1/3 |\n" in text
    assert "| as far | 10 (10 to 25) |" in text
    assert "### With 20 workers" in text and "With 1 worker" not in text
    assert "so many trials are a generation" in text
    assert "The price of generations" not in usual and "are a generation" not in usual


def test_the_share_of_targets_is_counted_over_pairs() -> None:
    """There are 51 targets from 100 to 1e-8, five for each factor of ten."""
    rows = rows_of({"a": [1e3, 0.0], "b": [9.0, 0.95e-3]}, optimum=0.0)
    curves = plot.reached(rows, 1)

    assert curves["a"] == {25: pytest.approx((0 + 51) / 2 / 51)}
    assert curves["b"] == {25: pytest.approx((6 + 26) / 2 / 51)}


@pytest.mark.parametrize("optimum", [0.0, math.nan])
def test_the_figure_depends_on_whether_the_optimum_is_known(
    optimum: float, tmp_path: Path
) -> None:
    """It shows targets reached if the optimum is known, and ranks if not; the report says so."""
    path = tmp_path / "rows.csv"
    rows = rows_of({"random": [1, 2], "adaptive": [2, 1]}, optimum=optimum)
    text = report.report(rows, path)
    plot.plot(rows, path.with_suffix(".png"))

    assert path.with_suffix(".png").stat().st_size > 0
    known = not math.isnan(optimum)
    assert [word in text for word in ("51 regrets", "## Regret")] == [known, known]
    assert "| random | 2.00 (1.0 x) |" in text


def test_regrets_of_a_single_task_are_compared_with_random(tmp_path: Path) -> None:
    """A lower mean is starred, an equal mean is not; the table is in units of 0.001."""
    noise = [seed / 1024 for seed in range(10)]
    scores: Scores = {
        "random": [0.25 + each for each in noise],
        "better": [0.125 + each for each in noise],
        "even": [0.25 + each for each in noise],
    }
    text = report.report(rows_of(scores, optimum=0.0), tmp_path / "rows.csv")

    assert "| better | 129.4 (127.3-131.5) * |" in text
    assert "| even | 254.4 (252.3-256.5) |" in text


def test_the_report_on_repeats_compares_pair_by_pair() -> None:
    """Differences are in percent of the second figure, with Student's interval."""
    scores = {"first": [2.0, 1.0, 1.0], "longer": [1.0, 1.0, 1.0], "rechecked": [1.0, 1.1, 0.9]}
    values = {"first": [1.0, 0.5, 0.5], "longer": [1.0, 1.0, 1.0], "rechecked": [1.0, 1.1, 0.9]}
    rows = pd.DataFrame(
        {"task": ["t"] * 3}
        | {f"score_{name}": found for name, found in scores.items()}
        | {f"value_{name}": found for name, found in values.items()}
    )
    text = recheck.report(rows)
    half_width = stats.t.ppf(0.975, 2) * 10.0 / math.sqrt(3)

    assert f"more search | +0.00 (-{half_width:.2f} to +{half_width:.2f}) | 1 / 1 / 1 |" in text
    assert "in the search, less than its score | -50.00 (-50.00 to -50.00) | 3 / 0 / 0 |" in text
    assert "mean of its repeats, less than its score | +0.00 (+0.00 to +0.00) | 0 / 3 / 0" in text


def test_the_overview_tells_the_place_of_ours_in_every_suite(tmp_path: Path) -> None:
    """It is the place among samplers with nearly all pairs; `gp` is compared on shared pairs."""
    discrete: Scores = {
        "adaptive": [1.0] * 10, "tpe": [0.0] * 5 + [2.0] * 5, "random": [3.0] * 10,
    }  # fmt: skip
    conditional: Scores = {
        "adaptive": range(10), "cmaes": range(-1, 9), "adaptive-model-free": range(-2, 8),
        "gp": [0, 0, 5],
    }  # fmt: skip
    rows_of(discrete).to_csv(tmp_path / "suite_discrete.csv", index=False)
    rows_of(conditional).to_csv(tmp_path / "suite_conditional.csv", index=False)
    overview.main(["--results", str(tmp_path)])
    text = (tmp_path / "suites.md").read_text()
    screened, model_free = text.split("### `adaptive-model-free`")

    assert "| discrete | 25 | 1 / 10 | 1 of 3 | 1.50 (" in screened
    assert ") | tpe 1.50 (" in screened
    assert "| conditional | 25 | 1 / 10 | 3 of 3 | 3.00 (3.00-3.00) | cmaes 2.00" in screened
    assert "(2.00-2.00) | 1/1/1 |" in screened
    assert "| conditional | 25 | 1 / 10 | 1 of 3 | 1.00 (1.00-1.00) | cmaes 2.00" in model_free
    assert "discrete" not in model_free
    assert (tmp_path / "suites.png").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(RESULTS.glob("suite_*.csv")), ids=lambda path: path.stem)
def test_the_committed_reports_are_made_of_the_committed_rows(path: Path) -> None:
    """Each page equals its report to the letter."""
    assert path.with_suffix(".md").read_text() == report.report(read_frame(path), path)


@pytest.mark.slow
def test_the_committed_page_is_made_of_the_committed_rows() -> None:
    """The page on all suites equals its overview to the letter."""
    suites = overview.read_suites(RESULTS)

    assert (RESULTS / "suites.md").read_text() == overview.overview(suites)
