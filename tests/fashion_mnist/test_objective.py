"""The objective: what it returns, records, reports and refuses."""

from __future__ import annotations

import math
import os
import pickle
import time
from functools import partial
from itertools import count
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import FrozenTrial, TrialState

from optuna_ga import GASampler, optimize_generations
from optuna_ga.fashion_mnist import (
    DIVERGED_LOSS,
    SEARCH_SPACE,
    Data,
    FashionMNISTObjective,
    Images,
    Network,
    _image_source,
    _objective,
    evaluate,
    initial_network,
    load_subset,
    paper_trainer,
    train,
)
from optuna_ga.fashion_mnist._data import DEBIAN_FOLDER, FOLDER_VARIABLE
from optuna_ga.torch._environment import Precision
from tests.terminals import open_terminal

pytestmark = pytest.mark.usefixtures("narrow_network")

GOOD = {"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.001}
DIVERGING = {"learning_rate": 1.0, "momentum": 0.9, "weight_decay": 0.1}


def tiny(**options: Any) -> FashionMNISTObjective:
    """Return an objective of two steps."""
    few = {"epochs": 1, "n_training_images": 80, "n_validation_images": 40, "device": "cpu"}
    return FashionMNISTObjective(**{"data": "subset", **few, **options})


def trials_of(
    objective: FashionMNISTObjective, *params: dict[str, float], **options: Any
) -> list[FrozenTrial]:
    """Return the trials of a study of these hyperparameters."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0), **options)
    for one in params:
        study.enqueue_trial(one)
    study.optimize(objective, n_trials=len(params))
    return study.trials


def test_fewer_validation_images_change_the_score_alone() -> None:
    """Accuracy is a multiple of a fortieth; the training is the same."""
    few, all_ = (trials_of(tiny(n_validation_images=n), GOOD)[0] for n in (40, None))
    images = few.user_attrs["validation_accuracy"] * 40

    assert images == pytest.approx(round(images))
    assert few.value != all_.value
    assert few.user_attrs["training_loss"] == all_.user_attrs["training_loss"]


@pytest.mark.parametrize("shown", [True, False])
def test_the_progress_bar_counts_epochs(monkeypatch: pytest.MonkeyPatch, shown: bool) -> None:
    """A generation has one bar, which is removed at the end."""
    terminal = open_terminal(monkeypatch)
    monkeypatch.setattr("tqdm.std.time", count().__next__)  # A second between any two looks.
    study = optuna.create_study(sampler=GASampler(2, parent_fraction=1.0, seed=0))
    objective = tiny(epochs=2, n_training_images=64, show_progress_bar=shown)
    objective.evaluate_generation([study.ask(), study.ask()])

    assert ("training 2 networks: 100%" in terminal.getvalue()) == shown
    assert ("2/2" in terminal.getvalue()) == shown
    assert terminal.getvalue().strip("\r").endswith(" ") == shown


def test_the_search_space_is_the_papers() -> None:
    """Section 5: three floats, each uniform in its range."""
    ranges = {name: (d.low, d.high, d.log, d.step) for name, d in SEARCH_SPACE.items()}

    assert ranges == {
        "learning_rate": (0.0001, 1.0, False, None),
        "momentum": (0.0, 0.9, False, None),
        "weight_decay": (0.0, 0.1, False, None),
    }
    assert trials_of(tiny(), GOOD)[0].distributions == dict(SEARCH_SPACE)


def test_equal_trials_have_equal_values() -> None:
    """Same weights, same batches: the hyperparameters alone decide."""
    first, second = trials_of(tiny(), GOOD, GOOD)

    assert first.value == second.value


def test_a_seed_per_trial_makes_equal_trials_differ() -> None:
    """Trial n trains with seed + n."""
    first, second = trials_of(tiny(seed_per_trial=True), GOOD, GOOD)
    (shifted,) = trials_of(tiny(seed=1), GOOD)

    assert first.value != second.value == shifted.value


@pytest.mark.parametrize("together", [False, True])
def test_a_trial_has_the_loss_of_a_separate_training(together: bool) -> None:
    """It is that of `train`, one by one and as a generation."""
    training, validation, _ = load_subset(torch.device("cpu"))
    params: list[dict[str, Any]] = [GOOD, {**GOOD, "momentum": 0.0, "weight_decay": 0.0}]
    expected = [
        [
            epoch.metrics["loss"]
            for epoch in train(
                initial_network(0, torch.device("cpu")), training.take(slice(80)),
                validation.take(slice(40)), **one, epochs=2, seed=0,
            )
        ]
        for one in params
    ]  # fmt: skip
    found = (generation_of if together else trials_of)(tiny(epochs=2), *params)

    for trial, losses in zip(found, expected, strict=True):
        assert list(trial.intermediate_values.values()) == pytest.approx(losses, abs=2e-5)
        assert trial.value == trial.intermediate_values[2]


def test_the_precision_changes_a_value_a_little() -> None:
    """The same training in bfloat16 differs by rounding."""
    exact, rough = (trials_of(tiny(precision=p), GOOD)[0].value for p in ("float32", "bfloat16"))

    assert exact != rough
    assert exact == pytest.approx(rough, rel=0.05)


def test_training_learns() -> None:
    """One epoch on 4,000 images classifies more than half of the validation images."""
    (trial,) = trials_of(tiny(n_training_images=4000, n_validation_images=200), GOOD)

    assert trial.user_attrs["validation_accuracy"] > 0.5


def test_a_trial_records_what_the_paper_reports() -> None:
    """The value is the loss after the last epoch; accuracy, training loss and time are shown."""
    (trial,) = trials_of(tiny(epochs=2), GOOD)

    names = {"training_loss", "validation_loss", "validation_accuracy", "training_s"}
    assert set(trial.user_attrs) == names
    assert trial.value == trial.user_attrs["validation_loss"] == trial.intermediate_values[2]
    assert list(trial.intermediate_values) == [1, 2]
    assert 0 < trial.user_attrs["validation_accuracy"] < 1
    assert 0 < trial.user_attrs["training_s"] < 60


def test_a_diverged_trial_has_twice_the_loss_of_guessing(small_batches: None) -> None:
    """It is complete, ranks last and is marked, and the study continues."""
    diverged, fine = trials_of(tiny(n_training_images=200), DIVERGING, GOOD)

    assert pytest.approx(2 * math.log(10)) == DIVERGED_LOSS
    assert (diverged.state, diverged.value) == (TrialState.COMPLETE, DIVERGED_LOSS)
    assert diverged.user_attrs["diverged"] is True
    assert "validation_accuracy" not in diverged.user_attrs
    assert diverged.intermediate_values == {}
    assert fine.value is not None
    assert fine.value < DIVERGED_LOSS


def test_a_loss_above_that_of_divergence_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The value and the report are cut, the attribute is not."""
    monkeypatch.setattr(_objective, "DIVERGED_LOSS", 2.0)
    (trial,) = trials_of(tiny(), {**GOOD, "learning_rate": 1e-4})

    assert trial.value == trial.intermediate_values[1] == 2.0 < trial.user_attrs["validation_loss"]
    assert "diverged" not in trial.user_attrs


def generation_of(
    objective: FashionMNISTObjective, *params: dict[str, float], **options: Any
) -> list[FrozenTrial]:
    """Return the trials of a study that evaluates these hyperparameters as one generation."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0), **options)
    for one in params:
        study.enqueue_trial(one)
    optimize_generations(study, objective.evaluate_generation, 1, population_size=len(params))
    return study.trials


def test_a_generation_gives_what_its_trials_give_one_by_one() -> None:
    """Values agree up to float32's rounding; reports and attributes are the same."""
    others = ({**GOOD, "momentum": 0.0}, {**GOOD, "weight_decay": 0.0})
    one_by_one = trials_of(tiny(epochs=2), GOOD, *others)
    together = generation_of(tiny(epochs=2), GOOD, *others)

    for mine, theirs in zip(together, one_by_one, strict=True):
        assert mine.value == pytest.approx(theirs.value, abs=2e-5)
        assert mine.params == theirs.params
        assert mine.user_attrs.keys() == theirs.user_attrs.keys()
        assert mine.intermediate_values.keys() == theirs.intermediate_values.keys()


def test_a_generation_marks_and_survives_a_diverged_trial(small_batches: None) -> None:
    """It is complete with twice the loss of guessing; the other is the same as alone."""
    diverged, fine = generation_of(tiny(n_training_images=200), DIVERGING, GOOD)

    assert (diverged.value, diverged.user_attrs["diverged"]) == (DIVERGED_LOSS, True)
    assert set(diverged.user_attrs) == {"diverged", "training_s"}
    assert fine.value == generation_of(tiny(n_training_images=200), GOOD)[0].value


def test_a_generation_prunes_some_of_its_trials(small_batches: None) -> None:
    """A trial worse than the threshold ends after an epoch; the other trains to the last."""
    pruner = optuna.pruners.ThresholdPruner(upper=2.2)
    weak = {**GOOD, "learning_rate": 0.0001}
    few = tiny(epochs=2, n_training_images=400)
    pruned, complete = generation_of(few, weak, GOOD, pruner=pruner)

    assert (pruned.state, complete.state) == (TrialState.PRUNED, TrialState.COMPLETE)
    assert list(pruned.intermediate_values) == [1]
    assert list(complete.intermediate_values) == [1, 2]
    assert pruned.value == pruned.user_attrs["validation_loss"]


def test_a_generation_shares_its_time_among_its_trials() -> None:
    """The seconds of the trials add up to no more than the generation took."""
    start = time.perf_counter()
    trials = generation_of(tiny(epochs=2), GOOD, GOOD)

    total = sum(trial.user_attrs["training_s"] for trial in trials)
    assert 0 < total <= time.perf_counter() - start


def test_each_trial_of_a_generation_can_have_its_own_seed() -> None:
    """Trial n trains with seed + n, as one by one."""
    first, second = generation_of(tiny(seed_per_trial=True), GOOD, GOOD)
    (shifted,) = generation_of(tiny(seed=1), GOOD)

    assert first.value != second.value == shifted.value


def test_both_forms_make_the_same_study_in_float64(
    monkeypatch: pytest.MonkeyPatch, small_batches: None
) -> None:
    """Bred from each other's values, every trial is the same: no rounding swaps ranks."""
    double = partial(paper_trainer, dtype=torch.float64)
    monkeypatch.setattr(_objective, "paper_trainer", double)
    data = load_subset(torch.device("cpu"))
    few = Data(data.training.take(slice(10)), data.validation.take(slice(10)), None)
    monkeypatch.setattr(_image_source, "load_subset", lambda device: few)
    objective = tiny(n_training_images=10, n_validation_images=10)
    one_by_one, together = (optuna.create_study(sampler=GASampler(4, seed=0)) for _ in range(2))
    one_by_one.optimize(objective, n_trials=12)
    optimize_generations(together, objective.evaluate_generation, 3)

    for mine, theirs in zip(together.trials, one_by_one.trials, strict=True):
        assert mine.params == theirs.params
        assert mine.user_attrs.get("ga_parents") == theirs.user_attrs.get("ga_parents")
        assert mine.value == pytest.approx(theirs.value, abs=1e-12)


def test_dropout_changes_the_training() -> None:
    """Masks are drawn from the seed, so equal trials stay equal."""
    first, second = generation_of(tiny(dropout=True), GOOD, GOOD)

    assert first.value == second.value != trials_of(tiny(), GOOD)[0].value


def test_a_pruner_ends_a_trial_after_an_epoch() -> None:
    """The results of that epoch are recorded."""
    pruner = optuna.pruners.ThresholdPruner(upper=0.0)
    (trial,) = trials_of(tiny(epochs=3), GOOD, pruner=pruner)

    assert trial.state == TrialState.PRUNED
    assert list(trial.intermediate_values) == [1]
    assert trial.user_attrs["validation_loss"] == trial.value


def test_a_trial_that_came_to_its_last_epoch_is_not_pruned() -> None:
    """Its result is known, so pruning would save nothing."""
    pruner = optuna.pruners.ThresholdPruner(upper=0.0)
    (trial,) = trials_of(tiny(), GOOD, pruner=pruner)

    assert trial.state == TrialState.COMPLETE


def test_global_random_numbers_are_left_alone() -> None:
    """A user's own random numbers do not change because a trial ran."""
    state = torch.random.get_rng_state()
    trials_of(tiny(), GOOD)

    assert torch.equal(state, torch.random.get_rng_state())


def test_trials_may_train_in_threads(small_trainings: None) -> None:
    """Their values are those of one after the other, and random numbers are left alone."""
    objective = tiny(seed_per_trial=True, n_training_images=32)
    expected = [trial.value for trial in trials_of(objective, GOOD, GOOD, GOOD, GOOD)]
    state = torch.random.get_rng_state()
    study = optuna.create_study()
    for _ in range(4):
        study.enqueue_trial(GOOD)
    study.optimize(objective, n_trials=4, n_jobs=2)

    assert [trial.value for trial in study.trials] == expected
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_objective_travels_without_its_data() -> None:
    """The pickle holds the settings; a worker process loads the images itself."""
    pickled = pickle.dumps(tiny())

    assert len(pickled) < 1000
    assert trials_of(pickle.loads(pickled), GOOD)[0].value == trials_of(tiny(), GOOD)[0].value


@pytest.fixture(scope="module")
def full() -> FashionMNISTObjective:
    """The objective on all images, of which it trains on few."""
    if not (DEBIAN_FOLDER.is_dir() or FOLDER_VARIABLE in os.environ) and "CI" not in os.environ:
        pytest.skip("all 70,000 images are needed: install Debian's dataset-fashion-mnist")
    return FashionMNISTObjective(epochs=1, n_training_images=640, device="cpu")


def test_a_test_score_depends_on_hyperparameters_and_seed(full_data: Data) -> None:
    """The same training has the same score on the test images, and another seed another one."""
    score = tiny(data="full").test(GOOD)

    assert score == tiny(data="full", seed=1).test(GOOD, seed=0)
    assert score != tiny(data="full").test(GOOD, seed=1)
    assert score == pickle.loads(pickle.dumps(tiny(data="full"))).test(GOOD)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_test_score_is_that_of_a_separate_training(
    full_data: Data, precision: Precision
) -> None:
    """`train` and `evaluate` give it in either precision."""
    few, validation, test = full_data
    network = initial_network(3, torch.device("cpu"))
    list(
        train(
            network, few.take(slice(80)), validation.take(slice(40)), **GOOD, epochs=1, seed=3,
            precision=precision,
        )
    )  # fmt: skip
    assert test is not None
    score = tiny(data="full", precision=precision).test(GOOD, seed=3)

    assert score == pytest.approx(evaluate(network, test, precision), abs=2e-5)


def test_a_loss_that_overflows_on_the_test_images_is_infinite(
    full_data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training was finite, since only the test images are white."""
    white = Images(torch.full((3, 1, 28, 28), 255, dtype=torch.uint8), torch.zeros(3).long())
    monkeypatch.setattr(
        _image_source, "load_full", lambda folder, device: full_data._replace(test=white)
    )
    forward = Network.forward

    def overflowing(network: Network, images: torch.Tensor) -> torch.Tensor:
        darkest = images.flatten(1).min(1, keepdim=True).values
        return torch.where(darkest > 0, torch.inf, forward(network, images))

    monkeypatch.setattr(Network, "forward", overflowing)
    score = tiny(data="full").test(GOOD)

    assert score.loss == math.inf
    assert math.isnan(score.accuracy)


@pytest.mark.slow
def test_the_test_score_is_that_of_the_trained_network(full: FashionMNISTObjective) -> None:
    """A network that learned a little is right more often than by chance on unseen images."""
    assert 0.3 < full.test(GOOD).accuracy < 0.9


def test_a_diverged_network_has_an_infinite_test_loss(full: FashionMNISTObjective) -> None:
    """Its accuracy is NaN rather than that of guessing."""
    score = full.test({**GOOD, "learning_rate": 1e30})

    assert score.loss == math.inf
    assert math.isnan(score.accuracy)


def test_wrong_names_have_no_test_score(full: FashionMNISTObjective) -> None:
    """A missing hyperparameter is named before any training."""
    with pytest.raises(ValueError, match=r"`params` must have the names.*weight_decay"):
        full.test({"learning_rate": 0.1})


def test_the_subset_has_no_test_score() -> None:
    """The subset holds no test images."""
    with pytest.raises(ValueError, match=r'`data` must be "full".*"subset"'):
        tiny().test(GOOD)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"data": "half"}, ValueError, "`data`.*'half'"),
        ({"data": load_subset(torch.device("cpu"))}, TypeError, "`data` must be a string"),
        ({"epochs": 0}, ValueError, "`epochs`.*0"),
        ({"epochs": True}, TypeError, "`epochs`.*True"),
        ({"epochs": 1.0}, TypeError, "`epochs`.*1.0"),
        ({"n_training_images": 0}, ValueError, "`n_training_images`.*0"),
        ({"n_training_images": 6001}, ValueError, "`n_training_images`.*6000.*6001"),
        ({"n_validation_images": 0}, ValueError, "`n_validation_images`.*0"),
        ({"n_validation_images": 2001}, ValueError, "`n_validation_images`.*2000.*2001"),
        ({"seed": -1}, ValueError, "`seed`.*-1"),
        ({"seed": 2**64}, ValueError, f"`seed`.*{2**64}"),  # PyTorch takes no larger seeds.
        ({"folder": 5}, TypeError, "`folder`.*5"),
        ({"seed_per_trial": 1}, TypeError, "`seed_per_trial`.*1"),
        ({"precision": "half"}, ValueError, "`precision`.*'half'"),
        ({"precision": "tf32", "device": "cpu"}, ValueError, "`precision`.*'tf32'.*cpu"),
        ({"dropout": 1}, TypeError, "`dropout`.*1"),
        ({"device": "toaster"}, ValueError, "`device`.*'toaster'"),
        ({"device": "cuda:99"}, ValueError, "`device`.*'cuda:99'"),
    ],
)
def test_a_bad_argument_is_named_with_its_value(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """The error comes before any image is loaded."""
    with pytest.raises(error, match=message):
        FashionMNISTObjective(**{"data": "subset", **options})
