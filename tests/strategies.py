"""Hypothesis strategies for Optuna's search spaces, and Optuna's check of a value."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

BIGGEST_INT = 2**53  # Optuna stores integers as floats.
BIGGEST_FLOAT = 1.7e308


@st.composite
def plain_floats(draw: st.DrawFn) -> FloatDistribution:
    """Ranges from a single value to all that a float can hold."""
    ends = st.floats(-BIGGEST_FLOAT, BIGGEST_FLOAT)
    low, high = sorted((draw(ends), draw(ends)))
    return FloatDistribution(low, high)


@st.composite
def log_floats(draw: st.DrawFn) -> FloatDistribution:
    """Positive ranges, from the smallest float to the largest."""
    ends = st.floats(5e-324, BIGGEST_FLOAT)
    low, high = sorted((draw(ends), draw(ends)))
    return FloatDistribution(low, high, log=True)


@st.composite
def stepped_floats(draw: st.DrawFn, max_steps: int = 1000) -> FloatDistribution:
    """Grids whose ends are written in decimal, as users write them."""
    step = Decimal(draw(st.sampled_from(["0.1", "0.25", "0.3", "3", "0.001", "1e-9", "7e11"])))
    low = step * draw(st.integers(-1000, 1000)) / 2
    high = low + step * draw(st.integers(0, max_steps))
    return FloatDistribution(float(low), float(high), step=float(step))


@st.composite
def plain_ints(draw: st.DrawFn, max_steps: int = BIGGEST_INT) -> IntDistribution:
    """Ranges with and without a step."""
    low = draw(st.integers(-BIGGEST_INT, BIGGEST_INT))
    step = draw(st.integers(1, 10) | st.integers(1, BIGGEST_INT))
    n_steps = draw(st.integers(0, min(max_steps, (BIGGEST_INT - low) // step)))
    return IntDistribution(low, low + n_steps * step, step=step)


@st.composite
def log_ints(draw: st.DrawFn) -> IntDistribution:
    """Positive ranges."""
    low, high = sorted((draw(st.integers(1, 20)), draw(st.integers(1, BIGGEST_INT))))
    return IntDistribution(low, high, log=True)


def _identity(choice: CategoricalChoiceType) -> object:
    """Return a key that is equal for choices that are equal to Optuna, as 1, 1.0 and True are."""
    return "not a number" if choice != choice else choice


def categoricals() -> st.SearchStrategy[CategoricalDistribution]:
    """Choices of any types, NaN among them."""
    choice = st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3)
    lists = st.lists(choice, min_size=1, max_size=6, unique_by=_identity)
    return lists.map(CategoricalDistribution)


def distributions() -> st.SearchStrategy[BaseDistribution]:
    """Distributions of every kind."""
    return st.one_of(
        plain_floats(), log_floats(), stepped_floats(), plain_ints(), log_ints(), categoricals()
    )


def grids() -> st.SearchStrategy[FloatDistribution | IntDistribution]:
    """Stepped distributions of few enough values to try them all."""
    return stepped_floats(max_steps=12) | plain_ints(max_steps=12)


def units() -> st.SearchStrategy[float]:
    """Positions in [0, 1), its ends among them."""
    return st.just(0.0) | st.just(1 - 2**-53) | st.integers(0, 2**53 - 1).map(lambda k: k / 2**53)


def contains(distribution: BaseDistribution, value: object) -> bool:
    """Return whether a distribution contains a value by Optuna's own check."""
    return distribution._contains(distribution.to_internal_repr(value))
