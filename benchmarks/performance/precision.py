"""Whether a precision keeps the ranking of settings, which is all that a search needs.

Settings drawn uniformly from the paper's search space are trained in float32, in each other
precision that the device has, and in float32 with another seed of weights and batches: whatever
that changes is noise that no precision need beat. A row compares one of these with float32:

- `spearman`: rank correlation of the validation losses, infinite ones (diverged) last, with the
  95 % bootstrap interval over the settings;
- `same_parents`: share of the better half, the paper's parents, that is the better half of both;
- `diverged_alike`: share of the settings that diverge in both or in neither;
- `beyond_noise`: the rank correlation less that of the other seed, with its 95 % interval over the
  same bootstrap samples. A precision keeps the ranking if this interval does not lie below zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats
from tqdm import tqdm

from benchmarks.options import Options, at_least
from benchmarks.rows import RESULTS, Row, device_name, environment, write_rows
from benchmarks.trainings import (
    Precision,
    default_device,
    load,
    lower_precisions,
    train_settings,
)
from optuna_ga.fashion_mnist import SEARCH_SPACE


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, compare and write the rows; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    device = default_device()
    data = parser.checked(load, options.data, device, options.images)
    settings = _settings(options.settings)

    def losses(seed: int, precision: Precision = "float32") -> np.ndarray:
        loss, _ = train_settings(settings, [seed], data, options.epochs, precision)
        return loss[:, 0, -1]

    exact, noise = losses(0), losses(1)
    others = {"other seed": noise}
    for precision in tqdm(lower_precisions(device), unit="precision", disable=None):
        others[precision] = losses(0, precision)
    rows = [
        {
            "compared": name,
            **compare(exact, other, noise),
            "settings": options.settings,
            "epochs": options.epochs,
            "training_images": len(data.training.labels),
            **environment(device_name(device)),
        }
        for name, other in others.items()
    ]
    path = options.out or RESULTS / f"precision_{device.type}.csv"
    write_rows(path, rows)
    for row in rows:
        print(
            f"{row['compared']:12} spearman {row['spearman']} ({row['low']} to {row['high']}), "
            f"same parents {row['same_parents']}, diverged alike {row['diverged_alike']}, beyond "
            f"noise {row['beyond_noise']} ({row['beyond_low']} to {row['beyond_high']})"
        )


def compare(exact: np.ndarray, other: np.ndarray, noise: np.ndarray) -> Row:
    """Return how alike two arrays of losses `(n,)` rank the same settings, beside a third's."""
    rng = np.random.default_rng(0)
    samples = [rng.integers(len(exact), size=len(exact)) for _ in range(2000)]
    correlations = np.array([_spearman(exact[sample], other[sample]) for sample in samples])
    yardstick = np.array([_spearman(exact[sample], noise[sample]) for sample in samples])
    low, high = np.nanpercentile(correlations, [2.5, 97.5])
    beyond_low, beyond_high = np.nanpercentile(correlations - yardstick, [2.5, 97.5])
    n_parents = len(exact) // 2
    first, second = (np.argsort(losses, kind="stable")[:n_parents] for losses in (exact, other))
    figures = {
        "spearman": _spearman(exact, other),
        "low": low,
        "high": high,
        "same_parents": len(set(first) & set(second)) / n_parents,
        "diverged_alike": np.mean(np.isinf(exact) == np.isinf(other)),
        "beyond_noise": _spearman(exact, other) - _spearman(exact, noise),
        "beyond_low": beyond_low,
        "beyond_high": beyond_high,
    }
    return {name: round(float(figure), 3) for name, figure in figures.items()}


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    ranks = stats.rankdata(first), stats.rankdata(second)
    if any(np.ptp(each) == 0.0 for each in ranks):
        return np.nan  # Nothing is ranked.
    return float(np.corrcoef(*ranks)[0, 1])


def _settings(n: int) -> np.ndarray:
    """Return settings `(n, 3)`, uniform in the search space."""
    low, high = np.array([(d.low, d.high) for d in SEARCH_SPACE.values()]).T
    return np.random.default_rng(0).uniform(low, high, size=(n, 3))


def _parser() -> Options:
    parser = Options("python -m benchmarks.performance.precision", __doc__)
    parser.add("--settings", "number of settings", 60, type=at_least(4))
    parser.add("--epochs", "epochs of each", 1, type=at_least(1))
    parser.add("--data", "images", "subset", choices=["subset", "full"])
    parser.add("--images", "training images (default: all)", type=at_least(64))
    parser.add("--out", "file of rows (default: precision_DEVICE.csv in benchmarks/results)",
               type=Path)  # fmt: skip
    return parser


if __name__ == "__main__":
    main()
