"""The fused kernels without a GPU: interpreted, they equal the loop; and they compile."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from optuna_ga.fashion_mnist._data import load_subset
from optuna_ga.fashion_mnist._network import initial_network
from optuna_ga.fashion_mnist._task import ImageData, ImageTask
from optuna_ga.torch import Capturer, Cosine, Member, PopulationTrainer

if os.environ.get("CI") != "true":  # There its absence is an error.
    pytest.importorskip("triton")
import triton

from optuna_ga.fashion_mnist import _fused_kernels
from optuna_ga.fashion_mnist._fused import FusedChunk, pack, unpack
from optuna_ga.fashion_mnist._fused_backend import FusedBackend

SHARED_MEMORY_OF_A_HOPPER = 227 * 1024
TYPES = {
    torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.int8: "*i8", torch.uint8: "*u8",
    torch.int64: "*i64",
}  # fmt: skip


def test_unpacked_weights_are_those_that_were_packed() -> None:
    """Every weight has one place in the layouts of the kernels."""
    names = initial_network(0, torch.device("cpu")).state_dict()
    numbered = {
        name: torch.arange(2 * each.numel(), dtype=torch.float32).view(2, *each.shape)
        for name, each in names.items()
    }

    unpacked = unpack(pack(numbered))
    assert unpacked.keys() == numbered.keys()
    for name, each in unpacked.items():
        assert torch.equal(each, numbered[name])


@pytest.mark.slow
@pytest.mark.parametrize("dropout", ["dropout", "whole"])
def test_interpreted_kernels_equal_the_loop_in_float32(dropout: str) -> None:
    """After two steps, one with a batch size that is no power of two, all agree within 2e-6."""
    output = subprocess.run(
        [sys.executable, "-m", "tests.fashion_mnist.interpreted", dropout],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    of_weights, of_results = map(float, output.split())

    assert of_weights < 2e-6
    assert of_results < 2e-6


@pytest.mark.parametrize(
    "own",
    [{"clip_norm": 0.1}, {"batch_size": 3}, {"schedule": Cosine()}],
    ids=["clipped", "batch size", "schedule"],
)
def test_what_the_kernels_cannot_do_is_done_by_branches(own: dict[str, Any]) -> None:
    """Such members train as in the loop, and not as if they had the usual settings."""
    images = load_subset(torch.device("cpu")).training
    members = [Member(0.1, 0.5, **own), Member(0.02, seed=1, **own)]

    def trained(backend: Any, members: list[Member]) -> list[list[float]]:
        trainer = PopulationTrainer(
            ImageTask(partial(initial_network, device=torch.device("cpu"))),
            train=ImageData(images.take(slice(8)), 4, torch.float32),
            validation=ImageData(images.take(slice(3000, 3004)), 4, torch.float32),
            epochs=2, optimizer="sgd", backend=backend, device="cpu",
        )  # fmt: skip
        epochs = [each.epochs for each in trainer.train(members)]
        return [[epoch.training_loss for epoch in each] for each in epochs]

    expected = trained("loop", members)
    none: Any = {"clip_norm": math.inf, "batch_size": None, "schedule": None}
    usual = trained("loop", [replace(each, **none) for each in members])
    assert trained(FusedBackend, members) == [pytest.approx(each, rel=1e-5) for each in expected]
    assert usual != expected


class Recorder:
    """Stands in for a kernel and keeps the arguments of its launches."""

    def __init__(self, kernel: Any, launches: list[tuple[Any, Any, dict[str, Any]]]) -> None:
        self._kernel, self._launches = kernel, launches

    def __getitem__(self, grid: object) -> Any:
        def launch(*arguments: Any, **options: Any) -> None:
            self._launches.append((self._kernel, arguments, options))

        return launch


def compiled(kernel: Any, arguments: Any, options: dict[str, Any]) -> Any:
    """Return a kernel compiled for Hopper, for these arguments."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    launch = {name: options.pop(name) for name in ("num_warps", "num_stages") if name in options}
    given = dict(zip(kernel.arg_names, arguments, strict=False))
    constants = {name: None for name, each in given.items() if each is None} | options
    source = ASTSource(
        kernel,
        {
            name: "constexpr" if name in constants else TYPES[given[name].dtype]
            for name in kernel.arg_names
        },
        {(kernel.arg_names.index(name),): each for name, each in constants.items()},
        {
            (position,): [["tt.divisibility", 16]]
            for position, name in enumerate(kernel.arg_names)
            if name not in constants
        },
    )
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=launch)


@pytest.mark.slow
def test_all_kernels_compile_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step has eight launches, and none needs more shared memory than a Hopper has."""
    launches: list[tuple[Any, Any, dict[str, Any]]] = []
    for name, kernel in vars(_fused_kernels).items():
        if isinstance(kernel, triton.JITFunction) and not name.startswith("_"):
            monkeypatch.setattr(_fused_kernels, name, Recorder(kernel, launches))
    cpu = torch.device("cpu")
    images = load_subset(cpu).training.take(slice(37))
    chunk = FusedChunk(
        3, images, images, precision="bfloat16", dropout=True, capturer=Capturer(cpu)
    )
    chunk._train_batch(37)

    assert len(launches) == 8
    for kernel, arguments, options in launches:
        binary = compiled(kernel, arguments, dict(options))
        assert binary.metadata.shared <= SHARED_MEMORY_OF_A_HOPPER, kernel.__name__
