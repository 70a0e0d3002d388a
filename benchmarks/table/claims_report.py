"""The report on `benchmarks.table.claims`, made from rows alone: a verdict for each claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.markdown import paragraph, table
from benchmarks.paired import (
    Difference,
    difference,
    holm,
    share_interval,
    verdict,
    with_interval,
)
from benchmarks.paper import reproduce_report
from benchmarks.paper.runs import PAPER
from benchmarks.rows import RESULTS, TooFewRowsError, read_frame
from benchmarks.trainings import GUESSING

TRAININGS = RESULTS / "reproduce_cuda.csv"  # The paper's runs, really trained.

_POSSIBLE = (0.0, GUESSING)
Name = tuple[str, int, int, float]  # Sampler, population size, generations, mutation probability.
Pair = tuple[Name, Name]


def _ga(population_size: int, generations: int, mutation_prob: float = 0.2) -> Name:
    return "ga", population_size, generations, mutation_prob


_RUN_1, _RUN_2, _RUN_3, _RUN_4 = _ga(10, 3, 0.1), _ga(5, 2, 0.1), _ga(5, 2), _ga(5, 5)
_BASELINE = _ga(20, 10, 0.1)
_PAPER = (_BASELINE, _RUN_1, _RUN_2, _RUN_3, _RUN_4)

# Each claim is a family of comparisons; the first of a pair is claimed to end lower.
CLAIMS: Mapping[str, Sequence[Pair]] = {
    "A larger population helps, in the paper's runs, which have more trainings then": (
        (_BASELINE, _RUN_1),
        (_RUN_1, _RUN_2),
    ),
    "A larger population helps, with equally many trainings": (
        (_ga(10, 3), _ga(5, 6)),
        (_ga(15, 2), _ga(5, 6)),
        (_ga(10, 5), _ga(5, 10)),
        (_ga(25, 2), _ga(5, 10)),
        (_ga(20, 10), _ga(10, 20)),
        (_ga(40, 5), _ga(20, 10)),
        (_ga(50, 4), _ga(20, 10)),
    ),
    "More generations help, in the paper's runs, which have more trainings then": (
        (_RUN_4, _RUN_3),
    ),
    "More generations help, with equally many trainings": (
        (_ga(5, 6), _ga(15, 2)),
        (_ga(5, 10), _ga(25, 2)),
        (_ga(10, 20), _ga(50, 4)),
    ),
    "A higher mutation rate helps: 0.2 instead of 0.1": (
        (_RUN_3, _RUN_2),
        (_ga(5, 5), _ga(5, 5, 0.1)),
        (_ga(10, 3), _ga(10, 3, 0.1)),
        (_ga(20, 10), _ga(20, 10, 0.1)),
    ),
    "The algorithm beats random search with as many trainings": tuple(
        (run, ("random", *run[1:3], 0.0)) for run in _PAPER
    ),
    "The algorithm beats TPE with as many trainings": tuple(
        (run, ("tpe", *run[1:3], 0.0)) for run in (_BASELINE, _RUN_1, _RUN_4)
    ),
}


def report(rows: pd.DataFrame, trainings: Path = TRAININGS) -> str:
    """Return the report as Markdown.

    Args:
        rows: A row for each study.
        trainings: Rows of `benchmarks.paper.reproduce` to compare the table with.

    Raises:
        TooFewRowsError: If no comparison has two seeds.
    """
    losses = rows.pivot_table(
        index="seed",
        columns=["sampler", "population_size", "generations", "mutation_prob"],
        values=["loss", "seen"],
    )
    sections = [_section(claim, pairs, losses) for claim, pairs in CLAIMS.items()]
    if not any(sections):
        raise TooFewRowsError("argument --out: no comparison has two seeds yet")
    return "\n".join(
        [
            "# The paper's claims on the table\n",
            paragraph(
                f"""Studies on {rows["table"].iloc[0]}, which predicts a training, with the noise
                of training seeds. The loss is that of the answer's setting without noise. A study
                whose answer diverges has the loss of guessing. Differences are paired by seed,
                first minus second, with 95 % intervals; a negative one is in favour of the claim.
                A user who runs either once sees the first end lower, by the validation losses
                with their noise, in so many of 100 cases; 50 mean no difference. p-values are
                corrected by Holm's method within each claim.
                Runs of ten trials are not compared with TPE, which is random search there. Made by
                `python -m benchmarks.table.claims`."""
            ),
            *sections,
            "## The table beside trainings\n",
            paragraph(
                """The validation losses of the answers that users see, on the table and in
                [the same runs, really trained](reproduce_cuda.md): means over n studies with 95 %
                intervals. There all trials of all studies have one training seed, on the table
                each trial has its own."""
            ),
            _beside(rows, reproduce_report.measured(read_frame(trainings, "test_accuracy"))),
        ]
    )


def _beside(rows: pd.DataFrame, trained: pd.DataFrame) -> str:
    """Return the table of what users of the table and of trainings see."""
    lines = []
    for run in PAPER:
        for sampler, name, prob in (
            ("ga", run.sampler, run.mutation_prob), ("random", "random", 0.0), ("tpe", "tpe", 0.0),
        ):  # fmt: skip
            of_prob = rows[rows["mutation_prob"] == prob]
            told = reproduce_report.of_run(of_prob, run, sampler)["seen"].tolist()
            real = reproduce_report.of_run(trained, run, name)["answer_loss"].tolist()
            lines.append(
                [run.name, sampler, len(told), with_interval(told, 3, _POSSIBLE), len(real),
                 with_interval(real, 3, _POSSIBLE)]
            )  # fmt: skip
    return table(["run", "sampler", "n", "table", "n", "trainings"], lines)


def _section(claim: str, pairs: Sequence[Pair], losses: pd.DataFrame) -> str:
    """Return the table of a claim; empty if no comparison has two seeds."""
    known = []
    for pair in pairs:
        if all(name in losses["loss"] for name in pair):
            both = losses[[(kind, *name) for kind in ("loss", "seen") for name in pair]].dropna()
            if len(both) >= 2:
                known.append((pair, both.to_numpy().T))
    found = [difference(figures[0], figures[1]) for _, figures in known]
    corrected = holm([each.p for each in found])
    lines = [
        _line(pair, figures, each, p)
        for (pair, figures), each, p in zip(known, found, corrected, strict=True)
    ]
    header = (
        "first", "second", "n", "loss, first", "loss, second", "difference",
        "of 100, seen lower", "p, corrected", "verdict",
    )  # fmt: skip
    return f"## {claim}\n\n{table(header, lines)}" if lines else ""


def _line(pair: Pair, figures: np.ndarray, found: Difference, p: float) -> list[str]:
    """Return a line of a table.

    Args:
        pair: The compared runs.
        figures: Losses of the first and the second, then the losses that users see `(4, n)`.
        found: The difference of the losses.
        p: Its p-value, corrected.
    """
    first, second, seen_first, seen_second = figures
    share, low, high = share_interval(_superiority(seen_first, seen_second), found.n)
    return [
        *map(_named, pair),
        str(found.n),
        f"{first.mean():.4f}",
        f"{second.mean():.4f}",
        f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f})",
        f"{100 * share:.0f} ({100 * low:.0f}-{100 * high:.0f})",
        f"{p:.2g}",
        verdict(found, p),
    ]


def _superiority(first: np.ndarray, second: np.ndarray) -> float:
    """Return the probability that a study of the first ends lower than one of the second.

    Studies of different seeds are compared, since two runs of a user share none; ties count half.
    """
    ranked = np.sort(second)
    below = np.searchsorted(ranked, first, side="left")
    upto = np.searchsorted(ranked, first, side="right")
    return float(1.0 - (below + upto).mean() / (2 * len(ranked)))


def _named(name: Name) -> str:
    sampler, population_size, generations, mutation_prob = name
    size = f"{population_size} x {generations}"
    return f"{size}, mutation {mutation_prob:g}" if sampler == "ga" else f"{sampler}, {size}"
