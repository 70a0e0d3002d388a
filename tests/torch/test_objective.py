"""The trainer as an objective of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Study, Trial
from optuna.trial import FrozenTrial, TrialState
from torch import nn

from optuna_ga import Checkpoints, GASampler, best_of_final_generation, optimize_generations
from optuna_ga.torch import Member, PopulationTrainer
from tests.torch.tasks import Classes, mlp, rows


def suggest(trial: Trial) -> Member:
    """Return a member whose learning rate and momentum are searched."""
    return Member(
        trial.suggest_float("learning_rate", 1e-3, 1.0, log=True),
        momentum=trial.suggest_float("momentum", 0.0, 0.9),
    )


def small(epochs: int = 2, **options: Any) -> PopulationTrainer:
    """Return a trainer on the CPU."""
    settings = {"optimizer": "sgd", "device": "cpu", **options}
    task = Classes(partial(mlp, dropout=0.1))
    return PopulationTrainer(task, train=rows(30), validation=rows(20), epochs=epochs, **settings)


def search(objective: Any, n: int = 2, **options: Any) -> Study:
    """Return a study of generations of six."""
    nothing: Any = optuna.pruners.NopPruner()
    options = {"sampler": GASampler(6, seed=0), "pruner": nothing, **options}
    catch = options.pop("catch", ())
    study = optuna.create_study(**options)
    optimize_generations(study, objective, n, catch=catch)
    return study


def value(trial: FrozenTrial) -> float:
    """Return the value of a finished trial."""
    assert trial.value is not None
    return trial.value


def test_a_generation_is_trained_and_recorded() -> None:
    """Each trial has its loss after every epoch, and the metrics of the last."""
    study = search(small().objective(suggest))

    assert len(study.trials) == 12
    for trial in study.trials:
        assert list(trial.intermediate_values) == [1, 2]
        assert trial.value == trial.intermediate_values[2]
        assert trial.value == trial.user_attrs["validation_loss"]
        assert 0 <= trial.user_attrs["validation_accuracy"] <= 1
        assert trial.user_attrs["training_loss"] > 0


def test_a_study_is_the_same_whatever_the_backend() -> None:
    """Values agree up to rounding."""
    loop, vmap = (search(small(backend=b).objective(suggest)) for b in ("loop", "vmap"))

    for one, other in zip(loop.trials, vmap.trials, strict=True):
        assert one.params == other.params
        assert one.value == pytest.approx(other.value, abs=1e-9)


@pytest.mark.parametrize(("direction", "worst"), [("minimize", math.inf), ("maximize", -math.inf)])
def test_a_diverged_trial_is_the_worst_and_says_so(direction: str, worst: float) -> None:
    """The other trials keep their results."""
    trainer = small(backend="vmap")
    objective = trainer.objective(
        lambda trial: Member(1e200 if trial.number == 1 else 0.1), metric="accuracy"
    )
    study = search(objective, 1, direction=direction)

    assert study.trials[1].value == worst
    assert study.trials[1].user_attrs["diverged"] is True
    assert all(0 <= value(trial) <= 1 for trial in study.trials if trial.number != 1)


@pytest.mark.filterwarnings("ignore:.*a search cannot tell them apart")
@pytest.mark.parametrize(("direction", "worst"), [("minimize", 1.0), ("maximize", 0.5)])
def test_the_worst_value_may_be_finite(direction: str, worst: float) -> None:
    """A diverged trial gets it, and no trial, report or value is worse."""
    metric = "loss" if direction == "minimize" else "accuracy"
    objective = small().objective(
        lambda trial: Member(1e200 if trial.number == 1 else 0.001), metric=metric, worst=worst
    )
    study = search(objective, 1, direction=direction)

    assert study.trials[1].value == worst
    for trial in study.trials:
        ended = [value(trial), *trial.intermediate_values.values()]
        assert max(ended) <= worst if direction == "minimize" else min(ended) >= worst


def test_a_worst_value_beyond_all_floats_is_infinite() -> None:
    """As a factor and a learning rate of that size are."""
    objective = small().objective(
        lambda trial: Member(1e200 if trial.number == 1 else 0.001), worst=10**400
    )

    assert search(objective, 1).trials[1].value == math.inf


@pytest.mark.parametrize(("direction", "worst"), [("minimize", -math.inf), ("maximize", math.inf)])
def test_the_best_value_is_refused_as_the_worst(direction: str, worst: float) -> None:
    """Before any trial is suggested a value, which none could have."""
    objective = small().objective(lambda trial: pytest.fail("It suggests."), worst=worst)
    with pytest.raises(ValueError, match=rf"^`worst` must not be {worst} .* to {direction} the"):
        search(objective, 1, direction=direction)


def test_a_worst_value_that_all_trials_have_is_warned_of_once() -> None:
    """Diverged trials have it rightly, and so have some trials of a generation."""
    members = [Member(1e200 if n == 0 else 0.1, seed=n) for n in range(6)]
    give = lambda trial: members[trial.number % 6]  # noqa: E731
    losses = [each.epochs[-1].metrics["loss"] for each in small().train(members[1:])]
    fine = small().objective(give, worst=sum(losses) / 5)
    wrong = small().objective(give, worst=min(losses) / 2)

    search(fine)
    with pytest.warns(RuntimeWarning, match="`worst` must be worse .* all 5 trials") as caught:
        search(wrong)
    assert len(caught) == 1


def test_a_trial_may_be_valued_by_its_best_epoch() -> None:
    """By the direction of the study; its attributes are those of that epoch."""
    for direction, best, metric in (("minimize", min, "loss"), ("maximize", max, "accuracy")):
        study = search(
            small(4).objective(suggest, metric=metric, value="best"), direction=direction
        )
        best_epochs = {trial.user_attrs["best_epoch"] for trial in study.trials}

        assert best_epochs - {4}
        for trial in study.trials:
            reports = trial.intermediate_values
            assert len(reports) == 4
            assert value(trial) == best(reports.values())
            assert value(trial) == reports[trial.user_attrs["best_epoch"]]
            assert value(trial) == trial.user_attrs[f"validation_{metric}"]


def test_a_diverged_trial_is_the_worst_after_any_epoch() -> None:
    """A good epoch before does not save it."""
    objective = small(3, schedule=lambda epoch, epochs: 1e200 if epoch >= 1 else 1.0).objective(
        lambda trial: Member(0.01), value="best"
    )
    study = search(objective, 1)

    assert [list(trial.intermediate_values) for trial in study.trials] == [[1]] * 6
    assert all(value(trial) == math.inf for trial in study.trials)


def root(means: Mapping[str, float]) -> float:
    """Return the root of the loss."""
    return math.sqrt(means["loss"])


def test_a_metric_may_be_a_function_of_means() -> None:
    """Trials report it, and have it as their value."""
    study = search(small().objective(suggest, metric=root))

    for trial in study.trials:
        assert value(trial) == trial.user_attrs["validation_loss"] ** 0.5
        assert value(trial) == trial.intermediate_values[2]


@pytest.mark.parametrize("valued", ["last", "best"])
@pytest.mark.parametrize("has_cost", [False, True])
def test_a_trial_may_have_several_metrics(has_cost: bool, valued: Any) -> None:
    """Of one epoch, the best by the first metric, and the cost beside them."""
    cost = (lambda member: member.momentum) if has_cost else None
    objective = small(4).objective(suggest, metric=["accuracy", root], value=valued, cost=cost)
    study = search(objective, directions=["maximize", "minimize", "minimize"][: 2 + has_cost])

    for trial in study.trials:
        attributes = trial.user_attrs
        own = [trial.params["momentum"]] if has_cost else []
        metrics = [attributes["validation_accuracy"], attributes["validation_loss"] ** 0.5]
        assert trial.values == [*metrics, *own]
        assert not trial.intermediate_values
        assert ("best_epoch" in attributes) == (valued == "best")


def test_each_metric_has_a_worst_value() -> None:
    """A diverged trial has all of them."""
    objective = small().objective(
        lambda trial: Member(1e200 if trial.number == 1 else 0.1),
        metric=["accuracy", "loss"], worst=[0.0, 9.0],
    )  # fmt: skip
    study = search(objective, 1, directions=["maximize", "minimize"])

    assert study.trials[1].values == [0.0, 9.0]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"metric": 3}, TypeError, "`metric` must be the name of a metric, a function"),
        ({"metric": ["loss", 3]}, TypeError, "or several, but it has 3"),
        ({"metric": []}, ValueError, "`metric` must be the name"),
        ({"metric": ["loss", "score"]}, ValueError, r"one of \['accuracy', 'loss'\].*'score'"),
        ({"value": "first"}, ValueError, '`value` must be "last" or "best"'),
        ({"worst": [1.0, 2.0]}, ValueError, "`worst` must have a number for each metric, 1"),
        ({"worst": 1.0, "metric": ["loss", root]}, ValueError, "for each metric, 2"),
        ({"worst": "1"}, TypeError, "`worst` must be a number, one for each"),
        ({"worst": math.nan}, ValueError, "`worst` must not be NaN"),
    ],
)
def test_wrong_values_are_refused(options: Any, error: type[Exception], match: str) -> None:
    """Before anything trains."""
    with pytest.raises(error, match=match):
        small().objective(suggest, **options)


@pytest.mark.parametrize(
    ("metric", "error", "match"),
    [
        (lambda means: math.nan, ValueError, "`metric` must not return NaN"),
        (lambda means: "1", TypeError, "`metric` must return a number"),
        (lambda means: means["score"], KeyError, "score"),
    ],
)
def test_a_metric_that_fails_fails_its_trials(
    metric: Any, error: type[Exception], match: str
) -> None:
    """With its own error."""
    with pytest.raises(error, match=match):
        search(small().objective(suggest, metric=metric), 1)


def test_as_many_directions_as_metrics_are_needed() -> None:
    """The error names the metrics."""
    objective = small().objective(suggest, metric=["accuracy", root])
    with pytest.raises(ValueError, match=r"2 directions.*the accuracy, the root, but"):
        search(objective, 1)


def test_an_unknown_metric_is_refused() -> None:
    """The error names the existing metrics."""
    with pytest.raises(ValueError, match=r"one of \['accuracy', 'loss'\]"):
        search(small().objective(suggest, metric="score"), 1)


def test_pruned_trials_leave_no_state(tmp_path: Path) -> None:
    """Others do."""
    checkpoints = Checkpoints(tmp_path)
    pruner = optuna.pruners.ThresholdPruner(upper=1.05)
    objective = small(4).objective(suggest, checkpoints=checkpoints)
    study = search(
        objective, 1, pruner=pruner, sampler=GASampler.population_based_training(6, seed=0)
    )

    assert len({trial.state for trial in study.trials}) == 2
    for trial in study.trials:
        is_complete = trial.state == TrialState.COMPLETE
        assert ("ga_checkpoint" in trial.user_attrs | trial.system_attrs) == is_complete


def test_trials_are_pruned_between_epochs() -> None:
    """Trials above a threshold are pruned, but none after its last epoch."""
    pruner = optuna.pruners.ThresholdPruner(upper=1.05)
    study = search(small(4).objective(suggest), 2, pruner=pruner)
    pruned = [trial for trial in study.trials if trial.state == TrialState.PRUNED]

    assert 0 < len(pruned) < 12
    assert all(len(trial.intermediate_values) < 4 for trial in pruned)
    assert all("training_loss" in trial.user_attrs for trial in pruned)


@pytest.mark.parametrize("kept", ["in memory", "in a folder"])
def test_population_based_training_goes_on_from_parents(kept: str, tmp_path: Path) -> None:
    """Each generation resumes its parents' training; the last one's best beats the first."""
    checkpoints = Checkpoints(tmp_path if kept == "in a folder" else None)
    objective = small(3).objective(suggest, checkpoints=checkpoints)
    study = search(objective, 6, sampler=GASampler.population_based_training(6, seed=0))
    best = best_of_final_generation(study)
    first = min(value(trial) for trial in study.trials[:6])
    state = checkpoints.load(best)

    assert value(best) < first
    assert state["n_epochs"] == 18
    assert state["n_steps"] == 18 * 4


def sized(trial: Trial) -> Member:
    """Return a member whose width and epochs are searched."""
    width = trial.suggest_categorical("width", [4, 8])
    return Member(0.1, epochs=trial.suggest_int("epochs", 1, 2), model={"width": width})


def test_a_trial_has_a_cost_too() -> None:
    """Its values are those of a separate training, and the cost; nothing is reported."""
    trainer = small()
    objective = trainer.objective(sized, cost=trainer.multiply_adds)
    study = search(objective, sampler=GASampler.adaptive(seed=0), directions=["minimize"] * 2)

    for trial in study.trials:
        width, epochs = trial.params["width"], trial.params["epochs"]
        member = Member(0.1, epochs=epochs, model={"width": width})
        (alone,) = small(backend="loop").train([member])
        loss, cost = trial.values
        assert len(alone.epochs) == epochs
        assert loss == pytest.approx(alone.epochs[-1].metrics["loss"], abs=1e-9)
        assert cost == 30 * epochs * (2 * 6 * width + 3 * 3 * width)
        assert trial.intermediate_values == {}
        assert trial.user_attrs["validation_loss"] == loss


def test_a_diverged_trial_has_its_cost() -> None:
    """Its other value is the worst."""
    objective = small().objective(
        lambda trial: Member(1e200 if trial.number == 1 else 0.1), cost=lambda member: 7, worst=3.0
    )
    study = search(objective, 1, directions=["minimize"] * 2)

    assert study.trials[1].values == [3.0, 7.0]
    assert study.trials[1].user_attrs["diverged"] is True
    assert all(trial.values[0] < 3.0 for trial in study.trials if trial.number != 1)


@pytest.mark.parametrize(
    ("cost", "directions", "message"),
    [
        (
            None,
            ["minimize", "minimize"],
            "one direction.*are the loss, but.*'minimize', 'm",
        ),
        (len, ["minimize"], r"2 directions.*loss, a cost.*\['minimize'\]"),
        (len, ["maximize", "maximize"], 'last "minimize".*maximize'),
        (len, ["minimize"] * 3, "2 directions"),
    ],
)
def test_wrong_directions_are_refused_before_training(
    cost: Any, directions: list[str], message: str
) -> None:
    """The error names the rule and the study's directions."""
    started: list[Trial] = []

    def suggest_and_note(trial: Trial) -> Member:
        started.append(trial)
        return suggest(trial)

    objective = small().objective(suggest_and_note, cost=cost)

    with pytest.raises(ValueError, match=message):
        search(objective, 1, directions=directions)
    assert started == []


class Narrow(Classes):
    """A task whose widest networks cannot be made."""

    def model(self, seed: int, *, width: int = 4) -> nn.Module:  # type: ignore[override]
        if width > 4:
            raise RuntimeError("too wide")
        return super().model(seed, width=width)


@pytest.mark.parametrize("place", ["suggest", "member", "model", "cost", "pruned"])
def test_a_trial_that_cannot_be_trained_fails_alone(place: str) -> None:
    """The other trials have the values that they have without it."""

    def faulty(trial: Trial, is_faulty: bool = True) -> Any:
        member = suggest(trial)
        if trial.number != 1 or not is_faulty:
            return member
        if place in ("suggest", "pruned"):
            raise optuna.TrialPruned if place == "pruned" else RuntimeError("no")
        return {"member": None, "model": replace(member, model={"width": 9})}.get(place, member)

    def cost(member: Member) -> float:
        costs.append(1.0)
        return 1 / (len(costs) != 2)

    costs: list[float] = []
    trainer = PopulationTrainer(
        Narrow(mlp), train=rows(30), validation=rows(20), epochs=2, optimizer="sgd", device="cpu"
    )
    study, whole = (
        search(
            trainer.objective(each, cost=costs_of),
            1,
            directions=["minimize"] * (1 + (place == "cost")),
            catch=(RuntimeError, TypeError, ZeroDivisionError),
        )
        for each, costs_of in (
            (faulty, cost if place == "cost" else None),
            (partial(faulty, is_faulty=False), (lambda _: 1.0) if place == "cost" else None),
        )
    )

    expected = TrialState.PRUNED if place == "pruned" else TrialState.FAIL
    assert [trial.state for trial in study.trials] == [
        expected if n == 1 else TrialState.COMPLETE for n in range(6)
    ]
    assert all(
        one.values == other.values
        for one, other in zip(study.trials, whole.trials, strict=True)
        if one.number != 1
    )


@pytest.mark.parametrize("valued", ["last", "best"])
def test_a_trial_that_diverges_in_its_last_epoch_is_the_worst(valued: Any) -> None:
    """A good epoch before does not save it."""
    objective = small(2, schedule=lambda epoch, epochs: 1e200 if epoch >= 1 else 1.0).objective(
        lambda trial: Member(0.01), value=valued
    )
    study = search(objective, 1)

    for trial in study.trials:
        assert list(trial.intermediate_values) == [1]
        assert value(trial) == math.inf
        assert trial.user_attrs["diverged"] is True
        assert "validation_loss" not in trial.user_attrs
