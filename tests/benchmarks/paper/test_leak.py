"""The rules that leak, and the network on digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import optuna
import pandas as pd
import pytest
import torch

from benchmarks.paper import digits, leak, leak_report
from benchmarks.paper.runs import PAPER
from benchmarks.rows import RESULTS, read_frame
from benchmarks.trainings import load
from optuna_ga.fashion_mnist import _network
from optuna_ga.fashion_mnist._data import Data, Images
from optuna_ga.fashion_mnist._training import train


@pytest.fixture(autouse=True)
def little_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a small network, and 20 of the 2,000 images that no individual sees."""

    def load_few(name: str, device: torch.device) -> Data:
        data = load(name, device)
        return data._replace(validation=data.validation.take(slice(20)))

    monkeypatch.setattr(leak, "load", load_few)
    monkeypatch.setattr(_network, "WIDTH", 4)


def mark(network: Any) -> float:
    """Return a number that tells networks with different weights apart."""
    return float(network.fc1.weight.detach().double().sum())


@pytest.mark.parametrize(
    ("weights", "split", "leaks"),
    [("fresh", "anew", False), ("shared", "once", False), ("shared", "anew", True)],
)
def test_only_weights_that_live_on_under_new_splits_leak(
    weights: str, split: str, leaks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leak: validation on images that the network or its weights' ancestors trained on."""
    seen: dict[float, set[bytes]] = {}  # What a network has been trained on, by its weights.
    leaked = []

    def as_bytes(images: Images) -> set[bytes]:
        return {pixels.numpy().tobytes() for pixels in images.pixels}

    def spying(network: Any, training: Images, validation: Images, **how: Any) -> Iterator[Any]:
        before = seen.get(mark(network), set())
        leaked.append(bool(before & as_bytes(validation)))
        yield from train(network, training, validation, **how)
        seen[mark(network)] = before | as_bytes(training)

    monkeypatch.setattr(leak, "train", spying)
    row = leak.row_of(PAPER[2], weights, split, 0, "subset", 36, 1, "cpu")

    assert any(leaked) == leaks
    assert len(leaked) == row["individuals"] == 10


def test_a_child_inherits_from_its_fitter_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child's training starts from the fitter parent's trained weights."""
    begun: dict[int, float] = {}
    ended: dict[int, float] = {}
    studies: list[optuna.Study] = []
    create = optuna.create_study

    def spying(network: Any, *images: Images, seed: int, **how: Any) -> Iterator[Any]:
        begun[seed] = mark(network)
        yield from train(network, *images, seed=seed, **how)
        ended[seed] = mark(network)

    def remembering(**how: Any) -> optuna.Study:
        studies.append(create(**how))
        return studies[-1]

    monkeypatch.setattr(leak, "train", spying)
    monkeypatch.setattr(optuna, "create_study", remembering)
    leak.row_of(PAPER[2], "inherited", "once", 0, "subset", 36, 1, "cpu")

    (study,) = studies
    for trial in study.trials[5:]:
        parents = [study.trials[number] for number in trial.user_attrs["ga_parents"]]
        fitter = min(parents, key=lambda parent: parent.value or math.inf)
        assert begun[trial.number] == ended[fitter.number]


@pytest.mark.parametrize(
    ("name", "made"), [("leak_cpu", leak_report.report), ("digits_cpu", digits.report)]
)
def test_the_committed_tables_are_made_of_the_committed_rows(
    name: str, made: Callable[[pd.DataFrame], str]
) -> None:
    """Each page equals its report to the letter."""
    path = RESULTS / f"{name}.csv"

    assert path.with_suffix(".md").read_text() == made(read_frame(path))
