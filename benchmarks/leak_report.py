"""The table of `benchmarks.leak`, made from rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.reproduce import PaperRun

Row = Mapping[str, str]


def report(runs: Sequence[PaperRun], rows: Sequence[Row]) -> str:
    """Return the table as Markdown: a line for each of the rules and runs, means over seeds."""
    first = rows[0]
    lines = [
        "# Validation losses under rules that leak",
        "",
        f"{first['images']} images of the {first['data']} data, {first['epochs']} epoch(s) for",
        "each individual. Means over n seeds with the lowest and the highest, of the individual",
        "whose validation loss is the lowest. Made by `python -m benchmarks.leak`, which with",
        "`report` at its end makes this page again from the rows.",
        "",
        "| weights | split | run | individuals | n | training loss | validation loss "
        "| held-out loss | held-out accuracy | validation / training |",
        "|" + "---|" * 10,
    ]
    for run in runs:
        ratio = run.validation_loss / run.training_loss
        n = run.population_size * run.n_generations
        lines.append(
            f"| the paper's | | {run.name} | {n} | | {run.training_loss} | {run.validation_loss} "
            f"| | | {ratio:.2f} |"
        )
    rules = dict.fromkeys((row["weights"], row["split"]) for row in sorted(rows, key=_order))
    for weights, split in rules:
        for run in runs:
            chosen = [
                row
                for row in rows
                if (row["weights"], row["split"], row["run"]) == (weights, split, run.name)
            ]
            if chosen:
                lines.append(f"| {weights} | {split} | {run.name} | {_figures(chosen)} |")
    return "\n".join([*lines, ""])


def _order(row: Row) -> tuple[int, bool]:
    return ["fresh", "inherited", "shared"].index(row["weights"]), row["split"] == "anew"


def _figures(rows: Sequence[Row]) -> str:
    ratios = [float(row["validation_loss"]) / float(row["training_loss"]) for row in rows]
    names = ("training_loss", "validation_loss", "held_out_loss", "held_out_accuracy")
    spans = [_span([float(row[name]) for row in rows]) for name in names]
    mean_ratio = f"{np.mean(ratios):.2f}"
    return " | ".join([rows[0]["individuals"], str(len(rows)), *spans, mean_ratio])


def _span(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"
