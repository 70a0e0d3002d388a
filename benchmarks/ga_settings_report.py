"""The report on the genetic algorithm's settings, made from rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.paired import Difference, difference, holm, mean_interval, verdict

Row = Mapping[str, str]
Regrets = dict[int, float]  # By seed.
SETTINGS = ("population_size", "parent_fraction", "mutation_prob", "elitism")
DEFAULTS = {
    "population_size": 20,
    "parent_fraction": 0.5,
    "mutation_prob": 0.2,
    "elitism": "False",
}
BUDGETS = (50, 100, 200)
# Name, population size, mutation probability, trials.
PAPER = (
    ("baseline", 20, 0.1, 200), ("run 1", 10, 0.1, 30), ("run 2", 5, 0.1, 10),
    ("run 3", 5, 0.2, 10), ("run 4", 5, 0.2, 25),
)  # fmt: skip


def report(rows: Sequence[Row]) -> str:
    """Return the report as Markdown."""
    n_seeds = len({row["seed"] for row in rows})
    return "\n".join(
        [
            "# What the settings of the genetic algorithm do",
            "",
            f"{n_seeds} seeds for each combination on `fashion-mnist-table`. Regrets are losses",
            "less that of the optimum, times 1000, with 95 % intervals over seeds. Made by",
            "`python -m benchmarks.ga_settings`, which with `report` at its end makes this page",
            "again from the rows.",
            "",
            "## Each setting, averaged over all values of the others",
            "",
            "The difference is to the paper's value, paired by seed, after 200 trials. A star: it",
            "is significant at the 5 % level after Holm's correction for all lines.",
            "",
            *_main_effects(rows),
            "",
            "## The paper's five runs on the table",
            "",
            "Half of the population as parents, no elitism; random search and TPE with as many",
            "trials and the same seeds.",
            "",
            *_paper_runs(rows),
            "",
            "## The paper's claims on the table",
            "",
            "Differences are paired by seed; a negative one is in favour of the claim. A claim is",
            "shown if it is significant at the 5 % level after Holm's correction for all lines.",
            "With the same seed run 4 begins with run 3, so that it cannot be worse.",
            "",
            *_claims(rows),
            "",
        ]
    )


def _main_effects(rows: Sequence[Row]) -> list[str]:
    lines: list[tuple[str, Difference | None]] = []
    for setting in SETTINGS:
        levels = list(dict.fromkeys(sorted(_level(row, setting) for row in _ga(rows))))
        by_level = {level: _averages(rows, setting, level, 200) for level in levels}
        for level in levels:
            cells = [_cell(_averages(rows, setting, level, budget)) for budget in BUDGETS]
            is_default = str(level) == str(DEFAULTS[setting])
            start = (
                f"| {setting} | {level}{' (paper)' if is_default else ''} | {' | '.join(cells)}"
            )
            default = by_level[DEFAULTS[setting]]
            lines.append((start, None if is_default else _difference(by_level[level], default)))
    corrected = iter(holm([found.p for _, found in lines if found is not None]))
    return [
        "| setting | value | " + " | ".join(f"{b} trials" for b in BUDGETS) + " | difference |",
        "|" + "---|" * (3 + len(BUDGETS)),
        *(
            f"{start} | |"
            if found is None
            else f"{start} | {_signed(found)}{' *' if next(corrected) < 0.05 else ''} |"
            for start, found in lines
        ),
    ]


def _paper_runs(rows: Sequence[Row]) -> list[str]:
    return [
        "| run | population x generations | mutation | ga | random | tpe |",
        "|" + "---|" * 6,
        *(
            f"| {name} | {size} x {n // size} | {mutation} | {_cell(_paper(rows, name))} "
            f"| {_cell(_other(rows, 'random', n))} | {_cell(_other(rows, 'tpe', n))} |"
            for name, size, mutation, n in PAPER
        ),
    ]


def _claims(rows: Sequence[Row]) -> list[str]:
    found: list[tuple[str, str, Difference]] = []
    for claim, first, second, caution in (
        ("a larger population helps", "baseline", "run 1", " (more generations, too)"),
        ("a larger population helps", "run 1", "run 2", " (more generations, too)"),
        ("more generations help", "run 4", "run 3", ""),
        ("a higher mutation rate helps", "run 3", "run 2", ""),
    ):
        compared = _difference(_paper(rows, first), _paper(rows, second))
        found.append((claim, f"{first} against {second}{caution}", compared))
    for name, _, _, n in PAPER:
        for other in ("random", "tpe"):
            compared = _difference(_paper(rows, name), _other(rows, other, n))
            found.append((f"the GA beats {other}", f"{name} against {other}", compared))
    corrected = holm([each.p for _, _, each in found])
    return [
        "| claim | compared | n | difference (95 % interval) | p, corrected | verdict |",
        "|" + "---|" * 6,
        *(
            f"| {claim} | {words} | {each.n} | {_signed(each)} | {p:.2g} | {verdict(each, p)} |"
            for (claim, words, each), p in zip(found, corrected, strict=True)
        ),
    ]


def _ga(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["sampler"] == "ga"]


def _level(row: Row, setting: str) -> Any:
    if setting == "elitism":
        return row[setting]
    return int(row[setting]) if setting == "population_size" else float(row[setting])


def _averages(rows: Sequence[Row], setting: str, level: object, budget: int) -> Regrets:
    """Return for each seed the mean regret over all cells with this setting."""
    by_seed: dict[int, list[float]] = {}
    for row in _ga(rows):
        if _level(row, setting) == level:
            by_seed.setdefault(int(row["seed"]), []).append(float(row[f"regret_{budget}"]))
    return {seed: float(np.mean(regrets)) for seed, regrets in by_seed.items()}


def _paper(rows: Sequence[Row], name: str) -> Regrets:
    """Return the regrets of one of the paper's runs."""
    _, size, mutation, n = next(run for run in PAPER if run[0] == name)
    settings = {**DEFAULTS, "population_size": size, "mutation_prob": mutation}
    return {
        int(row["seed"]): float(row[f"regret_{n}"])
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
    mean, low, high = mean_interval([1000 * regret for regret in regrets.values()])
    return f"{mean:.1f} ({low:.1f}-{high:.1f})"


def _signed(found: Difference) -> str:
    return f"{1000 * found.mean:+.1f} ({1000 * found.low:+.1f} to {1000 * found.high:+.1f})"
