"""The parts of the adaptive sampler, each against something that knows the answer otherwise."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_ga._breeding import adaptive_operators, known_trials
from optuna_ga._breeding.adaptive_settings import SCREENED, Settings
from optuna_ga._breeding.conditional_space import Branches
from optuna_ga._breeding.known_trials import Knowledge
from optuna_ga._breeding.surrogate import Screen, features, scheduled, warped
from optuna_ga._breeding.trial_matrix import Archive
from optuna_ga._population import fitness
from optuna_ga._population.genes import fit, from_unit, grid, n_cells, resolved, to_unit
from tests.conftest import added, failed, pruned
from tests.strategies import (
    categoricals,
    distributions,
    grids,
    log_floats,
    log_ints,
    plain_floats,
    plain_ints,
    stepped_floats,
    units,
)

MINIMIZE, MAXIMIZE = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE
LAST = 1 - 2**-53  # The largest position that is drawn.
UNIT = FloatDistribution(0.0, 1.0)


# Positions on the unit scale.


DISCRETE = (
    stepped_floats()
    | plain_ints(max_steps=10**6)
    | log_ints().filter(lambda ints: ints.high < 2**40)  # Others are finer than the logarithm.
    | categoricals()
)


@given(DISCRETE, units())
def test_a_discrete_value_is_found_again(distribution: BaseDistribution, u: float) -> None:
    """The position of a value leads back to the value, of whatever type it is."""
    value = from_unit(distribution, u)
    again = from_unit(distribution, min(to_unit(distribution, value), LAST))

    assert again is value or again == value


@given(plain_floats(), units())
def test_a_float_is_found_again(distribution: FloatDistribution, u: float) -> None:
    """The position of a value leads back to it, but for rounding."""
    value = from_unit(distribution, u)
    again = from_unit(distribution, min(to_unit(distribution, value), LAST))

    assert again == pytest.approx(value, abs=1e-12 * max(-distribution.low, distribution.high))


@given(log_floats(), units())
def test_a_logarithmic_float_is_found_again(distribution: FloatDistribution, u: float) -> None:
    """The position of a value leads back to it, but for rounding on the logarithm's scale."""
    value = from_unit(distribution, u)
    again = from_unit(distribution, min(to_unit(distribution, value), LAST))

    assert isinstance(value, float) and isinstance(again, float)
    assert math.log(again) == pytest.approx(math.log(value), abs=1e-9)


@given(distributions(), units())
def test_every_value_has_a_position(distribution: BaseDistribution, u: float) -> None:
    """It lies in [0, 1]."""
    assert 0.0 <= to_unit(distribution, from_unit(distribution, u)) <= 1.0


@given(grids() | categoricals(), st.integers(0, 10**6), st.floats(0.01, 0.99))
def test_positions_are_resolved_to_the_middle_of_their_share(
    distribution: BaseDistribution, k: int, inside: float
) -> None:
    """That is the position of the value that they stand for."""
    cells = n_cells(distribution)
    assert cells is not None
    u = (k % cells + inside) / cells
    found = resolved(distribution, np.array([u]))

    assert found == pytest.approx([(k % cells + 0.5) / cells])
    assert found == pytest.approx([to_unit(distribution, from_unit(distribution, u))])


@given(log_ints(), units())
def test_positions_of_logarithmic_integers_are_resolved_to_integers(
    distribution: IntDistribution, u: float
) -> None:
    """They have the positions of their logarithms, the ends within theirs."""
    found = resolved(distribution, np.array([u]))

    assert found == pytest.approx([to_unit(distribution, from_unit(distribution, u))])


@given(plain_floats() | log_floats(), units())
def test_positions_of_a_continuous_range_are_resolved_as_they_are(
    distribution: FloatDistribution, u: float
) -> None:
    """Any position is one of a value."""
    assert resolved(distribution, np.array([u])) == [u]
    assert grid(distribution) is None


@given(grids() | log_ints().filter(lambda ints: ints.high - ints.low < 99))
def test_a_grid_lists_the_positions_of_all_values(
    distribution: FloatDistribution | IntDistribution,
) -> None:
    """In the order of the values, each once."""
    step = distribution.step or 1
    n = round((distribution.high - distribution.low) / step) + 1
    values = [fit(distribution, distribution.low + k * step) for k in range(n)]

    assert n_cells(distribution) == n
    assert grid(distribution) == pytest.approx([to_unit(distribution, v) for v in values])


@pytest.mark.parametrize("choices", [("a",), ("a", None, 3.5), tuple(range(10))])
def test_a_grid_lists_the_positions_of_all_choices(choices: tuple[Any, ...]) -> None:
    """In the order of the choices, each once."""
    distribution = CategoricalDistribution(choices)

    assert grid(distribution) == pytest.approx([to_unit(distribution, c) for c in choices])


# The archive.


def random_trial(number: int, rng: random.Random) -> FrozenTrial:
    """Return a finished trial of any kind, which may tie with others or lack the gene `x`."""
    kind = rng.choice(["failed", "pruned", "complete", "complete", "without x"])
    options: dict[str, Any] = {"x": rng.random()}
    if rng.random() < 0.3:
        options["constraints"] = {"c": rng.choice([-1.0, 1.0, 2.0])}
    if kind == "failed":
        trial = failed(**options)
    elif kind == "pruned":
        reports = {step: rng.choice([0.0, 1.0, math.nan]) for step in range(rng.randrange(3))}
        trial = pruned(intermediate_values=reports, **options)
    elif kind == "complete":
        trial = added(rng.choice([math.inf, -math.inf, *range(9)]), **options)
    else:
        trial = create_trial(value=float(rng.randrange(9)))
    trial.number = number
    return trial


def random_trials(n: int) -> list[FrozenTrial]:
    """Return finished trials of all kinds."""
    rng = random.Random(0)
    return [random_trial(number, rng) for number in range(n)]


def archive_of(trials: Sequence[FrozenTrial], direction: Any = MINIMIZE, n: int = 200) -> Archive:
    """Return an archive of these trials, which keeps the order of the n fittest."""
    archive = Archive(direction, n)
    for trial in trials:
        archive.add(trial)
    return archive


@pytest.mark.parametrize("direction", [MINIMIZE, MAXIMIZE])
def test_the_fittest_are_known_at_any_time(direction: StudyDirection) -> None:
    """They are those that ranking all trials anew would find."""
    trials, archive = random_trials(150), Archive(direction, 7)
    for end, trial in enumerate(trials, start=1):
        archive.add(trial)
        fittest = fitness.fittest(trials[:end], 7, direction)
        assert archive.fittest() == [one.number for one in fittest]
        with_x = [one for one in trials[:end] if "x" in one.params]
        fittest = fitness.fittest(with_x, 7, direction)
        assert archive.fittest("x") == [one.number for one in fittest]


def test_the_rows_of_trials_are_found_by_their_numbers() -> None:
    """Trials are kept in the order of their arrival, which need not be that of their numbers."""
    trials = random_trials(100)[::-1]
    archive = archive_of(trials)

    assert archive.trials == trials
    assert archive.rows([99, 0, 1000, 5]) == [0, 99, 94]


def test_which_trials_are_complete_is_known() -> None:
    """Rather than failed or pruned, however many there are."""
    trials = branching(150)

    assert list(archive_of(trials).complete) == [
        trial.state == TrialState.COMPLETE for trial in trials
    ]


RANGES: dict[str, list[BaseDistribution]] = {
    "x": [UNIT, FloatDistribution(0.3, 2.0), FloatDistribution(1e-3, 1.0, log=True)],
    "n": [IntDistribution(1, 9), IntDistribution(3, 30, step=3), IntDistribution(2, 5, log=True)],
    "c": [CategoricalDistribution("abc"), CategoricalDistribution("abc")],
}


def with_changing_ranges(n: int) -> list[FrozenTrial]:
    """Return finished trials, each with some parameters of one of several ranges."""
    rng = random.Random(1)
    trials = []
    for _ in range(n):
        space = {name: rng.choice(RANGES[name]) for name in rng.sample("xnc", rng.randrange(4))}
        params = {name: from_unit(found, rng.random()) for name, found in space.items()}
        trials.append(create_trial(value=0.0, params=params, distributions=space))
    return trials


def position(trial: FrozenTrial, name: str, distribution: BaseDistribution) -> float:
    """Return where a parameter, or the nearest value inside, stands; NaN if there is none."""
    if name not in trial.params:
        return math.nan
    return to_unit(distribution, fit(distribution, trial.params[name]))


def test_genes_are_those_of_one_range() -> None:
    """All of a parameter's are expressed in the one that the archive names."""
    trials = with_changing_ranges(90)
    archive = archive_of(trials)

    assert archive.distributions.keys() == RANGES.keys()
    for column, (name, distribution) in enumerate(archive.distributions.items()):
        assert distribution in RANGES[name]
        expected = [position(trial, name, distribution) for trial in trials]
        np.testing.assert_allclose(archive.units[:, column], expected)


def test_a_range_that_changes_once_is_taken_over_at_once() -> None:
    """The genes before are expressed in it."""
    old, new = FloatDistribution(0.0, 1.0), FloatDistribution(0.3, 2.0)
    trials = [create_trial(value=0.0, params={"x": 0.9}, distributions={"x": old})] * 9
    archive = archive_of([*trials, with_range(new)])

    assert archive.distributions == {"x": new}
    assert archive.units[:9, 0] == pytest.approx(to_unit(new, 0.9))


def test_ranges_that_always_change_are_rarely_taken_over() -> None:
    """Expressing all genes anew for every trial would take ever longer."""
    archive = Archive(MINIMIZE, 200)
    for n in range(1, 1001):
        archive.add(with_range(FloatDistribution(0.0, float(n))))

    assert archive.version < 100
    assert archive.distributions["x"].high > 900.0  # type: ignore[attr-defined]


def with_range(distribution: FloatDistribution) -> FrozenTrial:
    """Return a finished trial whose gene is in the middle of its range."""
    middle = (distribution.low + distribution.high) / 2
    return create_trial(value=0.0, params={"x": middle}, distributions={"x": distribution})


@pytest.mark.parametrize("name", RANGES)
def test_genes_can_be_had_in_any_range(name: str) -> None:
    """A trial's gene is the nearest value inside; one that has none shows as NaN."""
    trials = with_changing_ranges(30)
    distribution = RANGES[name][0]
    genes = archive_of(trials).genes(range(30), {name: distribution})

    np.testing.assert_allclose(genes, [[position(trial, name, distribution) for trial in trials]])


# Branches.


def two_levels(genes: dict[str, Any]) -> set[str]:
    """Return what a choice within a choice asks for."""
    if genes["a"] == "deep":
        return {"a", "b", "x"} if genes["b"] == "deeper" else {"a", "b"}
    return {"a", "y"}


TWO_LEVELS: dict[str, BaseDistribution] = {
    "a": CategoricalDistribution(["flat", "deep"]),
    "b": CategoricalDistribution(["deep", "deeper"]),
    "x": UNIT,
    "y": IntDistribution(1, 100, log=True),
}


def layers(genes: dict[str, Any]) -> set[str]:
    """Return what a number of layers asks for."""
    return {"n_layers", "rate", *(f"units {k}" for k in range(genes["n_layers"]))}


LAYERS: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "n_layers": IntDistribution(1, 4),
    **{f"units {k}": IntDistribution(8, 64, step=8) for k in range(4)},
}


def switches(genes: dict[str, Any]) -> set[str]:
    """Return what many independent switches ask for."""
    return {*"abcdefgh", *(name.upper() for name in "abcdefgh" if genes[name])}


SWITCHES: dict[str, BaseDistribution] = {
    **{name: CategoricalDistribution([False, True]) for name in "abcdefgh"},
    **dict.fromkeys("ABCDEFGH", UNIT),
}


def everything(genes: dict[str, Any]) -> set[str]:
    """Return what an objective without branches asks for."""
    return set(genes)


@pytest.mark.parametrize(
    ("asks", "space"),
    [(two_levels, TWO_LEVELS), (layers, LAYERS), (switches, SWITCHES), (everything, LAYERS)],
)
def test_what_a_child_is_asked_for_is_foreseen(
    asks: Callable[[dict[str, Any]], set[str]], space: dict[str, BaseDistribution]
) -> None:
    """After 60 random trials it is known of any child."""
    rng = np.random.default_rng(0)
    genes = np.column_stack([resolved(found, rng.random(260)) for found in space.values()])
    values = [
        {name: from_unit(space[name], u) for name, u in zip(space, row, strict=True)}
        for row in genes.tolist()
    ]
    asked = np.array([[name in asks(one) for name in space] for one in values])
    trials = np.where(asked[:60], genes[:60], np.nan)

    assert (Branches(trials, list(space.values())).asked(genes[60:]) == asked[60:]).all()


def branching(n: int) -> list[FrozenTrial]:
    """Return finished trials of an objective that branches by two levels, some of them failed."""
    rng = np.random.default_rng(1)
    trials = []
    for number in range(n):
        genes = {name: from_unit(kind, rng.random()) for name, kind in TWO_LEVELS.items()}
        params = {name: gene for name, gene in genes.items() if name in two_levels(genes)}
        state = TrialState.FAIL if rng.random() < 0.3 else TrialState.COMPLETE
        if state == TrialState.FAIL:  # Some fail before they are asked for all.
            params = dict(list(params.items())[: rng.integers(len(params) + 1)])
        trials.append(
            create_trial(
                state=state,
                value=float(number) if state == TrialState.COMPLETE else None,
                params=params,
                distributions={name: TWO_LEVELS[name] for name in params},
            )
        )
    return trials


def random_children(knowledge: Knowledge, n: int = 200) -> np.ndarray:
    """Return positions of values of all parameters that are known."""
    rng = np.random.default_rng(2)
    kinds = knowledge.archive.distributions.values()
    return np.column_stack([resolved(kind, rng.random(n)) for kind in kinds])


@pytest.mark.parametrize("recent", [15, 500])
def test_branches_are_the_same_whenever_they_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, recent: int
) -> None:
    """One that is told of trials one by one foresees what one that is told of all does."""
    monkeypatch.setattr(known_trials, "_RECENT", recent)
    known: list[FrozenTrial] = []
    followed = Knowledge(MINIMIZE, 10, known)
    for trial in branching(80):
        known.append(trial)
        followed.take_in()
        resumed = Knowledge(MINIMIZE, 10, list(known))
        resumed.take_in()
        children = random_children(followed)
        np.testing.assert_array_equal(followed.asked(children), resumed.asked(children))


def test_branches_agree_with_every_complete_trial() -> None:
    """They are learnt anew when one was not foreseen; failed ones say nothing."""
    known: list[FrozenTrial] = []
    knowledge = Knowledge(MINIMIZE, 10, known)
    for trial in branching(80):
        known.append(trial)
        knowledge.take_in()
        complete = knowledge.archive.units[knowledge.archive.complete]
        foreseen = knowledge.asked(np.nan_to_num(complete))
        np.testing.assert_array_equal(np.isnan(foreseen), np.isnan(complete))


def trial_with(state: TrialState = TrialState.COMPLETE, **params: Any) -> FrozenTrial:
    """Return a trial that was asked for choices, if they are letters, and for numbers."""
    return create_trial(
        state=state,
        value=0.0 if state == TrialState.COMPLETE else None,
        params=params,
        distributions={
            name: CategoricalDistribution("ab") if isinstance(value, str) else UNIT
            for name, value in params.items()
        },
    )


def test_branches_of_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """An objective may ask otherwise from some trial on."""
    monkeypatch.setattr(known_trials, "_RECENT", 20)
    before = [trial_with(c="a", x=0.5), trial_with(c="b")] * 15
    since = [trial_with(c="a"), trial_with(c="b", x=0.5)] * 15
    knowledge = Knowledge(MINIMIZE, 10, before + since)
    knowledge.take_in()
    foreseen = knowledge.asked(np.array([[0.25, 0.5], [0.75, 0.5]]))

    np.testing.assert_array_equal(foreseen, [[0.25, math.nan], [0.75, 0.5]])


def test_failed_trials_tell_of_branches_where_none_of_late_is_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing else is known of what children will be asked for."""
    monkeypatch.setattr(known_trials, "_RECENT", 5)
    failure = trial_with(TrialState.FAIL, x=0.5, y=0.5)
    for n_failures, y in [(4, math.nan), (6, 0.5)]:
        knowledge = Knowledge(MINIMIZE, 10, [trial_with(x=0.5), *[failure] * n_failures])
        knowledge.take_in()
        np.testing.assert_array_equal(knowledge.asked(np.array([[0.5, 0.5]])), [[0.5, y]])


# Running trials.


def foreseen(knowledge: Knowledge, genes: dict[str, float], **params: Any) -> list[float]:
    """Return the genes of a running trial that has some and will become others."""
    knowledge.take_in()
    knowledge.foresee([trial_with(TrialState.RUNNING, **params)], lambda trial: genes)
    return list(knowledge.running[0])


def test_what_running_trials_have_got_is_followed() -> None:
    """They are asked for more and more, and ranges change meanwhile."""
    known = [trial_with(x=0.5, y=0.5)]
    knowledge, genes = Knowledge(MINIMIZE, 10, known), {"x": 0.9, "y": 0.75}

    assert foreseen(knowledge, genes) == [0.9, 0.75]
    assert foreseen(knowledge, genes, x=0.25) == [0.25, 0.75]
    assert foreseen(knowledge, genes, x=0.25, y=0.5) == [0.25, 0.5]

    wider = FloatDistribution(0.0, 2.0)
    known.append(create_trial(value=0.0, params={"x": 1.0}, distributions={"x": wider}))
    assert foreseen(knowledge, genes, x=0.25, y=0.5) == [0.125, 0.5]


def test_running_trials_are_foreseen_without_what_they_will_not_be_asked() -> None:
    """What they will become has a gene for every parameter."""
    knowledge = Knowledge(MINIMIZE, 10, [trial_with(c="a", x=0.5), trial_with(c="b")])

    assert foreseen(knowledge, {"c": 0.25, "x": 0.3}) == [0.25, 0.3]
    np.testing.assert_equal(foreseen(knowledge, {"c": 0.75, "x": 0.3}), [0.75, math.nan])
    np.testing.assert_equal(foreseen(knowledge, {"c": 0.25, "x": 0.3}, c="b"), [0.75, math.nan])


# Variation.


AFFINE, STEP = 0.0, 1.0  # Probabilities of a step.


def only(step_prob: float, **options: Any) -> Settings:
    """Return settings with one way of making numbers, and without mutation unless it is given."""
    options = {"fresh_prob": 0.0, "fresh_choice_prob": 0.0, **options}
    return replace(SCREENED, step_prob=step_prob, **options)


def children(
    parents: Sequence[float] | np.ndarray,
    distribution: BaseDistribution,
    settings: Settings,
    donors: Sequence[float] | None = None,
    n: int = 400,
) -> np.ndarray:
    """Return one gene of many candidates of these parents."""
    plan = adaptive_operators.plan(n, len(parents), settings, np.random.default_rng(1))
    present = [gene for gene in parents if gene == gene] if donors is None else donors
    found, fresh = adaptive_operators.express(
        plan,
        np.array([parents]),
        lambda position: np.array([present][position]),
        [distribution],
        settings,
        [np.random.default_rng(2)],
    )
    assert found.shape == fresh.shape == (1, n)
    return np.asarray(found[0])


@pytest.mark.parametrize("n_parents", [2, 3, 14])
@pytest.mark.parametrize("choices", [False, True])
def test_a_plan_names_parents_that_exist_and_differ(n_parents: int, choices: bool) -> None:
    """The affine way takes all with weights that sum to one, a step one, or two for choices."""
    plan = adaptive_operators.plan(500, n_parents, SCREENED, np.random.default_rng(0))
    for candidate, affine in enumerate(plan.affine.tolist()):
        named = plan.parents(candidate, choices=choices)
        assert named == sorted(set(named)) and set(named) <= set(range(n_parents))
        assert len(named) == (n_parents if affine else 1 + choices)

    assert 0 < plan.affine.sum() < 500
    assert plan.weights.sum(axis=1) == pytest.approx(1.0)


def test_fitter_parents_have_more_children() -> None:
    """The rank decides how often a trial is a parent."""
    plan = adaptive_operators.plan(20_000, 10, SCREENED, np.random.default_rng(0))
    shares = np.bincount(plan.first, minlength=10) / 20_000

    assert shares[0] > 1.5 * shares[4] > 2.0 * shares[9] > 0.0


def test_affine_children_are_weighted_sums_of_their_parents() -> None:
    """Wherever these do not leave the range."""
    parents = np.linspace(0.45, 0.55, 7)
    plan = adaptive_operators.plan(400, 7, only(AFFINE), np.random.default_rng(1))
    sums = plan.weights @ parents

    assert children(parents, UNIT, only(AFFINE)) == pytest.approx(sums.clip(0.0, 1.0))


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.3])
def test_affine_children_have_the_covariance_of_their_parents(exponent: float) -> None:
    """Genes that go together stay together, around a mean that leans to the fitter parents."""
    spread = np.random.default_rng(0).normal(0.0, 0.02, (2, 8))
    genes = np.sort(0.5 + np.vstack([spread[0], 0.5 * spread[0] + 0.3 * spread[1]]))
    way = only(AFFINE, log_spread=(exponent, exponent))
    found = np.array([children(row, UNIT, way, n=40_000) for row in genes])

    np.testing.assert_allclose(np.cov(found), 100**exponent * np.cov(genes, bias=True), rtol=0.05)
    assert (genes.min(axis=1) < found.mean(axis=1)).all()
    assert (found.mean(axis=1) < genes.mean(axis=1)).all()


@given(
    st.lists(distributions(), min_size=2, max_size=5),
    st.sampled_from(["C", "F"]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40)
def test_a_gene_does_not_depend_on_the_others(
    kinds: list[BaseDistribution], order: Literal["C", "F"], source: random.Random
) -> None:
    """Expressed alone it is, to the bit, what it is among others, however these lie in memory."""
    parents = np.array([[source.random() for _ in range(9)] for _ in kinds])
    parents[0, :3] = math.nan
    spare = [np.array([source.random() for _ in range(source.randint(0, 9))]) for _ in kinds]
    plan = adaptive_operators.plan(50, 9, SCREENED, np.random.default_rng(source.randrange(99)))

    def expressed(positions: Sequence[int]) -> np.ndarray:
        genes, fresh = adaptive_operators.express(
            plan,
            np.array(parents[list(positions)], order=order),
            lambda position: spare[positions[position]],
            [kinds[position] for position in positions],
            SCREENED,
            [np.random.default_rng(position) for position in positions],
        )
        return np.stack([genes, fresh])

    together = expressed(range(len(kinds)))
    alone = [expressed([position])[:, 0] for position in range(len(kinds))]

    np.testing.assert_array_equal(together, np.stack(alone, axis=1))


@pytest.mark.parametrize("distribution", [UNIT, IntDistribution(1, 9), IntDistribution(0, 1)])
def test_a_step_leaves_its_parent(distribution: BaseDistribution) -> None:
    """Parents that agree still have other children, on a coarse grid too."""
    parent = float(resolved(distribution, np.array([0.6]))[0])
    genes = children([parent] * 3, distribution, only(STEP))

    assert np.mean(genes != parent) > 0.1
    assert min(genes) < parent or parent > 0.7
    assert max(genes) > parent or parent > 0.7


@given(distributions(), st.lists(units() | st.just(math.nan), min_size=2, max_size=6))
@settings(max_examples=60)
def test_genes_are_positions_of_values(
    distribution: BaseDistribution, parents: list[float]
) -> None:
    """Whatever the parents have, children are inside of the range and on its grid."""
    genes = children(resolved(distribution, np.nan_to_num(parents)), distribution, SCREENED)
    lacking = children(parents, distribution, SCREENED)
    for found in (genes, lacking):
        assert ((found >= 0.0) & (found <= 1.0)).all()
        np.testing.assert_allclose(resolved(distribution, found), found, atol=1e-9)


@pytest.mark.parametrize("parents", [[math.nan, 0.3], [0.3, math.nan, math.nan], [math.nan] * 4])
def test_parents_that_lack_a_gene_are_passed_over(parents: list[float]) -> None:
    """It comes from those that have it or, if none does, from another trial that does."""
    found = children(parents, UNIT, only(AFFINE), donors=[0.3] * len(parents))

    assert found == pytest.approx(0.3)


def test_a_gene_that_nobody_has_is_drawn() -> None:
    """Fresh genes are uniform."""
    found = np.sort(children([math.nan] * 3, UNIT, only(AFFINE), n=10_000))

    assert found == pytest.approx(np.linspace(0.0, 1.0, 10_000), abs=0.03)


def test_half_the_genes_are_fresh_where_few_trials_have_the_parameter() -> None:
    """A branch that was hardly taken is searched, not copied."""
    found = children([math.nan] * 3, UNIT, only(AFFINE), donors=[0.3], n=10_000)

    assert np.mean(np.isclose(found, 0.3)) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("way", [AFFINE, STEP])
def test_choices_come_from_parents(way: float) -> None:
    """No way makes a choice that no parent has; a fresh draw makes any."""
    distribution = CategoricalDistribution("abcde")
    donors = [0.1, 0.5, 0.1]
    inherited = children([0.1, 0.5, math.nan], distribution, only(way), donors)
    fresh = children([0.1, 0.5], distribution, only(way, fresh_choice_prob=1.0))

    assert set(inherited) == {0.1, 0.5}
    assert set(fresh.round(6)) == {0.1, 0.3, 0.5, 0.7, 0.9}


# The model.


def losses_of(*trials: FrozenTrial, direction: StudyDirection = MINIMIZE) -> np.ndarray:
    """Return the losses that the model sees."""
    return warped([fitness.rank(trial, direction) for trial in trials], 0.1)


@given(st.lists(st.floats(-1e100, 1e100), min_size=2, max_size=30))
def test_the_model_sees_losses_in_their_order(values: list[float]) -> None:
    """A better value is no worse a loss; together they have mean 0 and deviation 1, or are 0."""
    losses = losses_of(*(added(value) for value in values))

    assert (np.diff(losses[np.argsort(values, kind="stable")]) >= -1e-12).all()
    assert losses.mean() == pytest.approx(0.0, abs=1e-6)
    assert losses.std() == pytest.approx(1.0) or np.abs(losses).max() < 1e-6


def test_the_model_sees_small_differences_of_good_trials() -> None:
    """The scale is the logarithm of what a trial is above the best."""
    losses = losses_of(*(added(10.0**power) for power in range(-6, 7)))

    assert losses[3] - losses[2] > 0.5 * (losses[12] - losses[11])


@pytest.mark.parametrize("direction", [MINIMIZE, MAXIMIZE])
def test_a_trial_without_a_value_is_as_bad_as_the_worst(direction: StudyDirection) -> None:
    """So are infeasible ones and an infinity in the wrong direction; the other is the best."""
    sign = 1.0 if direction == MINIMIZE else -1.0
    bad = [failed(), pruned(), added(-sign * 9.0, constraints={"c": 1.0}), added(sign * math.inf)]
    good = [added(sign * value) for value in (3.0, 1.0, 2.0)]
    losses = losses_of(*good, *bad, added(-sign * math.inf), direction=direction)

    assert losses[3:] == pytest.approx([losses[0]] * 4 + [losses[1]])


def test_a_pruned_trial_is_no_better_than_half_of_the_complete_ones() -> None:
    """Its last report counts as its value if it is worse than that."""
    complete = [added(value) for value in (0.0, 1.0, 2.0, 3.0, 4.0)]
    reports = [pruned(intermediate_values={1: 9.0, 2: v}) for v in (-5.0, 1.0, 3.0, math.nan)]
    losses = losses_of(*complete, *reports)

    assert losses[5:] == pytest.approx(losses[[2, 2, 3, 4]])


@pytest.mark.parametrize("value", [0.0, -3.5, 1e300, math.inf])
def test_equal_losses_tell_nothing(value: float) -> None:
    """They are all zero, with or without failures among them."""
    assert losses_of(*[added(value)] * 5) == pytest.approx(np.zeros(5))
    assert losses_of(added(value), failed(), pruned()) == pytest.approx(np.zeros(3))


@pytest.mark.parametrize("n", [2, 3, 7])
def test_all_choices_are_equally_far_apart(n: int) -> None:
    """A categorical parameter has no order."""
    distribution = CategoricalDistribution(range(n))
    found = features(np.array(grid(distribution))[:, None], [distribution])
    distances = np.linalg.norm(found[:, None] - found, axis=2)[~np.eye(n, dtype=bool)]

    assert distances == pytest.approx(distances[0])
    assert distances[0] > 0.1


def test_what_is_not_asked_for_has_a_feature_of_its_own() -> None:
    """A number that is lacking stands in the middle, and a choice that is lacking is none."""
    choices = CategoricalDistribution("abc")
    found = features(np.array([[math.nan, 0.2], [0.5, math.nan]]), [choices, UNIT])

    assert found[:, -1].tolist() == [0.2, 0.5]
    assert found[0, :3].tolist() == [0.0, 0.0, 0.0] != found[1, :3].tolist()


def test_the_kernel_is_fitted_on_a_schedule() -> None:
    """It depends on the number of trials alone, and is never far behind it."""
    due = [scheduled(n) for n in range(1, 400)]

    assert due == sorted(due)
    assert all(n / 2 < found <= n for n, found in enumerate(due, start=1))
    assert len(set(due)) < 40
    assert [scheduled(n) for n in due] == due


def parabola(u: float) -> float:
    """Return a loss whose minimum is at 0.3."""
    return (u - 0.3) ** 2


def two_valleys(u: float) -> float:
    """Return a loss whose two minima, at 0.25 and 0.75, are equal."""
    return (abs(u - 0.5) - 0.25) ** 2


def measured(loss: Callable[[float], float], positions: Sequence[float]) -> Archive:
    """Return an archive of trials at these positions."""
    archive = Archive(MINIMIZE, 200)
    for number, u in enumerate(positions):
        trial = create_trial(value=loss(u), params={"x": u}, distributions={"x": UNIT})
        trial.number = number
        archive.add(trial)
    return archive


SPREAD = [number * 0.618 % 1.0 for number in range(15)]
BOTH_HALVES = [u for spread in SPREAD[:6] for u in (spread / 2, 1.0 - spread / 2)]
CANDIDATES = np.linspace(0.0, 1.0, 201)


def chosen(screen: Screen, archive: Archive, *running: float) -> float:
    """Return the candidate that the model prefers while others are running."""
    rate = screen.rating(archive, np.array(running).reshape(-1, 1))
    return float(CANDIDATES[np.argmax(rate(CANDIDATES[:, None]))])


def test_the_model_finds_the_minimum_of_a_parabola() -> None:
    """After fifteen trials the candidate that it prefers is nearly the best."""
    archive = measured(parabola, SPREAD)

    assert chosen(Screen(SCREENED), archive) == pytest.approx(0.3, abs=0.05)


def test_the_model_leaves_alone_what_is_running() -> None:
    """Where two places are equally good, the second worker gets the other one."""
    archive, screen = measured(two_valleys, BOTH_HALVES), Screen(SCREENED)
    first = chosen(screen, archive)
    second = chosen(screen, archive, first)

    assert two_valleys(first) < 0.005 > two_valleys(second)
    assert abs(first - second) > 0.3


def test_a_new_model_prefers_what_the_old_one_would() -> None:
    """Its memory saves time and changes nothing, so that a resumed search is the same."""
    old = Screen(SCREENED)
    for end in range(2, 16):
        archive, running = measured(two_valleys, SPREAD[:end]), SPREAD[end - 1] / 2
        assert chosen(old, archive, running) == chosen(Screen(SCREENED), archive, running)
