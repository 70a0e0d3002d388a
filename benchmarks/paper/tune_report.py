"""The report on the main job, made from rows alone: a table and curves."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.markdown import table as markdown_table
from benchmarks.paired import mean_interval
from benchmarks.rows import read_frame

WIDTH = 80  # Of text, in columns.
PAPER_PARAMS = ["learning_rate", "momentum", "weight_decay"]


def read_runs(path: Path) -> dict[str, pd.DataFrame]:
    """Return the complete trials of a file of rows, by problem, on the seeds of all samplers."""
    rows = read_frame(path)
    rows = rows[rows["state"] == "COMPLETE"]
    return {str(name): _common_seeds(runs) for name, runs in rows.groupby("problem", sort=False)}


def _common_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of the seeds that all samplers have, in order of seeds and trials."""
    samplers = runs.groupby("seed")["sampler"].nunique()
    common = samplers.index[samplers == runs["sampler"].nunique()]
    chosen = runs[runs["seed"].isin(common)].sort_values(["seed", "trial"])
    chosen["best"] = chosen.groupby(["sampler", "seed"])["value"].cummin()
    order = {name: position for position, name in enumerate(runs["sampler"].unique())}
    return chosen.sort_values("sampler", key=lambda names: names.map(order), kind="stable")


def table(runs: pd.DataFrame) -> str:
    """Return a table with one line per sampler, and notes on how to read it.

    Losses, times and accuracies are means over seeds, the first with its 95 % interval; the
    hyperparameters are those of the best trial of all. An objective without an attribute
    `validation_loss` has values instead of losses, without `validation_accuracy` no accuracy.
    """
    if runs.empty:
        return "The samplers have no seed in common yet."
    params = _params(runs)
    accuracy = ["accuracy"] * ("validation_accuracy" in runs)
    header = ["sampler", _value_name(runs), *accuracy]
    header += [*(name.replace("_", " ") for name in params), "time"]
    lines = [
        _line(str(name), of_one, params) for name, of_one in runs.groupby("sampler", sort=False)
    ]
    notes = (textwrap.fill(note, WIDTH) for note in _notes(runs))
    return markdown_table(header, lines, padded=True) + "\n" + "\n".join(notes)


def _params(runs: pd.DataFrame) -> list[str]:
    """Return the names of all hyperparameters; rows that do not state them are the paper's."""
    if "params" not in runs:
        return PAPER_PARAMS
    names = (name for text in runs["params"].unique() for name in json.loads(text))
    return list(dict.fromkeys(names))


def _value_name(runs: pd.DataFrame) -> str:
    return "loss" if "validation_loss" in runs else "value"


def plot(runs: pd.DataFrame, title: str, path: Path) -> None:
    """Draw the best value so far, over trials and over training time.

    Lines are means over seeds; with several seeds a band spans the lowest and the highest.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    over_trials, over_time = figure.subplots(1, 2, sharey=True)
    for name, of_sampler in runs.groupby("sampler", sort=False):
        studies = [study for _, study in of_sampler.groupby("seed")]
        curves = pd.DataFrame([study["best"].tolist() for study in studies]).dropna(axis="columns")
        trials = range(1, curves.shape[1] + 1)
        (line,) = over_trials.step(trials, curves.mean(), where="post", label=str(name))
        colour = line.get_color()
        if len(studies) > 1:
            over_trials.fill_between(
                trials, curves.min(), curves.max(), step="post", color=colour, alpha=0.2
            )
        for study in studies:
            elapsed = study["training_s"].cumsum()
            over_time.step(elapsed, study["best"], where="post", color=colour)
    over_trials.set(xlabel="trials", ylabel=f"best {_value_name(runs)} so far")
    over_trials.xaxis.set_major_locator(MaxNLocator(integer=True))
    over_trials.legend()
    over_time.set(xlabel="training time (s), each seed")
    figure.savefig(path, dpi=150)


def _line(name: str, runs: pd.DataFrame, params: Sequence[str]) -> list[str]:
    by_seed = runs.groupby("seed")
    bests = runs.loc[by_seed["value"].idxmin()]
    best = bests.sort_values("value", kind="stable").iloc[0]
    cells = [name, _mean_with_interval(bests["value"].tolist())]
    if "validation_accuracy" in runs:
        cells.append(f"{bests['validation_accuracy'].mean(skipna=False):.3f}")
    return [
        *cells,
        *(_shown(best[param]) for param in params),
        f"{by_seed['training_s'].sum().mean():.1f} s",
    ]


def _shown(value: object) -> str:
    """Return a hyperparameter's value; a dash for one that the trial does not have."""
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4f}"
    return str(value) or "-"


def _notes(runs: pd.DataFrame) -> list[str]:
    seeds, names = runs["seed"].unique().tolist(), runs["sampler"].unique().tolist()
    shown = ", ".join(map(str, seeds))
    notes = [
        "Hyperparameters are those of the best trial; time is that of all trials.",
        f"Lower losses are better. {len(seeds)} seeds: {shown}."
        if len(seeds) > 1
        else f"Lower losses are better. One seed, {shown}: no ranking follows from it.",
    ]
    marked = runs["diverged"].astype(str) if "diverged" in runs else pd.Series("", runs.index)
    found = (marked == "True") | (runs["value"] == math.inf)  # Once a diverged loss was infinite.
    of_sampler = found.groupby(runs["sampler"], sort=False)
    counts = (f"{name} {one.sum()} of {one.size}" for name, one in of_sampler)
    notes.append(f"Diverged trials: {', '.join(counts)}.")
    if "tpe" in names:
        notes.append("tpe draws its first 10 trials at random, as Optuna's default is.")
    if "ga" not in names:
        return notes
    answers = runs[(runs["sampler"] == "ga") & runs["answer"]]["value"].tolist()
    if answers:
        notes.append(
            "ga's answer as the paper defines it, the best of its final generation: "
            f"{_mean_with_interval(answers)}."
        )
    if len(seeds) > 1:
        bests = runs.groupby(["seed", "sampler"])["value"].min().unstack("sampler")
        notes += [
            f"ga minus {name}, paired by seed: "
            f"{_mean_with_interval((bests['ga'] - bests[name]).tolist())}."
            for name in names
            if name != "ga"
        ]
    return notes


def _mean_with_interval(values: Sequence[float]) -> str:
    """Return the mean, with its 95 % interval (Student's) if there are several values."""
    mean = sum(values) / len(values)
    if len(values) == 1 or not math.isfinite(mean):
        return f"{mean:.4f}"
    mean, low, high = mean_interval(values)
    return f"{mean:.4f} +- {(high - low) / 2:.4f}"
