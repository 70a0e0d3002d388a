"""README's table and figure: the mean ranks of few samplers on all suites, from rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.markdown import table
from benchmarks.suites.plot import Curves, set_trial_ticks
from benchmarks.suites.ranks import mean_ranks, nearly_complete, scores_after
from benchmarks.suites.study import CHECKPOINTS

Suites = Mapping[str, pd.DataFrame]  # Rows by name.

TITLES = {
    "adaptive": "`GASampler.adaptive()`",
    "ga": "`GASampler()`",
    "gp": "GP",
    "tpe": "TPE",
    "cmaes": "CMA-ES",
    "nsga2": "NSGA-II",
    "random": "Random",
}
N_TRIALS = 100  # Of the table.
MAX_TRIALS = 200  # Of the figure.
# The samplers of the figure's two panels; `gp` stops after 100 trials.
ONE_OBJECTIVE = ("adaptive", "ga", "tpe", "cmaes", "nsga2", "random")
SEVERAL_OBJECTIVES = ("adaptive", "ga", "tpe", "nsga2", "random")


def table_in_brief(suites: Suites, n_workers: int) -> str:
    """Return a table of mean ranks, a line for each suite; the lowest are bold."""
    lines = []
    for name, rows in suites.items():
        field = nearly_complete(scores_after(rows, n_workers, N_TRIALS))
        if field is None:
            continue
        means = {sampler: f"{rank.mean:.2f}" for sampler, rank in mean_ranks(field).items()}
        shown = [means.get(sampler, "-") for sampler in TITLES]
        lowest = min((rank for rank in shown if rank != "-"), key=float)
        cells = [f"**{rank}**" if rank == lowest else rank for rank in shown]
        n_seeds = field.groupby(level="task").size()
        n_tasks, least, most = len(n_seeds), int(n_seeds.min()), int(n_seeds.max())
        seeds = f"{least} to {most}" if least < most else str(most)
        tasks = f"{n_tasks} task{'s' * (n_tasks > 1)}, {seeds} seed{'s' * (most > 1)}"
        lines.append([f"`{name}`, {tasks}", *cells])
    return table(["", *TITLES.values()], lines)


def figure_in_brief(suites: Suites) -> Figure:
    """Return the mean ranks over trials with one worker, averaged over suites.

    One panel is for one objective, the other for several. The ranks are those among the samplers
    of the panel, on the suites that all of these have run.
    """
    figure = Figure(figsize=(9.0, 3.9), layout="constrained")
    panels = figure.subplots(1, 2)
    fields = {"one objective": ONE_OBJECTIVE, "several objectives": SEVERAL_OBJECTIVES}
    for axes, (title, samplers) in zip(panels, fields.items(), strict=True):
        several = samplers == SEVERAL_OBJECTIVES
        of_panel = {
            name: rows
            for name, rows in suites.items()
            if ("score" in rows) == several and {*samplers} <= {*rows["sampler"]}
        }
        _panel(axes, averaged_ranks(of_panel, samplers))
        axes.set_title(f"{title}, {len(of_panel)} suites", fontsize="medium")
    panels[0].set_ylabel("mean rank (1 is best)")
    figure.legend(handles=panels[0].get_lines(), loc="outside upper center", ncols=6)
    return figure


def averaged_ranks(suites: Suites, samplers: Sequence[str]) -> Curves:
    """Return each sampler's mean rank among some samplers, averaged over suites, over trials."""
    curves: dict[str, dict[int, float]] = {sampler: {} for sampler in samplers}
    for n in [n for n in CHECKPOINTS if n <= MAX_TRIALS]:
        fields = [scores_after(rows, 1, n)[[*samplers]].dropna() for rows in suites.values()]
        means = [mean_ranks(field) for field in fields]
        for sampler in samplers if means else ():
            curves[sampler][n] = float(np.mean([mean[sampler].mean for mean in means]))
    return curves


def _panel(axes: Axes, curves: Curves) -> None:
    for sampler, curve in curves.items():
        color = f"C{list(TITLES).index(sampler)}"
        width = 2.5 if sampler == "adaptive" else 1.2
        label = TITLES[sampler].strip("`")
        axes.plot(list(curve), list(curve.values()), c=color, lw=width, label=label)
    axes.set_xlabel("trials")
    set_trial_ticks(axes, curves)
