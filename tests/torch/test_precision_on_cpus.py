"""Products of float32 on a CPU are not rounded, whatever the user has set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from optuna_ga.torch import Member, PopulationTrainer, TensorData, computing
from optuna_ga.torch._environment import _cpu_holders
from tests.processes import exit_codes
from tests.torch.tasks import Classes, difference, mlp

CPU = torch.device("cpu")
BACKENDS = ["loop", "threads", "vmap", "branches"]


def matrix() -> Tensor:
    """Return numbers whose products differ where they are rounded."""
    return torch.randn(256, 256, generator=torch.Generator().manual_seed(0))


def trained(backend: str) -> Any:
    """Return the ends of trainings in float32."""
    numbers = matrix()
    data = TensorData(numbers[:, :6], numbers[:, :3].argmax(1), batch_size=64)
    task = Classes(lambda: mlp(256), torch.float32)
    options: Any = {"train": data, "validation": data, "epochs": 2, "device": "cpu"}
    trainer = PopulationTrainer(task, backend=backend, **options)
    return trainer.train([Member(0.01, seed=n) for n in range(2)])


def compare(setting: Callable[[], object]) -> None:
    """Compare products and trainings before and after a setting of the user's, which stays."""
    exact, before = matrix() @ matrix(), [trained(each) for each in BACKENDS]
    setting()
    rounded, settings = matrix() @ matrix(), precisions()
    for backend, expected in zip(BACKENDS, before, strict=True):
        assert difference(expected, trained(backend)) == 0.0
    with computing("float32", CPU):
        first = computing("float32", CPU)
        first.__enter__()
    try:  # As of two threads, the first of which leaves first.
        assert torch.equal(exact, matrix() @ matrix())
    finally:
        first.__exit__(None, None, None)
    assert torch.equal(rounded, matrix() @ matrix())
    assert settings == precisions()


def precisions() -> list[str]:
    """Return the user's settings."""
    return [holder.fp32_precision for holder in _cpu_holders()]


def nothing() -> None:
    """Leave the settings as they are."""


def medium() -> None:
    """Set the precision by PyTorch's old function."""
    torch.set_float32_matmul_precision("medium")


def by_kind() -> None:
    """Set the precision of each kind of products."""
    for holder in _cpu_holders():
        holder.fp32_precision = "bf16"


def of_all() -> None:
    """Set the precision of all devices, where PyTorch can."""
    if _cpu_holders():
        torch.backends.fp32_precision = "bf16"  # type: ignore[attr-defined]


@pytest.mark.parametrize("setting", [nothing, medium, by_kind, of_all])
def test_the_users_precision_changes_no_training_and_stays(setting: Callable[[], object]) -> None:
    """In a process of its own: PyTorch refuses to read some settings once others are set."""
    assert exit_codes(compare, setting) == [0]


def inherit() -> None:
    """Change the setting that others inherit, before and after computing."""
    if holders := _cpu_holders():
        onednn: Any = torch.backends.mkldnn
        onednn.fp32_precision = "bf16"
        with computing("float32", CPU):
            pass
        assert precisions() == ["bf16"] * len(holders)
        onednn.fp32_precision = "ieee"
        assert precisions() == ["ieee"] * len(holders)


def test_inherited_settings_go_on_inheriting() -> None:
    """A switch that the user changes later still works."""
    assert exit_codes(inherit) == [0]
