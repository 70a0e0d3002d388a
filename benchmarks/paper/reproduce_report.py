"""The report on the paper's five runs, made from rows alone: tables, verdicts and a figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.markdown import paragraph, table
from benchmarks.paired import Claim, claims_table, difference, mean_interval, with_interval
from benchmarks.paper.runs import COMPARED, PAPER, PaperRun
from benchmarks.trainings import GUESSING

# The number of digits, and the possible values, of each measure.
MEASURES = {
    "best": (3, (0.0, GUESSING)),
    "accuracy": (3, (0.0, 1.0)),
    "test_accuracy": (3, (0.0, 1.0)),
    "diverged": (1, (0.0, np.inf)),
    "seconds": (1, (0.0, np.inf)),
    "training_loss": (3, (0.0, np.inf)),
}
# Only answers have it: "nan" is that of a diverged answer, "unknown" that of an untested one.
TEXTS = ("test_accuracy",)
STUDY = ["population_size", "generations", "sampler", "seed"]


def report(rows: pd.DataFrame, facts: Path) -> str:
    """Return the report as Markdown.

    Args:
        rows: The trials of all studies.
        facts: The file of the problem and of the environments.
    """
    known = json.loads(facts.read_text())
    devices = sorted({f"{e['device']}, {e['processor']}" for e in known["environments"]})
    studies = measured(rows)
    runs = _begun(studies)
    return "\n".join(
        [
            "# The paper's five runs\n",
            paragraph(
                f"""{known["problem"]}; {known["date"]}, {"; ".join(devices)}. Made by
                `python -m benchmarks.paper.reproduce`, which with `report` at its end makes this
                page again from the rows. The paper does not state the baseline's population,
                generations and mutation rate, nor the mutation rates of runs 1 and 2: 20, 10 and
                0.1 are assumptions. Means over n seeds of the samplers with 95 % intervals; the
                paper gives single figures."""
            ),
            "## The paper's table\n",
            _paper_table(runs, studies),
            paragraph(
                """The training loss is that of the answer, the best of the final generation; the
                validation loss and the accuracy are those of the best trial; the test accuracy is
                that of the answer, trained once more. Times are sums over all trainings.
                [Why the paper's losses cannot be those of unseen images](../paper/leak.md)."""
            ),
            *_elsewhere(rows),
            *_untested(studies),
            "## Beside random search and TPE, with as many trials\n",
            _sampler_table(runs, studies),
            paragraph(
                """All are asked for a generation at a time. TPE draws its first ten trials at
                random, and more if more are asked for before the first are told."""
            ),
            "## The paper's claims\n",
            paragraph(
                """Differences are paired by seed; a negative one is in favour of the claim. A line
                is shown if it is significant at the 0.05 level after Holm's correction for all
                lines of its claim. With the same seed run 4 begins with run 3, so that its best
                trial cannot be worse. Runs of ten trials are not compared with TPE, which is
                random search there. The seconds of all trials favour samplers with more trials
                that diverge, which end at once; those until `as good` end when the loss is as low
                as what both reach."""
            ),
            _claims(runs, studies, curves(rows)),
        ]
    )


def _elsewhere(rows: pd.DataFrame) -> list[str]:
    """Say which studies did not run on the device of most."""
    others = rows[~_is_timed(rows)]
    if others.empty:
        return []
    found: dict[str, list[str]] = {}
    for size, generations, sampler, seed in others[STUDY].drop_duplicates().to_numpy().tolist():
        found.setdefault(f"{size} x {generations}, {sampler}", []).append(str(seed))
    studies = "; ".join(
        f"{study}, seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}"
        for study, seeds in found.items()
    )
    devices = " and ".join(sorted(others["device"].unique()))
    return [
        paragraph(f"Trained on another device, {devices}, and left out of the times: {studies}.")
    ]


def _is_timed(rows: pd.DataFrame) -> pd.Series:
    """Return whether a trial's study ran on the device of most trials, from first to last."""
    (main,) = rows["device"].mode()[:1]
    here = rows["device"] == main
    study = pd.MultiIndex.from_frame(rows[STUDY])
    return ~pd.Series(study.isin(study[~here]), rows.index)


def _untested(studies: pd.DataFrame) -> list[str]:
    """Say how many answers have no test accuracy."""
    n = int(studies["test_accuracy"].isna().sum())
    words = f"Of {len(studies)} answers {n} have not been scored on the test images."
    return [paragraph(words)] if n else []


def curves(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the trials with the best so far and the time.

    Added are the lowest loss so far, at most that of guessing, the accuracy of that trial, and the
    seconds of training until then, NaN in studies that did not run on the device of most trials.
    """
    by_study = rows.groupby(STUDY, sort=False)
    lowest = by_study["validation_loss"].cummin()
    of_best = rows["accuracy"].fillna(0.1).where(rows["validation_loss"] == lowest)
    return rows.assign(
        best=lowest.clip(upper=GUESSING),
        best_accuracy=of_best.groupby([rows[name] for name in STUDY]).ffill(),
        elapsed=by_study["seconds"].cumsum().where(_is_timed(rows)),
    )


def measured(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the figures of each study.

    Diverged trainings have the loss and the accuracy of guessing.
    """
    trials = curves(rows).assign(diverged=np.isinf(rows["validation_loss"]))
    by_study = trials.groupby(STUDY, sort=False)
    best = rows.loc[by_study["validation_loss"].idxmin()].set_index(STUDY)
    answer = rows[rows["test_accuracy"] != ""].set_index(STUDY)
    return pd.DataFrame(
        {
            "best": by_study["best"].last(),
            "seconds": by_study["elapsed"].last(),
            "diverged": by_study["diverged"].sum(),
            "accuracy": best["accuracy"].fillna(0.1),
            "test_accuracy": _tested(answer["test_accuracy"]),
            "training_loss": answer["training_loss"].fillna(GUESSING),
            "answer_loss": answer["validation_loss"].clip(upper=GUESSING),
        }
    ).reset_index()


def of_run(studies: pd.DataFrame, run: PaperRun, sampler: str) -> pd.DataFrame:
    """Return the rows of a sampler with the size of one of the paper's runs, by seed."""
    chosen = (
        (studies["population_size"] == run.population_size)
        & (studies["generations"] == run.n_generations)
        & (studies["sampler"] == sampler)
    )
    return studies[chosen].set_index("seed").sort_index()


def _tested(accuracies: pd.Series) -> pd.Series:
    """Return test accuracies, NaN where they are unknown."""
    known = accuracies[accuracies != "unknown"].astype(float).fillna(0.1)
    return known.reindex(accuracies.index)


def plot(rows: pd.DataFrame, path: Path) -> None:
    """Draw the validation loss across the runs, over evaluations and over seconds.

    Runs whose genetic algorithm has no complete study are left out.
    """
    studies, trials = measured(rows), curves(rows)
    runs = _begun(studies)
    if not runs:
        return
    figure = Figure(figsize=(17, 4), layout="constrained")
    across, over_trials, over_time, efficiency = figure.subplots(1, 4)
    positions = np.arange(len(runs))
    across.plot(positions, [run.validation_loss for run in runs], "k_", ms=14, label="paper")
    for shift, name in zip((-0.2, 0.0, 0.2), ("ga", "random", "tpe"), strict=True):
        found = [of_run(studies, run, run.sampler if name == "ga" else name) for run in runs]
        means, lows, highs = np.array([mean_interval(f["best"].tolist()) for f in found]).T
        errors = np.nan_to_num([np.minimum(means - lows, means), highs - means])
        across.errorbar(positions + shift, means, errors, fmt="o", capsize=3, label=name)
    across.set_xticks(positions, [run.name for run in runs])
    across.set(ylabel="best validation loss", ylim=(0, None))
    across.legend()
    for run in runs:
        studied = of_run(trials, run, run.sampler).reset_index()
        by_evaluation = studied.pivot(index="trial", columns="seed", values="best")
        evaluations = range(1, len(by_evaluation) + 1)
        (line,) = over_trials.step(
            evaluations, by_evaluation.mean(axis="columns"), where="post", label=run.name
        )
        for _, study in studied.groupby("seed"):
            over_time.step(
                study["elapsed"], study["best"], where="post", color=line.get_color(), lw=0.7,
                alpha=0.6,
            )  # fmt: skip
    over_trials.set(xlabel="evaluations", ylabel="best validation loss so far, mean", xscale="log")
    over_trials.legend()
    over_time.set(xlabel="seconds of training, each seed", xscale="log")
    _plot_efficiency(efficiency, trials, runs)
    figure.savefig(path, dpi=110)


def _plot_efficiency(axes: Axes, trials: pd.DataFrame, runs: Sequence[PaperRun]) -> None:
    """Draw the paper's training efficiency: accuracy of the best so far over training time."""
    styles = {"ga": "-", "random": ":", "tpe": "--"}
    for number, run in enumerate(runs):
        for name, style in styles.items():
            found = of_run(trials, run, run.sampler if name == "ga" else name)
            seconds, accuracies = mean_over_time(found)
            label = run.name if name == "ga" else None
            axes.step(seconds, accuracies, style, where="post", c=f"C{number}", label=label)
    for name, style in styles.items():
        axes.plot([], [], style, c="0.4", label=name)
    axes.set(xlabel="seconds of training", ylabel="accuracy of the best so far, mean")
    axes.set_xscale("log")
    axes.legend(fontsize="small")


def mean_over_time(trials: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return times `(n,)` and the mean over seeds of the best trial's accuracy then `(n,)`.

    They begin when each seed has a trial. A seed that has ended keeps its last accuracy. A seed
    without times is left out.

    Args:
        trials: Trials of one sampler on one run, by seed, as `curves` returns them.
    """
    studies = [study for _, study in trials.dropna(subset="elapsed").groupby("seed")]
    if not studies:
        return np.empty(0), np.empty(0)
    begin = max(study["elapsed"].iloc[0] for study in studies)
    times = np.unique(np.concatenate([study["elapsed"] for study in studies]))
    times = times[times >= begin]
    latest = [np.searchsorted(study["elapsed"], times, side="right") - 1 for study in studies]
    pairs = zip(studies, latest, strict=True)
    accuracies = [study["best_accuracy"].to_numpy()[positions] for study, positions in pairs]
    return times, np.mean(accuracies, axis=0)


def _begun(studies: pd.DataFrame) -> list[PaperRun]:
    """Return the runs whose genetic algorithm has a study."""
    return [run for run in PAPER if len(of_run(studies, run, run.sampler))]


def _paper_table(runs: Sequence[PaperRun], studies: pd.DataFrame) -> str:
    def line(run: PaperRun) -> Sequence[object]:
        found = of_run(studies, run, run.sampler)

        def ours(name: str) -> str:
            return with_interval(found[name].dropna().tolist(), *MEASURES[name])

        return (
            run.name, f"{run.population_size} x {run.n_generations}", run.mutation_prob,
            len(found), run.training_loss, ours("training_loss"), run.validation_loss,
            ours("best"), ours("accuracy"), ours("test_accuracy"), f"{run.minutes} min",
            f"{ours('seconds')} s",
        )  # fmt: skip

    header = (
        "run", "population x generations", "mutation", "n", "training loss: paper", "ours",
        "validation loss: paper", "ours", "accuracy", "test accuracy", "time: paper", "ours",
    )  # fmt: skip
    return table(header, map(line, runs))


def _sampler_table(runs: Sequence[PaperRun], studies: pd.DataFrame) -> str:
    measures = ("best", "accuracy", "test_accuracy", "diverged", "seconds")
    header = (
        "run", "sampler", "n", "validation loss", "accuracy", "test accuracy", "diverged",
        "time, s",
    )  # fmt: skip
    lines = [
        [run.name, name, len(found := of_run(studies, run, name))]
        + [
            with_interval(found[measure].dropna().tolist(), *MEASURES[measure])
            for measure in measures
        ]
        for run in runs
        for name in (run.sampler, "random", "tpe")
    ]
    return table(header, lines)


def _claims(runs: Sequence[PaperRun], studies: pd.DataFrame, trials: pd.DataFrame) -> str:
    found: list[Claim] = []

    def add(claim: str, words: str, first: pd.Series, second: pd.Series) -> None:
        pairs = pd.concat([first, second], axis="columns", join="inner").dropna().sort_index()
        if len(pairs) >= 2:
            found.append(Claim(claim, words, difference(*pairs.to_numpy().T.tolist())))

    by_name = {run.name: of_run(studies, run, run.sampler) for run in runs}
    for claim, first, second, caution in COMPARED:
        if first in by_name and second in by_name:
            for measure, what in (("best", ""), ("answer_loss", " of the answer")):
                words = f"{first} against {second}, validation loss{what}{caution}"
                add(claim, words, by_name[first][measure], by_name[second][measure])
    for run in runs:
        mine = by_name[run.name]
        for name in run.baselines:
            other = of_run(studies, run, name)
            against = f"{run.name} against {name}"
            beats, saves = f"the GA beats {name}", f"it saves time beside {name}"
            add(beats, f"{against}, validation loss", mine["best"], other["best"])
            errors = 1 - mine["test_accuracy"], 1 - other["test_accuracy"]
            add(beats, f"{against}, test error of the answer", *errors)
            add(saves, f"{against}, seconds of all trials", mine["seconds"], other["seconds"])
            times = seconds_until_as_good(trials, run, name)
            add(saves, f"{against}, seconds until as good", *times)
    return claims_table(found)


def seconds_until_as_good(
    trials: pd.DataFrame, run: PaperRun, other: str
) -> tuple[pd.Series, pd.Series]:
    """Return the seconds of the genetic algorithm and of another sampler until both are as good.

    That is when each has reached the higher of their lowest losses, seed by seed.
    """
    mine, theirs = of_run(trials, run, run.sampler), of_run(trials, run, other)
    lowest = pd.concat([each["best"].groupby("seed").min() for each in (mine, theirs)], axis=1)
    common = lowest.max(axis="columns", skipna=False)

    def seconds(of_sampler: pd.DataFrame) -> pd.Series:
        reached = of_sampler[of_sampler["best"] <= common.reindex(of_sampler.index)]
        return reached["elapsed"].groupby("seed").min()

    return seconds(mine), seconds(theirs)
