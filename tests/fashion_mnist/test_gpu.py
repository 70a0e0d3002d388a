"""The trainers of the paper's network on a GPU: run `pytest -m gpu` where there is one."""

from __future__ import annotations

import math
from functools import partial
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
from optuna_ga.fashion_mnist import FashionMNISTObjective
from optuna_ga.fashion_mnist._data import load_subset
from optuna_ga.fashion_mnist._network import initial_network
from optuna_ga.fashion_mnist._stacked import StackedTrainer
from optuna_ga.fashion_mnist._trainers import LoopTrainer, Member
from optuna_ga.fashion_mnist._training import Epoch, train
from optuna_ga.torch._environment import Precision
from tests.fashion_mnist.test_trainers import (
    DIVERGING,
    MEMBERS,
    images,
    largest_difference,
    trained,
)

pytestmark = pytest.mark.gpu
GPU = torch.device("cuda")

# Settings whose losses stay close to each other over some steps, whatever the rounding.
GENTLE = [Member(0.01, 0.5, 0.01), Member(0.02, 0.0, 0.0), Member(0.005, 0.9, 0.1)]

on_gpu = partial(trained, device=GPU)


def first_epoch(device: str) -> Epoch:
    """Return the first epoch of a float64 training on a device."""
    images = load_subset(torch.device(device)).training.take(slice(400))
    return next(
        train(
            initial_network(0, torch.device(device)).double(), images, images,
            learning_rate=0.05, momentum=0.9, weight_decay=0.01, epochs=1, seed=0,
        )
    )  # fmt: skip


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
def test_graphs_equal_separate_trainings_in_float64(dropout: bool) -> None:
    """42 steps with a decaying learning rate and a last batch of 16, within 1e-12."""
    trainers = (
        t(GPU, dtype=torch.float64, dropout=dropout) for t in (StackedTrainer, LoopTrainer)
    )
    mine, theirs = (on_gpu(trainer, MEMBERS, 400, 6) for trainer in trainers)

    assert largest_difference(mine, theirs) < 1e-12


def test_graphs_equal_separate_trainings_in_float32() -> None:
    """After 20 steps losses agree within 2e-5."""
    mine, theirs = (on_gpu(t(GPU), GENTLE, 20 * 64) for t in (StackedTrainer, LoopTrainer))

    assert largest_difference(mine, theirs) < 2e-5


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_fused_kernels_train_as_separate_trainings(precision: Precision, dropout: bool) -> None:
    """After 20 steps results differ by the precision's rounding alone."""
    mine, theirs = (
        on_gpu(t(GPU, precision=precision, dropout=dropout), GENTLE, 20 * 64)
        for t in (StackedTrainer, LoopTrainer)
    )

    assert 0 < largest_difference(mine, theirs) < 0.05


def test_the_last_batch_of_fused_kernels_may_have_any_size() -> None:
    """A batch of 37 images, which is no power of two, is padded."""
    mine, theirs = (
        on_gpu(t(GPU, precision="bfloat16"), GENTLE, 64 + 37)
        for t in (StackedTrainer, LoopTrainer)
    )

    assert largest_difference(mine, theirs) < 0.05


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_in_graphs_repeats_exactly(precision: Precision) -> None:
    """Every sum has a fixed order."""
    first, second = (
        on_gpu(StackedTrainer(GPU, precision=precision), MEMBERS, 832) for _ in range(2)
    )

    assert first == second


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_diverging_member_changes_no_other_on_the_gpu(precision: Precision) -> None:
    """In a chunk of the same size the other members are the same to the bit."""
    healthy, diverging = (
        on_gpu(StackedTrainer(GPU, precision=precision), members, 832)
        for members in (MEMBERS, [MEMBERS[0], DIVERGING, MEMBERS[2]])
    )

    assert diverging[0][1] is None
    assert diverging[0][0] == healthy[0][0]
    assert diverging[0][2] == healthy[0][2]


def test_a_members_place_matters_within_rounding_on_the_gpu() -> None:
    """Kernels depend on the chunk's size, so losses after 20 steps agree within 2e-5 only."""
    members = GENTLE
    (forward,) = on_gpu(StackedTrainer(GPU), members, 20 * 64)
    (backward,) = on_gpu(StackedTrainer(GPU), members[::-1], 20 * 64)
    (alone,) = on_gpu(StackedTrainer(GPU), members[:1], 20 * 64)

    assert largest_difference([{0: forward[0]}], [{0: backward[2]}]) < 2e-5
    assert largest_difference([{0: forward[0]}], [alone]) < 2e-5


def test_dropping_members_leaves_the_others_unchanged_on_the_gpu() -> None:
    """They are equal up to rounding, since kernels depend on the shrinking chunk's size."""
    members = [Member(0.005, 0.5, 0.01)] * 6
    whole = on_gpu(StackedTrainer(GPU), members, 5 * 64, 3)
    dropping = on_gpu(StackedTrainer(GPU), members, 5 * 64, 3, drop={1: {0, 1, 2, 3}})

    assert list(dropping[2]) == [4, 5]
    for epoch in range(3):
        assert largest_difference([{5: dropping[epoch][5]}], [{5: whole[epoch][5]}]) < 2e-5


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_lower_precision_trains_alike_on_the_gpu(precision: Precision) -> None:
    """Results are close to those of float32, and not equal."""
    (exact,) = on_gpu(LoopTrainer(GPU), MEMBERS, 320)
    (rough,) = on_gpu(StackedTrainer(GPU, precision=precision), MEMBERS, 320)

    assert 0 < largest_difference([exact], [rough]) < 0.3


def test_a_generation_larger_than_a_chunk_trains_on_the_gpu() -> None:
    """Twenty members are two chunks of ten, and the graphs are used again."""
    (ended,) = on_gpu(StackedTrainer(GPU), [MEMBERS[0]] * 20, 144)

    assert len(ended) == 20
    assert all(
        epoch is not None and math.isfinite(epoch.validation_loss) for epoch in ended.values()
    )


def test_generations_continue_on_the_gpu_as_one_training() -> None:
    """In float64 resumed rows of the stack equal the loop, and no state leaves the device."""
    members = [Member(0.05, 0.9, 0.01), Member(0.1, 0.0, 0.0), Member(0.02, 0.5, 0.1)]
    ended = []
    for kind in (StackedTrainer, LoopTrainer):
        trainer = kind(GPU, dtype=torch.float64, learning_rate_decay=1.0)
        data = images(400, 0, GPU), images(50, 3000, GPU)
        states = trainer.train(members, *data, 1, lambda _: ())
        children = [m._replace(start=s) for m, s in zip(members[::-1], states, strict=True)]
        states = trainer.train(children, *data, 2, lambda _: ())
        assert all(s is not None and s.weights["fc1.weight"].is_cuda for s in states)
        ended.append([s.weights["fc1.weight"] for s in states if s is not None])

    for mine, theirs in zip(*ended, strict=True):
        assert (mine - theirs).abs().max().item() < 1e-12


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
        tensor.is_cuda for part in ("weights", "momenta") for tensor in state[part].values()
    )
    (again,) = replay(study, best, objective.evaluate_generation, 1)
    assert again.value == pytest.approx(best.value, abs=0.05)
