"""How fast a generation of P networks trains, against what users write.

Variants, each on the same images with the same settings:

- `loader`: torchvision's transforms, a DataLoader and a plain loop, one network after another.
- `loop`: images on the device as tensors, a plain loop, one network after another.
- `graph`: one network after another, each step captured as a CUDA graph (GPU only).
- `ours`: what `evaluate_generation` uses: chunks in CUDA graphs on a GPU, a thread per core on a
  CPU.
- `processes`: a single-threaded process per core, each with the images, in which the plain loop
  trains one network after another (CPU only).
- `-tf32`, `-bfloat16`: the same with that precision, where the device computes it faster.

All take turns in one run. A turn of the first three trains one network, whatever P is, since P
of them take P times as long; the figures are seconds per network and epoch, validation included.
A variant's ratio is `loader`'s seconds by its own, turn by turn: median and the 95 % interval of
the median; likewise to `loop` and to `graph` of the same precision. Building CUDA graphs or
processes is apart, as `setup_s`. Memory is what the first epoch took beyond what there was:
reserved on the GPU; on a CPU, with `--memory`, resident in a fresh process and all of its workers.

The floor is what the device's measured ceilings allow: 4.58 GFLOP of matrix work per network and
step of 64 images in training and a third of that in validation, by the ceiling of a large product
of random matrices, in the fastest precision of these; and 57 MB moved per network and step
(weights, gradients and momenta with SGD in one pass 28.8 MB, activations in bfloat16 with
everything fused 28.2 MB), by that of a large copy.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from benchmarks.options import Options, at_least
from benchmarks.performance.memory import peak_mb
from benchmarks.performance.overhead import interval_of_median
from benchmarks.rows import RESULTS, Row, device_name, environment, write_rows
from benchmarks.trainings import Precision, default_device, load, lower_precisions
from optuna_ga.fashion_mnist import (
    Data,
    Images,
    evaluate,
    initial_network,
    normalize,
    paper_trainer,
)
from optuna_ga.torch import Capturer, Member, PopulationTrainer, computing

BATCH_SIZE, EVALUATION_BATCH_SIZE = 64, 1000  # The paper's.
FLOP_PER_IMAGE = 71.57e6  # Forward and backward; a third of it forward alone.
BYTES_PER_STEP = 57.0e6
SETTINGS = Member(0.05, momentum=0.5, weight_decay=0.001)

Variant = Callable[[], int]  # Trains networks for an epoch; returns how many.
Choices = Mapping[tuple[str, int], Variant]  # By name and population.


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the rows; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    device = default_device()
    images = partial(load, options.data, device, options.images, max(options.images // 5, 1))
    weigh = partial(_resident_mb, images) if options.memory and device.type == "cpu" else None
    data = parser.checked(images)
    before = ceilings(device)
    path = options.out or RESULTS / f"trainer_speed_{device.type}.csv"
    machine = environment(device_name(device))

    def completed(measured: Iterable[Row], flops: float, bandwidth: float) -> list[Row]:
        return [{**row, **_floor(row, data, flops, bandwidth), **machine} for row in measured]

    rows: list[Row] = []
    with variants(data, device, options.members) as choices:
        for measured in measure(choices, device, options.turns):
            rows = completed(measured, *before)
            write_rows(path, rows)  # An interrupted run leaves those of the turns before.
    if weigh is not None:
        rows = [{**row, "memory_mb": weigh(row["variant"], row["members"])} for row in rows]
    # Whatever else the machine did meanwhile can only have lowered one of them.
    rows = completed(rows, *map(max, before, ceilings(device)))
    write_rows(path, rows)
    for row in rows:
        print(
            f"P={row['members']:<3} {row['variant']:14} {row['s_per_network_epoch']:9.4f} s "
            f"{row['ratio']:8.2f} ({row['low']:.2f}-{row['high']:.2f}) times loader, "
            f"{100 * row['share_of_floor']:.0f} % of the floor"
        )


def measure(choices: Choices, device: torch.device, n_turns: int) -> Iterator[list[Row]]:
    """Yield, after each turn but the first, a row for each variant and population.

    Args:
        choices: The variants.
        device: Where they train.
        n_turns: How many times each trains.
    """
    first = {key: _first_epoch(variant, device) for key, variant in choices.items()}
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in choices}
    for turn in tqdm(range(n_turns), unit="turn", disable=None):
        for key in list(choices) if turn % 2 else reversed(list(choices)):
            total, n_trained = _seconds(choices[key])
            seconds[key].append(total / n_trained)
        if turn > 0:
            yield [_row(key, seconds, first[key]) for key in choices]


def _row(
    key: tuple[str, int],
    seconds: Mapping[tuple[str, int], list[float]],
    first: tuple[float, int, float | str],
) -> Row:
    name, n_members = key
    median = statistics.median(seconds[key])
    total, n_trained, reserved = first
    graph = "".join(["graph", *name.partition("-")[1:]])  # Of the same precision.
    return {
        "members": n_members,
        "variant": name,
        "s_per_network_epoch": round(median, 5),
        **_ratios("", seconds["loader", 1], seconds[key]),
        **_ratios("_to_loop", seconds["loop", 1], seconds[key]),
        **_ratios("_to_graph", seconds.get((graph, 1), []), seconds[key]),
        "turns": len(seconds[key]),
        "setup_s": round(max(total - n_trained * median, 0.0), 3),
        "memory_mb": reserved,
    }


def _ratios(name: str, theirs: Sequence[float], mine: Sequence[float]) -> Row:
    if not theirs:
        return {f"{figure}{name}": "" for figure in ("ratio", "low", "high")}
    ratios = [other / own for other, own in zip(theirs, mine, strict=True)]
    low, high = interval_of_median(ratios)
    figures = {"ratio": statistics.median(ratios), "low": low, "high": high}
    return {f"{figure}{name}": round(value, 3) for figure, value in figures.items()}


@contextmanager
def variants(data: Data, device: torch.device, populations: Sequence[int]) -> Iterator[Choices]:
    """Hold the variants that are compared on this device, by name and population."""

    def train(n: int, precision: Precision = "float32", backend: str | None = None) -> Variant:
        # Each with a trainer of its own, for `setup_s` and memory. It keeps the initial weights.
        trainer = paper_trainer(data, 1, precision=precision, backend=backend)

        def epoch() -> int:
            trainer.train([SETTINGS] * n)
            return n

        return epoch

    loaders = {
        "training": DataLoader(_Pictures(data.training), BATCH_SIZE, shuffle=True),
        "validation": DataLoader(_Pictures(data.validation), EVALUATION_BATCH_SIZE),
    }

    def loader() -> int:
        _train_as_users_do(loaders, device)
        return 1

    chosen: dict[tuple[str, int], Variant] = {
        ("loader", 1): loader,
        ("loop", 1): train(1, backend="loop"),
    }
    precisions: dict[str, Precision] = {"": "float32"}
    precisions |= {f"-{name}": name for name in lower_precisions(device)}
    if device.type == "cuda":
        for ending, precision in precisions.items():
            chosen[f"graph{ending}", 1] = CapturedNetwork(data, precision)
            for n in populations:
                chosen[f"ours{ending}", n] = train(n, precision)
        yield chosen
        return
    with ProcessPoolExecutor(
        len(os.sched_getaffinity(0)),
        get_context("spawn"),
        initializer=_begin_process,
        initargs=(data,),
    ) as executor:
        for ending, precision in precisions.items():
            for n in populations:
                chosen[f"ours{ending}", n] = train(n, precision)
                chosen[f"processes{ending}", n] = partial(
                    _train_in_processes, executor, precision, n
                )
        yield chosen


class CapturedNetwork:
    """A plain network whose steps are captured: the rival of a stacked population.

    Args:
        data: The images, on a GPU.
        precision: The precision of products.
    """

    def __init__(self, data: Data, precision: Precision) -> None:
        self._data, self._precision = data, precision
        self._device = data.training.labels.device
        self._network = initial_network(0, self._device)
        self._optimizer = _sgd(self._network)
        self._position = torch.zeros((), dtype=torch.int64, device=self._device)
        self._order = torch.zeros_like(data.training.labels)
        self._offsets = torch.arange(BATCH_SIZE, device=self._device)
        self._capturer = Capturer(self._device)
        self._steps: dict[int, Callable[[], None]] = {}

    def __call__(self) -> int:
        """Train an epoch and evaluate."""
        n = len(self._order)
        self._order.copy_(torch.randperm(n))
        self._position.zero_()
        half = torch.autocast(
            self._device.type,
            torch.bfloat16,
            enabled=self._precision == "bfloat16",
            cache_enabled=False,  # A CUDA graph must see the weights converted in every step.
        )
        with half, computing(self._precision, self._device):
            for start in range(0, n, BATCH_SIZE):
                self._step(min(BATCH_SIZE, n - start))()
        evaluate(self._network, self._data.validation, self._precision)
        return 1

    def _step(self, batch: int) -> Callable[[], None]:
        if batch not in self._steps:
            position = self._position.clone()
            work = partial(self._train_batch, batch)
            self._steps[batch] = self._capturer.capture(work, self._position.zero_)
            self._position.copy_(position)
        return self._steps[batch]

    def _train_batch(self, batch: int) -> None:
        index = self._order[self._position + self._offsets[:batch]]
        pixels, labels = self._data.training.take(index)
        self._optimizer.zero_grad()
        logits = self._network(normalize(pixels, torch.float32))
        nn.functional.cross_entropy(logits, labels).backward()
        self._optimizer.step()
        self._position += batch


def _sgd(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        network.parameters(),
        lr=SETTINGS.learning_rate,
        momentum=SETTINGS.momentum,
        weight_decay=SETTINGS.weight_decay,
    )


def _train_in_processes(
    executor: ProcessPoolExecutor, precision: Precision, n_members: int
) -> int:
    list(executor.map(_train_one, [precision] * n_members))
    return n_members


_data_of_process: Data


def _begin_process(data: Data) -> None:
    global _data_of_process
    _data_of_process = data
    torch.set_num_threads(1)


def _train_one(precision: Precision) -> None:
    _trainer_of_process(precision).train([SETTINGS])


@cache
def _trainer_of_process(precision: Precision) -> PopulationTrainer:
    return paper_trainer(_data_of_process, 1, precision=precision, backend="loop")


class _Pictures(Dataset[tuple[torch.Tensor, int]]):
    """The images as torchvision's FashionMNIST gives them: a PIL image, then the transforms."""

    def __init__(self, images: Images) -> None:
        from torchvision import transforms  # Slow to import.

        self._pixels, self._labels = images.pixels.squeeze(1).cpu(), images.labels.cpu()
        self._transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.2860,), (0.3530,))]
        )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = Image.fromarray(self._pixels[index].numpy(), mode=None)
        return self._transform(image), int(self._labels[index])


def _train_as_users_do(
    loaders: Mapping[str, DataLoader[tuple[torch.Tensor, int]]], device: torch.device
) -> None:
    network = initial_network(0, torch.device("cpu")).to(memory_format=torch.contiguous_format)
    network = network.to(device)
    optimizer = _sgd(network)
    for pixels, labels in loaders["training"]:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(pixels.to(device)), labels.to(device))
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        for pixels, labels in loaders["validation"]:
            nn.functional.cross_entropy(network(pixels.to(device)), labels.to(device)).item()


def ceilings(device: torch.device) -> tuple[float, float]:
    """Return the device's operations per second in a matrix product and bytes in a copy."""
    n = 8192 if device.type == "cuda" else 2048
    dtypes = [torch.float32, *([torch.bfloat16] if lower_precisions(device) else [])]
    matrices = [torch.randn(n, n, device=device).to(dtype) for dtype in dtypes]
    large = torch.rand(2**28 if device.type == "cuda" else 2**26, device=device)
    target = torch.empty_like(large)
    fastest_s = min(_fastest(partial(torch.matmul, each, each), device) for each in matrices)
    bandwidth = 2 * large.numel() * 4 / _fastest(lambda: target.copy_(large), device)
    return 2 * n**3 / fastest_s, bandwidth


def _floor(row: Row, data: Data, flops: float, bandwidth: float) -> Row:
    n_training, n_validation = len(data.training.labels), len(data.validation.labels)
    compute_s = FLOP_PER_IMAGE * (n_training + n_validation / 3) / flops
    memory_s = BYTES_PER_STEP * n_training / BATCH_SIZE / bandwidth
    floor_s = max(compute_s, memory_s)
    return {
        "training_images": n_training,
        "validation_images": n_validation,
        "floor_s": round(floor_s, 6),
        "share_of_floor": round(floor_s / row["s_per_network_epoch"], 4),
        "ceiling_tflop_per_s": round(flops / 1e12, 3),
        "ceiling_gb_per_s": round(bandwidth / 1e9, 1),
    }


def _fastest(work: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(10):
        _wait(device)
        start = perf_counter()
        work()
        _wait(device)
        times.append(perf_counter() - start)
    return min(times)


def _seconds(variant: Variant) -> tuple[float, int]:
    start = perf_counter()
    n_trained = variant()  # Ends by reading the losses, so it has waited for the GPU.
    return perf_counter() - start, n_trained


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _first_epoch(variant: Variant, device: torch.device) -> tuple[float, int, float | str]:
    """Return its seconds, how many networks it trained, and the MB it reserved on a GPU."""
    if device.type != "cuda":
        return *_seconds(variant), ""
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    seconds, n_trained = _seconds(variant)
    return seconds, n_trained, round((torch.cuda.max_memory_reserved() - before) / 1e6)


def _resident_mb(load: Callable[[], Data], name: str, n_members: int) -> int | None:
    """Return the MB that a variant takes on the CPU, measured in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        return executor.submit(_peak_of_variant, load, name, n_members).result()


def _peak_of_variant(load: Callable[[], Data], name: str, n_members: int) -> int | None:
    with variants(load(), torch.device("cpu"), [n_members]) as choices:
        return peak_mb(choices[name, n_members])


def _parser() -> Options:
    parser = Options("python -m benchmarks.performance.trainer_speed", __doc__)
    parser.add("--members", "populations P", [1, 5, 10, 20, 50], nargs="+", type=at_least(1))
    parser.add("--data", "images", "subset", choices=["subset", "full"])
    # Of the default the last batch has 16 images, as of 50,000.
    parser.add("--images", "training images; a fifth as many for validation", 336,
               type=at_least(64))  # fmt: skip
    parser.add("--turns", "turns", 7, type=at_least(6))
    parser.add("--memory", "measure memory on a CPU too, in a process per row", False,
               action="store_true")  # fmt: skip
    parser.add("--out", "file of rows (default: trainer_speed_DEVICE.csv in benchmarks/results)",
               type=Path)  # fmt: skip
    return parser


if __name__ == "__main__":
    main()
