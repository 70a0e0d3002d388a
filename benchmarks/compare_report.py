"""The report on samplers that were compared by regret, made from rows alone."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from benchmarks.markdown import paragraph, table
from benchmarks.paired import holm, mean_interval, with_interval
from benchmarks.rows import read_rows

BUDGETS = (20, 50, 100, 200)
# By sampler: the numbers of trials `(b,)`, and the regrets `(n_seeds, b)` after them.
Regrets = Mapping[str, tuple[list[int], np.ndarray]]


def read(path: Path) -> Regrets:
    """Return the regrets of a file of rows, for the seeds that all its samplers have."""
    found: dict[str, dict[int, dict[int, float]]] = {}
    for row in read_rows(path):
        seeds = found.setdefault(row["sampler"], {})
        seeds.setdefault(int(row["seed"]), {})[int(row["trials"])] = float(row["regret"])
    common = sorted(set.intersection(*(set(seeds) for seeds in found.values())))
    if len(common) < 2:
        raise ValueError("there must be at least 2 seeds that all samplers have to report on")
    return {
        name: (
            sorted(seeds[common[0]]),
            np.array([[seeds[s][n] for n in sorted(seeds[s])] for s in common]),
        )
        for name, seeds in found.items()
    }


def report(regrets: Regrets, path: Path) -> str:
    """Return the report as Markdown."""
    with path.open(newline="") as file:
        facts = next(csv.DictReader(file))
    noisy = "with noise" if facts["noise"] == "True" else "without noise"
    trials, values = next(iter(regrets.values()))
    budgets = [budget for budget in BUDGETS if budget in trials]
    parts = [
        "# Samplers on the FashionMNIST table\n",
        paragraph(
            f"""{len(values)} seeds on `{facts["table"]}`, {noisy}; Optuna {facts["optuna"]}. Made
            by `python -m benchmarks --problem fashion-mnist-table`, which with `report` at its end
            makes this page again from the rows."""
        ),
        "## Regret\n",
        paragraph(
            """Loss at the best trial so far less that of the optimum, times 1000: mean over seeds
            with its 95 % interval. The table's own error is larger than the smaller regrets, and a
            sampler that models the loss by a Gaussian process, as `gp` does, may be flattered: so
            does the table."""
        ),
        _table(budgets, {name: _cells(regrets, name, budgets) for name in regrets}),
        "## Rank\n",
        paragraph(
            f"""Mean rank among the {len(regrets)} over seeds, with its 95 % interval; 1 is
            best."""
        ),
        _table(budgets, _ranks(regrets, budgets)),
    ]
    if len(regrets) > 1:
        parts += [
            "## Wins\n",
            paragraph(
                f"""Seeds of {len(values)} in which the row has the lower regret than the column. A
                star: the two differ at the 0.05 level (Wilcoxon's signed-rank test, Holm's
                correction for all pairs of a table)."""
            ),
            *(_wins(regrets, budget) for budget in budgets),
        ]
    return "\n".join(parts)


def plot(regrets: Regrets, path: Path) -> None:
    """Draw mean regrets over trials, with their 95 % intervals."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, (trials, values) in regrets.items():
        means, lows, highs = np.array([mean_interval(column) for column in values.T.tolist()]).T
        (line,) = axes.plot(trials, means, label=name, lw=2.2 if name.startswith("ga") else 1.2)
        axes.fill_between(trials, lows.clip(1e-5), highs, color=line.get_color(), alpha=0.12)
    axes.set(xlabel="trials", ylabel="regret (validation loss)", yscale="log")
    axes.legend(ncols=2, fontsize="small")
    figure.savefig(path, dpi=110)


def _table(budgets: list[int], cells: Mapping[str, list[str]]) -> str:
    header = ["sampler", *(f"{budget} trials" for budget in budgets)]
    return table(header, ([name, *texts] for name, texts in cells.items()))


def _after(regrets: Regrets, name: str, budget: int) -> np.ndarray:
    trials, values = regrets[name]
    return np.asarray(values[:, trials.index(budget)])


def _cells(regrets: Regrets, name: str, budgets: list[int]) -> list[str]:
    return [with_interval((1000 * _after(regrets, name, b)).tolist(), 1) for b in budgets]


def _ranks(regrets: Regrets, budgets: list[int]) -> dict[str, list[str]]:
    cells: dict[str, list[str]] = {name: [] for name in regrets}
    for budget in budgets:
        ranks = stats.rankdata([_after(regrets, name, budget) for name in regrets], axis=0)
        for name, of_sampler in zip(regrets, ranks.tolist(), strict=True):
            cells[name].append(with_interval(of_sampler, 1))
    return cells


def _wins(regrets: Regrets, budget: int) -> str:
    """Return how often each sampler beats each other, with a mark where that is significant."""
    after = {name: _after(regrets, name, budget) for name in regrets}
    pairs = list(combinations(regrets, 2))
    corrected = holm([_p(after[first] - after[second]) for first, second in pairs])
    p_values = dict(zip(map(frozenset, pairs), corrected, strict=True))

    def cell(first: str, second: str) -> str:
        if first == second:
            return ""
        wins = int(np.sum(after[first] < after[second]))
        return f"{wins}{' *' if p_values[frozenset((first, second))] < 0.05 else ''}"

    lines = [[row, *(cell(row, column) for column in regrets)] for row in regrets]
    return table([f"after {budget} trials", *regrets], lines)


def _p(differences: np.ndarray) -> float:
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)
