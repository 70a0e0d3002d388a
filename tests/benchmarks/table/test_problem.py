"""The problem on the committed table: its losses, noise, optimum and error."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, NopPruner, ThresholdPruner
from optuna.samplers import RandomSampler
from optuna.trial import TrialState
from scipy import special, stats
from scipy.stats import qmc
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern, WhiteKernel

from benchmarks.rows import read_rows
from benchmarks.table import model as table_model
from benchmarks.table.card import card
from benchmarks.table.design import HIGH, LOW
from benchmarks.table.problem import TableProblem
from benchmarks.table.surrogate import FAILED
from benchmarks.table.table import TABLE as FILE
from benchmarks.table.table import read_table
from benchmarks.trainings import GUESSING
from optuna_ga.fashion_mnist import SEARCH_SPACE

PROBLEM = TableProblem()
TABLE = read_table(FILE)
LAST = TABLE.outcomes.loss[:, :, -1]  # NaN for a seed that was not trained.
FAILURES = np.where(np.isnan(LAST), np.nan, LAST > FAILED)
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
    told = np.minimum(PROBLEM.losses(TABLE.settings)[:, -1], GUESSING)
    trained = np.nanmean(np.minimum(LAST, GUESSING), axis=1)

    assert np.corrcoef(told, trained)[0, 1] > 0.94
    assert np.abs(told - trained).max() > 1e-3


def features() -> np.ndarray:
    """Return the models' inputs `(n, 4)` at the table's settings."""
    rate, momentum, decay = TABLE.settings.T
    found = np.column_stack([np.log(rate / (1 - momentum)), np.log(rate), momentum, decay**0.5])
    return np.asarray((found - found.mean(axis=0)) / found.std(axis=0))


def matern(theta: Sequence[float]) -> Kernel:
    """Return the kernel with the logarithms of its parameters."""
    variance, *lengths = np.exp(theta)
    return ConstantKernel(variance) * Matern(lengths, nu=2.5)


def test_losses_of_successes_are_those_of_a_gaussian_process_regression() -> None:
    """The last epoch's model is computed once more, without the other epochs."""
    seen, theta = features(), PROBLEM.facts["theta"][0]
    succeeded = (FAILURES == 0).any(axis=1)
    logs = np.log(np.where(FAILURES == 0, LAST, np.nan)[succeeded])
    process = GaussianProcessRegressor(
        matern(theta[:5]) + WhiteKernel(np.exp(theta[5])), optimizer=None, normalize_y=True
    ).fit(seen[succeeded], np.nanmean(logs, axis=1))

    told = PROBLEM.predicted(TABLE.settings).log_losses[:, -1]
    assert told == pytest.approx(process.predict(seen), abs=1e-6)


def test_the_share_of_failures_is_the_most_probable_one() -> None:
    """At the trainings' values the slope of the posterior density is zero.

    There the values are the product of the covariances and the slope of the log likelihood. The
    density is log-concave, so that only one place has this property.
    """
    settings, seeds = np.nonzero(np.isfinite(FAILURES))
    covariances = matern(PROBLEM.facts["theta"][1])(features()[settings])
    shares = PROBLEM.predicted(TABLE.settings).shares[settings, 0]
    slopes = FAILURES[settings, seeds] - shares

    assert special.logit(shares) == pytest.approx(covariances @ slopes, abs=2e-3)


def test_the_share_of_failures_that_diverge_is_the_most_probable_one() -> None:
    """It is learnt from the trainings that failed."""
    settings, seeds = np.nonzero(FAILURES == 1)
    covariances = matern(PROBLEM.facts["theta"][2])(features()[settings])
    failed, diverged = PROBLEM.predicted(TABLE.settings).shares[settings].T
    slopes = np.isinf(LAST[settings, seeds]) - diverged / failed

    assert special.logit(diverged / failed) == pytest.approx(covariances @ slopes, abs=2e-3)


def test_failures_hardly_add_to_the_loss_where_no_training_fails() -> None:
    """At the tenth of the table's settings with the lowest effective rates no training failed."""
    rate, momentum, _ = TABLE.settings.T
    effective = rate / (1 - momentum)
    safe = effective < np.quantile(effective, 0.1)
    shares = PROBLEM.predicted(TABLE.settings[safe]).shares

    assert np.nansum(FAILURES[safe]) == 0
    assert shares.max() < 1e-5


def test_it_diverges_where_trainings_did() -> None:
    """It mostly diverges where all seeds did, and mostly not where none did."""
    shares = np.nanmean(np.where(np.isnan(LAST), np.nan, np.isinf(LAST)), axis=1)
    told = np.isinf(PROBLEM.losses(TABLE.settings)[:, -1])

    assert told[shares == 1].mean() > 0.6
    assert told[shares == 0].mean() < 0.05
    diverging = np.array([1.0, 0.9, 0.05])
    assert study_of(PROBLEM, diverging).trials[0].value == math.inf


def test_below_the_lowest_rate_losses_are_those_at_it() -> None:
    """Higher rates learn more; far from all trainings the model would tend to their mean."""
    lowest = PROBLEM.lowest_rate
    settings = np.array([[rate, 0.0, 0.0] for rate in (1e-4, lowest, 3 * lowest)])
    below, at, above = PROBLEM.losses(settings)[:, -1]

    assert below == at > 1.1 * above


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
        found = np.quantile(np.minimum(losses, GUESSING), float(quantile), method="lower")
        assert found == pytest.approx(loss, abs=0.02)


def test_noise_is_what_a_seed_has_beyond_the_mean() -> None:
    """At a table's setting there are as many values as seeds; the trial number draws one."""
    safe = np.flatnonzero((FAILURES == 0).all(axis=1))
    told = PROBLEM.losses(TABLE.settings[safe])[:, -1]
    # Where losses are neither the lowest nor the highest, hardly any training fails.
    chosen = safe[np.argsort(told)[len(safe) // 2]]
    setting = TABLE.settings[chosen]
    values = [t.value for t in study_of(TableProblem(noise_seed=0), *[setting] * 30).trials]
    again = [t.value for t in study_of(TableProblem(noise_seed=0), *[setting] * 30).trials]
    other = [t.value for t in study_of(TableProblem(noise_seed=1), *[setting] * 30).trials]
    seeds = LAST[chosen]
    n = len(seeds)
    (predicted,) = PROBLEM.predicted(setting[None]).log_losses[:, -1]
    expected = np.exp(predicted) * (seeds / stats.gmean(seeds)) ** np.sqrt(n / (n - 1))

    successes = {value for value in values if value < FAILED}
    assert sorted(successes) == pytest.approx(sorted(expected))
    assert values == again
    assert values != other


def test_a_noisy_trial_fails_as_often_as_trainings_are_predicted_to() -> None:
    """Diverging trials are infinite, others that fail guess; their mean is the told loss."""
    shares = PROBLEM.predicted(TABLE.settings).shares
    (doubtful, *_) = np.flatnonzero(
        (shares[:, 0] > 0.4) & (shares[:, 0] < 0.6) & (shares[:, 1] > 0.1)
    )
    setting = TABLE.settings[doubtful]
    values = np.array(
        [trial.value for trial in study_of(TableProblem(noise_seed=0), *[setting] * 300).trials],
        dtype=float,
    )
    failed, diverged = shares[doubtful]

    assert np.mean(values > FAILED) == pytest.approx(failed, abs=0.1)
    assert np.mean(np.isinf(values)) == pytest.approx(diverged, abs=0.1)
    assert np.minimum(values, GUESSING).mean() == pytest.approx(
        PROBLEM.losses(setting[None])[0, -1], abs=0.15
    )


def test_a_noisy_loss_is_no_better_for_seeds_that_diverged() -> None:
    """Over random settings no loss is negative, and few are below the table's lowest."""
    problem = TableProblem(noise_seed=0)
    study = optuna.create_study(sampler=RandomSampler(seed=0), pruner=NopPruner())
    study.optimize(problem, n_trials=500)
    values = np.array([trial.value for trial in study.trials], dtype=float)

    assert values.min() > 0
    assert np.mean(values < np.nanmin(LAST)) < 0.05


def test_the_stated_error_is_that_of_cross_validation() -> None:
    """The cheapest model is cross-validated once more; the card agrees with the rows."""
    rows = read_rows(table_model.models_path(FILE))
    stated = {row["model"]: row for row in rows}
    found = table_model.judge(TABLE, "six nearest")

    for name in ("spearman", "error", "spearman_low", "error_low", "noise_low", "failures"):
        assert float(stated["six nearest"][name]) == pytest.approx(found[name], abs=2e-3)
    assert card(FILE, table_model.models_path(FILE)) == FILE.with_suffix(".md").read_text()


def test_the_model_is_good_where_losses_are_low() -> None:
    """It ranks settings, and its error at low losses is below 1.5 times that of the seeds."""
    (stated, *_) = read_rows(table_model.models_path(FILE))

    assert stated["model"] == "Gaussian process"
    assert float(stated["spearman"]) >= 0.97
    assert float(stated["spearman_low"]) >= 0.8
    assert float(stated["error_low"]) <= 1.5 * float(stated["noise_low"])
    assert float(stated["failures"]) < 0.2 * float(stated["failures_constant"])


def test_the_table_is_small_and_says_how_it_was_made() -> None:
    """Every setting is trained; the file has at most 4 MB; its facts are complete."""
    assert np.isfinite(FAILURES).any(axis=1).all()
    assert FILE.stat().st_size <= 4e6
    assert all({"date", "device", "torch", "commit"} <= set(part) for part in TABLE.parts)
    assert set(json.loads(FILE.with_suffix(".json").read_text())) == {
        "theta", "optimum", "random_search"
    }  # fmt: skip
