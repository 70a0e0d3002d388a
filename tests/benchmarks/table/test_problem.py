"""The problem on the committed table: its losses, noise, optimum and error."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, NopPruner, ThresholdPruner
from optuna.samplers import RandomSampler
from optuna.trial import TrialState
from scipy import stats
from scipy.stats import qmc
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from benchmarks.rows import read_rows
from benchmarks.table import model as table_model
from benchmarks.table.card import card
from benchmarks.table.make import HIGH, LOW, read_table
from benchmarks.table.problem import CPU_TABLE, TableProblem, table_problem
from benchmarks.trainings import GUESSING
from optuna_ga.fashion_mnist import SEARCH_SPACE

PROBLEM = table_problem()
TABLE = read_table(CPU_TABLE)
GOOD = np.array(PROBLEM.optimum.setting)


def study_of(
    problem: Callable[[optuna.Trial], float],
    *settings: np.ndarray,
    pruner: BasePruner | None = None,
) -> Any:
    """Return a study that evaluated these settings."""
    study = optuna.create_study(pruner=pruner or NopPruner())
    for setting in settings:
        study.enqueue_trial(dict(zip(SEARCH_SPACE, setting.tolist(), strict=True)))
    study.optimize(problem, n_trials=len(settings))
    return study


def test_a_trial_has_the_loss_of_its_setting() -> None:
    """Its search space is the paper's; every epoch is reported."""
    (trial,) = study_of(PROBLEM, GOOD).trials
    (losses,) = PROBLEM.losses(GOOD[None])
    space: dict[str, BaseDistribution] = dict(SEARCH_SPACE)

    assert trial.value == losses[-1]
    assert trial.intermediate_values == dict(enumerate(losses.tolist(), start=1))
    assert trial.distributions == space


def test_it_tells_what_was_trained() -> None:
    """At the table's settings it is near the mean over seeds, but not equal: it is a model."""
    told = np.minimum(PROBLEM.losses(TABLE.trained)[:, -1], GUESSING)
    trained = np.minimum(TABLE.outcomes.loss[:, :, -1], GUESSING).mean(axis=1)

    assert np.corrcoef(told, trained)[0, 1] > 0.95
    assert np.abs(told - trained).max() > 1e-3


def test_it_is_the_gaussian_process_that_it_says() -> None:
    """The last epoch's model is computed once more with scikit-learn alone."""
    rate, momentum, decay = TABLE.trained.T
    effective = rate / (1 - momentum)
    seen = np.column_stack([np.log(0.1 + effective), np.log(rate), momentum, decay])
    seen = (seen - seen.mean(axis=0)) / seen.std(axis=0)
    parameters = np.exp(PROBLEM.facts["theta"])
    kernel = ConstantKernel(parameters[0]) * Matern(parameters[1:5], nu=2.5)
    process = GaussianProcessRegressor(
        kernel + WhiteKernel(parameters[5]), optimizer=None, normalize_y=True
    ).fit(seen, np.minimum(TABLE.outcomes.loss[:, :, -1], GUESSING).mean(axis=1))
    told = PROBLEM.losses(TABLE.trained)[:, -1]
    finite = np.isfinite(told)

    assert told[finite] == pytest.approx(process.predict(seen)[finite], abs=1e-6)


def test_it_diverges_where_trainings_did() -> None:
    """It mostly diverges where all seeds did, and mostly not where none did."""
    shares = np.isinf(TABLE.outcomes.loss[:, :, -1]).mean(axis=1)
    told = np.isinf(PROBLEM.losses(TABLE.trained)[:, -1])

    assert told[shares == 1].mean() > 0.75
    assert told[shares == 0].mean() < 0.05
    diverging = np.array([1.0, 0.9, 0.05])
    assert study_of(PROBLEM, diverging).trials[0].value == math.inf


def test_a_pruner_ends_a_bad_setting_after_an_epoch() -> None:
    """The reported losses suffice for a pruner."""
    slow = np.array([1e-4, 0.0, 0.0])
    study = study_of(PROBLEM, slow, pruner=ThresholdPruner(upper=1.0))

    assert study.trials[0].state == TrialState.PRUNED
    assert list(study.trials[0].intermediate_values) == [1]


def test_nothing_is_better_than_the_optimum() -> None:
    """Neither 20,000 other settings nor any setting near it are better."""
    rng = np.random.default_rng(1)
    settings = rng.uniform(LOW, HIGH, size=(20_000, 3))
    near = np.clip(GOOD + 0.01 * (HIGH - LOW) * rng.normal(size=(2_000, 3)), LOW, HIGH)
    losses = PROBLEM.losses(np.vstack([settings, near]))[:, -1]

    assert losses.min() > PROBLEM.optimum.loss - 1e-9
    assert PROBLEM.regret(GOOD) == pytest.approx(0, abs=1e-9)
    assert PROBLEM.regret(np.array([1.0, 0.9, 0.05])) == PROBLEM.worst_regret


def test_the_losses_of_random_search_are_as_stated() -> None:
    """Another sequence of settings gives the stated losses."""
    settings = qmc.scale(qmc.Sobol(3, rng=7).random(2**14), LOW, HIGH)
    losses = PROBLEM.losses(settings)[:, -1]
    stated = PROBLEM.facts["random_search"]

    assert np.isinf(losses).mean() == pytest.approx(stated["diverged"], abs=0.01)
    for quantile, loss in stated["quantiles"].items():
        found = np.quantile(losses, float(quantile), method="lower")
        assert found == pytest.approx(loss, abs=0.02)


def test_noise_is_what_a_seed_has_beyond_the_mean() -> None:
    """At a table's setting there are as many values as seeds; the trial number draws one."""
    chosen = int(np.argmin(TABLE.outcomes.loss[:, :, -1].mean(axis=1)))
    setting = TABLE.trained[chosen]
    values = [t.value for t in study_of(TableProblem(noise_seed=0), *[setting] * 30).trials]
    again = [t.value for t in study_of(TableProblem(noise_seed=0), *[setting] * 30).trials]
    other = [t.value for t in study_of(TableProblem(noise_seed=1), *[setting] * 30).trials]
    seeds = TABLE.outcomes.loss[chosen, :, -1]
    n = len(seeds)
    (exact,) = PROBLEM.losses(setting[None])[:, -1]
    expected = exact * (seeds / stats.gmean(seeds)) ** np.sqrt(n / (n - 1))

    assert sorted(set(values)) == pytest.approx(sorted(expected))
    assert values == again
    assert values != other


def test_where_a_seed_diverged_a_noisy_trial_may() -> None:
    """It diverges as often as the seeds did, where the mean over seeds is finite."""
    shares = np.isinf(TABLE.outcomes.loss[:, :, -1]).mean(axis=1)
    told = PROBLEM.losses(TABLE.trained)[:, -1]
    (mixed, *_) = np.flatnonzero((shares > 0) & (shares < 1) & np.isfinite(told))
    study = study_of(TableProblem(noise_seed=0), *[TABLE.trained[mixed]] * 60)
    share = np.mean([math.isinf(trial.value) for trial in study.trials])

    assert share == pytest.approx(shares[mixed], abs=0.25)


def test_a_noisy_loss_is_no_better_for_seeds_that_diverged() -> None:
    """Over random settings no loss is negative, and few are below the table's lowest."""
    problem = TableProblem(noise_seed=0)
    study = optuna.create_study(sampler=RandomSampler(seed=0), pruner=NopPruner())
    study.optimize(problem, n_trials=500)
    values = np.array([trial.value for trial in study.trials], dtype=float)

    assert values.min() > 0
    assert np.mean(values < TABLE.outcomes.loss[:, :, -1].min()) < 0.05


def test_the_stated_error_is_that_of_cross_validation() -> None:
    """The cheapest model is cross-validated once more; the card agrees with the rows."""
    rows = read_rows(table_model.models_path(CPU_TABLE))
    stated = {row["model"]: row for row in rows}
    found = table_model.judge(TABLE, "six nearest")

    for name in ("spearman", "error", "spearman_low", "error_low", "noise_low", "diverges_right"):
        assert float(stated["six nearest"][name]) == pytest.approx(found[name], abs=2e-3)
    assert (
        card(CPU_TABLE, table_model.models_path(CPU_TABLE))
        == CPU_TABLE.with_suffix(".md").read_text()
    )
    best = max(stated.values(), key=lambda row: float(row["spearman_low"]))
    assert best["model"] == "Gaussian process"


def test_the_table_is_whole_small_and_says_how_it_was_made() -> None:
    """Every setting is trained; the file has at most 4 MB; its facts are complete."""
    assert len(TABLE.trained) == TABLE.recipe.sobol + TABLE.recipe.cloud
    assert CPU_TABLE.stat().st_size <= 4e6
    assert all({"date", "device", "torch", "commit"} <= set(part) for part in TABLE.parts)
    assert set(json.loads(CPU_TABLE.with_suffix(".json").read_text())) == {
        "theta", "optimum", "random_search"
    }  # fmt: skip
