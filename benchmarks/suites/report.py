"""The report on a suite, made from rows alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from benchmarks.markdown import paragraph, table
from benchmarks.paired import difference, holm, with_interval
from benchmarks.suites.kinds import KINDS, Kind
from benchmarks.suites.ranks import (
    Signs,
    everyone,
    mean_ranks,
    nearly_complete,
    scores_after,
    signs,
)
from benchmarks.suites.study import CHECKPOINTS

BUDGETS = (25, 50, 100, 200, 400, 1000)
OURS = "adaptive"  # The samplers whose names begin so are compared with each of the others.

_BEST = """After so many finished trials the one that looks best, noise included, is scored without
    noise; lower is better."""
_HYPERVOLUME = """The score after so many finished trials is the share of the hypervolume that they
    leave; lower is better."""
_FREE = """With several workers, so many trials run all the time, and the oldest ends first."""
_GENERATIONS = """With several workers, so many trials are a generation: they begin together, when
    all trials before have ended. With one worker `adaptive` has its usual population."""

After = Mapping[int, pd.DataFrame]
"""The scores by number of finished trials; see `scores_after`."""


def report(rows: pd.DataFrame, path: Path) -> str:
    """Return the report as Markdown.

    Args:
        rows: The rows, at least one.
        path: Their file, beside which the figure is.
    """
    first = rows.iloc[0]
    known = bool(rows["optimum"].notna().any())
    parts = [f"# Samplers on the suite `{first['suite']}`\n", _conditions(rows, path)]
    parts += [_figure_text(known), f"![Samplers over trials]({path.with_suffix('.png').name})\n"]
    scores = {_workers(n): _after(rows, n) for n in sorted(rows["workers"].unique().tolist())}
    if known and rows["task"].nunique() == 1:
        parts += ["## Regret\n", _regrets_text()]
        for workers, after in scores.items():
            if after:
                parts += [f"### Regret with {workers}\n", _regrets(after, first["optimum"])]
    parts += ["## Ranks\n", _ranks_text()]
    compared = {workers: after for workers, after in scores.items() if len(_names(after)) > 1}
    for workers, after in compared.items():
        parts += [f"### With {workers}\n", *_ranks(after)]
    for name in sorted(n for n in rows["sampler"].unique() if n.startswith(OURS)):
        parts += [f"## `{name}` against the others\n", _against_text(name)]
        for workers, after in compared.items():
            parts += [f"### `{name}` with {workers}\n", *_against(after, name)]
    if _kind(path).by_generations and len(scores) == 2:
        parts += _price(rows, *scores.values())
    if rows["sampler_s"].notna().any():  # Times on a busy machine are left out.
        parts += ["## Cost\n", *_cost(rows)]
    return "\n".join(parts)


def _kind(path: Path) -> Kind:
    """Return the kind of comparison by the name of its file."""
    return KINDS.get(path.stem.rpartition("_")[2], Kind(""))


def _names(after: After) -> set[str]:
    return {str(name) for scores in after.values() for name in scores}


def _after(rows: pd.DataFrame, n_workers: int) -> After:
    found = {budget: scores_after(rows, n_workers, budget) for budget in BUDGETS}
    return {budget: scores for budget, scores in found.items() if not scores.empty}


def _workers(n: int) -> str:
    return f"{n} worker{'s' * (n > 1)}"


def _conditions(rows: pd.DataFrame, path: Path) -> str:
    first, n_seeds = rows.iloc[0], rows["seed"].nunique()
    held_out = first["part"] == "held-out"
    part = "tasks on which nothing was tuned" if held_out else "tasks that may be tuned on"
    name = path.stem.rpartition("_")[2]
    option = f" --{name}" if name in KINDS else "" if held_out else " --tuning"
    workers = _GENERATIONS if _kind(path).by_generations else _FREE
    versions = ", ".join(sorted(rows["optuna"].unique()))
    scored = _HYPERVOLUME if "score" in rows else _BEST
    return paragraph(
        f"""{rows["task"].nunique()} {part}, {n_seeds} seed{"s" * (n_seeds > 1)} each at most;
        Optuna {versions}. A seed sets the instance or the noise of a task, the same for all
        samplers, and the sampler's own random stream. {scored} {workers}
        Made by
        `python -m benchmarks.suites {first["suite"]}{option}`, which with `report` after the
        suite's name makes this page again from the rows."""
    )


def _figure_text(known: bool) -> str:
    if known:
        return paragraph(
            """Share of all pairs of a task and a seed, and of 51 regrets from 100 to 1e-8 that are
            equally far apart on a log scale, that a sampler has reached after so many trials. A
            sampler that was run with fewer seeds has fewer pairs."""
        )
    return paragraph("Mean ranks, as in the first table of ranks, over trials.")


def _regrets_text() -> str:
    return paragraph(
        """Score of the best trial so far less that of the optimum, times 1000: mean over seeds
        with its 95 % interval. A star: it differs from that of `random` at the 0.05 level (paired
        t-test over the seeds that both have, Holm's correction for all cells of a table)."""
    )


def _regrets(after: After, optimum: float) -> str:
    """Return the table of mean regrets, the lowest after the last budget first."""
    regrets = {budget: 1000 * (scores - optimum) for budget, scores in after.items()}
    last = regrets[max(regrets)].mean()
    names = list(last.sort_values(kind="stable").index)
    names += sorted({name for found in regrets.values() for name in found} - set(names))
    p_values = _p_beside_random(regrets)

    def cell(name: str, budget: int) -> str:
        if name not in regrets[budget]:
            return "-"
        star = " *" if p_values.get((name, budget), 1.0) < 0.05 else ""
        return with_interval(regrets[budget][name].dropna().tolist(), 1, (0.0, math.inf)) + star

    lines = [[name, *(cell(name, budget) for budget in regrets)] for name in names]
    return table(["sampler", *(f"{budget} trials" for budget in regrets)], lines)


def _p_beside_random(regrets: After) -> Mapping[tuple[str, int], float]:
    """Return corrected p-values that samplers do not differ from `random`, by name and budget."""
    found: dict[tuple[str, int], float] = {}
    for budget, values in regrets.items():
        for name in values.columns.drop("random") if "random" in values else ():
            pairs = values[[name, "random"]].dropna()
            if len(pairs) > 1:
                found[name, budget] = difference(pairs[name].tolist(), pairs["random"].tolist()).p
    return dict(zip(found, holm(list(found.values())), strict=True))


def _ranks_text() -> str:
    return paragraph(
        """Mean rank, 1 is best: within each pair of a task and a seed, where equal scores share
        the mean of their ranks, then averaged over the seeds of a task, then over the tasks; with
        the 95 % interval of 1000 resamples of the seeds within each task. The tasks are not
        resampled. Ranked are the samplers that have at least 90 % as many pairs as any has, on
        the pairs that all of these have."""
    )


def _ranks(after: After) -> list[str]:
    parts = [_rank_table(after, nearly_complete)]
    if any(everyone(scores) is not None for scores in after.values()):
        parts += [
            paragraph("All samplers, on the pairs that they share, where some have fewer:"),
            _rank_table(after, everyone),
        ]
    return parts


def _rank_table(after: After, choose: Callable[[pd.DataFrame], pd.DataFrame | None]) -> str:
    chosen = {budget: choose(scores) for budget, scores in after.items()}
    fields = {budget: scores for budget, scores in chosen.items() if scores is not None}
    columns = [mean_ranks(scores) for scores in fields.values()]

    def key(name: str) -> tuple[list[float], str]:
        """Order by the last column's mean, ties by the column before, and at last by the name."""
        means = [column[name].mean if name in column else math.inf for column in columns[::-1]]
        return means, name

    def cell(name: str, index: int) -> str:
        if name not in columns[index]:
            return "-"
        mean, low, high = columns[index][name]
        return f"{mean:.2f}" + ("" if math.isnan(low) else f" ({low:.2f}-{high:.2f})")

    names = sorted({name for column in columns for name in column}, key=key)
    lines = [[name, *(cell(name, index) for index in range(len(columns)))] for name in names]
    counts = [f"{scores.shape[1]} / {scores.shape[0]}" for scores in fields.values()]
    header = ["sampler", *(f"{budget} trials" for budget in fields)]
    return table(header, [*lines, ["samplers / pairs", *counts]])


def _against_text(name: str) -> str:
    return paragraph(
        f"""Pairs of a task and a seed that `{name}` wins / ties / loses. A star: the two differ at
        the 0.05 level (two-sided sign test over the pairs without ties, which takes them for
        independent; Holm's correction for all cells of a table)."""
    )


def _against(after: After, name: str) -> list[str]:
    """Return a sampler's wins, ties and losses, and a sentence on its significant losses."""
    found = {
        (other, budget): signs(scores, name, other)
        for budget, scores in after.items()
        for other in map(str, scores)
        if other != name and name in scores
    }
    p_values = dict(zip(found, holm([counts.p for counts in found.values()]), strict=True))
    others = sorted({other for other, _ in found})

    def cell(other: str, budget: int) -> str:
        if (other, budget) not in found:
            return "-"
        star = " *" if p_values[other, budget] < 0.05 else ""
        return "/".join(map(str, found[other, budget])) + star

    lines = [[other, *(cell(other, budget) for budget in after)] for other in others]
    return [
        table(["against", *(f"{budget} trials" for budget in after)], lines),
        _losses(name, found, p_values),
    ]


def _price(rows: pd.DataFrame, one_by_one: After, generations: After) -> list[str]:
    """Return how `adaptive` by generations compares with itself by one trial after another."""
    budgets = [budget for budget in generations if budget in one_by_one]
    found = [
        signs(
            pd.DataFrame({"together": generations[n][OURS], "alone": one_by_one[n][OURS]}),
            "together",
            "alone",
        )
        for n in budgets
    ]
    stars = [" *" if p < 0.05 else "" for p in holm([counts.p for counts in found])]
    signs_of_all = ["/".join(map(str, c)) + star for c, star in zip(found, stars, strict=True)]
    text = """Pairs of a task and a seed that `adaptive` by generations wins / ties / loses against
        itself with one worker, which learns from each trial before the next begins. A star: as
        above. Below, the number of trials one after another that get as far: the median over the
        pairs and the quartiles."""
    lines = [["one worker", *signs_of_all], ["as far", *(_as_far(rows, n) for n in budgets)]]
    title = f"## The price of generations: `{OURS}` against itself\n"
    header = ["against", *(f"{budget} trials" for budget in budgets)]
    return [title, paragraph(text), table(header, lines)]


def _as_far(rows: pd.DataFrame, budget: int) -> str:
    """Return how many trials one by one get as far as a budget of trials by generations."""
    known = [n for n in CHECKPOINTS if not scores_after(rows, 1, n).empty]
    alone = pd.DataFrame({n: scores_after(rows, 1, n)[OURS] for n in known})
    together = scores_after(rows, int(rows["workers"].max()), budget)[OURS]
    reached = alone.le(together, axis="index").loc[together.index]
    first = reached.idxmax(axis="columns").where(reached.any(axis="columns"), math.inf)
    low, median, high = (first.astype(float).quantile(q, "higher") for q in (0.25, 0.5, 0.75))
    end = f"more than {known[-1]}" if math.isinf(high) else f"{high:.0f}"
    return f"{median:.0f} ({low:.0f} to {end})"


def _losses(
    name: str, found: Mapping[tuple[str, int], Signs], p_values: Mapping[tuple[str, int], float]
) -> str:
    lost: dict[str, list[str]] = {}
    for (other, budget), counts in found.items():
        if p_values[other, budget] < 0.05 and counts.losses > counts.wins:
            lost.setdefault(other, []).append(str(budget))
    to = [f"`{other}` after {', '.join(budgets)} trials" for other, budgets in lost.items()]
    return paragraph(f"`{name}` loses significantly to {'; '.join(to) or 'none'}.")


def _cost(rows: pd.DataFrame) -> list[str]:
    """Return the table of the samplers' own time."""
    ms = 1000 * rows["sampler_s"] / rows["trials"]
    medians = ms.groupby([rows["sampler"], rows["workers"]], sort=False).median()
    workers = sorted(rows["workers"].unique().tolist())

    def cell(name: str, n_workers: int) -> str:
        if (name, n_workers) not in medians:
            return "-"
        median, random = medians[name, n_workers], medians.get(("random", n_workers))
        return f"{median:.2f}" + (f" ({median / random:.1f} x)" if random else "")

    lines = [
        [name, *(cell(name, n_workers) for n_workers in workers)]
        for name in rows["sampler"].unique()
    ]
    return [
        paragraph(
            """Milliseconds that a trial takes beside its evaluation, for asking for it and for its
            parameters and telling its value: median over studies of their means, and how many
            times that of random search. Later trials cost some samplers more, so that those with
            fewer trials look cheaper."""
        ),
        table(["sampler", *map(_workers, workers)], lines),
    ]
