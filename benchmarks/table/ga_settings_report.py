"""The report on the genetic algorithm's settings, made from rows alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.markdown import paragraph, table
from benchmarks.paired import (
    Claim,
    Difference,
    claims_table,
    difference,
    holm,
    signed,
    with_interval,
)
from benchmarks.paper.runs import COMPARED, PAPER, PaperRun

Row = Mapping[str, str]
Regrets = dict[int, float]  # By seed.
SETTINGS = ("population_size", "parent_fraction", "mutation_prob", "elitism")
DEFAULTS = {
    "population_size": 20,
    "parent_fraction": 0.5,
    "mutation_prob": 0.2,
    "elitism": "False",
}
# Cells that have no counterpart at another value of a setting.
UNMATCHED = {
    "population_size": ("parent_fraction", 0.4),
    "parent_fraction": ("population_size", 5),
}
BUDGETS = (50, 100, 200)


def report(rows: Sequence[Row]) -> str:
    """Return the report as Markdown, on the seeds that have every cell."""
    counts = Counter(row["seed"] for row in rows)
    rows = [row for row in rows if counts[row["seed"]] == max(counts.values())]
    n_seeds = len({row["seed"] for row in rows})
    if n_seeds < 2:
        raise ValueError("there must be at least 2 seeds with every combination to report on")
    return "\n".join(
        [
            "# What the settings of the genetic algorithm do\n",
            paragraph(
                f"""{n_seeds} seeds for each combination on `{rows[0]["table"]}`. Regrets are
                losses less that of the optimum, times 1000, with 95 % intervals over seeds. Made
                by `python -m benchmarks.table.ga_settings`, which with `report` at its end makes
                this page again from the rows."""
            ),
            "## Each setting, averaged over the values of the others\n",
            paragraph(
                """The difference is to the default, paired by seed, after 200 trials; but for the
                population, which the paper does not state, the default is the paper's. A star: the
                difference is significant at the 0.05 level after Holm's correction for all lines.
                Populations are averaged over the shares 0.5 and 0.8, shares over populations of 10
                to 40, since of five 0.4 are as many parents as 0.5."""
            ),
            _main_effects(rows),
            "## The paper's five runs on the table\n",
            paragraph(
                """Half of the population as parents, no elitism; random search and TPE with as
                many trials and the same seeds. The baseline's population and generations and the
                mutation rates of 0.1 are assumptions: the paper does not state them. TPE's first
                ten trials are random search."""
            ),
            _paper_runs(rows),
            "## The paper's claims on the table\n",
            paragraph(
                """Differences are paired by seed; a negative one is in favour of the claim. A
                claim is shown if it is significant at the 0.05 level after Holm's correction for
                all lines. With the same seed run 4 begins with run 3, so that it cannot be
                worse."""
            ),
            _claims(rows),
        ]
    )


def _main_effects(rows: Sequence[Row]) -> str:
    lines: list[tuple[list[str], Difference | None]] = []
    for setting in SETTINGS:
        levels = list(dict.fromkeys(sorted(_level(row, setting) for row in _ga(rows))))
        by_level = {level: _averages(rows, setting, level, 200) for level in levels}
        default = DEFAULTS[setting]
        for level in levels:
            name = f"{level} (default)" if level == default else str(level)
            cells = [_cell(_averages(rows, setting, level, budget)) for budget in BUDGETS]
            found = None if level == default else _difference(by_level[level], by_level[default])
            lines.append(([setting, name, *cells], found))
    corrected = iter(holm([found.p for _, found in lines if found is not None]))
    starred = [
        [*cells, "" if found is None else signed(found, 1000) + " *" * (next(corrected) < 0.05)]
        for cells, found in lines
    ]
    return table(["setting", "value", *(f"{b} trials" for b in BUDGETS), "difference"], starred)


def _paper_runs(rows: Sequence[Row]) -> str:
    lines = [
        (run.name, f"{run.population_size} x {run.n_generations}", run.mutation_prob,
         _cell(_paper(rows, run)), _cell(_other(rows, "random", run.n_trials)),
         _cell(_other(rows, "tpe", run.n_trials)))
        for run in PAPER
    ]  # fmt: skip
    return table(["run", "population x generations", "mutation", "ga", "random", "tpe"], lines)


def _claims(rows: Sequence[Row]) -> str:
    runs = {run.name: _paper(rows, run) for run in PAPER}
    claims = [
        Claim(
            claim,
            f"{first} against {second}{caution}",
            _difference(runs[first], runs[second]),
        )
        for claim, first, second, caution in COMPARED
    ]
    for run in PAPER:
        for other in run.baselines:
            found = _difference(runs[run.name], _other(rows, other, run.n_trials))
            claims.append(Claim(f"the GA beats {other}", f"{run.name} against {other}", found))
    return claims_table(claims, scale=1000)


def _ga(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["sampler"] == "ga"]


def _level(row: Row, setting: str) -> Any:
    if setting == "elitism":
        return row[setting]
    return int(row[setting]) if setting == "population_size" else float(row[setting])


def _averages(rows: Sequence[Row], setting: str, level: object, budget: int) -> Regrets:
    """Return for each seed the mean regret over the cells with this setting.

    The cells without a counterpart at another value of the setting are left out.
    """
    name, value = UNMATCHED.get(setting, ("sampler", None))
    by_seed: dict[int, list[float]] = {}
    for row in _ga(rows):
        if _level(row, setting) == level and (value is None or _level(row, name) != value):
            by_seed.setdefault(int(row["seed"]), []).append(float(row[f"regret_{budget}"]))
    return {seed: float(np.mean(regrets)) for seed, regrets in by_seed.items()}


def _paper(rows: Sequence[Row], run: PaperRun) -> Regrets:
    """Return the regrets of one of the paper's runs."""
    settings = {
        **DEFAULTS,
        "population_size": run.population_size,
        "mutation_prob": run.mutation_prob,
    }
    return {
        int(row["seed"]): float(row[f"regret_{run.n_trials}"])
        for row in _ga(rows)
        if all(_level(row, setting) == value for setting, value in settings.items())
    }


def _other(rows: Sequence[Row], sampler: str, budget: int) -> Regrets:
    return {
        int(row["seed"]): float(row[f"regret_{budget}"])
        for row in rows
        if row["sampler"] == sampler
    }


def _difference(first: Regrets, second: Regrets) -> Difference:
    seeds = sorted(set(first) & set(second))
    return difference([first[seed] for seed in seeds], [second[seed] for seed in seeds])


def _cell(regrets: Regrets) -> str:
    return with_interval([1000 * regret for regret in regrets.values()], 1)
