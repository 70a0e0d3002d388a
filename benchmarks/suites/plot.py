"""The figure of a suite: targets reached where the optimum is known, else ranks, over trials."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from benchmarks.suites.ranks import mean_ranks, nearly_complete, scores_after
from benchmarks.suites.study import CHECKPOINTS

TARGETS = np.logspace(2, -8, 51)  # Regrets, as in COCO.
TICKS = (5, 10, 25, 50, 100, 200, 400)

Curves = Mapping[str, Mapping[int, float]]  # By sampler and number of trials.


def plot(rows: pd.DataFrame, path: Path) -> None:
    """Draw a panel for each number of workers."""
    workers = sorted(rows["workers"].unique().tolist())
    samplers = list(rows["sampler"].unique())
    known = bool(rows["optimum"].notna().any())
    figure = Figure(figsize=(1 + 5 * len(workers), 4.4), layout="constrained")
    panels = figure.subplots(1, len(workers), sharey=True, squeeze=False)[0]
    for axes, n_workers in zip(panels, workers, strict=True):
        curves = reached(rows, n_workers) if known else ranks(rows, n_workers)
        for name, curve in curves.items():
            _line(axes, name, curve, samplers.index(name))
        axes.set(title=f"{n_workers} worker{'s' * (n_workers > 1)}", xlabel="trials")
        set_trial_ticks(axes, curves)
    panels[0].set_ylabel("share of targets reached" if known else "mean rank (1 is best)")
    handles = {h.get_label(): h for axes in panels for h in axes.get_lines()}
    figure.legend(handles=list(handles.values()), loc="outside right center", fontsize="small")
    figure.savefig(path, dpi=110)


def reached(rows: pd.DataFrame, n_workers: int) -> Curves:
    """Return the share of pairs and targets that each sampler has reached, on its own pairs."""
    optimum = rows["optimum"].iloc[0]
    curves: dict[str, dict[int, float]] = {}
    for n in CHECKPOINTS:
        for name, scores in scores_after(rows, n_workers, n).items():
            regrets = scores.dropna().to_numpy() - optimum
            curves.setdefault(str(name), {})[n] = float(np.mean(regrets[:, None] <= TARGETS))
    return curves


def ranks(rows: pd.DataFrame, n_workers: int) -> Curves:
    """Return the mean ranks of the samplers that have nearly all pairs."""
    curves: dict[str, dict[int, float]] = {}
    for n in CHECKPOINTS:
        scores = nearly_complete(scores_after(rows, n_workers, n))
        for name, rank in mean_ranks(scores).items() if scores is not None else ():
            curves.setdefault(name, {})[n] = rank.mean
    return curves


def set_trial_ticks(axes: Axes, curves: Curves) -> None:
    """Make the axis of trials logarithmic, with ticks at usual budgets."""
    last = max((n for curve in curves.values() for n in curve), default=0)
    axes.set_xscale("log")
    axes.set_xticks([n for n in TICKS if n <= last], minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(ScalarFormatter())


def _line(axes: Axes, name: str, curve: Mapping[int, float], index: int) -> None:
    ours = name.startswith(("adaptive", "ga"))
    style = "-" if index < 10 else "--"  # There are ten colors.
    axes.plot(
        list(curve), list(curve.values()), style, c=f"C{index % 10}", lw=2.2 if ours else 1.2,
        label=name,
    )  # fmt: skip
