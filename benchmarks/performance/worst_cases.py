"""The worst cases: the cost of a suggestion in studies that are hard on a sampler, and its memory.

Each case is a history of trials and an objective. Every sampler runs it in a process of its own,
which measures the seconds of CPU of the first trial, which reads the history, and of each trial
after it, and the peak of memory during all of them, without the memory of the history. The
samplers of a case take turns, so that a machine that slows down slows all of them. Figures are
medians over the turns; ratios are to RandomSampler and to TPESampler in the same turn. Trials are
run until the time for a turn is over, at least one after the first.

The cases, by what lies in the study:

- `dead`: 1,500 running trials without parameters, as dead workers leave them;
- `running`: 2,000 running trials with parameters;
- `deep`: 1,000 trials of a tree of conditional parameters with over a thousand names;
- `names`: a new name in each trial, 200 so far;
- `choices`: 5,040 permutations as choices, 100 trials;
- `parameters`: 200 parameters, 100 trials;
- `trials`: 50,000 trials.
"""

from __future__ import annotations

import multiprocessing
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from time import process_time
from typing import NamedTuple

import optuna
import pandas as pd
from optuna import Study, Trial
from optuna.samplers import RandomSampler
from tqdm import tqdm

from benchmarks.markdown import table as markdown_table
from benchmarks.options import Options, at_least
from benchmarks.performance.memory import peak_mb
from benchmarks.rows import RESULTS, Row, environment, read_frame, write_rows
from benchmarks.samplers import SAMPLERS, Search

SEARCH = Search(seed=0, population_size=20)
NAMES = ["random", "tpe", "ga", "adaptive-model-free", "adaptive"]
PERMUTATIONS = ["".join(order) for order in permutations("0123456")]
_MOST_TRIALS = 50


class Cost(NamedTuple):
    """The cost of a sampler in one turn.

    Attributes:
        first_s: Seconds of CPU of the first trial.
        next_s: Seconds of CPU of a later trial.
        memory_mb: Peak of memory in MB during these trials; None where the system reports none.
    """

    first_s: float
    next_s: float
    memory_mb: int | None


class Case(NamedTuple):
    """A study that is hard on a sampler.

    Attributes:
        objective: Its objective.
        n_finished: Finished trials.
        n_running: Running trials.
        are_suggested: Whether the running trials have parameters.
    """

    objective: Callable[[Trial], float]
    n_finished: int
    n_running: int = 0
    are_suggested: bool = True

    def study(self) -> Study:
        """Return a study with this history, made by a random search."""
        study = optuna.create_study(sampler=RandomSampler(seed=1))
        study.optimize(self.objective, n_trials=self.n_finished)
        for _ in range(self.n_running):
            trial = study.ask()
            if self.are_suggested:
                self.objective(trial)
        return study


def sphere(trial: Trial) -> float:
    """Return a value of three parameters."""
    return sum(trial.suggest_float(name, -1.0, 1.0) ** 2 for name in "xyz")


def tree(trial: Trial) -> float:
    """Return a value of a tree with 364 nodes of three parameters; a trial has six nodes."""
    node, total = "root", 0.0
    for _ in range(6):
        branch = trial.suggest_int(node, 0, 2)
        total += branch + sum(trial.suggest_float(f"{node} {name}", 0.0, 1.0) for name in "xy")
        node += str(branch)
    return total


def renamed(trial: Trial) -> float:
    """Return a value of two parameters, one of them with a new name."""
    return trial.suggest_float("x", 0.0, 1.0) + trial.suggest_float(f"y{trial.number}", 0.0, 1.0)


def wide(trial: Trial) -> float:
    """Return a value of 200 parameters."""
    return sum(trial.suggest_float(f"x{i}", -1.0, 1.0) ** 2 for i in range(200))


def ordered(trial: Trial) -> float:
    """Return a value of one of the permutations of seven, and of a number."""
    order = trial.suggest_categorical("order", PERMUTATIONS)
    moved = sum(abs(int(digit) - i) for i, digit in enumerate(order))
    return moved + trial.suggest_float("x", 0.0, 1.0)


CASES: Mapping[str, Case] = {
    "dead": Case(sphere, 30, 1_500, are_suggested=False),
    "running": Case(sphere, 30, 2_000),
    "deep": Case(tree, 1_000),
    "names": Case(renamed, 200),
    "choices": Case(ordered, 100),
    "parameters": Case(wide, 100),
    "trials": Case(sphere, 50_000),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the rows; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not {"random", "tpe"} <= {*options.samplers}:
        parser.error("argument --samplers: random and tpe must be among them for the ratios")
    turns = tqdm(
        [(case, turn) for case in options.cases for turn in range(options.turns)],
        desc="worst cases", unit="turn", disable=None,
    )  # fmt: skip
    costs: dict[str, list[dict[str, Cost]]] = {}
    for case, turn in turns:
        names = options.samplers[:: 1 if turn % 2 else -1]
        found = {name: measured(case, name, options.seconds) for name in names}
        costs.setdefault(case, []).append(found)
    write_rows(options.out, list(rows(costs)))
    print(table(read_frame(options.out)))


def measured(case: str, sampler: str, seconds: float) -> Cost:
    """Return the cost of a sampler, measured in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (case, sampler, seconds))


def measure(case: str, sampler: str, seconds: float) -> Cost:
    """Return the cost of a sampler in this process.

    Args:
        case: The case's name.
        sampler: The sampler's name.
        seconds: Seconds of CPU after which no other trial starts.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    # The imports and first calls of a sampler are no cost of the case.
    optuna.create_study(sampler=SAMPLERS[sampler](SEARCH)).optimize(sphere, n_trials=30)
    found = CASES[case]
    study = found.study()
    study.sampler = SAMPLERS[sampler](SEARCH)
    spent: list[float] = []

    def run() -> None:
        while len(spent) < 2 or (sum(spent) < seconds and len(spent) < _MOST_TRIALS):
            start = process_time()
            study.optimize(found.objective, n_trials=1)
            spent.append(process_time() - start)

    memory = peak_mb(run)
    return Cost(spent[0], statistics.fmean(spent[1:]), memory)


def rows(costs: Mapping[str, Sequence[Mapping[str, Cost]]]) -> Iterator[Row]:
    """Yield a row for each case and sampler.

    Args:
        costs: For each case, by turn, the samplers' costs.
    """
    for case, turns in costs.items():
        for name in sorted(turns[0], key=NAMES.index):
            known = [mb for turn in turns if (mb := turn[name].memory_mb) is not None]
            yield {
                "case": case,
                "sampler": name,
                "first_ms": _median_ms(turn[name].first_s for turn in turns),
                "next_ms": _median_ms(turn[name].next_s for turn in turns),
                "first_to_random": _ratio(turns, name, "random", 0),
                "first_to_tpe": _ratio(turns, name, "tpe", 0),
                "next_to_random": _ratio(turns, name, "random", 1),
                "next_to_tpe": _ratio(turns, name, "tpe", 1),
                "memory_mb": statistics.median(known) if known else None,
                "turns": len(turns),
                **environment("CPU"),
            }


def table(found: pd.DataFrame) -> str:
    """Return the rows as a table."""
    header = [
        "case", "sampler", "first trial, ms", "later, ms", "first to random", "first to TPE",
        "later to random", "later to TPE", "memory, MB",
    ]  # fmt: skip
    columns = list(_COLUMNS)
    return markdown_table(header, found[columns].astype(object).to_numpy().tolist())


_COLUMNS = (
    "case", "sampler", "first_ms", "next_ms", "first_to_random", "first_to_tpe",
    "next_to_random", "next_to_tpe", "memory_mb",
)  # fmt: skip


def _median_ms(seconds: Iterator[float]) -> float:
    return _short(1000 * statistics.median(seconds))


def _ratio(turns: Sequence[Mapping[str, Cost]], name: str, other: str, figure: int) -> float:
    ratios = [float(turn[name][figure] or 0) / float(turn[other][figure] or 1) for turn in turns]
    return _short(statistics.median(ratios))


def _short(number: float) -> float:
    return float(f"{number:.3g}")


def _parser() -> Options:
    parser = Options("python -m benchmarks.performance.worst_cases", __doc__)
    cases = list(CASES)
    parser.add("--cases", "cases", cases, nargs="+", choices=cases)
    parser.add("--samplers", "samplers", NAMES, nargs="+", choices=NAMES)
    parser.add("--seconds", "seconds of CPU for a turn", 1.0, type=float)
    parser.add("--turns", "turns of each case", 1, type=at_least(1))
    parser.add("--out", "file of rows", RESULTS / "worst_cases.csv", type=Path)
    return parser


if __name__ == "__main__":
    main()
