"""The report on a suite, made from rows alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.markdown import paragraph, table
from benchmarks.paired import holm
from benchmarks.rows import Row
from benchmarks.suites.plot import plot
from benchmarks.suites.ranks import (
    Field,
    Scores,
    Signs,
    everyone,
    mean_ranks,
    nearly_complete,
    scores_after,
    signs,
)

BUDGETS = (25, 50, 100, 200, 400)
OURS = "adaptive"  # What the names of the samplers begin with that the others are compared with.


def write(rows: Sequence[Row], path: Path) -> str:
    """Write Markdown and figure beside the file of rows, and return the text."""
    text = report(rows, path)
    path.with_suffix(".md").write_text(text)
    plot(rows, path.with_suffix(".png"))
    return text


def report(rows: Sequence[Row], path: Path) -> str:
    """Return the report as Markdown.

    Args:
        rows: The rows, at least one.
        path: Their file, beside which the figure is.
    """
    parts = [f"# Samplers on the suite `{rows[0]['suite']}`\n", _conditions(rows, path)]
    parts += [_figure_text(rows), f"![Samplers over trials]({path.with_suffix('.png').name})\n"]
    scores = {
        _workers(n): {b: found for b in BUDGETS if (found := scores_after(rows, n, b))}
        for n in sorted({int(row["workers"]) for row in rows})
    }
    parts += ["## Ranks\n", _ranks_text()]
    for workers, after in scores.items():
        parts += [f"### With {workers}\n", *_ranks(after)]
    for name in sorted({row["sampler"] for row in rows if row["sampler"].startswith(OURS)}):
        parts += [f"## `{name}` against the others\n", _against_text(name)]
        for workers, after in scores.items():
            parts += [f"### `{name}` with {workers}\n", *_against(after, name)]
    return "\n".join([*parts, "## Cost\n", *_cost(rows)])


def _workers(n: int) -> str:
    return f"{n} worker{'s' * (n > 1)}"


def _conditions(rows: Sequence[Row], path: Path) -> str:
    tasks = {row["task"] for row in rows}
    n_seeds = len({row["seed"] for row in rows})
    held_out = rows[0]["part"] == "held-out"
    part = "tasks on which nothing was tuned" if held_out else "tasks that may be tuned on"
    option = "" if held_out else " --ablation" if path.stem.endswith("_ablation") else " --tuning"
    versions = ", ".join(sorted({row["optuna"] for row in rows}))
    return paragraph(
        f"""{len(tasks)} {part}, {n_seeds} seed{"s" * (n_seeds > 1)} each at most; Optuna
        {versions}. A seed sets the instance or the noise of a task, the same for all samplers, and
        the sampler's own random stream. After so many finished trials the one that looks best,
        noise included, is scored without noise; lower is better. With several workers, so many
        trials run all the time, and the oldest ends first. Made by
        `python -m benchmarks.suites {rows[0]["suite"]}{option}`, which with `report` after the
        suite's name makes this page again from the rows."""
    )


def _figure_text(rows: Sequence[Row]) -> str:
    if rows[0]["optimum"]:
        return paragraph(
            """Share of all pairs of a task and a seed, and of 51 regrets from 100 to 1e-8 that are
            equally far apart on a log scale, that a sampler has reached after so many trials. A
            sampler that was run with fewer seeds has fewer pairs."""
        )
    return paragraph("Mean ranks, as in the first table of ranks, over trials.")


def _ranks_text() -> str:
    return paragraph(
        """Mean rank, 1 is best: within each pair of a task and a seed, where equal scores share
        the mean of their ranks, then averaged over the seeds of a task, then over the tasks; with
        the 95 % interval of 1000 resamples of the seeds within each task. The tasks are not
        resampled. Ranked are the samplers that have at least 90 % as many pairs as any has, on
        the pairs that all of these have."""
    )


def _ranks(after: Mapping[int, Scores]) -> list[str]:
    parts = [_rank_table(after, nearly_complete)]
    if any(everyone(scores) for scores in after.values()):
        parts += [
            paragraph("All samplers, on the pairs that they share, where some have fewer:"),
            _rank_table(after, everyone),
        ]
    return parts


def _rank_table(after: Mapping[int, Scores], choose: Callable[[Scores], Field | None]) -> str:
    fields = {budget: field for budget, scores in after.items() if (field := choose(scores))}
    columns = [mean_ranks(field) for field in fields.values()]

    def key(name: str) -> tuple[list[float], str]:
        """Order by the last mean, then by the one before, at last by the name."""
        means = [column[name].mean if name in column else math.inf for column in columns[::-1]]
        return means, name

    def cell(name: str, index: int) -> str:
        if name not in columns[index]:
            return "-"
        mean, low, high = columns[index][name]
        return f"{mean:.2f}" + ("" if math.isnan(low) else f" ({low:.2f}-{high:.2f})")

    names = sorted({name for column in columns for name in column}, key=key)
    lines = [[name, *(cell(name, index) for index in range(len(columns)))] for name in names]
    counts = [f"{len(f.samplers)} / {len(f.pairs)}" for f in fields.values()]
    header = ["sampler", *(f"{budget} trials" for budget in fields)]
    return table(header, [*lines, ["samplers / pairs", *counts]])


def _against_text(name: str) -> str:
    return paragraph(
        f"""Pairs of a task and a seed that `{name}` wins / ties / loses. A star: the two differ at
        the 0.05 level (two-sided sign test over the pairs without ties, which takes them for
        independent; Holm's correction for all cells of a table)."""
    )


def _against(after: Mapping[int, Scores], name: str) -> list[str]:
    """Return wins, ties and losses of one sampler, and where it loses."""
    found = {
        (other, budget): signs(scores[name], scores[other])
        for budget, scores in after.items()
        for other in scores
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


def _losses(
    name: str, found: Mapping[tuple[str, int], Signs], p_values: Mapping[tuple[str, int], float]
) -> str:
    lost: dict[str, list[str]] = {}
    for (other, budget), counts in found.items():
        if p_values[other, budget] < 0.05 and counts.losses > counts.wins:
            lost.setdefault(other, []).append(str(budget))
    to = [f"`{other}` after {', '.join(budgets)} trials" for other, budgets in lost.items()]
    return paragraph(f"`{name}` loses significantly to {'; '.join(to) or 'none'}.")


def _cost(rows: Sequence[Row]) -> list[str]:
    """Return the table of the samplers' own time."""
    found: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        of_workers = found.setdefault(row["sampler"], {}).setdefault(int(row["workers"]), [])
        of_workers.append(1000 * float(row["sampler_s"]) / int(row["trials"]))
    workers = sorted({n_workers for by_workers in found.values() for n_workers in by_workers})
    medians = {
        name: {n: float(np.median(times)) for n, times in by_workers.items()}
        for name, by_workers in found.items()
    }
    random = medians.get("random", {})

    def cell(name: str, n_workers: int) -> str:
        if n_workers not in medians[name]:
            return "-"
        median = medians[name][n_workers]
        ratio = f" ({median / random[n_workers]:.1f} x)" if n_workers in random else ""
        return f"{median:.2f}{ratio}"

    lines = [[name, *(cell(name, n_workers) for n_workers in workers)] for name in medians]
    return [
        paragraph(
            """Milliseconds that a trial takes beside its evaluation, for asking for it and for its
            parameters and telling its value: median over studies of their means, and how many
            times that of random search. Later trials cost some samplers more, so that those with
            fewer trials look cheaper."""
        ),
        table(["sampler", *map(_workers, workers)], lines),
    ]
