"""Turn rows into a table and into curves; rows are read from their file, never recomputed."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.paired import mean_interval

Row = Mapping[str, str]
Run = Sequence[Row]  # The completed trials of one study, in order.
Runs = Mapping[str, Mapping[int, Run]]  # By sampler and seed.

HEADER = (
    "sampler", "best validation loss", "accuracy", "learning rate", "momentum", "weight decay",
    "training time", "trials",
)  # fmt: skip


def read_runs(path: Path) -> dict[str, Runs]:
    """Return the runs of a file of rows, by problem; of the seeds that all its samplers have."""
    problems: dict[str, dict[str, dict[int, list[Row]]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["state"] == "COMPLETE":
                samplers = problems.setdefault(row["problem"], {})
                runs = samplers.setdefault(row["sampler"], {})
                runs.setdefault(int(row["seed"]), []).append(row)
    return {problem: _common_seeds(samplers) for problem, samplers in problems.items()}


def table(samplers: Runs) -> str:
    """Return a table with one line per sampler, and notes on how to read it.

    Losses, times and accuracies are means over seeds, the first with its 95 % interval; the
    hyperparameters are those of the best trial of all.
    """
    if not any(samplers.values()):
        return "The samplers have no seed in common yet."
    lines = [HEADER, *(_line(name, list(runs.values())) for name, runs in samplers.items())]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    lines.insert(1, tuple("-" * width for width in widths))
    texts = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([*texts, "", *_notes(samplers)])


def plot(samplers: Runs, title: str, path: Path) -> None:
    """Draw the best validation loss so far, over trials and over training time.

    Lines are means over seeds; with several seeds a band spans the lowest and the highest.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    over_trials, over_time = figure.subplots(1, 2, sharey=True)
    for name, by_seed in samplers.items():
        runs = list(by_seed.values())
        n = min((len(run) for run in runs), default=0)
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


def _notes(samplers: Runs) -> list[str]:
    seeds = list(next(iter(samplers.values())))
    shown = ", ".join(map(str, seeds))
    notes = [
        f"Lower losses are better. {len(seeds)} seeds: {shown}."
        if len(seeds) > 1
        else f"Lower losses are better. One seed, {shown}: no ranking follows from it."
    ]
    diverged = {
        name: sum(math.isinf(_value(row)) for run in runs.values() for row in run)
        for name, runs in samplers.items()
    }
    notes.append("Diverged trials: " + ", ".join(f"{n} {m}" for n, m in diverged.items()) + ".")
    if "tpe" in samplers:
        notes.append("tpe draws its first 10 trials at random, as Optuna's default is.")
    if "ga" not in samplers:
        return notes
    answers = [
        _value(row) for run in samplers["ga"].values() for row in run if row["answer"] == "True"
    ]
    if answers:
        notes.append(
            "ga's answer as the paper defines it, the best of its final generation: "
            f"{_mean_with_interval(answers)}."
        )
    if len(seeds) > 1:
        notes += [_paired(samplers, name) for name in samplers if name != "ga"]
    return notes


def _paired(samplers: Runs, name: str) -> str:
    """Return how ga's best losses differ from another sampler's, seed by seed."""
    differences = [
        min(map(_value, run)) - min(map(_value, samplers[name][seed]))
        for seed, run in samplers["ga"].items()
    ]
    return f"ga minus {name}, paired by seed: {_mean_with_interval(differences)}."


def _common_seeds(samplers: Mapping[str, Mapping[int, list[Row]]]) -> Runs:
    common = set.intersection(*(set(runs) for runs in samplers.values()))
    return {
        name: {
            seed: sorted(runs[seed], key=lambda row: int(row["trial"]))
            for seed in sorted(runs)
            if seed in common
        }
        for name, runs in samplers.items()
    }


def _mean_with_interval(values: Sequence[float]) -> str:
    """Return the mean, with its 95 % interval (Student's) if there are several values."""
    mean = sum(values) / len(values)
    if len(values) == 1 or not math.isfinite(mean):
        return f"{mean:.4f}"
    mean, low, high = mean_interval(values)
    return f"{mean:.4f} +- {(high - low) / 2:.4f}"


def _best_so_far(run: Run) -> list[float]:
    best = math.inf
    return [best := min(best, _value(row)) for row in run]


def _value(row: Row) -> float:
    return float(row["value"])
