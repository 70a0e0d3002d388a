"""The ranks of the adaptive samplers on all suites, on one page, from rows alone.

`python -m benchmarks.suites.overview` writes `suites.md`, `suites.png` and README's figure,
`convergence.png`, beside the rows of the held-out tasks. README has a copy of the first table.
Ranks are those of the suites' own reports.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.markdown import paragraph, table
from benchmarks.options import Options
from benchmarks.rows import RESULTS, read_frame, replacing
from benchmarks.suites import SUITES
from benchmarks.suites.in_brief import N_TRIALS, Suites, figure_in_brief, table_in_brief
from benchmarks.suites.plot import Curves, ranks, set_trial_ticks
from benchmarks.suites.ranks import MeanRank, mean_ranks, nearly_complete, scores_after, signs
from benchmarks.suites.report import BUDGETS

OURS = "adaptive", "adaptive-model-free"
N_COLUMNS = 4  # Of panels.
SHOWN = (*OURS, "gp", "tpe", "cmaes", "nsga2-sbx", "random")  # The others are grey.


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page and the figure; see `--help`."""
    parser = Options("python -m benchmarks.suites.overview", __doc__)
    parser.add("--results", "folder of the rows", RESULTS, type=Path)
    folder: Path = parser.parse_args(arguments).results
    suites = parser.checked(read_suites, folder)
    if not suites:
        parser.error(f"argument --results: there are no rows in {folder.name!r}")
    text = overview(suites)
    with replacing(folder / "suites.md") as file:
        file.write(text)
    draw(suites, _workers(suites)).savefig(folder / "suites.png", dpi=100)
    figure_in_brief(suites).savefig(folder / "convergence.png", dpi=120)
    print(text)


def read_suites(folder: Path) -> Suites:
    """Return the rows of every suite that has a file in a folder."""
    paths = {name: folder / f"suite_{name.replace('-', '_')}.csv" for name in SUITES}
    return {name: read_frame(path) for name, path in paths.items() if path.exists()}


def overview(suites: Suites) -> str:
    """Return the page as Markdown."""
    parts = ["# The adaptive samplers on all suites\n", _explanation()]
    parts += ["![Mean ranks over trials](suites.png)\n"]
    for n_workers in _workers(suites):
        title = f"## After {N_TRIALS} trials, with {_counted(n_workers)}\n"
        parts += [title, table_in_brief(suites, n_workers)]
    for n_workers in _workers(suites):
        parts += [f"## With {_counted(n_workers)}\n"]
        for ours in OURS:
            lines = [
                line
                for name, rows in suites.items()
                for line in _lines(name, rows, n_workers, ours)
            ]
            header = ["suite", "trials", "tasks / pairs", "place", "mean rank", "best other"]
            parts += [f"### `{ours}`\n", table([*header, "against `gp`"], lines)]
    return "\n".join(parts)


def _counted(n_workers: int) -> str:
    return f"{n_workers} worker{'s' * (n_workers > 1)}"


def _explanation() -> str:
    return paragraph(
        """Tasks on which nothing was tuned. The place of a sampler by its mean rank among those
        that have at least 90 % as many pairs of a task and a seed as any has, its mean rank with
        the 95 % interval over seeds, and the best of the others, ours left out. `gp` takes long:
        it stops after 100 trials, and has fewer seeds on some suites; against it wins / ties /
        losses on the pairs that both have. The suites' own reports have all samplers. Made by
        `python -m benchmarks.suites.overview` from rows."""
    )


def _workers(suites: Suites) -> list[int]:
    return sorted({int(n) for rows in suites.values() for n in rows["workers"].unique()})


def _lines(suite: str, rows: pd.DataFrame, n_workers: int, ours: str) -> list[list[str]]:
    """Return a line for each budget of one suite."""
    lines = []
    for budget in BUDGETS:
        scores = scores_after(rows, n_workers, budget)
        field = nearly_complete(scores)
        if field is None or ours not in field:
            continue
        found = mean_ranks(field)
        place = 1 + sum(other.mean < found[ours].mean for other in found.values())
        best = min((name for name in found if name not in OURS), key=lambda name: found[name].mean)
        against = "/".join(map(str, signs(scores, ours, "gp"))) if "gp" in scores else "-"
        lines.append(
            [
                suite,
                str(budget),
                f"{field.index.get_level_values('task').nunique()} / {len(field)}",
                f"{place} of {len(found)}",
                _rank(found[ours]),
                f"{best} {_rank(found[best])}",
                against,
            ]
        )
    return lines


def _rank(rank: MeanRank) -> str:
    if math.isnan(rank.low):  # A single seed has no interval.
        return f"{rank.mean:.2f}"
    return f"{rank.mean:.2f} ({rank.low:.2f}-{rank.high:.2f})"


def draw(suites: Suites, workers: Sequence[int]) -> Figure:
    """Return mean ranks over trials: a panel for each suite and each number of workers."""
    shown = [
        (f"{name}, {_counted(n_workers)}", curves)
        for name, rows in suites.items()
        for n_workers in workers
        if (curves := ranks(rows, n_workers))
    ]
    n_rows = math.ceil(len(shown) / N_COLUMNS)
    figure = Figure(figsize=(1 + 2.6 * N_COLUMNS, 0.6 + 2.6 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, N_COLUMNS, squeeze=False)
    for axes, (title, curves) in zip(panels.flat, shown, strict=False):
        _panel(axes, curves)
        axes.set_title(title, fontsize="small")
    for axes in panels.flat[len(shown) :]:
        axes.remove()
    figure.supxlabel("trials", fontsize="medium")
    figure.supylabel("mean rank (1 is best)", fontsize="medium")
    handles = {h.get_label(): h for axes in panels.flat for h in axes.get_lines()}
    order = [name for name in (*SHOWN, "others") if name in handles]
    figure.legend(
        handles=[handles[name] for name in order],
        loc="outside upper center",
        ncols=4,
    )
    return figure


def _panel(axes: Axes, curves: Curves) -> None:
    for name, curve in curves.items():
        style: dict[str, Any] = {"c": "0.8", "lw": 0.8, "label": "others", "zorder": 1}
        if name in SHOWN:
            style = {"c": f"C{SHOWN.index(name)}", "lw": 1.2 + (name in OURS), "label": name}
        axes.plot(list(curve), list(curve.values()), **style)
    set_trial_ticks(axes, curves)


if __name__ == "__main__":
    main()
