"""The card of a table: how it was made, its model's error, and its limits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.markdown import paragraph, table
from benchmarks.rows import Row, read_rows
from benchmarks.table.make import Recipe, read_table
from optuna_ga.fashion_mnist import SEARCH_SPACE

COLUMNS = {
    "model": "model",
    "spearman": "rank correlation",
    "error": "error",
    "spearman_low": "rank correlation, low",
    "error_low": "error, low",
    "noise_low": "noise, low",
    "diverges_right": "divergence right",
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
    training, validation = (
        "all" if n is None else f"{n:,}"
        for n in (recipe.training_images, recipe.validation_images)
    )
    devices = dict.fromkeys(f"{part['device']} ({part['processor']})" for part in made.parts)
    versions = dict.fromkeys(f"PyTorch {p['torch']}, commit {p['commit']}" for p in made.parts)
    optimum = ", ".join(f"{x:.4g}" for x in facts["optimum"]["setting"])
    found = facts["random_search"]
    quantiles = ", ".join(f"{100 * float(q):g} %: {x}" for q, x in found["quantiles"].items())
    rates = SEARCH_SPACE["learning_rate"]
    below = (made.trained[:, 0].min() - rates.low) / (rates.high - rates.low)
    tried = read_rows(models)
    command = "grow" if recipe.open_ended else "make"
    text = f"""# {path.name}

**What.** Validation loss and accuracy of the paper's CNN on FashionMNIST after each epoch, at
{_design(recipe, len(losses))} of initial weights and batches.

**How.** {training} training and {validation} validation images of the {recipe.data} data,
{recipe.epochs} epochs, {recipe.precision}, by `python -m benchmarks.table.{command}`. Of
{(~np.isnan(losses)).sum():,} trainings {np.isinf(losses).sum():,} diverged.

**Where and when.** {"; ".join(devices)}; {"; ".join(versions)}; {made.parts[0]["date"]} to
{made.parts[-1]["date"]}.

**Model.** A Gaussian process tells the mean loss over the seeds between the settings. By
{tried[0]["folds"]}-fold cross-validation over the settings, beside other regressors; `low` is
the quarter with the lowest losses, `noise` the error of the mean over the seeds there, below which
no model can fall (`python -m benchmarks.table.model`). It was chosen for being smooth, too:

{_table(tried)}

**Optimum.** {facts["optimum"]["loss"]:.4f} at learning rate, momentum and weight decay {optimum}.

**Random search.** Of {found["settings"]:,} settings {100 * found["diverged"]:.1f} % diverge.
Quantiles of the loss: {quantiles}.

**Limits.** The lowest learning rate is {made.trained[:, 0].min():.2g}: below it, in
{100 * below:.1f} % of the search space, the model tends to the mean of all losses, though so slow
a training hardly begins. It is a model: the ridge between learning and divergence is rough in the
trainings and smooth here; the error at low losses is as large as what good samplers differ by. A
loss above that of guessing, log 10, counts as guessing. A Gaussian process as the truth may
flatter samplers that use one. Few images and epochs make another problem than the
paper's full data."""
    return "\n".join(_filled(part) for part in text.split("\n\n"))


def _design(recipe: Recipe, n_trained: int) -> str:
    """Return how many settings of each part of the design there are, and with how many seeds."""
    if recipe.open_ended:
        return f"""{recipe.sobol:,} settings of a Sobol sequence over the paper's search space,
        each trained with one seed, and {recipe.cloud:,} where losses are low, with
        {recipe.seeds} seeds"""
    return f"""{min(recipe.sobol, n_trained):,} settings of a scrambled Sobol sequence over the
    paper's search space and {max(n_trained - recipe.sobol, 0):,} around the best tenth of them,
    each trained with {recipe.seeds} seeds"""


def _filled(part: str) -> str:
    """Return a paragraph of text as one line; a heading or a table as it is."""
    return paragraph(part) if part.startswith("**") else f"{part}\n"


def _table(models: Sequence[Row]) -> str:
    rows = ([row[name] for name in COLUMNS] for row in models)
    return table(list(COLUMNS.values()), rows).rstrip()
