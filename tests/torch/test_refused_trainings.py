"""Trainings and trials that cannot work are refused before they start."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from optuna_ga import Checkpoints, GASampler, optimize_generations
from optuna_ga.torch import Cosine, Member, PopulationTrainer, StepDecay
from tests.torch.tasks import MEMBERS, Classes, mlp, rows


def trainer(task: Any = None, **options: Any) -> PopulationTrainer:
    """Return a trainer of small networks for an epoch."""
    data = rows(30)
    settings = {"train": data, "validation": data, "epochs": 1, "device": "cpu", **options}
    return PopulationTrainer(task or Classes(mlp), **settings)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"members": Member(0.1)}, TypeError, "`members` must be a list"),
        ({"members": [0.1]}, TypeError, "`members` must be a list.*0.1"),
        ({"states": []}, ValueError, "`states` must be as many as `members`, 3, but 0"),
        ({"states": {}}, TypeError, "`states` must be a list"),
        ({"states": [1, None, None]}, TypeError, "`states` must have.*1"),
        ({"after_epoch": 5}, TypeError, "`after_epoch` must be callable"),
        ({"after_epoch": lambda epoch, results: 5}, TypeError, "`after_epoch` must return.*5"),
        (
            {"after_epoch": lambda epoch, results: "01"},
            TypeError,
            "`after_epoch` must return.*'01",
        ),
        ({"after_epoch": lambda epoch, results: [0.0]}, TypeError, r"`after_epoch` must.*0\.0"),
        (
            {"after_epoch": lambda epoch, results: [3]},
            ValueError,
            "`after_epoch` .*no member 3",
        ),
        ({"after_epoch": lambda epoch, results: {-1}}, ValueError, "`after_epoch` .*no member -1"),
    ],
)
def test_an_argument_of_train_is_named(arguments: Any, error: Any, words: str) -> None:
    """Before the training, if it is not the result of `after_epoch`."""
    with pytest.raises(error, match=f"^{words}"):
        trainer().train(**{"members": MEMBERS, **arguments})


def test_after_each_epoch_none_drops_nobody() -> None:
    """A function that only prints returns it."""
    ended = trainer(epochs=2).train(MEMBERS, after_epoch=lambda epoch, results: None)

    assert [len(each.epochs) for each in ended] == [2, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"suggest": None}, TypeError, "`suggest` must be callable"),
        ({"metric": 3}, TypeError, "`metric` must be the name of a metric"),
        ({"metric": "error"}, ValueError, r"`metric` must be one of \['accuracy', 'loss'\]"),
        ({"cost": 5}, TypeError, "`cost` must be callable"),
        ({"checkpoints": "folder"}, TypeError, "`checkpoints` must be a `Checkpoints`"),
        ({"worst": "x"}, TypeError, "`worst` must be a number"),
        ({"worst": math.nan}, ValueError, "`worst` must not be NaN"),
    ],
)
def test_an_argument_of_the_objective_is_named(arguments: Any, error: Any, words: str) -> None:
    """As the objective is made."""
    subject = trainer()
    with pytest.raises(error, match=f"^{words}"):
        subject.objective(**{"suggest": lambda trial: Member(0.1), **arguments})


@pytest.mark.parametrize(
    ("cost", "error", "words"),
    [
        (math.nan, ValueError, "must not return NaN"),
        (None, TypeError, "returned None"),
        ("3", TypeError, "returned '3'"),
    ],
)
def test_a_cost_that_is_no_number_fails_its_trial_before_training(
    cost: Any, error: type[Exception], words: str
) -> None:
    """The other trials train."""
    costs = [1.0, cost, 1.0]
    objective = trainer().objective(
        lambda trial: Member(0.1, seed=trial.number), cost=lambda member: costs[member.seed]
    )
    study = optuna.create_study(directions=["minimize"] * 2)
    one, failed, other = objective([study.ask() for _ in costs])

    assert type(failed) is error
    assert str(failed).startswith("`cost` must")
    assert words in str(failed)
    assert all(isinstance(each, tuple) for each in (one, other))


class WholeBatches(Classes):
    """A task with one metric more for batches of eight, or of fewer, examples."""

    def __init__(self, is_whole: bool) -> None:
        super().__init__(mlp)
        self._is_whole = is_whole

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        found = super().metrics(model, batch)
        return found | {"more": found["loss"]} if (len(batch[0]) == 8) is self._is_whole else found


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches"])
@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("by_loader", [False, True])
def test_a_metric_of_some_batches_only_is_named(
    backend: str, is_whole: bool, by_loader: bool
) -> None:
    """Its sum over some examples would be divided by the number of all."""
    data = list(rows(30).batches(8)) if by_loader else rows(30)
    subject = trainer(WholeBatches(is_whole), validation=data, backend=backend)
    with pytest.raises(ValueError, match=r"`task.metrics` must return the same.*\['more'\]"):
        subject.train(MEMBERS)


def test_the_objective_says_what_calls_it() -> None:
    """`study.optimize` gives it a single trial."""
    study = optuna.create_study()
    with pytest.raises(TypeError, match="`optimize_generations"):
        study.optimize(trainer().objective(lambda trial: Member(0.1)), n_trials=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"weights": torch.Tensor.float},
            "`weights.*torch.float64, but it is .*float32",
        ),
        ({"seed": np.int64}, "`seed` of the state must be of type int, but it is of type int64"),
        ({"optimizer": lambda moment: None}, "`optimizer.*a tensor.*, but it is of type NoneType"),
        ({"n_epochs": lambda n: -n}, "^`n_epochs` must be at least 0, but -1"),
        ({"n_steps": lambda n: -n}, "^`n_steps` must be at least 0, but -4"),
    ],
)
def test_a_state_that_no_training_left_is_refused(change: Any, words: str) -> None:
    """Its type would be that of what it trains, and its age that of its schedule."""
    subject = trainer()
    state: Any = subject.train([Member(0.1)])[0].state
    changed = {name: tree_map(function, state[name]) for name, function in change.items()}
    with pytest.raises(ValueError, match=words):
        subject.train([Member(0.1)], states=[{**state, **changed}])


class Wide(Classes):
    """A task whose networks need a setting, and so are not examined beforehand."""

    def model(self, seed: int, *, width: int) -> nn.Module:  # type: ignore[override]
        return super().model(seed, width=width)


def test_a_metric_that_does_not_exist_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not after an epoch of it."""
    subject = trainer(Wide(mlp))
    suggest = lambda trial: Member(0.1, model={"width": 4})  # noqa: E731
    objective = subject.objective(suggest, metric="error")
    monkeypatch.setattr(subject._engine, "train", lambda *_, **__: pytest.fail("It trains."))
    with pytest.raises(ValueError, match="`metric` must be one of"):
        objective([optuna.create_study().ask()])


def test_a_trial_without_a_member_says_what_was_returned() -> None:
    """As its own result."""
    objective = trainer().objective(lambda trial: 0.1)  # type: ignore[arg-type,return-value]
    (error,) = objective([optuna.create_study().ask()])

    assert isinstance(error, TypeError)
    assert str(error) == "`suggest` must return a `Member`, but it returned 0.1."


def sawtooth(epoch: float, epochs: int) -> float:
    """Return 0 in the first of two epochs."""
    return epoch % 2 // 1


@pytest.mark.parametrize(
    ("schedule", "warns"), [(Cosine(), True), (StepDecay(0.5), False), (sawtooth, False)]
)
def test_a_resumed_training_whose_schedule_is_over_is_warned_of(
    schedule: Any, warns: bool
) -> None:
    """Under population-based training nothing would be learnt after the first generation."""
    study = optuna.create_study(sampler=GASampler.population_based_training(4, seed=0))
    objective = trainer(schedule=schedule, optimizer="sgd", epochs=2).objective(
        lambda trial: Member(trial.suggest_float("rate", 0.01, 0.1), seed=trial.number),
        checkpoints=Checkpoints(),
    )
    with (
        pytest.warns(RuntimeWarning, match="`schedule` must have a learning rate")
        if warns
        else nullcontext()
    ):
        optimize_generations(study, objective, n_generations=2)


def test_an_end_of_the_schedule_in_the_first_training_is_no_fault() -> None:
    """Nor is a learning rate of 0."""
    subject = trainer(schedule=Cosine(), epochs=2)
    state = subject.train([Member(0.0)])[0].state
    (ended,) = subject.train([Member(0.0)], states=[state])

    assert len(ended.epochs) == 2
