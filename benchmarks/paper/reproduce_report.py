"""The report on the paper's five runs, made from rows alone: tables, verdicts and a figure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.markdown import paragraph, table
from benchmarks.paired import Claim, claims_table, difference, mean_interval, with_interval
from benchmarks.paper.runs import COMPARED, PaperRun
from benchmarks.rows import read_rows
from benchmarks.trainings import GUESSING, accuracy_or_guessing

Row = Mapping[str, str]
Study = Sequence[Row]  # Its trials, in order.
Measure = Callable[[Study], float]
Studies = Mapping[tuple[int, int, str], Mapping[int, Study]]  # By size, generations and sampler.


def read(path: Path) -> Studies:
    """Return the studies of a file of rows, by their seeds."""
    studies: dict[tuple[int, int, str], dict[int, list[Row]]] = {}
    for row in read_rows(path):
        key = int(row["population_size"]), int(row["generations"]), row["sampler"]
        studies.setdefault(key, {}).setdefault(int(row["seed"]), []).append(row)
    return studies


def report(runs: Sequence[PaperRun], studies: Studies, facts: Path) -> str:
    """Return the report as Markdown."""
    told = json.loads(facts.read_text())
    devices = sorted({f"{e['device']}, {e['processor']}" for e in told["environments"]})
    runs = [run for run in runs if _of(studies, run, run.sampler)]
    return "\n".join(
        [
            "# The paper's five runs\n",
            paragraph(
                f"""{told["problem"]}; {told["date"]}, {"; ".join(devices)}. Made by
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
            "## Beside random search and TPE, with as many trials\n",
            _sampler_table(runs, studies),
            paragraph(
                """All are asked for a generation at a time. TPE draws its first ten trials at
                random, and more if more are asked for before the first are told."""
            ),
            "## The paper's claims\n",
            paragraph(
                """Differences are paired by seed; a negative one is in favour of the claim. A
                claim is shown if it is significant at the 0.05 level after Holm's correction for
                all lines. With the same seed run 4 begins with run 3, so that its best trial
                cannot be worse. Runs of ten trials are not compared with TPE, which is random
                search there. The seconds of all trials favour samplers with more trials that
                diverge, which end at once; those until `as good` end when the loss is as low as
                what both reach."""
            ),
            _claims(runs, studies),
        ]
    )


def plot(runs: Sequence[PaperRun], studies: Studies, path: Path) -> None:
    """Draw the validation loss across the runs, over evaluations and over seconds.

    Runs whose genetic algorithm has not ended for any seed are left out.
    """
    figure = Figure(figsize=(13, 4), layout="constrained")
    across, over_trials, over_time = figure.subplots(1, 3)
    runs = [run for run in runs if _of(studies, run, run.sampler)]
    if not runs:
        return
    positions = np.arange(len(runs))
    across.plot(positions, [run.validation_loss for run in runs], "k_", ms=14, label="paper")
    for shift, name in zip((-0.2, 0.0, 0.2), ("ga", "random", "tpe"), strict=True):
        found = [_each(studies, r, r.sampler if name == "ga" else name, _best) for r in runs]
        means, lows, highs = np.array([mean_interval(values) for values in found]).T
        errors = np.nan_to_num([means - lows, highs - means])
        across.errorbar(positions + shift, means, errors, fmt="o", capsize=3, label=name)
    across.set_xticks(positions, [run.name for run in runs])
    across.set(ylabel="best validation loss", ylim=(0, None))
    across.legend()
    for run in runs:
        of_run = list(_of(studies, run, run.sampler).values())
        curves = [_best_so_far(study) for study in of_run]
        (line,) = over_trials.step(
            range(1, len(curves[0]) + 1), np.mean(curves, axis=0), where="post", label=run.name
        )
        for study, curve in zip(of_run, curves, strict=True):
            over_time.step(
                _elapsed(study), curve, where="post", color=line.get_color(), lw=0.7, alpha=0.6
            )
    over_trials.set(xlabel="evaluations", ylabel="best validation loss so far, mean", xscale="log")
    over_trials.legend()
    over_time.set(xlabel="seconds of training, each seed", xscale="log")
    figure.savefig(path, dpi=110)


def _paper_table(runs: Sequence[PaperRun], studies: Studies) -> str:
    def line(run: PaperRun) -> Sequence[object]:
        def ours(measure: Measure, digits: int = 3) -> str:
            return with_interval(_each(studies, run, run.sampler, measure), digits)

        return (
            run.name, f"{run.population_size} x {run.n_generations}", run.mutation_prob,
            len(_of(studies, run, run.sampler)), run.training_loss, ours(_training_loss),
            run.validation_loss, ours(_best), ours(_accuracy), ours(_test_accuracy),
            f"{run.minutes} min", f"{ours(_seconds, 1)} s",
        )  # fmt: skip

    header = (
        "run", "population x generations", "mutation", "n", "training loss: paper", "ours",
        "validation loss: paper", "ours", "accuracy", "test accuracy", "time: paper", "ours",
    )  # fmt: skip
    return table(header, map(line, runs))


def _sampler_table(runs: Sequence[PaperRun], studies: Studies) -> str:
    figures = ((_best, 3), (_accuracy, 3), (_test_accuracy, 3), (_diverged, 1), (_seconds, 1))
    header = (
        "run", "sampler", "n", "validation loss", "accuracy", "test accuracy", "diverged",
        "time, s",
    )  # fmt: skip
    lines = [
        [run.name, name, len(_of(studies, run, name))]
        + [
            with_interval(_each(studies, run, name, measure), digits)
            for measure, digits in figures
        ]
        for run in runs
        for name in (run.sampler, "random", "tpe")
    ]
    return table(header, lines)


def _claims(runs: Sequence[PaperRun], studies: Studies) -> str:
    by_name = {run.name: run for run in runs}
    found: list[Claim] = []

    def add(claim: str, what: str, first: Side, second: Side, measure: Measure) -> None:
        seeds = sorted(set(first[1]) & set(second[1]))
        if len(seeds) >= 2:
            pairs = [(measure(first[1][seed]), measure(second[1][seed])) for seed in seeds]
            words = f"{first[0]} against {second[0]}, {what}"
            found.append(Claim(claim, words, difference(*zip(*pairs, strict=True))))

    def ga(name: str) -> Side:
        run = by_name.get(name)
        return name, {} if run is None else _of(studies, run, run.sampler)

    for claim, first, second, caution in COMPARED:
        add(claim, f"validation loss{caution}", ga(first), ga(second), _best)
        add(claim, f"validation loss of the answer{caution}", ga(first), ga(second), _answer_loss)
    for run in runs:
        for name in run.baselines:
            mine, other = (run.name, ga(run.name)[1]), (name, _of(studies, run, name))
            beats, saves = f"the GA beats {name}", f"it saves time beside {name}"
            add(beats, "validation loss", mine, other, _best)
            add(beats, "test error of the answer", mine, other, lambda s: 1 - _test_accuracy(s))
            add(saves, "seconds of all trials", mine, other, _seconds)
            found += as_good(saves, mine, other)
    return claims_table(found)


def as_good(claim: str, mine: Side, other: Side) -> list[Claim]:
    """Return how the seconds differ until each is as good as the worse of both is in the end."""
    pairs = []
    for seed in sorted(set(mine[1]) & set(other[1])):
        studies = mine[1][seed], other[1][seed]
        common = max(map(_best, studies))
        pairs.append([_seconds_until(study, common) for study in studies])
    if len(pairs) < 2:
        return []
    words = f"{mine[0]} against {other[0]}, seconds until as good"
    return [Claim(claim, words, difference(*zip(*pairs, strict=True)))]


Side = tuple[str, Mapping[int, Study]]


def _of(studies: Studies, run: PaperRun, sampler: str) -> Mapping[int, Study]:
    return studies.get((run.population_size, run.n_generations, sampler), {})


def _each(studies: Studies, run: PaperRun, sampler: str, measure: Measure) -> list[float]:
    return [measure(study) for study in _of(studies, run, sampler).values()]


def _best(study: Study) -> float:
    """Return the lowest validation loss; if everything diverged, that of guessing."""
    return _best_so_far(study)[-1]


def _best_so_far(study: Study) -> list[float]:
    losses = [float(row["validation_loss"]) for row in study]
    return [min(loss, GUESSING) for loss in accumulate(losses, min)]


def _best_row(study: Study) -> Row:
    return min(study, key=lambda row: float(row["validation_loss"]))


def _answer(study: Study) -> Row:
    (answer,) = (row for row in study if row["test_accuracy"])
    return answer


def _training_loss(study: Study) -> float:
    return float(_answer(study)["training_loss"] or GUESSING)


def _answer_loss(study: Study) -> float:
    return min(float(_answer(study)["validation_loss"]), GUESSING)


def _accuracy(study: Study) -> float:
    return float(_best_row(study)["accuracy"] or 0.1)


def _test_accuracy(study: Study) -> float:
    """Return the answer's; what diverged guesses."""
    return accuracy_or_guessing(_answer(study)["test_accuracy"])


def _diverged(study: Study) -> float:
    """Return the number of diverged trials."""
    return sum(math.isinf(float(row["validation_loss"])) for row in study)


def _elapsed(study: Study) -> list[float]:
    return list(accumulate(float(row["seconds"]) for row in study))


def _seconds_until(study: Study, loss: float) -> float:
    reached = (
        seconds
        for seconds, best in zip(_elapsed(study), _best_so_far(study), strict=True)
        if best <= loss
    )
    return next(reached)


def _seconds(study: Study) -> float:
    return _elapsed(study)[-1]
