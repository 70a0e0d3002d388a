"""A member that fails costs no other its training."""

from __future__ import annotations

from functools import partial
from typing import Any

import optuna
import pytest
import torch
from optuna import Trial
from optuna.trial import TrialState
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from optuna_ga import Checkpoints, GASampler, optimize_generations
from optuna_ga.torch import Member, PopulationTrainer
from tests.torch.tasks import MEMBERS, Classes, Recurrent, difference, mlp, rows, tokens

BACKENDS = ["loop", "threads", "vmap", "branches"]


def trainer(task: Any, **options: Any) -> PopulationTrainer:
    """Return a trainer by SGD on 25 examples, the last of which is a batch if they are by 8."""
    settings = {"train": rows(25), "validation": rows(20), "epochs": 2, "optimizer": "sgd"}
    return PopulationTrainer(task, **{**settings, "device": "cpu", **options})


def evaluated(objective: Any, n: int, **options: Any) -> list[Any]:
    """Return the results of a generation of trials."""
    sampler = GASampler.population_based_training(4, seed=0)
    study = optuna.create_study(sampler=sampler, **options)
    return list(objective([study.ask() for _ in range(n)]))


def normalised() -> nn.Module:
    """Return a network that cannot train on a batch of one example."""
    return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


SIZES = [8, 5, 24, 10]


def sized(trial: Trial) -> Member:
    """Return a member of another batch size for each trial; the first and third leave one."""
    return Member(0.1, batch_size=SIZES[trial.number], seed=trial.number)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_size_that_fails_does_not_discard_the_other_trainings(backend: str) -> None:
    """They have the values and states of trainings alone; the other trials have the error."""
    checkpoints = Checkpoints()
    study = optuna.create_study(sampler=GASampler.population_based_training(4, seed=0))
    subject = trainer(Classes(normalised), backend=backend)
    objective = subject.objective(sized, checkpoints=checkpoints)
    optimize_generations(study, objective, n_generations=1, catch=ValueError)
    fine = [1, 3]

    assert [t.number for t in study.trials if t.state == TrialState.COMPLETE] == fine
    for number in fine:
        trial = study.trials[number]
        member = Member(0.1, batch_size=SIZES[number], seed=number)
        (alone,) = trainer(Classes(normalised), backend="loop").train([member])
        assert trial.value == pytest.approx(alone.epochs[-1].metrics["loss"], abs=1e-9)
        assert checkpoints.load(trial)["n_epochs"] == 2


def test_an_error_that_is_not_caught_is_raised_once_the_others_have_their_results() -> None:
    """As that of any objective."""
    study = optuna.create_study(sampler=GASampler(4, seed=0))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        optimize_generations(study, trainer(Classes(normalised)).objective(sized), 1)

    assert [trial.state == TrialState.COMPLETE for trial in study.trials] == [0, 1, 0, 1]


class Positive(Classes):
    """A task that needs finite weights."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        total = sum((each**2).sum() for each in model.parameters())
        matrix = torch.eye(2, dtype=torch.float64) * (1 + 0 * total)
        one: Tensor = torch.linalg.cholesky(matrix).mean() * 2
        return super().loss(model, batch) * one


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_member_that_fails_in_training_fails_alone_in_its_group(backend: str) -> None:
    """The others have the values that they have without it."""
    trainings = trainer(Positive(mlp), backend=backend)
    members = [Member(1e200 if n == 1 else 0.1, seed=n) for n in range(4)]
    results = evaluated(trainings.objective(lambda trial: members[trial.number]), 4)
    alone = trainer(Positive(mlp), backend="loop").train([members[n] for n in (0, 2, 3)])

    assert "cholesky" in str(results.pop(1))
    assert results == pytest.approx([each.epochs[-1].metrics["loss"] for each in alone], abs=1e-9)


def test_train_raises_what_a_member_raises() -> None:
    """There is no trial to fail."""
    with pytest.raises(RuntimeError, match="cholesky"):
        trainer(Positive(mlp), backend="loop").train([Member(1e200)])


class Either(Classes):
    """A task whose networks are recurrent or not."""

    def model(self, seed: int, *, kind: str) -> nn.Module:  # type: ignore[override]
        if kind == "lstm":
            return Recurrent(nn.LSTM)
        return nn.Sequential(nn.Embedding(11, 4), nn.Flatten(), nn.Linear(20, 3))


def test_a_network_that_the_backend_cannot_train_fails_alone() -> None:
    """Before the others train."""
    kinds = ["plain", "lstm", "plain"]
    options = {"train": tokens(30), "validation": tokens(20), "backend": "vmap"}
    objective = trainer(Either(mlp), **options).objective(
        lambda trial: Member(0.1, model={"kind": kinds[trial.number]})
    )
    first, error, last = evaluated(objective, 3)

    assert first == last > 0
    assert isinstance(error, ValueError)
    assert "`backend` must not be 'vmap'" in str(error)


class Full(Checkpoints):
    """A place for states that has no room for that of one trial."""

    def save(self, trial: Any, state: Any) -> None:
        if trial.number == 1:
            raise OSError("no space left")
        super().save(trial, state)


class Refusing(optuna.pruners.NopPruner):
    """A pruner that fails for one trial."""

    def prune(self, study: Any, trial: Any) -> bool:
        if trial.number == 1:
            raise OSError("no rule")
        return False


@pytest.mark.parametrize(
    ("checkpoints", "pruner"), [(Full(), optuna.pruners.NopPruner()), (None, Refusing())]
)
def test_what_fails_after_a_training_fails_that_trial_alone(checkpoints: Any, pruner: Any) -> None:
    """A state that cannot be saved, and a pruner's error."""
    objective = trainer(Classes(mlp)).objective(
        lambda trial: Member(0.1, seed=trial.number), checkpoints=checkpoints
    )
    results = evaluated(objective, 3, pruner=pruner)

    assert [isinstance(each, OSError) for each in results] == [False, True, False]


def test_a_trainer_is_made_though_no_batch_size_of_its_own_may_be_trained() -> None:
    """Each member may have its own."""
    subject = trainer(Classes(normalised))
    (ended,) = subject.train([Member(0.1, batch_size=5)])

    assert len(ended.epochs) == 2
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        subject.train([Member(0.1)])


class ShortNoise(nn.Module):
    """A layer with noise for batches of nine examples."""

    def __init__(self, noise: Any) -> None:
        super().__init__()
        self.layer, self.noise = nn.Linear(6, 3), noise

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's outputs."""
        outputs: Tensor = self.layer(x)
        return outputs + self.noise(outputs) if len(x) == 9 else outputs


def dropped(x: Tensor) -> Tensor:
    """Return numbers of which some are dropped."""
    return F.dropout(x, 0.5)


def drawn(x: Tensor) -> Tensor:
    """Return noise from PyTorch's global generator."""
    return torch.randn(x.shape)


@pytest.mark.parametrize("noise", [dropped, drawn])
@pytest.mark.filterwarnings("ignore:Networks are trained separately")
def test_another_batch_size_is_looked_at_anew(noise: Any) -> None:
    """What only its last batch draws is a member's own, or ends in the loop."""
    task = Classes(partial(ShortNoise, noise))
    members = [Member(0.1, seed=each.seed, batch_size=16) for each in MEMBERS]
    before = torch.get_rng_state()
    auto, loop = (trainer(task, backend=each).train(members) for each in ("auto", "loop"))

    assert torch.equal(torch.get_rng_state(), before)
    assert difference(auto, loop) < 1e-12
