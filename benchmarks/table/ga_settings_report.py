"""The report on the genetic algorithm's settings, made from rows alone."""

from __future__ import annotations

import pandas as pd

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
from benchmarks.rows import TooFewRowsError

DEFAULTS = {
    "population_size": 20,
    "parent_fraction": 0.5,
    "mutation_prob": 0.2,
    "elitism": False,
}
# Cells that have no counterpart at another value of a setting.
UNMATCHED = {
    "population_size": ("parent_fraction", 0.4),
    "parent_fraction": ("population_size", 5),
}
BUDGETS = (50, 100, 200)


def report(rows: pd.DataFrame) -> str:
    """Return the report as Markdown, on the seeds that have every cell.

    Raises:
        TooFewRowsError: If there are fewer than two of these seeds.
    """
    n_cells = rows["seed"].map(rows["seed"].value_counts())
    rows = rows[n_cells == n_cells.max()]
    n_seeds = rows["seed"].nunique()
    if n_seeds < 2:
        raise TooFewRowsError("argument --out: a report needs two seeds with every combination")
    return "\n".join(
        [
            "# What the settings of the genetic algorithm do\n",
            paragraph(
                f"""{n_seeds} seeds for each combination on `{rows["table"].iloc[0]}`. Regrets are
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
                all lines of its claim. With the same seed run 4 begins with run 3, so that it
                cannot be worse."""
            ),
            _claims(rows),
        ]
    )


def _main_effects(rows: pd.DataFrame) -> str:
    ga = rows[rows["sampler"] == "ga"]
    lines: list[tuple[list[str], Difference | None]] = []
    for setting, default in DEFAULTS.items():
        for level in sorted(ga[setting].unique()):
            cells = [_cell(_averages(ga, setting, level, budget)) for budget in BUDGETS]
            if level == default:
                lines.append(([setting, f"{level} (default)", *cells], None))
                continue
            levels = (_averages(ga, setting, each, 200) for each in (level, default))
            lines.append(([setting, str(level), *cells], _difference(*levels)))
    corrected = iter(holm([found.p for _, found in lines if found is not None]))
    starred = [
        [*cells, "" if found is None else signed(found, 1000) + " *" * (next(corrected) < 0.05)]
        for cells, found in lines
    ]
    return table(["setting", "value", *(f"{b} trials" for b in BUDGETS), "difference"], starred)


def _paper_runs(rows: pd.DataFrame) -> str:
    lines = [
        (run.name, f"{run.population_size} x {run.n_generations}", run.mutation_prob,
         _cell(_paper(rows, run)), _cell(_other(rows, "random", run.n_trials)),
         _cell(_other(rows, "tpe", run.n_trials)))
        for run in PAPER
    ]  # fmt: skip
    return table(["run", "population x generations", "mutation", "ga", "random", "tpe"], lines)


def _claims(rows: pd.DataFrame) -> str:
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


def _averages(ga: pd.DataFrame, setting: str, level: object, budget: int) -> pd.Series:
    """Return for each seed the mean regret over the cells with one value of a setting.

    The cells without a counterpart at another value of the setting are left out.
    """
    chosen = ga[ga[setting] == level]
    if setting in UNMATCHED:
        name, value = UNMATCHED[setting]
        chosen = chosen[chosen[name] != value]
    return chosen.groupby("seed")[f"regret_{budget}"].mean()


def _paper(rows: pd.DataFrame, run: PaperRun) -> pd.Series:
    """Return the regrets of one of the paper's runs by seed."""
    settings = DEFAULTS | {
        "population_size": run.population_size,
        "mutation_prob": run.mutation_prob,
    }
    chosen = rows[rows["sampler"] == "ga"]
    for setting, value in settings.items():
        chosen = chosen[chosen[setting] == value]
    return chosen.set_index("seed")[f"regret_{run.n_trials}"]


def _other(rows: pd.DataFrame, sampler: str, budget: int) -> pd.Series:
    return rows[rows["sampler"] == sampler].set_index("seed")[f"regret_{budget}"]


def _difference(first: pd.Series, second: pd.Series) -> Difference:
    """Return how the regrets of the seeds that both have differ."""
    pairs = pd.concat([first, second], axis="columns", join="inner").sort_index()
    return difference(*pairs.to_numpy().T.tolist())


def _cell(regrets: pd.Series) -> str:
    return with_interval((1000 * regrets).tolist(), 1)
