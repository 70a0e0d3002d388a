"""The paper's network and training on MNIST's digits beside FashionMNIST, with one good setting.

The paper's training is that of PyTorch's MNIST example. This is to show what losses the paper
would report if its data were that example's digits, too. Both data sets have 60,000 images, split
into 50,000 and 10,000; both are trained with and without the example's dropout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.markdown import paragraph, table
from benchmarks.options import Options, at_least
from benchmarks.rows import RESULTS, Row, device_name, environment, write_rows
from benchmarks.trainings import default_device
from optuna_ga.fashion_mnist import Images, initial_network, load_full, train

N_TRAINING = 50_000  # As many as of FashionMNIST's 60,000 images.
SETTING = {"learning_rate": 0.05, "momentum": 0.5, "weight_decay": 0.0}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and report; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    device = default_device()
    out = options.out or RESULTS / f"digits_{device.type}.csv"
    if options.step == "run":
        fashion = load_full(None, device)
        sets = {
            "FashionMNIST": (fashion.training, fashion.validation),
            "MNIST": digits(options.folder, device),
        }
        rows = list(_rows(sets, options.images, options.epochs, device))
        write_rows(out, rows)
    parser.report(out, report)


def digits(folder: Path, device: torch.device) -> tuple[Images, Images]:
    """Return training and validation images of MNIST, downloaded into the folder if missing."""
    from torchvision.datasets import MNIST  # Slow to import.

    data = MNIST(str(folder), train=True, download=True)
    order = torch.randperm(len(data.targets), generator=torch.Generator().manual_seed(0))
    images = Images(data.data[:, None][order], data.targets[order]).to(device)
    return images.take(slice(N_TRAINING)), images.take(slice(N_TRAINING, None))


def _rows(
    sets: Mapping[str, tuple[Images, Images]],
    n_images: int | None,
    epochs: int,
    device: torch.device,
) -> Iterator[Row]:
    runs = [(name, dropout) for name in sets for dropout in (False, True)]
    with tqdm(total=len(runs) * epochs, unit="epoch", disable=None) as progress:
        for name, dropout in runs:
            training, validation = sets[name]
            training = training.take(slice(n_images))
            ended = train(
                initial_network(0, device, dropout=dropout), training, validation,
                learning_rate=SETTING["learning_rate"], momentum=SETTING["momentum"],
                weight_decay=SETTING["weight_decay"], epochs=epochs, seed=0,
            )  # fmt: skip
            for number, epoch in enumerate(ended, start=1):
                progress.update()
                yield {
                    "data": name,
                    "dropout": dropout,
                    "training_images": len(training.labels),
                    "epoch": number,
                    "training_loss": f"{epoch.training_loss:.5g}",
                    **{f"validation_{k}": f"{v:.5g}" for k, v in epoch.metrics.items()},
                    **SETTING,
                    **environment(device_name(device)),
                }


def report(rows: pd.DataFrame) -> str:
    """Return the losses after the last epoch as Markdown."""
    first, last = rows.iloc[0], rows["epoch"].max()
    setting = ", ".join(f"{name.replace('_', ' ')} {first[name]}" for name in SETTING)
    lines = [
        (row.data, "yes" if row.dropout else "no", f"{row.training_loss:.4f}",
         f"{row.validation_loss:.4f}", f"{row.validation_loss / row.training_loss:.2f}",
         f"{row.validation_accuracy:.4f}")
        for row in rows[rows["epoch"] == last].itertuples()
    ]  # fmt: skip
    header = (
        "data", "dropout", "training loss", "validation loss", "validation / training",
        "accuracy",
    )  # fmt: skip
    return "\n".join(
        [
            "# The paper's network on digits\n",
            paragraph(
                f"""{first["training_images"]:,} training and 10,000 validation images,
                {last} epochs, {setting}; one seed. Made by `python -m benchmarks.paper.digits`,
                which with `report` at its end makes this page again from the rows."""
            ),
            table(header, lines),
        ]
    )


def _parser() -> Options:
    parser = Options("python -m benchmarks.paper.digits", __doc__)
    parser.add_step(run="trains and reports", report="only reports")
    parser.add("--epochs", "epochs of each training", 14, type=at_least(1))
    parser.add("--images", "number of training images (default: all)", type=at_least(64))
    parser.add("--folder", "folder of MNIST, downloaded if missing", Path("mnist"), type=Path)
    parser.add(
        "--out", "file of rows (default: digits_DEVICE.csv in benchmarks/results)", type=Path
    )
    return parser


if __name__ == "__main__":
    main()
