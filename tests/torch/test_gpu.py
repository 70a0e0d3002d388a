"""`PopulationTrainer` on a GPU: run `pytest -m gpu` where there is one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import optuna
import pytest
import torch
from torch import Tensor, nn

from optuna_ga import Checkpoints, GASampler, optimize_generations
from optuna_ga.torch import Capturer, Member, PopulationTrainer, TensorData, Trained
from tests.torch.tasks import (
    MEMBERS,
    Classes,
    Encoder,
    Recurrent,
    cnn,
    difference,
    images,
    mlp,
    rows,
    tokens,
    trained,
)

pytestmark = pytest.mark.gpu

NETWORKS: dict[str, tuple[Callable[..., nn.Module], Callable[..., TensorData]]] = {
    "mlp": (partial(mlp, dropout=0.3), rows),
    "cnn": (partial(cnn, dropout=0.2), images),
    "encoder": (partial(Encoder, dropout=0.1), tokens),
}
ONE_SEED = [replace(each, seed=3) for each in MEMBERS]


def on_gpu(network: str, members: list[Member] = MEMBERS, **options: Any) -> list[Trained]:
    """Train a network of the table in float64; skip if cuDNN has no engine for it."""
    make, data = NETWORKS[network]
    try:
        return trained(Classes(make), data, members, device="cuda", **options)
    except (RuntimeError, ValueError) as error:
        if "engine" in str(error):  # Deterministic grouped gradients in float64.
            pytest.skip(str(error))
        raise


@pytest.mark.parametrize("members", [MEMBERS, ONE_SEED], ids=["orders", "one order"])
@pytest.mark.parametrize("backend", ["vmap", "branches"])
@pytest.mark.parametrize("network", NETWORKS)
def test_graphs_equal_the_loop(network: str, backend: str, members: list[Member]) -> None:
    """Eight steps in float64, two of them with a smaller batch, agree within 1e-10."""
    loop, other = (on_gpu(network, members, backend=each) for each in ("loop", backend))

    assert difference(loop, other) < 1e-10


@pytest.mark.parametrize("backend", ["vmap", "branches"])
@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw"])
def test_each_optimizer_equals_that_of_pytorch(optimizer: str, backend: str) -> None:
    """Thirty-two steps in float64 agree within 1e-9."""
    options: Any = {"optimizer": optimizer, "epochs": 8}
    members = [replace(each, momentum=each.momentum or 0.1) for each in MEMBERS]
    loop, other = (on_gpu("mlp", members, backend=b, **options) for b in ("loop", backend))

    assert difference(loop, other) < 1e-9


@pytest.mark.parametrize("backend", ["loop", "vmap", "branches"])
def test_the_gpu_trains_as_the_cpu_does(backend: str) -> None:
    """Weights, orders and dropout are the same, so results in float64 agree within 1e-10."""
    make, data = NETWORKS["mlp"]
    cpu = trained(Classes(make), data, device="cpu", backend="loop")

    assert difference(cpu, on_gpu("mlp", backend=backend)) < 1e-10


@pytest.mark.parametrize("backend", ["vmap", "branches"])
@pytest.mark.parametrize("network", NETWORKS)
def test_lower_precision_trains_alike(network: str, backend: str) -> None:
    """It is another computation, not another problem."""
    make, data = NETWORKS[network]
    if network != "encoder":
        data = partial(data, dtype=torch.float32)
    task = Classes(make, torch.float32)
    options: Any = {"device": "cuda", "backend": backend}
    exact = trained(task, data, precision="float32", **options)
    for precision in ("tf32", "bfloat16"):
        rough = trained(task, data, precision=precision, **options)
        for one, other in zip(exact, rough, strict=True):
            for mine, theirs in zip(one.epochs, other.epochs, strict=True):
                assert mine.training_loss == pytest.approx(theirs.training_loss, abs=0.3)
                assert mine.metrics["loss"] == pytest.approx(theirs.metrics["loss"], abs=0.3)


@pytest.mark.parametrize("backend", ["vmap", "branches"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_training_goes_on_as_if_it_had_not_stopped(optimizer: str, backend: str) -> None:
    """One epoch and two more equal three."""
    options: Any = {"optimizer": optimizer, "backend": backend, "device": "cuda"}
    options |= {"train": rows(30), "validation": rows(20)}
    task = Classes(partial(mlp, dropout=0.3))
    whole = PopulationTrainer(task, epochs=3, **options).train(MEMBERS)
    begun = PopulationTrainer(task, epochs=1, **options).train(MEMBERS)
    trainer = PopulationTrainer(task, epochs=2, **options)
    ended = trainer.train(MEMBERS, states=[each.state for each in begun])

    assert difference(
        [replace(each, epochs=each.epochs[1:]) for each in whole], ended
    ) < 1e-12  # fmt: skip


@pytest.mark.parametrize("backend", ["vmap", "branches"])
def test_a_result_does_not_depend_on_place_or_company(backend: str) -> None:
    """Masks depend on a member's seed alone; kernels depend on the size, so rounding differs."""
    forward = on_gpu("mlp", ONE_SEED, backend=backend)
    backward = on_gpu("mlp", ONE_SEED[::-1], backend=backend)
    alone = on_gpu("mlp", ONE_SEED[:1], backend=backend)

    assert difference(forward, backward[::-1]) < 1e-10
    assert difference(forward[:1], alone) < 1e-10


@pytest.mark.parametrize("backend", ["vmap", "branches"])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_diverging_member_changes_no_other(network: str, backend: str) -> None:
    """Within the epoch of divergence the other members are the same to the bit."""
    bad = [MEMBERS[0], Member(1e200), MEMBERS[2]]
    good = on_gpu(network, MEMBERS, backend=backend, epochs=1)
    mixed = on_gpu(network, bad, backend=backend, epochs=1)

    assert mixed[1].state is None
    assert difference([good[0], good[2]], [mixed[0], mixed[2]]) == 0.0


def test_members_drop_out_of_a_generation_of_twenty() -> None:
    """Graphs of smaller sizes take over, and empty places are padded."""
    members = [replace(MEMBERS[n % 3], seed=n) for n in range(20)]
    options: Any = {"train": rows(30), "validation": rows(20), "optimizer": "sgd"}
    trainer = PopulationTrainer(Classes(mlp), epochs=3, device="cuda", backend="vmap", **options)
    whole = trainer.train(members)
    dropping = trainer.train(members, after_epoch=lambda epoch, ended: range(epoch * 4))

    assert [len(each.epochs) for each in dropping] == [1] * 4 + [2] * 4 + [3] * 12
    assert all(each.state is not None for each in dropping)
    assert difference(whole[12:], dropping[12:]) < 1e-10


@pytest.mark.parametrize("backend", ["vmap", "branches"])
def test_switches_of_the_user_stay(backend: str) -> None:
    """They are TF32, deterministic kernels and the current stream."""
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    names: list[tuple[Any, str]] = [(cudnn, "deterministic"), (cudnn, "benchmark")]
    if hasattr(matmul, "fp32_precision"):
        names += [(matmul, "fp32_precision"), (cudnn.conv, "fp32_precision")]
    before = [getattr(holder, name) for holder, name in names]
    stream = torch.cuda.current_stream()
    make, data = partial(mlp), partial(rows, dtype=torch.float32)
    trained(Classes(make, torch.float32), data, device="cuda", backend=backend, precision="tf32")

    assert [getattr(holder, name) for holder, name in names] == before
    assert torch.cuda.current_stream() == stream


def test_states_stay_on_the_gpu_and_a_population_trains() -> None:
    """After three generations of one epoch the last has trained three epochs."""
    checkpoints = Checkpoints()
    options: Any = {"train": rows(30), "validation": rows(20), "optimizer": "sgd"}
    trainer = PopulationTrainer(Classes(mlp), epochs=1, device="cuda", **options)
    objective = trainer.objective(
        lambda trial: Member(trial.suggest_float("rate", 0.01, 0.1)), checkpoints=checkpoints
    )
    sampler = GASampler.population_based_training(6, seed=0)
    study = optuna.create_study(sampler=sampler, pruner=optuna.pruners.NopPruner())
    optimize_generations(study, objective, 3)
    state = checkpoints.load(study.get_trials()[-1])

    assert state["n_epochs"] == 3
    assert all(tensor.is_cuda for tensor in state["weights"].values())


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_recurrent_networks_train_by_some_backend(kind: Any) -> None:
    """CuDNN's cells may be refused by `vmap` or by a graph; "auto" ends where they train."""
    task = Classes(partial(Recurrent, kind))
    loop = trained(task, tokens, device="cuda", backend="loop")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        auto = trained(task, tokens, device="cuda")

    assert difference(loop, auto) < 1e-9


def test_reading_a_number_ends_in_the_loop_with_its_line() -> None:
    """The loop takes over before anything is captured."""

    class Reading(Classes):
        def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            loss = super().loss(model, batch)
            return loss / 2 if loss.item() > 100 else loss

    with pytest.warns(RuntimeWarning, match=r"test_gpu.py, line \d+"):
        ended = trained(Reading(mlp), rows, device="cuda")

    assert difference(ended, trained(Classes(mlp), rows, device="cuda", backend="loop")) < 1e-10


@pytest.mark.parametrize("backend", ["vmap", "branches"])
def test_batches_of_a_loader_on_the_device_stay_what_they_are(backend: str) -> None:
    """A graph has copies of them, and trains as the loop does."""
    device = torch.device("cuda")

    def ended(backend: str) -> list[Trained]:
        batches = [(x.to(device), y.to(device)) for x, y in rows(30).batches(8)]
        options: Any = {"epochs": 3, "device": device, "backend": backend}
        subject = PopulationTrainer(Classes(mlp), train=batches, validation=batches, **options)
        result = subject.train(MEMBERS)
        for batch, given in zip(batches, rows(30).batches(8), strict=True):
            assert all(
                torch.equal(mine.cpu(), own) for mine, own in zip(batch, given, strict=True)
            )
        return result

    assert difference(ended("loop"), ended(backend)) < 1e-10


def test_a_network_that_waits_for_the_gpu_trains_in_the_loop() -> None:
    """It is found before a capture, and networks after it are captured and draw."""

    class Waiting(Classes):
        def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            x, y = batch
            return super().loss(model, (x + torch.tensor([0.5], device=x.device), y))

    members = [*MEMBERS, *MEMBERS]
    loop = trained(Waiting(mlp), rows, members, device="cuda", backend="loop")
    with pytest.warns(RuntimeWarning, match=r"cannot be captured.*synchronizing"):
        auto = trained(Waiting(mlp), rows, members, device="cuda")

    assert difference(loop, auto) == 0.0
    test_graphs_equal_the_loop("mlp", "vmap", MEMBERS)


def test_a_capture_that_fails_leaves_the_gpu_to_others() -> None:
    """An older graph, the generator and a new graph work."""
    number = torch.ones((), device="cuda")

    def waits() -> None:
        number.add_(torch.ones_like(number))
        if torch.cuda.is_current_stream_capturing():
            number.item()

    def double() -> None:
        number.mul_(2.0)

    def nothing() -> None:
        pass

    capturer = Capturer(number.device)
    older = capturer.capture(double, nothing)
    with pytest.raises(RuntimeError, match="captur"):
        capturer.capture(waits, nothing)
    newer = capturer.capture(double, nothing)
    number.fill_(3.0)
    older()
    newer()

    assert number.item() == 12.0
    assert 0 <= torch.rand((), device="cuda").item() < 1


@pytest.mark.parametrize("backend", ["vmap", "branches"])
def test_autocast_trains_as_in_the_loop(backend: str) -> None:
    """A cache would keep the weights of other steps."""

    class Autocast(Classes):
        def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            with torch.autocast("cuda", torch.bfloat16):
                return super().loss(model, batch)

    task, data = Autocast(mlp, torch.float32), partial(rows, dtype=torch.float32)
    loop, other = (trained(task, data, device="cuda", backend=b) for b in ("loop", backend))

    assert difference(loop, other) < 0.1


class Augmented(Classes):
    """A task that draws as a variational autoencoder and mixup do, and spares biases of decay."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        noise = torch.randn(x.shape, device=x.device, dtype=x.dtype)
        share = torch.rand(len(x), 1, device=x.device, dtype=x.dtype)
        order = torch.randperm(len(x), device=x.device)
        kept = torch.bernoulli(torch.full_like(x, 0.9))
        mixed = share * x + (1 - share) * x[order]
        return super().loss(model, (kept * mixed + 0.1 * noise, y))

    def decays(self, name: str, parameter: Tensor) -> bool:
        """Return whether a parameter decays."""
        return parameter.dim() > 1


@pytest.mark.parametrize("backend", ["vmap", "branches"])
def test_random_functions_and_sparing_decay_equal_the_loop(backend: str) -> None:
    """Captured steps draw the numbers of each step anew, those of the CPU."""
    task, options = Augmented(mlp), {"optimizer": "adamw", "epochs": 3}
    members = [replace(each, weight_decay=0.3) for each in MEMBERS]
    on_cpu = trained(task, rows, members, device="cpu", backend="loop", **options)
    loop, other = (
        trained(task, rows, members, device="cuda", backend=each, **options)
        for each in ("loop", backend)
    )

    assert difference(loop, other) < 1e-10
    assert (
        difference(on_cpu, loop) < 1e-6
    )  # Logarithms and cosines of float32 may round otherwise.
