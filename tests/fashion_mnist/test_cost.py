"""The objective with the paper's two metrics: the loss and the cost of training."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
import torch
from optuna import Study

from optuna_ga import Checkpoints, GASampler, optimize_generations
from optuna_ga.fashion_mnist import (
    DIVERGED_LOSS,
    SEARCH_SPACE,
    Data,
    FashionMNISTObjective,
    Network,
    Score,
    _data,
    evaluate,
    initial_network,
    load_subset,
    train,
)

CPU = torch.device("cpu")
PARAMS = {"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.001, "width": 8, "epochs": 2}
SMALL = {**PARAMS, "width": 4, "epochs": 1}


def tiny(**options: Any) -> FashionMNISTObjective:
    """Return an objective of at most two epochs of two steps, with a cost."""
    few = {"epochs": 2, "n_training_images": 80, "n_validation_images": 40, "device": "cpu"}
    return FashionMNISTObjective(**{"data": "subset", "cost": True, **few, **options})


def new_study(directions: Any = ("minimize", "minimize"), **options: Any) -> Study:
    """Return a study in memory."""
    return optuna.create_study(directions=directions, **options)


def study_of(objective: FashionMNISTObjective, *params: dict[str, float], together: bool) -> Study:
    """Return a study of these hyperparameters, trained by either form."""
    study = new_study(sampler=optuna.samplers.RandomSampler(0))
    for one in params:
        study.enqueue_trial(one)
    if together:
        evaluate_generation = objective.evaluate_generation
        optimize_generations(study, evaluate_generation, 1, population_size=len(params))
    else:
        study.optimize(objective, n_trials=len(params))
    return study


def by_hand(params: dict[str, Any]) -> tuple[Network, float]:
    """Return a network trained by `train`, and its validation loss."""
    training, validation, _ = load_subset(CPU)
    network = initial_network(0, CPU, width=params["width"])
    *_, last = train(
        network, training.take(slice(80)), validation.take(slice(40)),
        **{name: params[name] for name in SEARCH_SPACE}, epochs=params["epochs"], seed=0,
    )  # fmt: skip
    return network, last.metrics["loss"]


def cost_by_hand(width: int, epochs: int) -> int:
    """Return the multiply-adds of 80 images: thrice each layer, twice the first."""
    first = 26 * 26 * 9 * width
    second = 24 * 24 * 9 * width * 2 * width
    hidden = 12 * 12 * 2 * width * 4 * width
    head = 4 * width * 10
    return epochs * 80 * (2 * first + 3 * (second + hidden + head))


@pytest.mark.parametrize("together", [False, True])
def test_a_trial_has_the_loss_and_the_cost(together: bool) -> None:
    """The loss is that of a separate training, the cost that counted by hand."""
    study = study_of(tiny(), PARAMS, SMALL, together=together)

    for trial, params in zip(study.trials, (PARAMS, SMALL), strict=True):
        loss, cost = trial.values
        assert loss == pytest.approx(by_hand(params)[1], abs=2e-5)
        assert cost == cost_by_hand(int(params["width"]), int(params["epochs"]))
        assert trial.user_attrs["validation_loss"] == loss
        assert trial.distributions == tiny().search_space


def test_the_search_space_gains_what_can_be_traded() -> None:
    """The widest network is the paper's, and the longest training is the objective's."""
    space = tiny(epochs=14).search_space
    plain = FashionMNISTObjective("subset").search_space

    assert plain == dict(SEARCH_SPACE)
    assert {name: each for name, each in space.items() if name in plain} == plain
    assert (space["width"].high, space["epochs"].low, space["epochs"].high) == (32, 1, 14)
    widest, papers = (initial_network(0, CPU, width=width).state_dict() for width in (32, None))
    assert all(torch.equal(widest[name], papers[name]) for name in papers)


def test_a_diverged_trial_has_its_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loss is twice that of guessing; pixels as large as these let every training diverge."""
    monkeypatch.setattr(_data, "STANDARD_DEVIATION", 1e-30)
    (diverged,) = study_of(tiny(), SMALL, together=True).trials

    assert diverged.values == [DIVERGED_LOSS, cost_by_hand(4, 1)]
    assert diverged.user_attrs["diverged"] is True


@pytest.mark.slow
def test_a_search_finds_a_front() -> None:
    """Generations of the adaptive sampler run; the front has several trials."""
    study = new_study(sampler=GASampler.adaptive(4, seed=0))
    optimize_generations(study, tiny().evaluate_generation, 3)

    assert len(study.trials) == 12
    assert len(study.best_trials) > 1


def test_a_network_is_tested_as_trained_by_hand(full_data: Data) -> None:
    """Width and epochs are those of the parameters."""
    assert full_data.test is not None
    expected = evaluate(by_hand(SMALL)[0], full_data.test)

    assert tiny(data="full").test(SMALL) == pytest.approx(Score(*expected), abs=2e-5)
    with pytest.raises(ValueError, match=r"`params` must have.*'epochs'.*'width'"):
        tiny(data="full").test({name: PARAMS[name] for name in SEARCH_SPACE})


@pytest.mark.parametrize("directions", [("minimize",), ("minimize", "maximize")])
@pytest.mark.parametrize("together", [False, True])
def test_wrong_directions_are_refused(directions: tuple[str, ...], together: bool) -> None:
    """The error names what the study must have, and nothing is trained."""
    study = new_study(directions, sampler=GASampler(2, parent_fraction=1.0, seed=0))

    with pytest.raises(ValueError, match=r"directions \['minimize', 'minimize'\].*the cost"):
        if together:
            tiny().evaluate_generation([study.ask()])
        else:
            tiny()(study.ask())
    assert study.trials[0].params == {}


def test_a_loss_is_not_maximized() -> None:
    """Without a cost the only direction is to minimize."""
    study = new_study(("maximize",))

    with pytest.raises(ValueError, match=r"directions \['minimize'\].*the loss, .*\['maximize'\]"):
        study.optimize(tiny(cost=False), n_trials=1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cost": 1}, TypeError, "`cost`.*1"),
        ({"checkpoints": Checkpoints()}, ValueError, "`checkpoints` must be None with `cost`"),
    ],
)
def test_what_cannot_have_a_cost_is_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """The error comes at construction."""
    with pytest.raises(error, match=message):
        tiny(**options)
