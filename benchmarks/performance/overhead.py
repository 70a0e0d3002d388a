"""What a suggestion costs: time per trial of each sampler as a ratio to RandomSampler's.

The objective adds up its parameters, so that a trial's time is Optuna's and the sampler's. All
samplers take turns in one process, a block of trials each, and a block is compared with
RandomSampler's block of the same turn: a machine that slows down slows both. Figures are medians
over the turns, with the 95 % interval of the median. A second RandomSampler shows the noise.

Studies grow to each size by optimizing, and further while they are measured: a row says from
which trial to which. At 100 trials new studies are grown every few turns, lest they be measured
at many times that. Only on SQLite at the largest size are studies filled with the trials of a
random search instead, since growing them there takes too long.

Blocks are whole generations of 20, so that each holds all that a generation costs.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import sqrt
from pathlib import Path
from time import perf_counter
from typing import Any

import optuna
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study
from tqdm import tqdm

from benchmarks.options import at_least
from benchmarks.rows import RESULTS, Row, environment, write_rows
from optuna_ga import GASampler

SAMPLERS: Mapping[str, Callable[[], BaseSampler]] = {
    "random": lambda: RandomSampler(seed=0),
    "random-again": lambda: RandomSampler(seed=1),
    "ga": lambda: GASampler(seed=0),
    "ga-unrecorded": lambda: GASampler(seed=0, record=False),
    "ga-elitism": lambda: GASampler(seed=0, elitism=True),
    "ga-elitism-unrecorded": lambda: GASampler(seed=0, elitism=True, record=False),
    "adaptive-model-free": lambda: GASampler.adaptive(20, screen=False, seed=0),
    "adaptive": lambda: GASampler.adaptive(20, screen=True, seed=0),
    "nsga2": lambda: NSGAIISampler(population_size=20, seed=0),
    "cmaes": lambda: CmaEsSampler(seed=0),
    "tpe": lambda: TPESampler(seed=0),
}
COMPARED = [name for name in SAMPLERS if not name.startswith("adaptive")]
# Beyond these sizes they would take most of the time.
LARGEST = {
    "memory": {"adaptive": 1_000, "nsga2": 10_000, "cmaes": 1_000, "tpe": 1_000},
    "sqlite": {"adaptive": 1_000, "nsga2": 1_000, "cmaes": 100, "tpe": 100},
}
# Whole generations of GASampler and NSGAIISampler.
BLOCKS = {"memory": 40, "sqlite": 20}
TURNS_AT_SMALLEST = 5
SIZES = {"memory": (100, 1_000, 10_000, 100_000), "sqlite": (100, 1_000, 10_000)}
FILLED_ON_SQLITE = 10_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the rows; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if "random" not in options.samplers:
        parser.error("argument --samplers: random must be one, since the others are ratios to it")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows: list[Row] = []
    for storage in options.storages:
        sizes = [size for size in SIZES[storage] if size <= options.largest]
        for n_params in options.params:
            rows += measure(storage, n_params, sizes, options.turns, options.samplers)
    write_rows(options.out, rows)
    print(table(options.out))


def measure(
    storage: str,
    n_params: int,
    sizes: Sequence[int],
    n_turns: int,
    samplers: Sequence[str] = COMPARED,
) -> list[Row]:
    """Return a row for each size and sampler.

    Args:
        storage: "memory" or "sqlite".
        n_params: Number of float parameters.
        sizes: Trials in a study when its measurement begins, ascending.
        n_turns: Turns, at least 6, so that the interval of the median exists.
        samplers: The samplers' names; "random" must be one of them.
    """
    rows: list[Row] = []
    block = BLOCKS[storage]
    with tempfile.TemporaryDirectory() as folder:
        studies: dict[str, Study] = {}
        for size in tqdm(
            sizes, desc=f"{storage}, {n_params} parameters", unit="size", disable=None
        ):
            names = [name for name in samplers if size <= LARGEST[storage].get(name, size)]
            turns = min(n_turns, TURNS_AT_SMALLEST) if size == min(sizes) else n_turns
            seconds: dict[str, list[float]] = {name: [] for name in names}
            while len(seconds["random"]) < n_turns:
                if turns < n_turns:
                    studies = {}
                if storage == "sqlite" and size >= FILLED_ON_SQLITE:
                    studies = dict(_filled(names, n_params, size, Path(folder)))
                studies = {
                    name: studies.get(name) or _new(name, storage, folder) for name in names
                }
                _grow(studies, n_params, size)
                for name, blocks in _take_turns(studies, n_params, turns, block).items():
                    seconds[name] += blocks
            rows += _rows(
                {name: blocks[:n_turns] for name, blocks in seconds.items()},
                storage=storage,
                n_params=n_params,
                first_trial=size,
                last_trial=size + (turns + 1) * block,
                trials_per_turn=block,
            )
    return rows


def table(path: Path) -> str:
    """Return the ratios of a file of rows as a table of sizes by samplers."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = []
    for storage, n_params in dict.fromkeys((row["storage"], row["n_params"]) for row in rows):
        chosen = [r for r in rows if (r["storage"], r["n_params"]) == (storage, n_params)]
        sizes = list(dict.fromkeys(row["first_trial"] for row in chosen))
        lines.append(f"\n{storage}, {n_params} parameters, ratio to random from so many trials on")
        lines.append(f"{'':22}" + "".join(f"{size:>24}" for size in sizes))
        for name in dict.fromkeys(row["sampler"] for row in chosen):
            cells = {r["first_trial"]: _cell(r) for r in chosen if r["sampler"] == name}
            lines.append(f"{name:22}" + "".join(f"{cells.get(size, '-'):>24}" for size in sizes))
    return "\n".join(lines)


def _objective(n_params: int) -> Callable[[optuna.Trial], float]:
    names = [f"x{i}" for i in range(n_params)]
    return lambda trial: sum(trial.suggest_float(name, 0.0, 1.0) for name in names)


def _grow(studies: Mapping[str, Study], n_params: int, size: int) -> None:
    for study in studies.values():
        n_missing = size - len(study.get_trials(deepcopy=False))
        study.optimize(_objective(n_params), n_trials=max(n_missing, 0))


def _new(name: str, storage: str, folder: str) -> Study:
    n_files = len(list(Path(folder).iterdir()))
    url = None if storage == "memory" else f"sqlite:///{folder}/{n_files}.db"
    return optuna.create_study(storage=url, sampler=SAMPLERS[name]())


def _filled(
    names: Sequence[str], n_params: int, size: int, folder: Path
) -> Iterator[tuple[str, Study]]:
    """Yield a study for each sampler that holds the trials of one random search."""
    memory = optuna.storages.InMemoryStorage()
    source = optuna.create_study(
        study_name="filled", storage=memory, sampler=RandomSampler(seed=2)
    )
    source.optimize(_objective(n_params), n_trials=size)
    url = f"sqlite:///{folder}/filled.db"
    storage = optuna.storages.RDBStorage(url)
    optuna.copy_study(from_study_name="filled", from_storage=memory, to_storage=storage)
    storage.engine.dispose()
    for name in names:
        path = folder / f"filled-{name}.db"
        shutil.copyfile(folder / "filled.db", path)
        yield (
            name,
            optuna.load_study(
                study_name="filled", storage=f"sqlite:///{path}", sampler=SAMPLERS[name]()
            ),
        )


def _take_turns(
    studies: Mapping[str, Study], n_params: int, n_turns: int, block: int
) -> dict[str, list[float]]:
    """Return the seconds of each sampler's blocks, in order of the turns."""
    objective = _objective(n_params)
    seconds: dict[str, list[float]] = {name: [] for name in studies}
    for study in studies.values():  # What is read of a study once is not what a trial costs.
        study.optimize(objective, n_trials=block)
    for turn in range(n_turns):
        names = list(studies)
        for name in names if turn % 2 else reversed(names):
            start = perf_counter()
            studies[name].optimize(objective, n_trials=block)
            seconds[name].append(perf_counter() - start)
    return seconds


def _rows(seconds: Mapping[str, Sequence[float]], **where: Any) -> Iterator[Row]:
    for name, blocks in seconds.items():
        ratios = [mine / random for mine, random in zip(blocks, seconds["random"], strict=True)]
        low, high = interval_of_median(ratios)
        yield {
            **where,
            "sampler": name,
            "ratio": round(statistics.median(ratios), 3),
            "low": round(low, 3),
            "high": round(high, 3),
            "ms_per_trial": round(1000 * statistics.median(blocks) / where["trials_per_turn"], 4),
            "turns": len(blocks),
            **environment("CPU"),
        }


def interval_of_median(values: Sequence[float]) -> tuple[float, float]:
    """Return the order statistics that bound the median with 95 % confidence."""
    ordered = sorted(values)
    margin = 0.98 * sqrt(len(ordered))  # 1.96 standard deviations of a binomial with p = 1/2.
    below = max(int(len(ordered) / 2 - margin), 0)
    return ordered[below], ordered[-1 - below]


def _cell(row: Mapping[str, str]) -> str:
    return f"{float(row['ratio']):.2f} ({float(row['low']):.2f}-{float(row['high']):.2f})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.performance.overhead",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--storages", nargs="+", choices=list(SIZES), default=list(SIZES), help="storages")
    add("--samplers", nargs="+", choices=list(SAMPLERS), default=COMPARED, help="samplers")
    add("--params", nargs="+", type=at_least(1), default=[3, 10], help="numbers of parameters")
    add("--largest", type=at_least(100), default=100_000, help="largest number of trials")
    add("--turns", type=at_least(6), default=25, help="blocks of trials per sampler and size")
    add("--out", type=Path, default=RESULTS / "overhead.csv", help="file for the rows")
    return parser


if __name__ == "__main__":
    main()
