"""Time a generation of any network against training one network after the other.

    python -m benchmarks.performance.any_network --out FILE.csv --seconds 60

Designs train the same network on the same data, which stay on the device, side by side in several
turns: an eager loop of one network, as a tutorial would write it (`eager`); on a GPU the same step
captured as a CUDA graph and replayed (`captured`); and `PopulationTrainer` with 1, 5 and 20
members, by `vmap` and `branches` on a GPU, by `loop` and the backend that it chooses (`auto`) on a
CPU. An epoch is 50 steps of 64 examples. The trainer's time is that of a whole epoch: loading the
members, training, one batch of evaluation and storing. Capturing and warming up are not counted,
but written as `setup_s`. A row is written as soon as it is measured; the ratios at the end are
geometric means over the turns with a 95 % interval, to `loop` with as many members.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.options import Options
from benchmarks.paired import difference
from benchmarks.rows import Row, device_name, environment, write_rows
from benchmarks.trainings import PRECISIONS, Precision, default_device
from optuna_ga.torch import Capturer, Member, PopulationTrainer, TensorData, computing

BATCH = 64
STEPS = 50
SIZES = (1, 5, 20)
MOST_TURNS = 10
BACKENDS = {"cuda": ("vmap", "branches"), "cpu": ("loop", "auto")}
DEFAULT_PRECISIONS: dict[str, list[Precision]] = {
    "cuda": ["tf32", "bfloat16"], "cpu": ["float32"],
}  # fmt: skip


class Encoder(nn.Module):
    """Two layers of attention over sixteen tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 64)
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(64, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits `(B, 10)` of tokens `(B, 16)`."""
        logits: Tensor = self.head(self.layers(self.embed(tokens)).mean(1))
        return logits


def mlp(width: int = 256) -> nn.Module:
    """Return a network of 784, `width` and 10 units."""
    return nn.Sequential(nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 10))


def cnn() -> nn.Module:
    """Return two convolutions with normalisation and dropout, for images of 28 x 28."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Flatten(), nn.Dropout(0.25), nn.Linear(1152, 10),
    )  # fmt: skip


class Problem(NamedTuple):
    """A network, its inputs and its optimizer."""

    network: Callable[[], nn.Module]
    inputs: Callable[[int], Tensor]
    optimizer: str


PROBLEMS = {
    "small-mlp": Problem(partial(mlp, 64), lambda n: torch.randn(n, 784), "adamw"),
    "mlp": Problem(mlp, lambda n: torch.randn(n, 784), "adamw"),
    "cnn": Problem(cnn, lambda n: torch.randn(n, 1, 28, 28), "sgd"),
    "encoder": Problem(Encoder, lambda n: torch.randint(100, (n, 16)), "adamw"),
}


class Classes:
    """A problem as a task."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def model(self, seed: int) -> nn.Module:
        """Return the network."""
        return self._problem.network()

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean cross-entropy."""
        return cross_entropy(model(batch[0]), batch[1])

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Return the sum of the cross-entropy."""
        return {"loss": cross_entropy(model(batch[0]), batch[1], reduction="sum")}


class One:
    """One network and its step, as anyone would write them.

    Args:
        problem: The problem.
        x: Inputs `(N, ...)` on the device.
        y: Classes `(N,)`.
        precision: What to compute with; bfloat16 by `torch.autocast`.
    """

    def __init__(self, problem: Problem, x: Tensor, y: Tensor, precision: Precision) -> None:
        self._x, self._y = x, y
        self._half = precision == "bfloat16"
        self._model = problem.network().to(x.device)
        on_gpu = x.is_cuda
        parameters = self._model.parameters()
        self._optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01, capturable=on_gpu)
            if problem.optimizer == "adamw"
            else torch.optim.SGD(parameters, lr=1e-2, momentum=0.9, weight_decay=0.01)
        )
        self._order = torch.randperm(len(x), device=x.device)
        self._index = self._order[:BATCH].clone()
        self._replay: Callable[[], None]

    def step(self) -> None:
        """Take one step."""
        self._optimizer.zero_grad()
        kind = self._x.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self._half, cache_enabled=False):
            loss = cross_entropy(self._model(self._x[self._index]), self._y[self._index])
        loss.backward()
        self._optimizer.step()

    def eager_epoch(self) -> None:
        """Take the steps of an epoch."""
        for index in self._order.split(BATCH):
            self._index = index
            self.step()

    def capture(self) -> None:
        """Capture the step."""
        self._index = self._order[:BATCH].clone()
        self._replay = Capturer(self._x.device).capture(self.step, lambda: None)

    def captured_epoch(self) -> None:
        """Replay the steps of an epoch."""
        for index in self._order.split(BATCH):
            self._index.copy_(index)
            self._replay()


class Design(NamedTuple):
    """A way to train, ready to be timed.

    Attributes:
        name: Its name.
        size: Networks that train in an epoch.
        epoch: Trains an epoch and returns its seconds.
        setup_s: Seconds to get ready, a first epoch or two included.
    """

    name: str
    size: int
    epoch: Callable[[], float]
    setup_s: float


def designs(problem: Problem, device: torch.device, precision: Precision) -> Iterator[Design]:
    """Yield the designs, each warmed up."""
    n = BATCH * STEPS
    x, y = problem.inputs(n).to(device), torch.randint(10, (n,), device=device)
    one = One(problem, x, y, precision)
    with computing(precision, device):
        epoch = partial(seconds, one.eager_epoch, device)
        yield Design("eager", 1, epoch, epoch())
        if device.type == "cuda":
            one = One(problem, x, y, precision)
            setup_s = seconds(one.capture, device)
            yield Design("captured", 1, partial(seconds, one.captured_epoch, device), setup_s)
    validation = TensorData(x[:BATCH], y[:BATCH], batch_size=BATCH)
    for backend in BACKENDS[device.type]:
        trainer = PopulationTrainer(
            Classes(problem), train=TensorData(x, y, batch_size=BATCH), validation=validation,
            epochs=2, optimizer=problem.optimizer, precision=precision, backend=backend,
            device=device,
        )  # fmt: skip
        for size in SIZES:
            members = [Member(1e-3, momentum=0.9, weight_decay=0.01)] * size
            epoch = partial(second_epoch, trainer, members)
            yield Design(backend, size, epoch, seconds(epoch, device))


def second_epoch(trainer: PopulationTrainer, members: list[Member]) -> float:
    """Return how long the second of two epochs takes, as networks are made before the first."""
    ends: list[float] = []

    def after_epoch(epoch: int, ended: Any) -> tuple[int, ...]:
        ends.append(time.perf_counter())  # The host has waited for the epoch's losses.
        return ()

    trainer.train(members, after_epoch=after_epoch)
    return ends[1] - ends[0]


def seconds(function: Callable[[], Any], device: torch.device) -> float:
    """Return how long a call takes, with all that it starts on the device."""
    _wait(device)
    start = time.perf_counter()
    function()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure(
    device: torch.device, precisions: Sequence[Precision], limit_s: float
) -> Iterator[Row]:
    """Time the problems one after the other, each in turns, within their shares of the time."""
    combinations = [(name, precision) for precision in precisions for name in PROBLEMS]
    end = time.perf_counter()
    for name, precision in combinations:
        end += limit_s / len(combinations)
        torch.manual_seed(0)
        ready = []
        for design in designs(PROBLEMS[name], device, precision):
            design.epoch()  # Once more than to get ready, so that every turn is alike.
            ready.append(design)
        turn = 0
        while turn < 2 or (turn < MOST_TURNS and time.perf_counter() < end):
            for design in ready if turn % 2 else ready[::-1]:
                with computing(precision, device):
                    took = design.epoch()
                yield {
                    "network": name, "precision": precision, "design": design.name,
                    "members": design.size, "turn": turn,
                    "us_per_member_and_step": took / design.size / STEPS * 1e6,
                    "setup_s": design.setup_s,
                }  # fmt: skip
            turn += 1


def ratios(rows: pd.DataFrame) -> Iterator[str]:
    """Yield a line for each design: its time, and how often faster it is than the rivals."""
    groups = rows.groupby(["network", "precision", "design", "members"], sort=False)
    times = {key: group["us_per_member_and_step"].to_numpy() for key, group in groups}
    for (network, precision, design, size), mine in times.items():
        parts = [f"{network} {precision} {design} P={size}: {np.median(mine):.0f} us"]
        for rival, members in (("eager", 1), ("captured", 1), ("loop", size)):
            theirs = times.get((network, precision, rival, members))
            if theirs is not None and rival != design:
                found = difference(np.log(theirs), np.log(mine))
                mean, low, high = np.exp([found.mean, found.low, found.high])
                parts.append(f"{mean:.2f} [{low:.2f}, {high:.2f}] x {rival}")
        yield ", ".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, measure, and print the ratios."""
    parser = Options("python -m benchmarks.performance.any_network", __doc__)
    parser.add("--out", "file of rows", type=Path, required=True)
    parser.add("--seconds", "seconds for all turns, at least two of each", 60.0, type=float)
    parser.add("--device", "where to train", default_device().type)
    parser.add(
        "--precisions",
        "precisions (default: tf32 and bfloat16 on a GPU, float32 on a CPU)",
        nargs="+",
        choices=PRECISIONS,
    )
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    machine = environment(device_name(device))
    rows: list[Row] = []
    precisions = options.precisions or DEFAULT_PRECISIONS[device.type]
    for row in measure(device, precisions, options.seconds):
        rows.append(row | machine)
        write_rows(options.out, rows)
    for line in ratios(pd.DataFrame(rows)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
