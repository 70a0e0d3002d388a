"""The table of `benchmarks.paper.leak`, made from rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.markdown import paragraph, table
from benchmarks.paper.runs import PaperRun

Row = Mapping[str, str]


def report(runs: Sequence[PaperRun], rows: Sequence[Row]) -> str:
    """Return the table as Markdown: a line for each of the rules and runs, means over seeds."""
    first = rows[0]
    header = (
        "weights", "split", "run", "individuals", "n", "training loss", "validation loss",
        "held-out loss", "held-out accuracy", "validation / training",
    )  # fmt: skip
    lines = [
        ["the paper's", "", run.name, run.n_trials, "",
         run.training_loss, run.validation_loss, "", "",
         f"{run.validation_loss / run.training_loss:.2f}"]
        for run in runs
    ]  # fmt: skip
    rules = dict.fromkeys((row["weights"], row["split"]) for row in sorted(rows, key=_order))
    for rule in rules:
        for run in runs:
            chosen = [r for r in rows if (r["weights"], r["split"], r["run"]) == (*rule, run.name)]
            if chosen:
                lines.append([*rule, run.name, *_figures(chosen)])
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


def _order(row: Row) -> tuple[int, bool]:
    return ["fresh", "inherited", "shared"].index(row["weights"]), row["split"] == "anew"


def _figures(rows: Sequence[Row]) -> list[object]:
    ratios = [float(row["validation_loss"]) / float(row["training_loss"]) for row in rows]
    names = ("training_loss", "validation_loss", "held_out_loss", "held_out_accuracy")
    spans = [_span([float(row[name]) for row in rows]) for name in names]
    mean_ratio = f"{np.mean(ratios):.2f}"
    return [rows[0]["individuals"], len(rows), *spans, mean_ratio]


def _span(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"
