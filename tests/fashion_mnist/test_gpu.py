"""The trainers of the paper's network on a GPU: run `pytest -m gpu` where there is one."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
import torch

from optuna_ga import (
    Checkpoints,
    GASampler,
    best_of_final_generation,
    optimize_generations,
    replay,
)
from optuna_ga.fashion_mnist import FashionMNISTObjective, paper_trainer
from optuna_ga.fashion_mnist._data import Data, load_subset
from optuna_ga.fashion_mnist._network import initial_network
from optuna_ga.fashion_mnist._training import train
from optuna_ga.torch import Member
from optuna_ga.torch._environment import Precision
from tests.fashion_mnist.test_cost import PARAMS, SMALL, study_of, tiny
from tests.fashion_mnist.test_trainers import (
    DIVERGING,
    MEMBERS,
    Curve,
    curve,
    curves,
    images,
    largest_difference,
    separate,
    trained,
)

pytestmark = pytest.mark.gpu
GPU = torch.device("cuda")

# Settings whose losses stay close to each other over some steps, whatever the rounding.
GENTLE = [
    Member(0.01, momentum=0.5, weight_decay=0.01), Member(0.02),
    Member(0.005, momentum=0.9, weight_decay=0.1),
]  # fmt: skip


def on_gpu(members: list[Member], n_images: int, epochs: int = 1, **options: Any) -> list[Curve]:
    """Return the results of each epoch of each member, by the backend that a GPU takes."""
    return curves(trained(members, n_images, epochs, device=GPU, **options))


def losses(of_members: list[Curve]) -> list[Curve]:
    """Return the losses alone: one of twenty images more moves an accuracy by 0.05."""
    return [[epoch[:2] for epoch in curve] for curve in of_members]


def first_epoch(device: str) -> tuple[float, ...]:
    """Return the numbers of the first epoch of a float64 training on a device."""
    images = load_subset(torch.device(device)).training.take(slice(400))
    (numbers,) = curve(
        train(
            initial_network(0, torch.device(device)).double(), images, images,
            learning_rate=0.05, momentum=0.9, weight_decay=0.01, epochs=1, seed=0,
        )
    )  # fmt: skip
    return numbers


def test_the_gpu_is_used_unless_told_otherwise() -> None:
    """Without a device the objective takes the GPU, and computes in bfloat16 there."""
    objective = FashionMNISTObjective("subset")

    assert objective.device.type == "cuda"
    assert objective.precision == "bfloat16"


def test_gpu_and_cpu_train_alike() -> None:
    """In float64 the losses differ by rounding alone: weights and batches are the same."""
    assert first_epoch("cuda") == pytest.approx(first_epoch("cpu"), abs=1e-9)


def test_a_training_repeats_exactly_on_the_gpu() -> None:
    """Equal hyperparameters give the same value to the last bit."""
    study = optuna.create_study()
    for _ in range(2):
        study.enqueue_trial({"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.001})
    study.optimize(FashionMNISTObjective("subset", epochs=2), n_trials=2)

    assert study.trials[0].value == study.trials[1].value


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("backend", [None, "vmap"])
def test_graphs_equal_separate_trainings_in_float64(backend: str | None, dropout: bool) -> None:
    """42 steps with a decaying learning rate and a last batch of 16, within 1e-12."""
    options: Any = {"dtype": torch.float64, "dropout": dropout}
    mine = on_gpu(MEMBERS, 400, 6, backend=backend, **options)
    theirs, _ = separate(MEMBERS, 400, 6, GPU, **options)

    assert largest_difference(mine, theirs) < 1e-12


def test_graphs_equal_separate_trainings_in_float32() -> None:
    """After 20 steps losses agree within 2e-5."""
    theirs, _ = separate(GENTLE, 20 * 64, device=GPU, dtype=torch.float32)

    assert largest_difference(on_gpu(GENTLE, 20 * 64), theirs) < 2e-5


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_fused_kernels_train_as_the_loop(precision: Precision, dropout: bool) -> None:
    """After 20 steps results differ by the precision's rounding alone."""
    options: Any = {"precision": precision, "dropout": dropout}
    mine, theirs = (on_gpu(GENTLE, 20 * 64, backend=b, **options) for b in (None, "loop"))

    assert 0 < largest_difference(losses(mine), losses(theirs)) < 0.02


def test_the_last_batch_of_fused_kernels_may_have_any_size() -> None:
    """A batch of 37 images, which is no power of two, is padded."""
    mine, theirs = (
        on_gpu(GENTLE, 64 + 37, precision="bfloat16", backend=b) for b in (None, "loop")
    )

    assert largest_difference(losses(mine), losses(theirs)) < 0.02


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_in_graphs_repeats_exactly(precision: Precision) -> None:
    """Every sum has a fixed order."""
    first, second = (on_gpu(MEMBERS, 832, precision=precision) for _ in range(2))

    assert first == second


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_diverging_member_changes_no_other_on_the_gpu(precision: Precision) -> None:
    """In a population of the same size the other members are the same to the bit."""
    healthy, diverging = (
        on_gpu(members, 832, precision=precision)
        for members in (MEMBERS, [MEMBERS[0], DIVERGING, MEMBERS[2]])
    )

    assert diverging[1] == []
    assert diverging[0] == healthy[0]
    assert diverging[2] == healthy[2]


@pytest.mark.parametrize(("precision", "limit"), [("float32", 2e-5), ("bfloat16", 0.02)])
def test_a_members_place_matters_within_rounding_on_the_gpu(
    precision: Precision, limit: float
) -> None:
    """Kernels depend on the number of members, so losses after 20 steps agree within rounding."""
    forward, backward, alone = (
        losses(on_gpu(members, 20 * 64, precision=precision))
        for members in (GENTLE, GENTLE[::-1], GENTLE[:1])
    )

    assert largest_difference(forward[:1], backward[2:]) < limit
    assert largest_difference(forward[:1], alone) < limit


def test_dropping_members_leaves_the_others_unchanged_on_the_gpu() -> None:
    """They are equal up to rounding, since kernels depend on the number of members."""
    members = [Member(0.005, momentum=0.5, weight_decay=0.01)] * 6
    whole = on_gpu(members, 5 * 64, 3)
    dropping = on_gpu(members, 5 * 64, 3, drop={1: {0, 1, 2, 3}})

    assert [len(curve) for curve in dropping] == [1, 1, 1, 1, 3, 3]
    assert largest_difference(dropping[4:], whole[4:]) < 2e-5


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_lower_precision_trains_alike_on_the_gpu(precision: Precision) -> None:
    """Losses are close to those of float32, and not equal."""
    exact, rough = (losses(on_gpu(MEMBERS, 320, precision=p)) for p in ("float32", precision))

    assert 0 < largest_difference(exact, rough) < 0.3


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_generation_larger_than_a_chunk_trains_on_the_gpu(precision: Precision) -> None:
    """Twenty members train, in bfloat16 as two chunks of ten whose graphs are used again."""
    ended = on_gpu([MEMBERS[0]] * 20, 144, precision=precision)

    assert [len(curve) for curve in ended] == [1] * 20
    assert all(math.isfinite(loss) for curve in ended for _, loss, _ in curve)


def test_a_trial_on_the_gpu_has_the_loss_and_the_cost_of_the_cpu() -> None:
    """Networks of two widths and of different epochs are one generation; costs are equal."""
    there, here = (
        study_of(tiny(device=device, precision="float32"), PARAMS, SMALL, together=True).trials
        for device in ("cuda", "cpu")
    )
    for mine, theirs in zip(there, here, strict=True):
        assert mine.values == pytest.approx(theirs.values, abs=1e-3)
        assert mine.values[1] == theirs.values[1]


@pytest.mark.parametrize("backend", [None, "vmap"])
def test_generations_continue_on_the_gpu_as_one_training(backend: str | None) -> None:
    """In float64 resumed members equal `train`, and no state leaves the device."""
    options: Any = {"dtype": torch.float64, "learning_rate_decay": 1.0}
    data = Data(images(400, 0, GPU), images(20, 3000, GPU), None)
    begun = paper_trainer(data, 1, backend=backend, **options).train(MEMBERS)
    states = [each.state for each in begun]
    ended = paper_trainer(data, 2, backend=backend, **options).train(MEMBERS, states=states)
    theirs, _ = separate(MEMBERS, 400, 3, GPU, learning_rate_decay=1.0)

    assert largest_difference(curves(ended), [curve[1:] for curve in theirs]) < 1e-12
    for each in ended:
        assert each.state is not None
        assert each.state["weights"]["fc1.weight"].is_cuda


def test_states_in_memory_stay_on_the_gpu() -> None:
    """A study of generations keeps them there, and its winner's schedule can be replayed."""
    checkpoints = Checkpoints()
    options: Any = {"epochs": 1, "n_training_images": 400, "checkpoints": checkpoints}
    objective = FashionMNISTObjective("subset", **options)
    sampler = GASampler.population_based_training(6, seed=0)
    study = optuna.create_study(sampler=sampler)
    optimize_generations(study, objective.evaluate_generation, 3)
    best = best_of_final_generation(study)

    state = checkpoints.load(best)
    assert all(
        tensor.is_cuda
        for part in (state["weights"], state["optimizer"]["momentum_buffer"])
        for tensor in part.values()
    )
    (again,) = replay(study, best, objective.evaluate_generation, 1)
    assert again.value == pytest.approx(best.value, abs=0.05)
