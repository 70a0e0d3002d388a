"""What an examination cannot foresee, or what holds for some groups alone, ends in the loop."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from optuna_ga import GASampler, optimize_generations
from optuna_ga.torch import Member, PopulationTrainer, TensorData
from tests.torch.tasks import FOUR, MEMBERS, Classes, Encoder, difference, mlp, rows, trained
from tests.torch.test_own_parameters import check_as_by_hand

ALIKE = [Member(0.01 * (n + 1), momentum=0.5) for n in range(4)]  # Of equal seeds.


class Reporting(Classes):
    """A task that reads its loss in one call of three, once its trainer is made."""

    def __init__(self) -> None:
        super().__init__(mlp)
        self.k, self.reads = 0, False
        self.history: list[Tensor] | None = None

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        loss = super().loss(model, batch)
        self.k += 1
        if self.history is not None:
            self.history.append(loss.detach())
        if self.reads and self.k % 3 == 0:
            self.last = f"{loss.item():.3f}"
        return loss


def trainer(task: Any, **options: Any) -> PopulationTrainer:
    """Return a trainer for two epochs of four steps."""
    data: Any = {"train": rows(30), "validation": rows(20)}
    made = PopulationTrainer(task, **data, epochs=2, optimizer="sgd", device="cpu", **options)
    task.reads = True
    return made


def study_of(task: Any, **options: Any) -> optuna.Study:
    """Return a study of two generations of four trials."""
    study = optuna.create_study(sampler=GASampler(4, seed=0))
    objective = trainer(task, **options).objective(lambda trial: FOUR[trial.number % 4])
    optimize_generations(study, objective, 2, catch=ValueError)
    return study


def test_what_a_later_call_reads_is_trained_separately() -> None:
    """The warning names the line; calls that failed count, too."""
    task = Reporting()
    with pytest.warns(RuntimeWarning, match=r"steer Python .in .*test_fallbacks.py, line \d+: "):
        ended = trainer(task).train(FOUR)

    check_as_by_hand(Reporting(), ended, FOUR)
    assert task.k == 3 + 2 * 4 * 4


def test_an_epoch_that_failed_leaves_no_tensors_without_numbers() -> None:
    """Of a task that keeps them."""
    task = Reporting()
    task.history = []
    with pytest.raises(ValueError, match="steer Python"):
        trainer(task, backend="vmap").train(FOUR)

    assert (task.k, task.history) == (0, [])


@pytest.mark.filterwarnings("ignore:Networks are trained separately")
def test_what_a_later_call_reads_fails_no_trial() -> None:
    """They have the values of the loop."""
    auto, loop = (study_of(Reporting(), backend=backend) for backend in ("auto", "loop"))

    assert [t.values for t in auto.trials] == [t.values for t in loop.trials]


def test_what_a_later_call_reads_is_refused_by_vmap_once() -> None:
    """In the first epoch, for all members."""
    words = r"^`backend` must not be 'vmap' .*steer Python .in .*test_fallbacks.py"
    with pytest.raises(ValueError, match=words):
        trainer(Reporting(), backend="vmap").train(FOUR)
    study = study_of(Reporting(), backend="vmap")

    assert {trial.state for trial in study.trials} == {TrialState.FAIL}


class Reading(Classes):
    """A task whose batches steer Python, or have an effect on shapes."""

    def __init__(self, how: str) -> None:
        super().__init__(mlp)
        self._how = how

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        if self._how == "one_hot":
            return F.mse_loss(model(x).softmax(-1), F.one_hot(y, 3).double())
        if self._how == "mask":
            return F.cross_entropy(model(x)[y > 0], y[y > 0])
        if self._how == "assert":
            assert (y >= 0).all()
        if self._how == "if" and x.max() > 100:
            x = x / 255
        return F.cross_entropy(model(x), y)


READING = ["one_hot", "mask", "assert", "if"]


@pytest.mark.parametrize("how", READING)
def test_batches_of_their_own_may_steer_python(how: str) -> None:
    """Members of different seeds are trained separately, with a warning."""
    with pytest.warns(RuntimeWarning, match="separately: members of different seeds have batches"):
        ended = trained(Reading(how), rows, FOUR)

    check_as_by_hand(Reading(how), ended, FOUR)


@pytest.mark.parametrize("backend", ["auto", "vmap"])
@pytest.mark.parametrize("how", READING)
def test_a_batch_that_members_share_may_steer_python(how: str, backend: str) -> None:
    """Nothing is lost, and nothing is warned of."""
    check_as_by_hand(Reading(how), trained(Reading(how), rows, ALIKE, backend=backend), ALIKE)


def test_vmap_refuses_batches_of_their_own_once() -> None:
    """All members fail in the first epoch, and not one by one."""
    with pytest.raises(ValueError, match=r"must not be 'vmap'.*batches of their own"):
        trained(Reading("mask"), rows, FOUR, backend="vmap")
    study = study_of(Reading("mask"), backend="vmap")

    assert {trial.state for trial in study.trials} == {TrialState.FAIL}


@pytest.mark.parametrize("task", [Reading("mask"), Classes(mlp)])
def test_few_networks_lose_nothing_by_what_vmap_refuses(task: Any) -> None:
    """A CPU takes threads for three members anyway, so nothing is warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_as_by_hand(task, trained(task, rows), MEMBERS)


def sentences(n: int) -> TensorData:
    """Return `n` sentences of five tokens, of which the last are padding, and their classes."""
    generator = torch.Generator("cpu").manual_seed(n)
    tokens = torch.randint(1, 11, (n, 5), generator=generator)
    tokens[::2, 3:] = 0
    return TensorData(tokens, tokens[:, 0] % 3, batch_size=8)


class Padded(Encoder):
    """An encoder that ignores padding, and judges by the first token."""

    def __init__(self) -> None:
        super().__init__()
        self.layers.use_nested_tensor = True

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits `(B, 3)` of tokens `(B, T)`."""
        encoded = self.layers(self.embed(tokens), src_key_padding_mask=tokens == 0)
        logits: Tensor = self.head(encoded[:, 0])
        return logits


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_encoders_with_a_mask_train_by_vmap() -> None:
    """Though PyTorch evaluates them by nested tensors, which the user may use afterwards."""
    task = Classes(Padded)
    loop, vmap = (trained(task, sentences, backend=backend) for backend in ("loop", "vmap"))

    assert difference(loop, vmap) < 1e-12
    assert torch.backends.mha.get_fastpath_enabled()


class Asking(Classes):
    """A task whose metrics ask whether gradients may be taken."""

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        loss = super().metrics(model, batch)["loss"]
        return {"loss": 2 * loss if torch.is_grad_enabled() else loss}


@pytest.mark.filterwarnings("ignore:Networks are trained separately")
def test_metrics_that_vmap_computes_otherwise_are_found() -> None:
    """Inside, gradients are enabled."""
    check_as_by_hand(Asking(mlp), trained(Asking(mlp), rows, FOUR), FOUR)
    with pytest.raises(ValueError, match="vmap computes something else"):
        trained(Asking(mlp), rows, backend="vmap")


class Generating(Classes):
    """A task that draws from a generator of its own."""

    def __init__(self) -> None:
        super().__init__(mlp)
        self.generator = torch.Generator().manual_seed(0)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        noise = torch.randn(batch[0].shape, generator=self.generator, dtype=torch.float64)
        return super().loss(model, (batch[0] + noise, batch[1]))


@pytest.mark.parametrize("backend", ["auto", "loop", "threads", "vmap", "branches"])
def test_a_generator_of_the_task_is_named(backend: str) -> None:
    """Its numbers depend on who was trained before."""
    with pytest.raises(ValueError, match=r"`torch\.Generator`: .*`rand_like`"):
        trained(Generating(), rows, backend=backend)
