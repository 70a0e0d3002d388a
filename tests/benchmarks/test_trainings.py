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


@pytest.mark.parametrize(("seconds", "words"), [(90.0, "About 1.5 min"), (7200.0, "About 2.0 h")])
def test_the_expected_time_is_in_minutes_or_hours(
    monkeypatch: pytest.MonkeyPatch, seconds: float, words: str
) -> None:
    """Hours from an hour and a half on."""
    monkeypatch.setattr(trainings, "estimated_seconds", lambda *_: seconds)

    assert trainings.expected_time(7) == f"{words} for 7 trainings, less if some diverge"
