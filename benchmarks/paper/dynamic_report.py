"""The report on `benchmarks.paper.dynamic`, made from rows: tables, verdicts and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.markdown import paragraph, table
from benchmarks.paired import Claim, claims_table, difference, signed, with_interval
from benchmarks.trainings import GUESSING

POPULATIONS = ("dynamic", "perturb", "truncation")  # Their hyperparameters change.
_NETWORKS = {"cnn": "The paper's CNN", "mlp": "An MLP of 784, 64 and 10 units"}
SCHEDULED = ("learning_rate", "momentum", "weight_decay")
# The columns of the table, by their titles, with the number of digits and the possible values.
MEASURES: Mapping[str, tuple[str, int, tuple[float, float]]] = {
    "validation loss": ("answer", 4, (0.0, GUESSING)),
    "of its replays": ("replayed", 4, (0.0, GUESSING)),
    "validation accuracy": ("accuracy", 4, (0.0, 1.0)),
    "test loss": ("tested_loss", 4, (0.0, GUESSING)),
    "test accuracy": ("tested", 4, (0.0, 1.0)),
    "trials": ("trials", 1, (0.0, np.inf)),
    "diverged": ("diverged", 1, (0.0, np.inf)),
    "seconds": ("seconds", 1, (0.0, np.inf)),
}


def report(rows: pd.DataFrame, name: str) -> str:
    """Return the report as Markdown; the figure beside it has this name."""
    first = rows.iloc[0]
    devices = "; ".join(sorted(set(rows["device"] + ", " + rows["processor"])))
    parts = [
        "# Hyperparameters that change while networks train\n",
        paragraph(
            f"""{_NETWORKS[first["network"]]}, {first["training_images"]} +
            {first["validation_images"]} images; {_named(rows)}
            {first["population_size"]} networks and {first["epochs"]} generations of one epoch,
            the others train each trial for {first["epochs"]} epochs with StepLR, and are asked
            for five trials at a time, or for ten where seconds are equal. {devices}; PyTorch
            {first["torch"]}. A seed is that of the sampler, of the initial weights and of the
            batches. Made by `python -m benchmarks.paper.dynamic {_options(first)}`; `report` after
            `dynamic` makes this page again from the rows."""
        ),
    ]
    for limit, words in (("epochs", "total epochs"), ("seconds", "seconds")):
        found = measured(rows, limit)
        if limit in set(rows["limit"]) and found["method"].nunique() > 1:
            parts += [f"## At equal {words}\n", _table(found), *_verdicts(found)]
    return "\n".join([*parts, f"![Losses and schedules]({name}.png)\n"])


def _named(rows: pd.DataFrame) -> str:
    """Return the populations' names with their verb."""
    found = [f"`{method}`" for method in POPULATIONS if method in set(rows["method"])]
    return f"{', '.join(found)} {'have each' if len(found) > 1 else 'has'}"


def _options(row: pd.Series) -> str:
    sizes = "population_size", "epochs", "training_images", "validation_images", "replays"
    names = "network", *sizes
    return " ".join(f"--{name.replace('_', '-')} {row[name]}" for name in names)


def measured(rows: pd.DataFrame, limit: str) -> pd.DataFrame:
    """Return the studies of a limit, to which the populations always belong.

    Added are the losses and accuracies of the answers, and the mean loss of their replays; no loss
    is higher than that of guessing.
    """
    chosen = rows[rows["method"].isin(POPULATIONS) | (rows["limit"] == limit)]
    return chosen.assign(
        answer=chosen["validation_loss"].clip(upper=GUESSING),
        replayed=[_mean_bounded(losses) for losses in chosen["replay_losses"]],
        tested_loss=chosen["test_loss"].clip(upper=GUESSING),
        tested=chosen["test_accuracy"].fillna(0.1),
    )


def _mean_bounded(losses: str) -> float:
    return float(np.mean(np.minimum([float(loss) for loss in losses.split()], GUESSING)))


def _table(found: pd.DataFrame) -> str:
    lines = [
        [method, len(studies)]
        + [
            with_interval(studies[name].tolist(), digits, possible)
            for name, digits, possible in MEASURES.values()
        ]
        for method, studies in found.groupby("method", sort=False)
    ]
    return table(["method", "n", *MEASURES], lines)


def _verdicts(found: pd.DataFrame) -> list[str]:
    methods = found["method"].unique()
    claims = [
        claim
        for ours in methods
        for theirs in methods
        if ours in POPULATIONS
        and theirs not in POPULATIONS[POPULATIONS.index(ours) :]  # Each pair once.
        for claim in _claims(found, ours, theirs)
    ]
    if not claims:
        return []
    luck = [
        f"`{method}` {_luck(studies)}"
        for method, studies in found.groupby("method", sort=False)
        if len(studies) > 1
    ]
    return [
        paragraph(
            """Means over seeds with 95 % intervals. A replay follows the answer's schedule from
            scratch with another seed for initial weights and batches; the mean of an answer's
            replays counts. No loss counts as higher than that of guessing."""
        ),
        claims_table(claims, within_claims=False),
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


def _claims(found: pd.DataFrame, population: str, method: str) -> list[Claim]:
    """Return the claims that a population beats a method; none with one shared seed or none."""
    ours, theirs = (
        found[found["method"] == name].set_index("seed") for name in (population, method)
    )
    seeds = sorted(ours.index.intersection(theirs.index))
    if len(seeds) < 2:
        return []
    compared = {
        "validation loss": [each["answer"] for each in (ours, theirs)],
        "validation loss of the replays": [each["replayed"] for each in (ours, theirs)],
        "test error": [1 - each["tested"] for each in (ours, theirs)],
    }
    return [
        Claim(
            f"`{population}` beats `{method}`",
            words,
            difference(*(v[seeds].tolist() for v in pair)),
        )
        for words, pair in compared.items()
    ]


def _luck(studies: pd.DataFrame) -> str:
    return signed(difference(studies["replayed"].tolist(), studies["answer"].tolist()))


def plot(rows: pd.DataFrame, path: Path) -> None:
    """Draw the losses of each method, and the populations' schedules beside TPE's StepLR."""
    figure = Figure(figsize=(14, 3.6), layout="constrained")
    losses, *panels = figure.subplots(1, 1 + len(SCHEDULED))
    others = rows[~rows["method"].isin(POPULATIONS)]
    found = measured(rows, "epochs" if "epochs" in set(others["limit"]) else "seconds")
    _plot_losses(losses, found)
    for axes, name in zip(panels, SCHEDULED, strict=True):
        _plot_schedules(axes, found, name)
    figure.savefig(path, dpi=110)


def _plot_losses(axes: Axes, found: pd.DataFrame) -> None:
    methods = found["method"].unique()
    for position, method in enumerate(methods):
        studies = found[found["method"] == method]
        for shift, measure, colour in ((-0.15, "answer", "C0"), (0.15, "replayed", "C1")):
            values = studies[measure].tolist()
            axes.plot([position + shift] * len(values), values, ".", c=colour, alpha=0.5)
            axes.plot(position + shift, np.mean(values), "_", c=colour, ms=22, mew=2)
    axes.plot([], [], "_", c="C0", mew=2, label="answer")
    axes.plot([], [], "_", c="C1", mew=2, label="its replays")
    axes.set_xticks(range(len(methods)), list(methods), rotation=30, ha="right")
    axes.set_xlim(-0.5, len(methods) - 0.5)
    axes.set(ylabel="validation loss", title="answers of all seeds, and means")
    axes.legend()


def _plot_schedules(axes: Axes, found: pd.DataFrame, name: str) -> None:
    colours = {"tpe": "0.6"} | {name: f"C{n}" for n, name in enumerate(POPULATIONS)}
    for method, colour in colours.items():
        studies = found[(found["method"] == method) & np.isfinite(found["validation_loss"])]
        curves = [_schedule(values) for values in studies[name]]
        if not curves:
            continue
        epochs = range(1, len(curves[0]) + 1)
        words = method if method in POPULATIONS else f"{method} with StepLR"
        for curve in curves:
            axes.step(epochs, curve, where="mid", c=colour, lw=0.7, alpha=0.5)
        axes.step(epochs, np.median(curves, axis=0), where="mid", c=colour, lw=2.5, label=words)
    axes.set(xlabel="epoch", title=name.replace("_", " "))
    if name != "momentum":
        axes.set_yscale("log")
    if axes.get_lines():
        axes.legend(fontsize="small")


def _schedule(values: str) -> Sequence[float]:
    return [float(value) for value in values.split()]
