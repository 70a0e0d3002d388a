"""Turn rows into a table and into curves; rows are read from their file, never recomputed."""

from __future__ import annotations

import csv
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Row = Mapping[str, str]
Run = Sequence[Row]  # The completed trials of one study, in order.

HEADER = (
    "sampler", "best validation loss", "accuracy", "learning rate", "momentum", "weight decay",
    "training time", "trials",
)  # fmt: skip


def read_runs(path: Path) -> dict[str, dict[str, list[Run]]]:
    """Return the runs of a file of rows, by problem and sampler; one run per seed."""
    runs: defaultdict[tuple[str, str, str], list[Row]] = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["state"] == "COMPLETE":
                runs[row["problem"], row["sampler"], row["seed"]].append(row)
    problems: defaultdict[str, defaultdict[str, list[Run]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for (problem, sampler, _), run in runs.items():
        problems[problem][sampler].append(sorted(run, key=lambda row: int(row["trial"])))
    return {problem: dict(samplers) for problem, samplers in problems.items()}


def table(samplers: Mapping[str, Sequence[Run]]) -> str:
    """Return a table with one line per sampler, and notes on how to read it.

    Losses, times and accuracies are means over seeds, the first with its 95 % interval; the
    hyperparameters are those of the best trial of all.
    """
    lines = [HEADER, *(_line(name, runs) for name, runs in samplers.items())]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    lines.insert(1, tuple("-" * width for width in widths))
    texts = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([*texts, "", *_notes(samplers)])


def plot(samplers: Mapping[str, Sequence[Run]], title: str, path: Path) -> None:
    """Draw the best validation loss so far, over trials and over training time.

    Lines are means over seeds; with several seeds a band spans the lowest and the highest.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    over_trials, over_time = figure.subplots(1, 2, sharey=True)
    for name, runs in samplers.items():
        n = min(len(run) for run in runs)
        curves = list(zip(*(_best_so_far(run)[:n] for run in runs), strict=True))
        trials = range(1, n + 1)
        means = list(map(statistics.mean, curves))
        (line,) = over_trials.step(trials, means, where="post", label=name)
        if len(runs) > 1:
            low, high = list(map(min, curves)), list(map(max, curves))
            over_trials.fill_between(
                trials, low, high, step="post", color=line.get_color(), alpha=0.2
            )
        for run in runs:
            elapsed = list(accumulate(float(row["training_s"]) for row in run))
            over_time.step(elapsed, _best_so_far(run), where="post", color=line.get_color())
    over_trials.set(xlabel="trials", ylabel="best validation loss so far")
    over_trials.xaxis.set_major_locator(MaxNLocator(integer=True))
    over_trials.legend()
    over_time.set(xlabel="training time (s), each seed")
    figure.savefig(path, dpi=150)


def _line(name: str, runs: Sequence[Run]) -> tuple[str, ...]:
    bests = [min(run, key=_value) for run in runs]
    best = min(bests, key=_value)
    seconds = statistics.mean(sum(float(row["training_s"]) for row in run) for run in runs)
    params = ("learning_rate", "momentum", "weight_decay")
    return (
        name,
        _mean_with_interval([_value(row) for row in bests]),
        f"{statistics.mean(float(row['validation_accuracy'] or 'nan') for row in bests):.3f}",
        *(f"{float(best[param]):.4f}" for param in params),
        f"{seconds:.1f} s",
        " + ".join(str(len(run)) for run in runs),
    )


def _notes(samplers: Mapping[str, Sequence[Run]]) -> list[str]:
    n_seeds = max(len(runs) for runs in samplers.values())
    seeds = "One seed: no ranking follows from it." if n_seeds == 1 else f"{n_seeds} seeds."
    notes = [f"Lower losses are better. {seeds}"]
    diverged = {
        name: sum(math.isinf(_value(row)) for run in runs for row in run)
        for name, runs in samplers.items()
    }
    notes.append("Diverged trials: " + ", ".join(f"{n} {m}" for n, m in diverged.items()) + ".")
    if "tpe" in samplers:
        notes.append("tpe draws its first 10 trials at random, as Optuna's default is.")
    if "ga" in samplers:
        answers = [_value(row) for run in samplers["ga"] for row in run if row["answer"] == "True"]
        notes.append(
            "ga's answer as the paper defines it, the best of its final generation: "
            f"{_mean_with_interval(answers)}."
        )
    return notes


def _mean_with_interval(values: Sequence[float]) -> str:
    """Return the mean, with its 95 % interval (normal quantile) if there are several values."""
    mean = statistics.mean(values)
    if len(values) == 1:
        return f"{mean:.4f}"
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.4f} +- {half:.4f}"


def _best_so_far(run: Run) -> list[float]:
    best = math.inf
    return [best := min(best, _value(row)) for row in run]


def _value(row: Row) -> float:
    return float(row["value"])
