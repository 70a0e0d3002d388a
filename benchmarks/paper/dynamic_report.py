"""The report on `benchmarks.paper.dynamic`, from rows alone: tables, verdicts and a figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.markdown import paragraph, table
from benchmarks.paired import Claim, claims_table, difference, signed, with_interval
from benchmarks.rows import Row
from benchmarks.trainings import GUESSING, accuracy_or_guessing

Rows = Sequence[Row]
Measure = Callable[[Row], float]

SCHEDULED = ("learning_rate", "momentum", "weight_decay")


def report(rows: Rows, name: str) -> str:
    """Return the report as Markdown; the figure beside it has this name."""
    first = rows[0]
    devices = "; ".join(sorted({f"{row['device']}, {row['processor']}" for row in rows}))
    parts = [
        "# Hyperparameters that change while networks train\n",
        paragraph(
            f"""{first["training_images"]} + {first["validation_images"]} images; `dynamic` has
            {first["population_size"]} networks and {first["epochs"]} generations of one epoch,
            the others train each trial for {first["epochs"]} epochs with StepLR, and are asked
            for five trials at a time, or for ten where seconds are equal. {devices}; PyTorch
            {first["torch"]}. A seed is that of the sampler, of the initial weights and of the
            batches. Made by `python -m benchmarks.paper.dynamic {_options(first)}`; `report` after
            `dynamic` makes this page again from the rows."""
        ),
    ]
    for limit, words in (("epochs", "total epochs"), ("seconds", "seconds")):
        found = by_method(rows, limit)
        if len(found) > 1:
            parts += [f"## At equal {words}\n", _table(found), *_verdicts(found)]
    return "\n".join([*parts, f"![Losses and schedules]({name}.png)\n"])


def _options(row: Row) -> str:
    names = "population_size", "epochs", "training_images", "validation_images", "replays"
    return " ".join(f"--{name.replace('_', '-')} {row[name]}" for name in names)


def by_method(rows: Rows, limit: str) -> dict[str, dict[int, Row]]:
    """Return the studies by method and seed; those of `dynamic` belong to every limit."""
    found: dict[str, dict[int, Row]] = {}
    for row in rows:
        if row["method"] == "dynamic" or row["limit"] == limit:
            found.setdefault(row["method"], {})[int(row["seed"])] = row
    return found


def _table(found: Mapping[str, Mapping[int, Row]]) -> str:
    measures: Sequence[tuple[str, Measure, int]] = (
        ("validation loss", answer, 4),
        ("of its replays", replayed, 4),
        ("validation accuracy", lambda row: float(row["accuracy"]), 4),
        ("test loss", lambda row: _bounded(row["test_loss"]), 4),
        ("test accuracy", tested, 4),
        ("trials", lambda row: float(row["trials"]), 1),
        ("diverged", lambda row: float(row["diverged"]), 1),
        ("seconds", lambda row: float(row["seconds"]), 1),
    )
    lines = [
        [method, len(studies)]
        + [
            with_interval([measure(row) for row in studies.values()], digits)
            for _, measure, digits in measures
        ]
        for method, studies in found.items()
    ]
    return table(["method", "n", *(name for name, *_ in measures)], lines)


def _verdicts(found: Mapping[str, Mapping[int, Row]]) -> list[str]:
    claims = []
    for method in found:
        if method == "dynamic":
            continue
        seeds = sorted(found["dynamic"].keys() & found[method].keys())
        if len(seeds) < 2:
            continue
        for words, measure in (
            ("validation loss", answer),
            ("validation loss of the replays", replayed),
            ("test error", lambda row: 1 - tested(row)),
        ):
            ours, theirs = ([measure(found[m][s]) for s in seeds] for m in ("dynamic", method))
            compared = difference(ours, theirs)
            claims.append(Claim(f"`dynamic` beats `{method}`", words, compared))
    if not claims:
        return []
    luck = [
        f"`{method}` {_luck(list(studies.values()))}"
        for method, studies in found.items()
        if len(studies) > 1
    ]
    return [
        paragraph(
            """Means over seeds with 95 % intervals. A replay follows the answer's schedule from
            scratch with another seed for initial weights and batches; the mean of an answer's
            replays counts. No loss counts as higher than that of guessing."""
        ),
        claims_table(claims),
        paragraph(
            """Differences are paired by seed; a negative one is in favour of the claim. A claim
            is shown if it is significant at the 0.05 level after Holm's correction for all lines
            of the table."""
        ),
        paragraph(
            f"""How much worse the replays are than the answer, which is what its choice
            flatters it by: {"; ".join(luck)}."""
        ),
    ]


def _luck(studies: Rows) -> str:
    return signed(difference([replayed(r) for r in studies], [answer(r) for r in studies]))


def answer(row: Row) -> float:
    """Return the validation loss of a study's answer; what diverged guesses."""
    return _bounded(row["validation_loss"])


def replayed(row: Row) -> float:
    """Return the mean validation loss of an answer's replays."""
    return float(np.mean([_bounded(loss) for loss in row["replay_losses"].split()]))


def tested(row: Row) -> float:
    """Return the test accuracy of a study's answer; what diverged guesses."""
    return accuracy_or_guessing(row["test_accuracy"])


def _bounded(loss: str) -> float:
    return min(float(loss), GUESSING)


def plot(rows: Rows, path: Path) -> None:
    """Draw the losses of each method, and the schedules of `dynamic` beside StepLR."""
    figure = Figure(figsize=(14, 3.6), layout="constrained")
    losses, *panels = figure.subplots(1, 1 + len(SCHEDULED))
    limit = "epochs" if any(r["limit"] == "epochs" != r["method"] for r in rows) else "seconds"
    found = by_method(rows, limit)
    _plot_losses(losses, found)
    for axes, name in zip(panels, SCHEDULED, strict=True):
        _plot_schedules(axes, found, name)
    figure.savefig(path, dpi=110)


def _plot_losses(axes: Axes, found: Mapping[str, Mapping[int, Row]]) -> None:
    for position, studies in enumerate(found.values()):
        for shift, measure, colour in ((-0.15, answer, "C0"), (0.15, replayed, "C1")):
            values = [measure(row) for row in studies.values()]
            axes.plot([position + shift] * len(values), values, ".", c=colour, alpha=0.5)
            axes.plot(position + shift, np.mean(values), "_", c=colour, ms=22, mew=2)
    axes.plot([], [], "_", c="C0", mew=2, label="answer")
    axes.plot([], [], "_", c="C1", mew=2, label="its replays")
    axes.set_xticks(range(len(found)), list(found))
    axes.set_xlim(-0.5, len(found) - 0.5)
    axes.set(ylabel="validation loss", title="answers of all seeds, and means")
    axes.legend()


def _plot_schedules(axes: Axes, found: Mapping[str, Mapping[int, Row]], name: str) -> None:
    for method in ("tpe", "dynamic"):
        curves = [
            [float(value) for value in row[name].split()]
            for row in found.get(method, {}).values()
            if math.isfinite(float(row["validation_loss"]))
        ]
        if not curves:
            continue
        epochs = range(1, len(curves[0]) + 1)
        colour = "C0" if method == "dynamic" else "0.6"
        words = "dynamic" if method == "dynamic" else f"{method} with StepLR"
        for curve in curves:
            axes.step(epochs, curve, where="mid", c=colour, lw=0.7, alpha=0.5)
        axes.step(epochs, np.median(curves, axis=0), where="mid", c=colour, lw=2.5, label=words)
    axes.set(xlabel="epoch", title=name.replace("_", " "))
    if name != "momentum":
        axes.set_yscale("log")
    if axes.get_lines():
        axes.legend(fontsize="small")
