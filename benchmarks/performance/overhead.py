"""The cost of a suggestion: time per trial of each sampler as a ratio to RandomSampler's.

The objective adds up its parameters, so that a trial's time is Optuna's and the sampler's. All
samplers take turns in one process, a block of trials each, and a block is compared with
RandomSampler's block of the same turn: a machine that slows down slows both. Figures are medians
over the turns, with the 95 % interval of the median. A second RandomSampler shows the noise.

Studies grow to each size by optimizing, and further while they are measured: a row says from
which trial to which. At 100 trials new studies are grown every few turns, so that they do not
become many times as long. Only on SQLite at the largest size are studies filled with the trials
of a random search instead, since growing them there takes too long.

Blocks are whole generations of 20, so that each block has all the costs of a generation.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import sqrt
from pathlib import Path
from time import perf_counter
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from tqdm import tqdm

from benchmarks.markdown import table as markdown_table
from benchmarks.options import Options, at_least
from benchmarks.rows import RESULTS, Row, environment, read_frame, write_rows
from benchmarks.samplers import SAMPLERS, Search
from optuna_ga import GASampler

SEARCH = Search(seed=0, population_size=20)
VARIANTS: Mapping[str, Callable[[], BaseSampler]] = {
    "random-again": lambda: RandomSampler(seed=1),
    "ga-unrecorded": lambda: GASampler(seed=0, record=False),
    "ga-elitism-unrecorded": lambda: GASampler(seed=0, elitism=True, record=False),
}
NAMES = (
    "random", "random-again", "ga", "ga-unrecorded", "ga-elitism", "ga-elitism-unrecorded",
    "adaptive-model-free", "adaptive", "nsga2", "cmaes", "tpe",
)  # fmt: skip
COMPARED = [name for name in NAMES if not name.startswith("adaptive")]
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
        parser.error("argument --samplers: random must be among them for the ratios")
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
    """Return the ratios of a file of rows as tables of samplers by sizes."""
    rows = read_frame(path)
    parts = []
    for (storage, n_params), found in rows.groupby(["storage", "n_params"], sort=False):
        sizes = found["first_trial"].unique()
        cells = {(row.sampler, row.first_trial): _cell(row) for row in found.itertuples()}
        lines = [
            [name, *(cells.get((name, size), "-") for size in sizes)]
            for name in found["sampler"].unique()
        ]
        parts.append(f"{storage}, {n_params} parameters, ratio to random from so many trials on\n")
        parts.append(markdown_table(["sampler", *sizes], lines, padded=True))
    return "\n".join(parts)


def _sampler(name: str) -> BaseSampler:
    return VARIANTS[name]() if name in VARIANTS else SAMPLERS[name](SEARCH)


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
    return optuna.create_study(storage=url, sampler=_sampler(name))


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
                study_name="filled", storage=f"sqlite:///{path}", sampler=_sampler(name)
            ),
        )


def _take_turns(
    studies: Mapping[str, Study], n_params: int, n_turns: int, block: int
) -> dict[str, list[float]]:
    """Return the seconds of each sampler's blocks, in order of the turns."""
    objective = _objective(n_params)
    seconds: dict[str, list[float]] = {name: [] for name in studies}
    for study in studies.values():  # Reading a study for the first time is no trial's cost.
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


def _cell(row: Any) -> str:
    return f"{row.ratio:.2f} ({row.low:.2f}-{row.high:.2f})"


def _parser() -> Options:
    parser = Options("python -m benchmarks.performance.overhead", __doc__)
    storages, names = list(SIZES), list(NAMES)
    parser.add("--storages", "storages", storages, nargs="+", choices=storages)
    parser.add("--samplers", "samplers", COMPARED, nargs="+", choices=names)
    parser.add("--params", "numbers of parameters", [3, 10], nargs="+", type=at_least(1))
    parser.add("--largest", "largest number of trials", 100_000, type=at_least(100))
    parser.add("--turns", "blocks of trials per sampler and size", 25, type=at_least(6))
    parser.add("--out", "file of rows", RESULTS / "overhead.csv", type=Path)
    return parser


if __name__ == "__main__":
    main()
