"""The adaptive sampler with several objectives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna import Study, Trial
from optuna.samplers import BaseSampler, RandomSampler

from optuna_ga import GASampler, InParallel, optimize_generations
from optuna_ga._breeding.adaptive_settings import MODELLED
from optuna_ga._breeding.model.front_surrogate import ratings
from optuna_ga._breeding.weightings import distances, fittest_by, weighting
from optuna_ga._population.fitness import Rank, in_order
from optuna_ga._population.hypervolume import added_volumes
from tests import several
from tests.breeding.samplers import ADAPTIVE, KINDS, Make, adaptive, of_every_kind, points, tuned
from tests.several import study_of_two, two_parabolas
from tests.studies import run, story

Values = Callable[[Trial], Sequence[float]]
TWO: dict[str, Any] = {"directions": ["minimize", "minimize"]}


@st.composite
def grids(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of a grid of two to four dimensions, a front among them, and a reference point."""
    n = draw(st.integers(2, 4))
    side = {2: 12, 3: 6, 4: 4}[n]
    point = st.tuples(*[st.integers(0, side - 1)] * n)
    some = draw(st.lists(point, min_size=1, max_size=8, unique=True))
    first, *_ = several.fronts(some)
    candidates = np.array(draw(st.lists(point, min_size=1, max_size=6)))
    return candidates, np.array([some[i] for i in first]), np.full(n, side)


@given(grids())
def test_the_added_volume_is_that_of_the_cells(
    grid: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Counted cell by cell, with the point and without."""
    candidates, front, reference = grid
    new = [c for c in candidates if not any((f <= c).all() for f in front)]
    if not new:
        return
    found = added_volumes(np.array(new, float), front.astype(float), reference.astype(float))

    before = several.volume(front.tolist(), reference.tolist())
    after = [several.volume([*front.tolist(), c.tolist()], reference.tolist()) for c in new]
    assert found == pytest.approx([volume - before for volume in after])


def test_a_point_that_adds_nothing_is_rated_by_its_distance_to_the_front() -> None:
    """It is what must be taken from all its losses.

    The front counts as lower by 3 % of its range, 0.06; the reference is a tenth beyond that.
    """
    front = np.array([[0.0, 2.0], [2.0, 0.0]])
    found = ratings(np.array([[1.0, 1.0], [3.0, 2.5], [2.0, 2.0], [0.0, 2.0], [-1.0, 5.0]]), front)

    assert found.tolist() == pytest.approx([0.94**2, -1.06, -0.06, -0.06, -2.86])


@pytest.mark.parametrize("n", [2, 3, 5])
def test_weightings_are_spread_over_all(n: int) -> None:
    """They add up to 1, and every objective has the same share of them."""
    rng = np.random.default_rng(0)
    found = np.array([weighting(n, rng) for _ in range(4000)])

    assert found.sum(axis=1) == pytest.approx(np.ones(4000))
    assert found.mean(axis=0) == pytest.approx(np.full(n, 1 / n), abs=0.02)
    assert (found > 0.8).any(axis=0).all()
    assert (found < 0.01).any(axis=0).all()


def test_the_distance_is_the_augmented_chebyshev_distance() -> None:
    """In ranges of the front, from its best losses."""
    front = np.array([[1.0, 30.0], [3.0, 10.0]])
    found = distances(np.array([[2.0, 20.0], [1.0, 50.0]]), front, np.array([0.25, 0.75]))

    assert found.tolist() == pytest.approx([0.375 + 0.05 * 0.5, 1.5 + 0.05 * 1.5])


def ranks_of(losses: Sequence[Sequence[float]], infeasible: Sequence[int] = ()) -> list[Rank]:
    """Return the ranks of trials with these losses, the fittest first."""
    return in_order(
        Rank(float(number in infeasible), False, 0, tuple(map(float, values)), number)
        for number, values in enumerate(losses)
    )


def test_the_fittest_by_a_weighting_are_at_its_side_of_the_front() -> None:
    """An objective that counts alone chooses its best; infeasible trials come last."""
    losses = [(u, (1 - u) ** 2) for u in np.linspace(0, 1, 20)]
    ranks = ranks_of([*losses, (-9, -9)], infeasible=[20])
    first, second = (fittest_by(ranks, np.array(w), MODELLED) for w in ([1, 0], [0, 1]))

    assert [rank.number for rank in first] == list(range(8))
    assert [rank.number for rank in second] == list(range(19, 11, -1))
    few = fittest_by(ranks_of([(0, 0), (1, 1)], infeasible=[0]), np.array([1, 0]), MODELLED)
    assert [rank.number for rank in few] == [1, 0]


def zdt1(trial: Trial, scale: float = 1.0, shift: float = 0.0) -> tuple[float, float]:
    """Return the values of ZDT1 in six dimensions, the second scaled."""
    first, *others = (trial.suggest_float(f"x{i}", 0.0, 1.0) for i in range(6))
    g = 1.0 + 9.0 * sum(others) / 5
    return first, scale * g * (1.0 - math.sqrt(first / g)) + shift


def cells_left(study: Study) -> int:
    """Return how many cells of a grid no trial of ZDT1 dominates."""
    n = 40
    corners = [tuple(int(value / 6 * n) + 1 for value in t.values) for t in study.best_trials]
    return n * n - several.volume(corners, (n, n))


def mean_cells_left(make: Callable[..., BaseSampler]) -> float:
    """Return the mean number of cells that are left after 80 trials, with three seeds."""
    studies = [run(make(seed=seed), 80, zdt1, **TWO) for seed in range(3)]
    return float(np.mean([cells_left(study) for study in studies]))


@pytest.mark.slow
def test_breeding_beats_random_search_and_the_model_beats_breeding() -> None:
    """Their fronts of 80 trials leave less of the hypervolume, in the mean of three searches."""
    makes: list[Callable[..., BaseSampler]] = [RandomSampler, *(KINDS[kind] for kind in ADAPTIVE)]
    chance, bred, screened = map(mean_cells_left, makes)

    assert screened < 0.6 * bred < 0.6 * chance


@of_every_kind
def test_directions_mirror_values(make: Make) -> None:
    """A negated objective to maximize makes the same search."""

    def mirrored(trial: Trial) -> tuple[float, float]:
        first, second = zdt1(trial)
        return -first, second

    minimized = run(make(6, seed=0), 20, zdt1, **TWO)
    maximized = run(make(6, seed=0), 20, mirrored, directions=["maximize", "minimize"])

    assert points(minimized) == points(maximized)


@adaptive
@pytest.mark.parametrize("scale", [2.0**30, 2.0**-30])
def test_the_scale_of_an_objective_does_not_matter(make: Make, scale: float) -> None:
    """By powers of 2, which change no rounding, the search is the same."""
    plain = run(make(6, seed=0), 24, zdt1, **TWO)
    scaled = run(make(6, seed=0), 24, partial(zdt1, scale=scale), **TWO)

    assert points(plain) == points(scaled)


def odd(name: str) -> Values:
    """Return an objective with odd values."""

    def values(trial: Trial) -> Sequence[float]:
        x, n = trial.suggest_float("x", 0.0, 1.0), trial.number
        return {
            "constant": (x, 1.0),
            "all-constant": (2.0, 1.0),
            "equal": (x, x),
            "infinite": (x, math.inf if n % 3 else 1.0 - x),
            "minus-infinite": (-math.inf if n % 5 == 0 else x, 1.0 - x),
            "all-infinite": (math.inf, math.inf),
            "huge": (1e308 * (x - 0.5) * 3 if abs(x - 0.5) < 0.5 else 0.0, 1e-308 * x),
            "five": (x, 1.0 - x, x * x, abs(x - 0.5), 1.0),
        }[name]

    return values


@of_every_kind
@pytest.mark.parametrize(
    "name",
    ["constant", "all-constant", "equal", "infinite", "minus-infinite", "all-infinite", "huge"],
)
def test_values_may_be_odd(make: Make, name: str) -> None:
    """Equal, constant, infinite and huge values are legal, and nothing warns."""
    study = run(make(4, seed=0), 30, odd(name), **TWO)

    assert len(study.trials) == 30


def test_an_infinitely_good_value_or_a_bad_one_does_not_stop_the_search() -> None:
    """The finite values go on to be improved."""
    study = run(GASampler.adaptive(seed=0), 50, odd("infinite"), **TWO)
    finite = [trial for trial in study.best_trials if trial.number % 3 == 0]

    assert len(finite) > 10
    assert len({round(trial.params["x"], 1) for trial in finite}) > 3


@adaptive
@pytest.mark.parametrize("n", [3, 5])  # The hypervolume is measured with up to four.
def test_many_objectives_are_searched(make: Make, n: int) -> None:
    """Each is a distance from a corner, and the search comes near all corners."""

    def corners(trial: Trial) -> list[float]:
        genes = [trial.suggest_float(f"x{i}", 0.0, 1.0) for i in range(3)]
        targets = [*product((0.0, 1.0), repeat=3)][:n]
        return [math.dist(genes, target) for target in targets]

    study = run(make(seed=0), 60, corners, directions=["minimize"] * n)
    chance = run(RandomSampler(seed=0), 60, corners, directions=["minimize"] * n)

    drawn = np.mean([trial.values for trial in chance.trials])
    assert np.mean([trial.values for trial in study.trials[10:]]) < drawn


@of_every_kind
def test_no_point_of_a_grid_is_repeated(make: Make) -> None:
    """All 24 points of a mixed grid are tried once."""

    def values(trial: Trial) -> tuple[float, float]:
        a = trial.suggest_int("a", 0, 5) + trial.suggest_float("b", 0.0, 0.5, step=0.5)
        return a, -a if trial.suggest_categorical("c", ["u", "v"]) == "u" else a * a

    study = run(make(4, seed=0), 24, values, **TWO)

    assert len(set(points(study))) == 24


@adaptive
def test_conditional_parameters_and_constraints(make: Make) -> None:
    """A branch that is infeasible is left, and the other branch's parameters are inherited."""

    def values(trial: Trial) -> tuple[float, float]:
        x = trial.suggest_float("x", 0.0, 1.0)
        good = trial.suggest_categorical("branch", ["bad", "good"]) == "good"
        y = trial.suggest_float("y" if good else "z", 0.0, 1.0)
        trial.set_constraint("c", -1.0 if good else 1.0)
        return x + y, 1.0 - x + y

    study = run(make(seed=0), 60, values, **TWO)
    late = study.trials[30:]

    assert np.mean([trial.params["branch"] == "good" for trial in late]) > 0.8
    assert np.mean([t.params["y"] for t in late if "y" in t.params]) < 0.25


@of_every_kind
@pytest.mark.parametrize("n_workers", [2, 5])
def test_generations_make_the_same_study_with_any_number_of_workers(
    make: Make, n_workers: int
) -> None:
    """As for one objective."""
    one, several_workers = (study_of_two(make(6, seed=0)) for _ in range(2))
    optimize_generations(one, lambda trials: map(two_parabolas, trials), 4)
    with ThreadPoolExecutor(n_workers) as executor:
        optimize_generations(several_workers, InParallel(two_parabolas, executor), 4)

    assert story(one) == story(several_workers)


@of_every_kind
def test_a_sampler_that_is_made_anew_goes_on_alike(make: Make) -> None:
    """Only the study decides."""
    whole = run(make(6, seed=0), 30, two_parabolas, **TWO)
    resumed = run(make(6, seed=0), 13, two_parabolas, **TWO)
    resumed.sampler = make(6, seed=0)
    resumed.optimize(two_parabolas, n_trials=17)

    assert story(whole) == story(resumed)


@adaptive
def test_trials_that_start_together_differ(make: Make) -> None:
    """Running trials count as the model expects, so workers search different parts."""
    study = run(make(6, seed=0), 18, zdt1, **TWO)
    trials = [study.ask() for _ in range(8)]
    for trial in trials:
        zdt1(trial)
    genes = np.array([list(trial.params.values()) for trial in trials])
    gaps = [np.abs(a - b).max() for i, a in enumerate(genes) for b in genes[:i]]

    assert min(gaps) > 1e-3


@pytest.mark.parametrize(
    "changes", [{"max_loss_ratio": math.inf}, {"max_loss_residual": math.inf}]
)
def test_the_rules_for_bad_losses_act(changes: dict[str, float]) -> None:
    """Those for astronomical losses, and those for losses that are bad by chance."""

    def values(trial: Trial) -> tuple[float, float]:
        first, second = zdt1(trial)
        return first + (30.0 if trial.number % 5 == 0 else 0.0), second

    plain = GASampler.adaptive(4, seed=0)
    first, second = (
        run(sampler, 40, values, **TWO) for sampler in (plain, tuned(plain, **changes))
    )

    assert story(first) != story(second)


def test_the_archive_of_a_long_search_is_bounded() -> None:
    """After thousands of added trials a trial is bred from the front, though it is old."""
    front = [several.with_values(u, 1 - u, x=u) for u in (0.25, 0.75)]
    crowd = [several.with_values(1 + i, 2, x=0.9) for i in range(1500)]
    study = study_of_two(GASampler.adaptive(seed=0, surrogate=False), history=[*front, *crowd])
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)

    parents: Any = study.trials[-1].user_attrs["ga_parents"]
    assert {0, 1} & set(parents)


def bounded(trial: Trial) -> tuple[float, float]:
    """Return two values, infeasible in half of the space."""
    x, y = (trial.suggest_float(name, 0.0, 1.0) for name in "xy")
    trial.set_constraint("c", 0.5 - x)
    return x + y, 1.0 - x + y


def test_a_low_wall_is_for_one_objective_alone() -> None:
    """With several infeasible trials count as the worst, whatever its height would be."""
    low, lower = (
        run(tuned(GASampler.adaptive(4, seed=0), wall_ratio=ratio), 16, bounded, **TWO)
        for ratio in (2.0, 1.0)
    )

    assert points(low) == points(lower)
