"""Trainings of many settings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from benchmarks import trainings


def test_the_time_of_a_run_is_estimated_from_its_second_short_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four trainings of 512 + 512 images in 2 s, of which an evaluated image counts a third."""
    clock: Iterator[float] = iter([0.0, 10.0, 10.0, 12.0])
    monkeypatch.setattr(trainings, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(trainings, "train_settings", lambda *_: None)
    cpu = torch.device("cpu")
    seconds = trainings.estimated_seconds(60, 4, 5, (3000, 2100), cpu)

    assert seconds == pytest.approx(60 * 5 * 0.5 * 3700 / (512 * 4 / 3))
