"""The objective with images and networks of the user's own."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from functools import cache
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState
from sklearn.datasets import load_digits
from torch import nn

from optuna_ga import Checkpoints, GASampler, optimize_generations
from optuna_ga.fashion_mnist import (
    DIVERGED_LOSS,
    Data,
    Epoch,
    FashionMNISTObjective,
    Images,
    Network,
    dataset_info,
    evaluate,
    initial_network,
    train,
)

CPU = torch.device("cpu")
PARAMS = {"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.001}
OTHER = {"learning_rate": 0.05, "momentum": 0.0, "weight_decay": 0.0}


@cache
def digits() -> Data:
    """Return images of 8 x 8 pixels of scikit-learn's digits 0 to 4."""
    pixels, labels = load_digits(n_class=5, return_X_y=True)
    both = Images(
        torch.tensor(pixels * 15, dtype=torch.uint8).view(-1, 1, 8, 8), torch.tensor(labels)
    )
    return Data(both.take(slice(96)), both.take(slice(100, 140)), both.take(slice(200, 250)))


class Perceptron(nn.Module):
    """Two layers with dropout and normalisation, whose weights PyTorch's generator draws."""

    def __init__(self, n_pixels: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(n_pixels, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1),
            nn.Linear(8, 5),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits `(B, 5)`."""
        logits: torch.Tensor = self.layers(images)
        return logits


def perceptron(seed: int) -> nn.Module:
    """Return a network; the seed is that of PyTorch's generator."""
    return Perceptron()


def linear(seed: int) -> nn.Module:
    """Return a linear classifier that starts at zero."""
    layer = nn.Linear(64, 5)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.Flatten(), layer)


class Overflowing(nn.Module):
    """A linear classifier whose logits are infinite for white images."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits `(B, 5)`."""
        darkest = images.flatten(1).min(1, keepdim=True).values
        logits: torch.Tensor = self.layer(images.flatten(1))
        return torch.where(darkest > 0, torch.inf, logits)


def objective(**options: Any) -> FashionMNISTObjective:
    """Return an objective of two epochs on digits."""
    return FashionMNISTObjective(**{"data": digits(), "epochs": 2, "device": "cpu", **options})


def values_of(evaluated: FashionMNISTObjective, *, together: bool, **options: Any) -> list[Any]:
    """Return the values of two trials, trained by either form."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    for params in (PARAMS, OTHER):
        study.enqueue_trial(params)
    if together:
        optimize_generations(study, evaluated.evaluate_generation, 1, population_size=2)
    else:
        study.optimize(evaluated, n_trials=2, **options)
    return [trial.value for trial in study.trials]


def by_hand(network: Network, params: dict[str, Any], seed: int) -> Iterator[Epoch]:
    """Train on digits for two epochs by `train`."""
    data = digits()
    return train(
        network, data.training, data.validation, **params, epochs=2, seed=seed,
        info=dataset_info(data),
    )  # fmt: skip


def test_properties_follow_from_the_training_images() -> None:
    """Mean and deviation are those of torch over pixels in [0, 1]; five digits are classes."""
    info = dataset_info(digits())
    pixels = digits().training.pixels.double() / 255

    assert (info.image_shape, info.n_classes) == ((1, 8, 8), 5)
    assert info.mean == pytest.approx(pixels.mean().item(), abs=1e-12)
    assert info.deviation == pytest.approx(pixels.std(correction=0).item(), abs=1e-12)


def test_a_diverged_loss_is_twice_that_of_guessing_among_the_classes() -> None:
    """A trial that diverges has it as its value; FashionMNIST's ten classes give the constant."""
    evaluated = objective(network=linear, epochs=1)
    study = optuna.create_study()
    study.enqueue_trial({"learning_rate": 1.0, "momentum": 0.9, "weight_decay": 0.0})
    evaluated._images.info = evaluated._images.info._replace(deviation=1e-30)
    study.optimize(evaluated, n_trials=1)

    assert evaluated.diverged_loss == study.best_value == pytest.approx(2 * math.log(5))
    assert study.best_trial.user_attrs["diverged"] is True
    assert FashionMNISTObjective("subset").diverged_loss == DIVERGED_LOSS


@pytest.mark.parametrize("together", [False, True])
def test_the_papers_network_trains_on_other_images(together: bool) -> None:
    """Its loss is that of a separate training by `train` on images of 8 x 8 pixels."""
    info = dataset_info(digits())
    expected = []
    for params in (PARAMS, OTHER):
        run = by_hand(initial_network(0, CPU, info=info), params, 0)
        expected.append([epoch.validation_loss for epoch in run][-1])

    assert values_of(objective(), together=together) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("together", [False, True])
def test_a_linear_network_is_trained_as_by_hand(together: bool) -> None:
    """One step on all images, from zero weights, follows from the gradient in closed form."""
    few = digits()._replace(training=digits().training.take(slice(64)))
    info = dataset_info(few)
    inputs, unseen = (
        info.normalize(part.pixels, torch.float64).flatten(1) for part in (few[0], few[1])
    )
    errors = torch.full((64, 5), 0.2, dtype=torch.float64)
    errors[torch.arange(64), few.training.labels] -= 1
    expected = []
    for params in (PARAMS, OTHER):
        step = params["learning_rate"] / 64
        logits = -step * (unseen @ (inputs.T @ errors) + errors.sum(0))
        expected.append(nn.functional.cross_entropy(logits, few.validation.labels).item())
    evaluated = objective(data=few, network=linear, epochs=1)

    assert values_of(evaluated, together=together) == pytest.approx(expected, abs=1e-5)


def test_both_forms_and_threads_agree_for_another_network() -> None:
    """Initial weights come from PyTorch's generator, which is left as it was."""
    evaluated = objective(network=perceptron)
    state = torch.get_rng_state()
    one_by_one = values_of(evaluated, together=False)

    assert values_of(evaluated, together=False, n_jobs=2) == one_by_one
    assert values_of(evaluated, together=True) == pytest.approx(one_by_one, abs=2e-5)
    assert torch.equal(state, torch.get_rng_state())


def test_another_network_is_tested_and_pickled() -> None:
    """A training from scratch and a saved state of it have the same score, in a copy too."""
    study = optuna.create_study(sampler=GASampler.population_based_training(4, seed=0))
    study.enqueue_trial(PARAMS)
    saving = objective(network=perceptron, epochs=1, checkpoints=Checkpoints())
    optimize_generations(study, saving.evaluate_generation, 2)
    score = objective(network=perceptron, epochs=1).test(PARAMS)
    copy = pickle.loads(pickle.dumps(objective(network=perceptron, epochs=1)))

    assert saving.test_trained(study.trials[0]).loss == pytest.approx(score.loss, abs=2e-5)
    assert copy.test(PARAMS) == score
    assert 0.2 <= score.accuracy <= 1
    assert objective(network=perceptron, epochs=1).test(PARAMS, seed=1) != score


def test_the_papers_network_is_tested_as_trained_by_hand() -> None:
    """Its score is that of `train` and `evaluate` on the test images."""
    info = dataset_info(digits())
    network = initial_network(3, CPU, info=info)
    data = digits()
    list(by_hand(network, PARAMS, 3))
    assert data.test is not None

    expected = evaluate(network, data.test, info=info)
    assert objective().test(PARAMS, seed=3) == pytest.approx(expected, abs=2e-5)


def test_another_network_computes_in_bfloat16_and_is_pruned() -> None:
    """The precision changes the value a little; a threshold ends the trial."""
    exact, rough = (
        values_of(objective(network=linear, precision=p), together=True)
        for p in ("float32", "bfloat16")
    )
    pruner = optuna.pruners.ThresholdPruner(upper=0.0)
    study = optuna.create_study(pruner=pruner)
    study.optimize(objective(network=linear), n_trials=1)

    assert exact != rough
    assert exact == pytest.approx(rough, rel=0.2)
    assert study.trials[0].state == TrialState.PRUNED


def changed(part: str, **replaced: Any) -> Data:
    """Return digits of which one part is changed."""
    images = getattr(digits(), part)
    return digits()._replace(**{part: images._replace(**replaced)})


PIXELS, LABELS = digits().training


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"data": 5}, ValueError, "`data`.*a `Data`.*5"),
        ({"data": Data((PIXELS, LABELS), digits()[1], None)}, TypeError, r"`data\.training`"),  # type: ignore[arg-type]
        ({"data": changed("training", pixels=PIXELS[:, 0])}, ValueError, r"\(N, C, H, W\).*96, 8"),
        ({"data": changed("training", pixels=PIXELS / 255)}, ValueError, "uint8.*float32"),
        ({"data": changed("validation", labels=LABELS.int())}, ValueError, "int64.*int32"),
        ({"data": changed("validation", labels=LABELS)}, ValueError, "96 labels for 40 images"),
        ({"data": changed("training", labels=LABELS - 1)}, ValueError, "at least 0.*-1"),
        ({"data": changed("training", labels=LABELS * 0)}, ValueError, "at least two classes"),
        ({"data": changed("training", pixels=PIXELS * 0)}, ValueError, "not all be equal.*0"),
        ({"data": changed("training", labels=LABELS.clamp(max=3))}, ValueError, "below 4.*4"),
        (
            {"data": changed("test", pixels=PIXELS[:50, :, 1:])},
            ValueError,
            r"`data\.test\.pixels`",
        ),
        ({"data": changed("training", pixels=PIXELS[:0])}, ValueError, "not empty"),
        ({"n_training_images": 97}, ValueError, "at most 96.*`data`.*97"),
        ({"network": 5}, TypeError, "`network`.*5"),
        ({"network": lambda seed: 5}, TypeError, "`network` must return an `nn.Module`.*5"),
        ({"network": lambda seed: nn.Conv2d(1, 5, 1)}, ValueError, r"logits \(B, 5\).*8, 8"),
        ({"network": perceptron, "dropout": True}, ValueError, "`dropout`.*`network`"),
    ],
)
def test_a_bad_argument_is_named_with_its_value(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """The error comes at construction."""
    with pytest.raises(error, match=message):
        objective(**options)


def test_the_papers_network_needs_six_pixels() -> None:
    """Two convolutions and a pooling leave nothing of smaller images."""
    small = Data(*(part._replace(pixels=part.pixels[:, :, :5]) for part in digits() if part))

    with pytest.raises(ValueError, match=r"at least 6 x 6 pixels.*\(1, 5, 8\)"):
        objective(data=small)
    assert objective(data=small, network=lambda seed: Perceptron(40)).diverged_loss > 0


def test_data_without_test_images_have_no_test_score() -> None:
    """The error names the part that is missing."""
    with pytest.raises(ValueError, match=r"`data\.test` must be given"):
        objective(data=digits()._replace(test=None)).test(PARAMS)


def test_a_loss_that_overflows_on_the_test_images_is_infinite() -> None:
    """The training was finite, since only the test images are white."""
    white = Images(torch.full((3, 1, 8, 8), 255, dtype=torch.uint8), torch.zeros(3).long())
    data = digits()._replace(test=white)
    score = objective(data=data, network=lambda seed: Overflowing()).test(PARAMS)

    assert score.loss == math.inf
    assert math.isnan(score.accuracy)
