"""The arguments of GASampler."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from optuna_ga import GASampler
from tests.studies import bred, constant, parents, run, story


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("population_size", value) for value in (2.0, "20", None, True, np.float64(20), [20])),
        *(("parent_fraction", value) for value in ("0.5", None, True, 0.5j, np.True_, [0.5])),
        *(("mutation_prob", value) for value in ("0.2", None, False, 0.2j, np.False_)),
        *(("elitism", value) for value in (0, 1, "yes", None, np.True_)),
        *(("seed", value) for value in (0.0, "0", True, np.float64(1))),
        *(("record", value) for value in (0, 1, "no", None)),
    ],
)
def test_an_argument_of_the_wrong_type_is_refused(name: str, value: object) -> None:
    """The error names the argument and its value; a bool is no number."""
    with pytest.raises(TypeError, match=f"^`{name}` must be ") as error:
        GASampler(**{name: value})  # type: ignore[arg-type]

    assert f"but {value!r} was given." in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("population_size", value) for value in (1, 0, -20)),
        *(("parent_fraction", value) for value in (0, 0.0, -0.5, 1.0001, math.nan, math.inf)),
        *(("mutation_prob", value) for value in (-1e-9, 1.0001, math.nan, math.inf, -math.inf)),
        *(("seed", value) for value in (-1, -(2**70))),
    ],
)
def test_an_argument_out_of_its_range_is_refused(name: str, value: float) -> None:
    """The error names the argument and its value."""
    with pytest.raises(ValueError, match=f"^`{name}` must ") as error:
        GASampler(**{name: value})  # type: ignore[arg-type]

    assert f"but {value!r} was given." in str(error.value)


@pytest.mark.parametrize(("size", "fraction"), [(2, 0.5), (3, 0.5), (20, 0.05), (20, 0.0999)])
def test_fewer_than_two_parents_are_refused(size: int, fraction: float) -> None:
    """Crossover takes two parents."""
    with pytest.raises(ValueError, match="two parents") as error:
        GASampler(size, parent_fraction=fraction)

    assert f"{fraction} * {size} was given." in str(error.value)


def test_options_are_given_by_name() -> None:
    """Only the population size may be given by position."""
    with pytest.raises(TypeError, match="positional"):
        GASampler(20, 0.5)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("numbers", "plain"),
    [
        ({"population_size": np.int32(4)}, {"population_size": 4}),
        ({"seed": np.uint64(2**63)}, {"seed": 2**63}),
        ({"mutation_prob": np.float64(0.5)}, {"mutation_prob": 0.5}),
        ({"mutation_prob": Fraction(1, 2)}, {"mutation_prob": 0.5}),
        ({"mutation_prob": 1}, {"mutation_prob": 1.0}),
        ({"parent_fraction": np.float64(0.75)}, {"parent_fraction": 0.75}),
    ],
)
def test_any_number_of_the_right_kind_is_as_good(
    numbers: dict[str, Any], plain: dict[str, Any]
) -> None:
    """NumPy's numbers and fractions make the same search as Python's own."""
    given, expected = (
        run(GASampler(**{"population_size": 4, "seed": 0, **arguments}), 20)
        for arguments in (numbers, plain)
    )

    assert story(expected) == story(given)
    assert type(given.user_attrs["ga_population_size"]) is int


@pytest.mark.parametrize(
    ("size", "fraction", "n_parents"),
    [
        (100, 0.29, 29),  # 0.29 * 100 is 28.999999999999996.
        (49, 2 / 49, 2),  # The product is 1.9999999999999998.
        (9, 0.5, 4),
        (5, 1.0, 5),
        (10, 0.39, 3),
    ],
)
def test_the_parents_are_the_whole_part_of_their_share(
    size: int, fraction: float, n_parents: int
) -> None:
    """The product's rounding error costs no parent."""
    sampler = GASampler(size, parent_fraction=fraction, seed=0)
    study = run(sampler, 2 * size, lambda trial: constant(trial) + trial.number)

    assert {number for trial in bred(study) for number in parents(trial)} == set(range(n_parents))


def test_the_defaults_are_the_papers() -> None:
    """A generation has 20 trials, the better half are parents, and genes mutate with 0.2."""
    explicit = GASampler(20, parent_fraction=0.5, mutation_prob=0.2, elitism=False, seed=5)

    assert story(run(explicit, 60)) == story(run(GASampler(seed=5), 60))


def test_the_population_size_is_a_property() -> None:
    """It is an int, whether given or by default."""
    seven: Any = np.int64(7)
    sizes = [GASampler().population_size, GASampler(seven).population_size]

    assert sizes == [20, 7]
    assert [type(size) for size in sizes] == [int, int]
