"""Training resumes from states on every trainer, and the objective trains lines of networks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna import Study

from optuna_ga import (
    Checkpoints,
    GASampler,
    best_of_final_generation,
    optimize_generations,
    replay,
)
from optuna_ga.fashion_mnist import (
    FashionMNISTObjective,
    _objective,
    _search_space,
    _task,
    paper_trainer,
)
from optuna_ga.fashion_mnist._data import Data, Images
from optuna_ga.torch import Member, Trained
from tests.fashion_mnist.test_trainers import MEMBERS, curves, data_of, largest_difference
from tests.fashion_mnist.test_trainers import separate as separately
from tests.studies import parents, story

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("small_trainings")
SMALL: dict[str, Any] = {
    "data": "subset", "epochs": 1, "n_training_images": 40, "n_validation_images": 40,
    "device": "cpu",
}  # fmt: skip


def segment(
    members: list[Member], states: list[Any], backend: str, epochs: int = 1, **options: Any
) -> list[Trained]:
    """Train members from their states, in float64 and with a constant learning rate."""
    settings: Any = {"learning_rate_decay": 1.0, "dtype": torch.float64, **options}
    trainer = paper_trainer(data_of(10), epochs, backend=backend, **settings)
    return trainer.train(members, states=states)


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("backend", ["loop", "threads", "vmap"])
def test_segments_are_one_training(backend: str, dropout: bool) -> None:
    """With a constant learning rate, three segments equal three epochs by `train`."""
    ended: list[Trained] = [Trained([], None)] * 3
    found: list[Any] = [[], [], []]
    for _ in range(3):
        states = [each.state for each in ended]
        ended = segment(MEMBERS, states, backend, dropout=dropout)
        found = [before + now for before, now in zip(found, curves(ended), strict=True)]
    expected, _ = separately(MEMBERS, 10, 3, dropout=dropout, learning_rate_decay=1.0)

    assert largest_difference(found, expected) < 1e-12
    assert all(each.state is not None and each.state["n_epochs"] == 3 for each in ended)


@pytest.mark.parametrize("backend", ["threads", "vmap"])
def test_every_backend_resumes_alike(backend: str) -> None:
    """Settings change, seeds and histories are mixed: results agree within 1e-12 in float64.

    Momenta of 0 come after others and before others: without one, SGD keeps no buffer.
    """
    first = [*MEMBERS[:2], replace(MEMBERS[2], seed=1), Member(0.03, momentum=0.7)]
    second = [
        Member(0.1), Member(0.05, momentum=0.9), Member(0.01, momentum=0.3, weight_decay=0.05),
        Member(0.01, momentum=0.3, weight_decay=0.05), Member(0.02, momentum=0.8),
    ]  # fmt: skip
    found = []
    for kind in (backend, "loop"):
        states = [each.state for each in segment(first, [None] * 4, kind)]
        ended = segment(second, [*states[:3], None, states[0]], kind)
        again = [replace(member, momentum=0.9) for member in second]
        found.append(curves(segment(again, [each.state for each in ended], kind)))

    assert largest_difference(*found) < 1e-12


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap"])
def test_resuming_leaves_the_state_unchanged(backend: str) -> None:
    """Several children of one parent start from the same state."""
    (parent,) = segment(MEMBERS[:1], [None], backend)
    assert parent.state is not None
    kept = {name: each.clone() for name, each in parent.state["weights"].items()}
    one, other = segment([MEMBERS[0]] * 2, [parent.state] * 2, backend)

    assert all(torch.equal(each, kept[name]) for name, each in parent.state["weights"].items())
    assert one.epochs == other.epochs


def objective(checkpoints: Checkpoints | None = None, **options: Any) -> FashionMNISTObjective:
    """Return an objective of 40 images."""
    return FashionMNISTObjective(**{**SMALL, "checkpoints": checkpoints, **options})


def sampler(population_size: int = 4) -> GASampler:
    """Return a sampler whose trials continue their parents."""
    return GASampler.population_based_training(population_size, seed=1)


def by_generations(evaluated: FashionMNISTObjective, n_generations: int = 3) -> Study:
    """Return a study of generations of four."""
    study = optuna.create_study(sampler=sampler())
    optimize_generations(study, evaluated.evaluate_generation, n_generations)
    return study


def plain(study: Study) -> list[Any]:
    """Return parameters, values and parents of the trials."""
    return [(trial.params, trial.value, parents(trial)) for trial in study.trials]


def test_states_on_the_device_and_in_files_give_the_same_study(tmp_path: Path) -> None:
    """A folder and single trials give the study of generations in memory."""
    study = optuna.create_study(sampler=sampler())
    study.optimize(objective(Checkpoints(tmp_path)), n_trials=12)

    assert plain(study) == plain(by_generations(objective(Checkpoints())))


def overridden(fixed: dict[str, Any], data: Data, epochs: int, **options: Any) -> Any:
    """Return a trainer with some options fixed."""
    return paper_trainer(data, epochs, **{**options, **fixed})


def test_a_study_is_the_same_by_every_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64 states gathered in a stack equal states loaded one by one, within 1e-12."""
    studies = []
    for backend in ("vmap", "loop"):
        options = {"backend": backend, "dtype": torch.float64}
        monkeypatch.setattr(_objective, "paper_trainer", partial(overridden, options))
        few = {"n_training_images": 20, "n_validation_images": 20}
        studies.append(by_generations(objective(Checkpoints(), **few)))

    for mine, theirs in zip(*(study.trials for study in studies), strict=True):
        assert (mine.params, parents(mine)) == (theirs.params, parents(theirs))
        assert mine.value == pytest.approx(theirs.value, abs=1e-12)
    assert any(parents(trial) for trial in studies[0].trials)


def test_a_replay_with_the_same_seed_comes_to_the_same() -> None:
    """The schedule repeats the winner's training to the bit; another seed gives another value."""
    evaluated = objective(Checkpoints(), seed_per_trial=True)
    study = by_generations(objective(Checkpoints()))
    best = best_of_final_generation(study)
    same, *others = replay(study, best, evaluated.evaluate_generation, 3)

    assert same.value == best.value
    assert all(other.value != best.value for other in others)


def test_a_line_keeps_its_seed() -> None:
    """With a seed per trial, children train with the seed of the first network of their line."""
    checkpoints = Checkpoints()
    study = by_generations(objective(checkpoints, seed=100, seed_per_trial=True))

    for trial in study.trials[-4:]:
        line = trial
        while numbers := parents(line):
            line = min((study.trials[n] for n in numbers), key=lambda t: (t.value, t.number))
        assert checkpoints.load(trial)["seed"] == 100 + line.number
        assert checkpoints.load(trial)["n_epochs"] == 3


def test_validation_images_are_never_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The split is the same in every generation."""
    trained: set[bytes] = set()
    validated: set[bytes] = set()

    def as_bytes(images: Images) -> set[bytes]:
        return {pixels.numpy().tobytes() for pixels in images.pixels}

    def spying(self: Any, model: Any, batch: Any) -> Any:
        trained.update(as_bytes(Images(*batch)))
        return loss(self, model, batch)

    def spying_metrics(self: Any, model: Any, batch: Any) -> Any:
        validated.update(as_bytes(Images(*batch)))
        return metrics(self, model, batch)

    loss, metrics = _task.ImageTask.loss, _task.ImageTask.metrics
    monkeypatch.setattr(_task.ImageTask, "loss", spying)
    monkeypatch.setattr(_task.ImageTask, "metrics", spying_metrics)
    by_generations(objective(Checkpoints()))

    assert (len(trained), len(validated)) == (40, 40)
    assert not trained & validated


def test_a_network_that_diverged_is_never_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves no state, and is nobody's parent."""
    wild = {
        name: optuna.distributions.FloatDistribution(*ends)
        for name, ends in (
            ("learning_rate", (1e-3, 1e4)), ("momentum", (0.0, 0.9)), ("weight_decay", (0.0, 0.1)),
        )
    }  # fmt: skip
    monkeypatch.setattr(_search_space, "SEARCH_SPACE", wild)
    checkpoints = Checkpoints()
    evaluated = objective(checkpoints, n_training_images=80)
    study = optuna.create_study(sampler=sampler(6))
    for rate in (0.01, 0.02):
        study.enqueue_trial({"learning_rate": rate, "momentum": 0.0, "weight_decay": 0.0})
    optimize_generations(study, evaluated.evaluate_generation, 2)

    diverged = {trial.number for trial in study.trials if "diverged" in trial.user_attrs}
    assert len(diverged & set(range(6))) >= 2
    assert all("ga_checkpoint" not in study.trials[number].user_attrs for number in diverged)
    assert not diverged & {number for trial in study.trials for number in parents(trial)}


def test_checkpoints_make_the_learning_rate_constant_and_nothing_else() -> None:
    """The first epoch is the same as without checkpoints; the second differs."""
    params = {"learning_rate": 0.05, "momentum": 0.5, "weight_decay": 0.001}
    values = []
    for evaluated in (objective(epochs=2), objective(Checkpoints(), epochs=2)):
        study = optuna.create_study(sampler=sampler())
        study.enqueue_trial(params)
        study.optimize(evaluated, n_trials=1)
        values.append(list(study.trials[0].intermediate_values.values()))

    assert values[0][0] == values[1][0]
    assert values[0][1] != values[1][1]


def test_a_trained_network_is_tested_without_training_again(full_data: Data) -> None:
    """After one epoch its score is that of training it anew."""
    options: dict[str, Any] = {"data": "full"}
    evaluated = objective(Checkpoints(), **options)
    study = by_generations(evaluated, 1)
    best = study.best_trial

    assert evaluated.test_trained(best) == objective(**options).test(best.params)
    with pytest.raises(ValueError, match=r"`checkpoints` must be None.*`test_trained`"):
        evaluated.test(best.params)
    with pytest.raises(ValueError, match="`checkpoints` must be given"):
        objective(**options).test_trained(best)
    with pytest.raises(ValueError, match='`data` must be "full"'):
        objective(Checkpoints()).test_trained(best)


def test_other_checkpoints_are_refused(tmp_path: Path) -> None:
    """A folder is not a `Checkpoints`, and another sampler's trials have no parent."""
    with pytest.raises(TypeError, match="`checkpoints` must be a `Checkpoints` or None"):
        objective(str(tmp_path))  # type: ignore[arg-type]

    study = optuna.create_study(sampler=GASampler(4))
    with pytest.raises(ValueError, match="population_based_training"):
        study.optimize(objective(Checkpoints()), n_trials=1)


def test_lost_states_are_passed_over_and_nothing_else_is_lost(tmp_path: Path) -> None:
    """States in another process's memory cannot be continued; earlier trials stay as they were."""
    study = by_generations(objective(Checkpoints()))
    before = story(study)
    optimize_generations(study, objective(Checkpoints(tmp_path)).evaluate_generation, 4)

    assert story(study)[:12] == before
    for trial in study.trials[12:]:
        assert sorted(trial.user_attrs["ga_lost_parents"]) == sorted(parents(trial))
