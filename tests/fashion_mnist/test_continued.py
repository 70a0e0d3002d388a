"""Training resumes from states on every trainer, and the objective trains lines of networks."""

from __future__ import annotations

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
from optuna_ga.fashion_mnist import FashionMNISTObjective, _objective, _trainers
from optuna_ga.fashion_mnist._data import Data, Images, load_subset
from optuna_ga.fashion_mnist._network import initial_network
from optuna_ga.fashion_mnist._stacked import StackedTrainer
from optuna_ga.fashion_mnist._trainers import LoopTrainer, Member, ThreadsTrainer
from optuna_ga.fashion_mnist._training import State, initial_state, train
from tests.fashion_mnist.test_trainers import (
    DIVERGING,
    FAST_TRAINERS,
    MEMBERS,
    TRAINERS,
    MakeTrainer,
    images,
    on_cpu,
)
from tests.studies import parents, story

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("small_trainings")
SMALL: dict[str, Any] = {
    "data": "subset", "epochs": 1, "n_training_images": 40, "n_validation_images": 40,
    "device": "cpu",
}  # fmt: skip


def segment(
    trainer: Any, members: list[Member], n_images: int = 10, epochs: int = 1
) -> tuple[list[State | None], list[Any]]:
    """Return the states of the members after training, and the results of each epoch."""
    ended: list[Any] = []

    def after_epoch(results: Any) -> tuple[int, ...]:
        ended.append(dict(results))
        return ()

    states = trainer.train(members, images(n_images), images(20, 3000), epochs, after_epoch)
    return states, ended


def largest_difference(mine: State, theirs: State) -> float:
    """Return the largest difference between any weights or momenta of two states."""
    assert (mine.n_epochs, mine.seed) == (theirs.n_epochs, theirs.seed)
    pairs = [
        (mine_of[name], theirs_of[name])
        for mine_of, theirs_of in ((mine.weights, theirs.weights), (mine.momenta, theirs.momenta))
        for name in mine_of
    ]
    return max((a - b).abs().max().item() for a, b in pairs)


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("dropout", [False, True])
def test_segments_are_one_training(trainer: MakeTrainer, dropout: bool) -> None:
    """With a constant learning rate, three segments equal three epochs to the bit."""
    options = {"learning_rate_decay": 1.0, "dropout": dropout}
    (whole, *_), _ = segment(on_cpu(trainer, **options), MEMBERS[:1], epochs=3)
    state: State | None = None
    for _ in range(3):
        member = MEMBERS[0]._replace(start=state)
        (state,), _ = segment(on_cpu(trainer, **options), [member])

    assert whole is not None
    assert state is not None
    assert largest_difference(whole, state) == 0.0
    assert state.n_epochs == 3


@pytest.mark.parametrize("trainer", FAST_TRAINERS)
def test_every_trainer_resumes_alike(trainer: MakeTrainer) -> None:
    """Settings change, seeds and histories are mixed: states agree within 1e-12 in float64.

    Momenta of 0 come after others and before others: without one, SGD keeps no buffer.
    """
    first = [
        Member(0.05, 0.9, 0.01), Member(0.1, 0.0, 0.0), Member(0.02, 0.5, 0.1, seed=1),
        Member(0.03, 0.7, 0.0),
    ]  # fmt: skip
    found = []
    for kind in (trainer, LoopTrainer):
        states, _ = segment(on_cpu(kind, learning_rate_decay=1.0), first)
        members = [
            Member(0.1, 0.0, 0.0, 0, states[0]), Member(0.05, 0.9, 0.0, 0, states[1]),
            Member(0.01, 0.3, 0.05, 1, states[2]), Member(0.01, 0.3, 0.05, 0),
            Member(0.02, 0.8, 0.01, 0, states[0]),
        ]  # fmt: skip
        states, _ = segment(on_cpu(kind, learning_rate_decay=1.0), members)
        again = [m._replace(momentum=0.9, start=s) for m, s in zip(members, states, strict=True)]
        found.append(segment(on_cpu(kind, learning_rate_decay=1.0), again))

    (mine, epochs), (theirs, others) = found
    for one, other in zip(mine, theirs, strict=True):
        assert one is not None
        assert other is not None
        assert largest_difference(one, other) < 1e-12
    for position in range(5):
        assert epochs[0][position] == pytest.approx(others[0][position], abs=1e-12)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_resuming_leaves_the_state_unchanged(trainer: MakeTrainer) -> None:
    """Several children of one parent start from the same state."""
    (state,), _ = segment(trainer(CPU), MEMBERS[:1])
    assert state is not None
    weights, momenta = ({n: t.clone() for n, t in part.items()} for part in state[:2])
    kept = State(weights, momenta, *state[2:])
    (one, other), _ = segment(trainer(CPU), [MEMBERS[0]._replace(start=state)] * 2)

    assert one is not None
    assert other is not None
    assert largest_difference(state, kept) == 0.0
    assert largest_difference(one, other) == 0.0


@pytest.mark.parametrize("trainer", TRAINERS)
def test_members_that_diverge_or_drop_out_leave_no_state(trainer: MakeTrainer) -> None:
    """The states of the other members keep their places."""
    members = [DIVERGING, MEMBERS[0], MEMBERS[1]]
    dropped = trainer(CPU).train(
        members, images(16), images(20, 3000), 2, lambda ended: {2} if 0 in ended else ()
    )

    assert [state is None for state in dropped] == [True, False, True]


def test_a_beginning_is_the_initial_network() -> None:
    """Its momenta are zero, and it has no epochs."""
    state = initial_state(3, CPU)
    network = initial_network(3, CPU)

    assert all(torch.equal(state.weights[n], w) for n, w in network.named_parameters())
    assert all(not momenta.any() for momenta in state.momenta.values())
    assert state[2:] == (0, 3)


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


def test_stacked_generations_give_the_study_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64 states gathered in a stack equal states loaded one by one, within 1e-12."""
    studies = []
    for kind in (StackedTrainer, LoopTrainer):
        evaluated = objective(Checkpoints(), n_training_images=20, n_validation_images=20)
        evaluated._trainer = kind(CPU, learning_rate_decay=1.0, dtype=torch.float64)
        studies.append(by_generations(evaluated))

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

    def spying(network: Any, training: Images, validation: Images, **how: Any) -> Any:
        trained.update(as_bytes(training))
        validated.update(as_bytes(validation))
        return (yield from train(network, training, validation, **how))

    monkeypatch.setattr(_trainers, "train", spying)
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
    monkeypatch.setattr(_objective, "SEARCH_SPACE", wild)
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


def test_a_trained_network_is_tested_without_training_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After one epoch its score is that of training it anew."""
    data = load_subset(CPU)
    whole = Data(data.training, data.validation, data.training.take(slice(100, 300)))
    monkeypatch.setattr(_objective, "load_full", lambda folder, device: whole)
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


def test_a_lost_state_is_an_error_and_nothing_else_is_lost(tmp_path: Path) -> None:
    """States in another process's memory cannot be continued; the study stays as it was."""
    study = by_generations(objective(Checkpoints()))
    before = story(study)
    with pytest.raises(FileNotFoundError, match="in another process"):
        optimize_generations(study, objective(Checkpoints(tmp_path)).evaluate_generation, 4)

    assert story(study)[:12] == before


def test_threads_are_what_a_cpu_takes() -> None:
    """On a CPU generations train in threads."""
    evaluated = objective(Checkpoints())
    by_generations(evaluated, 1)

    assert isinstance(evaluated._trainer, ThreadsTrainer)
