"""The figure of parents and children."""

from __future__ import annotations

import pytest

from optuna_ga import GASampler
from optuna_ga.visualization import plot_genealogy
from tests.studies import added, run, study_with
from tests.visualization.figures import child, edges, numbers, places, three_generations, trace


@pytest.mark.parametrize("sign", [1, -1])
def test_genealogy_joins_parents_and_children(sign: int) -> None:
    """Further traces join the ancestors of the fittest trial, and its line of fitter parents."""
    figure = plot_genealogy(three_generations(sign))

    assert edges(figure, "Parent to child") == {
        *{(3, 4), (2, 4), (3, 5), (1, 5), (2, 6), (3, 6), (3, 7), (2, 7)},
        *{(5, 8), (4, 8), (5, 9), (6, 9), (4, 10), (6, 10), (4, 11), (5, 11)},
    }
    assert edges(figure, "Ancestors of trial 9") == {
        (5, 9),
        (6, 9),
        (3, 5),
        (1, 5),
        (2, 6),
        (3, 6),
    }
    assert edges(figure, "Lineage of fitter") == {(3, 5), (5, 9)}
    assert numbers(trace(figure, "Fittest: trial 9")) == [9]


def test_genealogy_places_trials_by_generation_and_rank() -> None:
    """Fitter trials stand higher, ties by number, and failed trials last."""
    at = {number: place for place, number in places(plot_genealogy(three_generations())).items()}

    assert [round(at[number][0]) for number in range(12)] == [0] * 4 + [1] * 4 + [2] * 4
    assert [at[number][1] for number in range(12)] == [4, 3, 2, 1, 2, 1, 3, 4, 2, 1, 4, 3]


def test_genealogy_marks_origins() -> None:
    """Mutated and failed trials have markers of their own."""
    figure = plot_genealogy(three_generations())
    origins = [trace(figure, name) for name in ("Start", "Crossover", "Mutation", "Failed")]

    assert list(map(numbers, origins)) == [[0, 1, 2, 3], [4, 5, 8, 10, 11], [6, 9], [7]]
    assert trace(figure, "Mutation").marker.symbol not in {
        trace(figure, name).marker.symbol for name in ("Start", "Crossover", "Failed")
    }


def test_ancestors_may_be_of_any_earlier_generation() -> None:
    """With elitism parents live on, and the adaptive sampler breeds within a generation."""
    study = study_with(*[added(9)] * 7, child(5, [0]), child(1, [7, 2]), child(0, [8, 0, 7]))
    figure = plot_genealogy(study)

    assert edges(figure, "Ancestors") == {(0, 7), (7, 8), (2, 8), (8, 9), (0, 9), (7, 9)}
    assert edges(figure, "Line") == {(0, 7), (7, 8), (8, 9)}


def test_a_fittest_trial_without_parents_has_no_line() -> None:
    """The fittest trial then stands alone."""
    figure = plot_genealogy(study_with(*[added(1)] * 4, child(2, [0, 1])))

    assert numbers(trace(figure, "Fittest")) == [0]
    assert edges(figure, "Ancestors") == edges(figure, "Line") == set()


def test_a_parent_that_has_not_finished_is_not_drawn() -> None:
    """A trial without a place has no lines."""
    study = study_with(added(3))
    study.ask()
    study.add_trial(child(2, [0, 1]))

    assert edges(plot_genealogy(study), "Parent to child") == {(0, 2)}


def test_the_genealogy_of_a_large_study_is_a_few_traces() -> None:
    """Hundreds of lines are one trace; a child whose parents' lines are too many has fewer."""
    few, many = (run(GASampler(20, seed=0), n) for n in (200, 500))
    all_lines, fewer, trials = plot_genealogy(few), plot_genealogy(many), many.trials

    assert len(all_lines.data) <= 10
    assert edges(all_lines, "Parent to child") == {
        (parent, trial.number)
        for trial in few.trials
        for parent in trial.user_attrs.get("ga_parents", [])
    }
    assert edges(fewer, "Parent to child") == {
        (min(parents, key=lambda one: (trials[one].value, one)), trial.number)
        for trial in trials
        if (parents := trial.user_attrs.get("ga_parents"))
    }
    assert "Shown: lines to the fittest parent of each child" in fewer.layout.title.text
    assert edges(fewer, "Ancestors") > edges(fewer, "Lineage")


@pytest.mark.parametrize("n_trials", [100, 500])
def test_all_ancestors_are_highlighted_however_few_lines_there_are(n_trials: int) -> None:
    """Rings are at the ancestors that recorded parents lead to, one generation after another."""
    study = run(GASampler.adaptive(seed=0), n_trials)
    figure = plot_genealogy(study)
    found, new = set[int](), {study.best_trial.number}
    while new:
        found |= new
        new = {p for n in new for p in study.trials[n].user_attrs.get("ga_parents", [])} - found
    rings = trace(figure, f"{len(found) - 1} ancestors")
    at = places(figure)

    assert {at[place] for place in zip(rings.x, rings.y, strict=True)} == found - {
        study.best_trial.number
    }


@pytest.mark.parametrize(
    ("lost", "lineage"),
    [([], {(3, 5), (5, 9)}), ([5], {(3, 6), (6, 9)}), ([5, 6], set())],
)
def test_a_lineage_begins_where_the_states_of_parents_were_lost(
    lost: list[int], lineage: set[tuple[int, int]]
) -> None:
    """The trial goes on from its fitter parent of those whose states it loaded, or afresh."""
    history = three_generations().trials
    history[9].set_user_attr("ga_lost_parents", lost)
    figure = plot_genealogy(study_with(*history))
    (text,) = trace(figure, "Fittest").text

    assert edges(figure, "Lineage") == lineage
    assert ("lost states of parents: " in text) == bool(lost)
    assert f"<br>lost states of parents: {', '.join(map(str, lost))}<br>" in text or not lost


@pytest.mark.parametrize(
    ("n_parents", "n_children", "n_shown", "named"),
    [
        (2, 200, 2, ""),
        (2, 201, 1, "Shown: lines to the fittest parent of each child"),
        (3, 134, 2, "Shown: lines to the 2 fittest parents of each child"),
    ],
)
def test_lines_are_left_out_beyond_400(
    n_parents: int, n_children: int, n_shown: int, named: str
) -> None:
    """Of each child as many are drawn as fit, to its fittest parents; the title says so."""
    parents = list(range(n_parents))
    history = [*map(added, parents), *[child(9, parents[::-1])] * n_children]
    figure = plot_genealogy(study_with(*history))

    assert edges(figure, "Parent to child") == {
        (parent, n_parents + n) for parent in range(n_shown) for n in range(n_children)
    }
    title = figure.layout.title.text
    assert title == ("Genealogy" + (f"<br><sub>{named}</sub>" if named else ""))
