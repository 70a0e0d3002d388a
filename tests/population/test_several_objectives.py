"""Generations with several objectives: who is fitter, who survives, and late results."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna import Study, Trial
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optuna_ga import GASampler
from optuna_ga._population import elites, fitness
from optuna_ga._population.fronts import crowding_distances
from tests import oracles, several
from tests.several import study_of_two, two_parabolas, with_values
from tests.studies import next_parents, of_four, parents, run

VALUES = st.sampled_from([-math.inf, -2.0, 0.0, 1.0, 1.5, 3.0, 1e308, -1e308, math.inf])
MIXED = ["minimize", "maximize"]
SIGNS = [1.0, -1.0]


@st.composite
def trials_of(draw: st.DrawFn) -> tuple[list[FrozenTrial], list[StudyDirection]]:
    """Trials of two to four objectives, and the directions."""
    n = draw(st.integers(2, 4))
    directions = draw(st.lists(st.sampled_from([*StudyDirection][1:]), min_size=n, max_size=n))
    trials = []
    for number in range(draw(st.integers(0, 12))):
        constraint = draw(st.sampled_from([None, -1.0, 1.0, 2.0]))
        trial = with_values(
            *draw(st.lists(VALUES, min_size=n, max_size=n)),
            constraints=None if constraint is None else {"c": constraint},
        )
        trial.number = number
        if draw(st.integers(0, 9)) == 0:
            trial.state, trial.values = draw(
                st.sampled_from([(TrialState.FAIL, None), (TrialState.PRUNED, None)])
            )
        trials.append(trial)
    return draw(st.permutations(trials)), directions


@given(trials_of(), st.integers(0, 12))
def test_trials_are_ordered_by_front_crowding_and_number(
    history: tuple[list[FrozenTrial], list[StudyDirection]], n: int
) -> None:
    """Violation and state go before; infinite and huge values are legal; the order is total."""
    trials, directions = history
    signs = [-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in directions]
    expected = [trial.number for trial in several.in_order(trials, signs)]

    found = fitness.fittest(trials, n, directions)
    assert [trial.number for trial in found] == expected[:n]


def test_crowding_in_a_narrow_front_before_a_far_one() -> None:
    """Distances between fronts, which may be huge, are not divided by a front's small width."""
    narrow = [(0.0, 1.0), (1e-3, 0.5), (2e-3, 0.0)]
    far = [(1e308, 1.7e308), (1.5e308, 1.5e308), (1.7e308, 1e308)]
    found = crowding_distances(np.array([*narrow, *far]), np.array([0, 0, 0, 1, 1, 1]))

    assert found.tolist() == pytest.approx([*several.crowding(narrow), *several.crowding(far)])


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([(3, 3), (1, 1), (2, 2), (0, 9)], {1, 3}),
        ([(1, 1), (1, 1), (0, 5), (5, 0)], {2, 3}),
        ([(2, 2), (1, 1), (1, 1), (1, 1)], {1, 2}),
        ([(0, 8), (1, 7), (4, 4), (8, 0)], {0, 3}),
        ([(math.inf, 0), (0, math.inf), (9, 9), (math.inf, math.inf)], {0, 1}),
    ],
)
def test_parents_are_the_ends_of_the_first_front(
    values: Sequence[tuple[float, float]], best: set[int]
) -> None:
    """A trial that is dominated comes later, and so does a copy of an earlier trial."""
    history = [with_values(*pair) for pair in values]

    assert next_parents(study_of_two(of_four(), history=history)) == best


def finish(study: Study, trial: Trial, rng: random.Random) -> None:
    """End a trial in one of the ways in which trials end."""
    if rng.random() < 0.2:
        trial.set_constraint("c", rng.choice([-1.0, 1.0, 2.0]))
    if rng.random() < 0.2:
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, [rng.randrange(9), rng.randrange(9)])


@pytest.mark.parametrize(
    ("size", "n_parents"),
    [
        pytest.param(4, 2, marks=pytest.mark.slow),
        (7, 3),
        pytest.param(12, 12, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("elitism", [False, True])
def test_parents_follow_the_rules_in_any_history(size: int, n_parents: int, elitism: bool) -> None:
    """In whatever order trials run and end, and whenever the sampler is made anew.

    So a late result counts for all generations after its own that have yet to breed.
    """
    make = partial(GASampler, size, parent_fraction=n_parents / size, elitism=elitism, seed=0)
    rng, study = random.Random(size), study_of_two(make(), MIXED)
    running: list[Trial] = []
    unfinished: dict[int, set[int]] = {}
    n_bred = 0
    for _ in range(250):
        event = rng.choice(["begin", "begin", "begin", "end", "end", "end", "restart"])
        if event == "begin":
            history = study.get_trials(deepcopy=False)
            trial = study.ask()
            unfinished[trial.number] = {t.number for t in history if not t.state.is_finished()}
            trial.suggest_float("x", 0.0, 1.0)
            running.append(trial)
            first = trial.number // size * size
            if elitism:
                best = several.survivors(history, first, size, SIGNS)
            else:
                pool = oracles.pool(history, trial.number, size, False, unfinished=unfinished)
                best = several.in_order(pool, SIGNS)
            found = set(parents(study.trials[trial.number]))
            assert found <= {one.number for one in best[:n_parents]}
            assert len(found) == (2 if len(best) >= 2 else 0)
            n_bred += bool(found)
        elif event == "end" and running:
            # Some of them very late.
            finish(study, running.pop(min(rng.randrange(9), len(running) - 1)), rng)
        elif event == "restart":
            study.sampler = make()
    assert n_bred > 60


def test_survivors_are_those_of_nsga_ii() -> None:
    """The best of all so far stay: a front is never lost to a worse generation."""
    study = study_of_two(of_four(elitism=True))
    study.add_trials([with_values(*pair) for pair in [(0, 3), (1, 2), (2, 1), (3, 0)]])
    study.add_trials([with_values(9, 9)] * 8)

    assert next_parents(study) == {0, 3}


def test_a_late_result_survives() -> None:
    """It counts from the next trial on, however many generations have passed."""
    study = study_of_two(of_four(elitism=True))
    late = study.ask()
    study.optimize(two_parabolas, n_trials=19)
    two_parabolas(late)
    study.tell(late, [-1.0, -1.0])

    assert 0 in next_parents(study)


def test_the_cost_of_a_long_study_is_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generation sorts the survivors before it and its members, never everything."""
    sorted_together: list[int] = []

    def in_order(ranks: list[fitness.Rank]) -> list[fitness.Rank]:
        sorted_together.append(len(ranks))
        return fitness.in_order(ranks)

    monkeypatch.setattr(elites, "in_order", in_order)
    study = study_of_two(of_four(elitism=True))
    study.ask()  # It runs for ever.
    study.optimize(two_parabolas, n_trials=399)

    assert max(sorted_together) == 8
    assert len(sorted_together) == 99


def test_elitism_finds_better_fronts_than_random_search() -> None:
    """It has fewer trials that are dominated by the other's."""
    options: dict[str, Any] = {"directions": ["minimize"] * 2}
    bred = run(GASampler(10, seed=0, elitism=True), 300, two_parabolas, **options)
    drawn = run(optuna.samplers.RandomSampler(seed=0), 300, two_parabolas, **options)

    assert dominated(drawn, bred) > dominated(bred, drawn)


def dominated(study: Study, other: Study) -> float:
    """Return the share of a study's best trials that a trial of another study dominates."""
    best, others = ([tuple(t.values) for t in s.best_trials] for s in (study, other))
    return sum(any(several.dominates(o, b) for o in others) for b in best) / len(best)
