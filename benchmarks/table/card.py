"""The card of a table: how it was made, its model's error, and its limits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.markdown import paragraph, table
from benchmarks.rows import Row, read_rows
from benchmarks.table.surrogate import failures
from benchmarks.table.table import read_table
from optuna_ga.fashion_mnist import SEARCH_SPACE

COLUMNS = {
    "model": "model",
    "spearman": "rank correlation",
    "error": "error",
    "spearman_low": "rank correlation, low",
    "error_low": "error, low",
    "noise_low": "noise, low",
    "failures": "failures",
    "spearman_mean": "rank correlation, mean loss",
    "spearman_mean_low": "the same, low",
    "error_mean_low": "error of the mean loss, low",
    "milliseconds": "milliseconds",
}


def card(path: Path, models: Path) -> str:
    """Return the card as Markdown.

    Args:
        path: The table; its model is the file beside it that ends in json.
        models: The file of the figures of all models.
    """
    made, facts = read_table(path), json.loads(path.with_suffix(".json").read_text())
    recipe, losses = made.recipe, made.outcomes.loss[..., -1]
    n_seeds = (~np.isnan(losses)).sum(axis=1)
    devices = dict.fromkeys(f"{part['device']} ({part['processor']})" for part in made.parts)
    versions = dict.fromkeys(f"PyTorch {p['torch']}, commit {p['commit']}" for p in made.parts)
    optimum = ", ".join(f"{x:.4g}" for x in facts["optimum"]["setting"])
    found = facts["random_search"]
    quantiles = ", ".join(f"{100 * float(q):g} %: {x}" for q, x in found["quantiles"].items())
    rates = SEARCH_SPACE["learning_rate"]
    below = (made.settings[:, 0].min() - rates.low) / (rates.high - rates.low)
    tried = read_rows(models)
    failed = failures(made)
    text = f"""# {path.name}

**What.** Validation loss and accuracy of the paper's CNN on FashionMNIST after each epoch, at
{(n_seeds == 1).sum():,} settings of a Sobol sequence over the paper's search space, each trained
with one seed of initial weights and batches, and at {(n_seeds > 1).sum():,} where losses are low,
with {n_seeds.max()} seeds.

**How.** {recipe.training_images:,} training and {recipe.validation_images:,} validation images of
the {recipe.data} data, {recipe.epochs} epochs, {recipe.precision}, by
`python -m benchmarks.table.make`. Of {n_seeds.sum():,} trainings {np.isinf(losses).sum():,}
diverged, and {np.nansum(failed) - np.isinf(losses).sum():,.0f} ended at the loss of guessing.

**Where and when.** {"; ".join(devices)}; {"; ".join(versions)}; {_dates(made.parts)}.

**Model.** One Gaussian process predicts the losses of trainings that succeed, a second how many
fail, a third how many of the failures diverge. By {tried[0]["folds"]}-fold cross-validation over
the settings, beside other regressors: first the losses of successes; `low` is the quarter with the
lowest, `noise` the error there of the mean over the seeds, whose common deviation the model
learns, too. `failures` is the mean squared error of the predicted share of failures; with the same
share everywhere it would be {tried[0]["failures_constant"]}. The mean loss is what searches
minimize: a failure counts as guessing, and whether one or two trainings fail is luck (`python -m
benchmarks.table.model`):

{_table(tried)}

**Optimum.** {facts["optimum"]["loss"]:.4f} at learning rate, momentum and weight decay {optimum}.

**Random search.** Of {found["settings"]:,} settings {100 * found["diverged"]:.1f} % diverge more
often than not. Quantiles of the mean loss, a failure counting as guessing: {quantiles}.

**Limits.** The lowest learning rate is {made.settings[:, 0].min():.2g}; below it, in
{100 * below:.1f} % of the search space, the losses are those at this rate. It is a model:
which trainings fail at high learning rates depends on the least detail, and is luck here. A
Gaussian process as the truth may flatter samplers that use one. Few images and epochs make another
problem than the paper's full data."""
    return "\n".join(_filled(part) for part in text.split("\n\n"))


def _dates(parts: Sequence[Row]) -> str:
    """Return when the parts were made."""
    first, last = parts[0]["date"], parts[-1]["date"]
    return first if first == last else f"{first} to {last}"


def _filled(part: str) -> str:
    """Return a paragraph of text as one line; a heading or a table as it is."""
    return paragraph(part) if part.startswith("**") else f"{part}\n"


def _table(models: Sequence[Row]) -> str:
    rows = ([row[name] for name in COLUMNS] for row in models)
    return table(list(COLUMNS.values()), rows).rstrip()
