"""The best trials evaluated again: repeats decide, and the value from the search does not."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import pytest
from optuna import TrialPruned
from optuna.distributions import FloatDistribution
from optuna.samplers import RandomSampler
from optuna.trial import BaseTrial, FrozenTrial
from scipy import stats

from optuna_ga import recheck_best
from tests.logs import messages_of
from tests.studies import added, failed, pruned, run, story, study_with

LUCKY = [added(0.0, x=0.9), added(1.0, x=0.5), added(2.0, x=0.1), added(3.0, x=0.3)]


def gene(trial: BaseTrial) -> float:
    """Return the gene `x`."""
    return trial.suggest_float("x", 0.0, 1.0)


class Repeats:
    """An objective with a list of values for each gene `x`, which keeps its calls."""

    def __init__(self, values: Mapping[float, Sequence[float]]) -> None:
        self.calls: list[tuple[int, float]] = []
        self._left = {x: iter(found) for x, found in values.items()}

    def __call__(self, trial: BaseTrial) -> float:
        self.calls.append((trial.number, gene(trial)))
        return next(self._left[gene(trial)])


def noisy() -> Repeats:
    """Return an objective with three values for each of the lucky study's four genes."""
    return Repeats({x: (x, x - 1.0, x + 4.0) for x in (0.1, 0.3, 0.5, 0.9)})


def genes(rechecked: Sequence[Any]) -> list[float]:
    """Return the gene `x` of each trial."""
    return [one.trial.params["x"] for one in rechecked]


@pytest.mark.parametrize(
    ("direction", "order"), [("minimize", [0.1, 0.5, 0.9]), ("maximize", [0.5, 0.3, 0.1])]
)
def test_the_best_mean_of_the_repeats_comes_first(direction: str, order: list[float]) -> None:
    """The search decides which trials are evaluated again, the repeats alone their order."""
    rechecked = recheck_best(study_with(*LUCKY, direction=direction), noisy(), n_best=3)

    assert genes(rechecked) == order
    assert [one.mean for one in rechecked] == pytest.approx([x + 1.0 for x in order])


def test_the_mean_and_the_repeats_leave_out_the_value_of_the_search() -> None:
    """The trial shows the value of the search, beside the values of its repeats."""
    lucky = recheck_best(study_with(added(-99.0)), lambda trial: 7.0, n_repeats=4)[0]

    assert lucky.trial.value == -99.0
    assert (lucky.values, lucky.mean, lucky.standard_error) == ((7.0,) * 4, 7.0, 0.0)


@pytest.mark.parametrize("n_repeats", [1, 3])
def test_every_trial_is_evaluated_once_before_any_is_again(n_repeats: int) -> None:
    """The calls go round the best trials in the order of the search."""
    objective = noisy()
    recheck_best(study_with(*LUCKY), objective, n_best=2, n_repeats=n_repeats)

    assert [x for _, x in objective.calls] == [0.9, 0.5] * n_repeats


def test_every_call_has_a_number_of_its_own() -> None:
    """No trial of the study has this number, so noise that is seeded by it is fresh."""
    objective = noisy()
    study = study_with(*LUCKY, failed())
    study.ask()
    recheck_best(study, objective)

    numbers = [number for number, _ in objective.calls]
    assert len(set(numbers)) == len(numbers) == 12
    assert not set(numbers) & {trial.number for trial in study.trials}


def test_the_study_stays_as_it_is() -> None:
    """No trial and no attribute is added, even if the caller changes what is returned."""
    study = run(RandomSampler(seed=0), 6)
    before = story(study), study.user_attrs
    rechecked = recheck_best(study, lambda trial: trial.suggest_float("x", -1.0, 1.0))
    for one in rechecked:
        one.trial.params.clear()
        one.trial.user_attrs["note"] = "mine"

    assert (story(study), study.user_attrs) == before


def test_parameters_that_were_tried_twice_are_evaluated_as_one() -> None:
    """The best of several trials with the same parameters stands for all of them."""
    searched = [(3, 0.1), (1, 0.1), (2, 0.3), (4, 0.5), (0, 0.3)]
    history = [added(value, x=x) for value, x in searched]
    rechecked = recheck_best(study_with(*history), gene, n_best=3)

    assert [one.trial.number for one in rechecked] == [1, 4, 3]


@pytest.mark.parametrize(
    ("history", "n_best", "numbers"),
    [
        (LUCKY, 5, [2, 3, 1, 0]),
        (LUCKY, 1, [0]),
        ([added(1.0), failed(), pruned(intermediate_values={1: 0.0})], 3, [0]),
        ([added(0.0, constraints={"c": 1.0}), added(9.0, x=0.7)], 1, [1]),
        ([added(math.inf, x=0.1), added(-math.inf, x=0.2), added(0.0)], 2, [1, 2]),
    ],
)
def test_the_best_complete_trials_are_evaluated_again(
    history: list[FrozenTrial], n_best: int, numbers: list[int]
) -> None:
    """Feasible trials come first; if there are too few complete ones, all are taken."""
    rechecked = recheck_best(study_with(*history), gene, n_best=n_best)

    assert [one.trial.number for one in rechecked] == numbers


@pytest.mark.parametrize("history", [[], [failed()], [pruned(intermediate_values={1: 0.0})]])
def test_a_study_without_a_complete_trial_is_refused(history: list[FrozenTrial]) -> None:
    """There is no trial to evaluate again."""
    with pytest.raises(ValueError, match="no complete trial"):
        recheck_best(study_with(*history), gene)


def test_a_study_of_several_objectives_is_refused() -> None:
    """Such a study has no best trial."""
    study = optuna.create_study(directions=["minimize", "minimize"])
    study.optimize(lambda trial: (gene(trial), 0.0), n_trials=1)
    with pytest.raises(ValueError, match="one objective, but the study has 2"):
        recheck_best(study, gene)


@pytest.mark.parametrize("name", ["n_best", "n_repeats"])
@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-3, ValueError), (1.0, TypeError), (True, TypeError), (None, TypeError)],
)
def test_a_bad_argument_is_named(name: str, value: Any, error: type[Exception]) -> None:
    """The error shows the value that was given, and nothing is evaluated."""
    objective = noisy()
    with pytest.raises(error, match=f"^`{name}` must .* but {value!r} was given"):
        recheck_best(study_with(*LUCKY), objective, **{name: value})

    assert objective.calls == []


@pytest.mark.parametrize("values", [(1.0, 2.0), (0.25, -3.0, 7.5), (1e-9, 2e-9, 4e-9, 1e9)])
def test_the_standard_error_is_that_of_the_mean(values: tuple[float, ...]) -> None:
    """It equals SciPy's."""
    study = study_with(added(0.0))
    one = recheck_best(study, Repeats({0.5: values}), n_repeats=len(values))[0]

    assert one.values == values
    assert one.standard_error == pytest.approx(float(stats.sem(values)))


@pytest.mark.parametrize("values", [(1.0,), (math.inf, 1.0), (math.nan, 1.0)])
def test_there_is_no_standard_error_of_one_repeat_or_of_infinity(
    values: tuple[float, ...],
) -> None:
    """It is NaN where the spread is unknown."""
    study = study_with(added(0.0))
    one = recheck_best(study, Repeats({0.5: values}), n_repeats=len(values))[0]

    assert math.isnan(one.standard_error)


@pytest.mark.parametrize(
    ("direction", "order"),
    [("minimize", [0.1, 0.5, 0.3, 0.9]), ("maximize", [0.3, 0.5, 0.1, 0.9])],
)
def test_infinite_means_have_their_order_and_nan_is_last(
    direction: str, order: list[float]
) -> None:
    """Infinities are legal values; a mean of NaN is worst in either direction."""
    values = {0.9: [math.nan], 0.5: [1.0], 0.1: [-math.inf], 0.3: [1e300]}
    study = study_with(*LUCKY, direction=direction)

    assert genes(recheck_best(study, Repeats(values), n_repeats=1)) == order


@pytest.mark.parametrize(
    ("values", "mean"),
    [((math.inf, -math.inf), math.nan), ((1e308, 1e308), 1e308), ((-1e308,) * 3, -1e308)],
)
def test_any_repeats_have_a_mean(values: tuple[float, ...], mean: float) -> None:
    """Opposite infinities have a mean of NaN, and the largest numbers do not overflow."""
    study = study_with(added(0.0))
    one = recheck_best(study, Repeats({0.5: values}), n_repeats=len(values))[0]

    assert one.mean == pytest.approx(mean, nan_ok=True)


def conditional(trial: BaseTrial) -> float:
    """Return a gene of the branch that a choice decides on."""
    branch = trial.suggest_categorical("branch", ("a", "b"))
    low = trial.suggest_int("low", 1, 8, log=True) if branch == "a" else 0
    return low + trial.suggest_float(f"gene of {branch}", 0.0, 1.0, step=0.25)


def test_an_objective_that_branches_is_evaluated_again() -> None:
    """An objective without noise gives the values of the search."""
    study = run(RandomSampler(seed=0), 20, conditional)
    rechecked = recheck_best(study, conditional, n_best=8)

    assert {str(one.trial.params["branch"]) for one in rechecked} == {"a", "b"}
    assert all(set(one.values) == {one.trial.value} for one in rechecked)


@pytest.mark.parametrize("error", [RuntimeError("no"), TrialPruned("no"), KeyboardInterrupt()])
def test_what_every_repeat_raises_is_passed_on(error: BaseException) -> None:
    """There is no result to keep; an interrupt ends the repeats at once."""
    calls: list[int] = []

    def raises(trial: BaseTrial) -> float:
        calls.append(trial.number)
        raise error

    with pytest.raises(type(error)) as raised:
        recheck_best(study_with(*LUCKY), raises, n_best=2, n_repeats=2)
    assert raised.value is error
    assert len(calls) == (1 if isinstance(error, KeyboardInterrupt) else 4)


@pytest.mark.parametrize("failure", [TrialPruned("no"), MemoryError("no"), None, "word", math.nan])
def test_a_repeat_that_fails_costs_no_other(failure: Exception | str | float | None) -> None:
    """The mean is that of the other repeats, and a trial with no value is last."""

    def fails(trial: BaseTrial) -> Any:
        value = gene(trial)
        if value == 0.9 or (value == 0.5 and trial.number == 8):
            if isinstance(failure, Exception):
                raise failure
            return failure
        return value

    rechecked = recheck_best(study_with(*LUCKY), fails, n_best=3, n_repeats=2)

    assert [checked.values for checked in rechecked] == [(0.1, 0.1), (0.5,), ()]
    assert [len(checked.errors) for checked in rechecked] == [0, 1, 2]
    assert math.isnan(rechecked[2].mean)


def test_a_repeat_that_raises_is_logged_with_its_traceback() -> None:
    """It shows the line of the objective."""

    def raises(trial: BaseTrial) -> float:
        raise MemoryError("no")

    with (
        messages_of("optuna.recheck", logging.WARNING) as messages,
        pytest.raises(MemoryError),
    ):
        recheck_best(study_with(*LUCKY), raises, n_best=1, n_repeats=1)

    assert 'raise MemoryError("no")' in messages[0]


@pytest.mark.parametrize("value", [None, "word", [1.0, 2.0]])
def test_what_is_no_number_is_named(value: Any) -> None:
    """The error has the rule and what came instead."""
    words = f"`objective` must return a number, but it returned {value!r}."
    with pytest.raises(TypeError, match=re.escape(words)):
        recheck_best(study_with(*LUCKY), lambda trial: value)


def test_a_repeat_has_a_study_that_it_cannot_change() -> None:
    """It shows the trials, the direction and the attributes of the study in a copy."""

    def using_its_study(trial: Any) -> float:
        study = trial.study
        assert study.direction.name == "MAXIMIZE"
        assert study.user_attrs == {"images": 60_000}
        study.set_user_attr("images", 0)
        study.add_trial(added(99.0))
        return float(study.best_value)

    study = study_with(*LUCKY, direction="maximize")
    study.set_user_attr("images", 60_000)
    rechecked = recheck_best(study, using_its_study)

    assert {checked.values for checked in rechecked} == {(99.0,) * 3}
    assert len(study.trials) == 4
    assert study.user_attrs == {"images": 60_000}


def seeded(trial: BaseTrial) -> float:
    """Return the gene plus noise that is seeded by the trial's number."""
    return gene(trial) + math.sin(1e4 * trial.number)


def test_a_value_out_of_its_range_costs_no_repeat() -> None:
    """Optuna accepts enqueued values beyond a range, but not that such a trial is added."""
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    study.enqueue_trial({"x": 2.0})
    with pytest.warns(UserWarning, match="out of range"):
        study.optimize(gene, n_trials=1)
    study.optimize(gene, n_trials=3)

    def looks_back(trial: Any) -> float:
        assert [each.params for each in trial.study.trials] == [t.params for t in study.trials]
        return gene(trial)

    assert len(recheck_best(study, looks_back, n_best=2)) == 2


def test_rechecking_twice_gives_the_same() -> None:
    """An objective that is seeded by the number gets the same numbers each time."""
    study = study_with(*LUCKY)
    first, second = ([one.values for one in recheck_best(study, seeded)] for _ in range(2))

    assert first == second


def test_a_deviation_beyond_all_floats_is_infinite() -> None:
    """The mean is finite."""
    study = study_with(added(0.0))
    (checked,) = recheck_best(study, lambda trial: (-1) ** trial.number * 1.7e308, n_repeats=2)

    assert (checked.mean, checked.standard_error) == (0.0, math.inf)


def test_a_choice_that_is_nan_equals_itself() -> None:
    """Trials with it are evaluated as one."""
    choices = optuna.distributions.CategoricalDistribution([math.nan, "a"])
    params: list[dict[str, Any]] = [{"c": float("nan")}, {"c": float("nan")}, {"c": "a"}]
    history = [
        optuna.create_trial(value=float(i), params=found, distributions={"c": choices})
        for i, found in enumerate(params)
    ]
    rechecked = recheck_best(study_with(*history), lambda trial: 0.0, n_best=3)

    assert [one.trial.number for one in rechecked] == [0, 2]


@pytest.mark.parametrize("values", [(0.0, 1.0), (1.0, 0.0)])
def test_a_trial_with_more_parameters_is_another(values: tuple[float, float]) -> None:
    """Though it has all those of the other."""
    space = {name: FloatDistribution(0.0, 1.0) for name in "xy"}
    more = optuna.create_trial(
        value=values[1], params={"x": 0.5, "y": 0.5}, distributions={**space}
    )
    rechecked = recheck_best(study_with(added(values[0], x=0.5), more), lambda trial: 0.0)

    assert [len(one.trial.params) for one in rechecked] == ([1, 2] if values[1] else [2, 1])


def test_the_copied_study_has_the_name_of_the_study() -> None:
    """An objective may name its files by it."""
    study = optuna.create_study(study_name="mine")
    study.add_trial(added(1.0))
    names: list[str] = []

    def naming(trial: Any) -> float:
        names.append(trial.study.study_name)
        return 0.0

    recheck_best(study, naming, n_repeats=2)

    assert names == ["mine"] * 2
