"""The table of `benchmarks.paper.leak`, made from rows alone."""

from __future__ import annotations

import pandas as pd

from benchmarks.markdown import paragraph, table
from benchmarks.paper.runs import PAPER

WEIGHTS = ("fresh", "inherited", "shared")
SPLITS = ("once", "anew")
MEASURES = ("training_loss", "validation_loss", "held_out_loss", "held_out_accuracy")


def report(rows: pd.DataFrame) -> str:
    """Return the table as Markdown: a line for each of the rules and runs, means over seeds."""
    first = rows.iloc[0]
    header = (
        "weights", "split", "run", "individuals", "n", "training loss", "validation loss",
        "held-out loss", "held-out accuracy", "validation / training",
    )  # fmt: skip
    lines = [
        ["the paper's", "", run.name, run.n_trials, "",
         run.training_loss, run.validation_loss, "", "",
         f"{run.validation_loss / run.training_loss:.2f}"]
        for run in PAPER
    ]  # fmt: skip
    found = dict(list(rows.groupby(["weights", "split", "run"])))
    lines += [
        [*key, *_figures(found[key])]
        for weights in WEIGHTS
        for split in SPLITS
        for run in PAPER
        if (key := (weights, split, run.name)) in found
    ]
    return "\n".join(
        [
            "# Validation losses under rules that leak\n",
            paragraph(
                f"""{first["images"]} images of the {first["data"]} data, epochs for each
                individual: {first["epochs"]}. The figures are those of the individual with the
                lowest validation loss; means over n seeds of the genetic algorithm with the lowest
                and the highest. Initial weights are the same for all, and so is the split that is
                made once. Made by `python -m benchmarks.paper.leak`, which with `report` at its
                end makes this page again from the rows."""
            ),
            table(header, lines),
        ]
    )


def _figures(rows: pd.DataFrame) -> list[object]:
    ratio = (rows["validation_loss"] / rows["training_loss"]).mean()
    spans = [_span(rows[name]) for name in MEASURES]
    return [rows["individuals"].iloc[0], len(rows), *spans, f"{ratio:.2f}"]


def _span(values: pd.Series) -> str:
    mean = f"{values.mean():.3f}"
    return mean if len(values) == 1 else f"{mean} ({values.min():.3f}-{values.max():.3f})"
