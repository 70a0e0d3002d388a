"""The report for optuna-dashboard: its note, its figures, and when they are written."""

from __future__ import annotations

import json
import logging
import math
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Literal

import optuna
import pytest
from optuna import Study, Trial
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import StorageInternalError
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial
from optuna_dashboard import get_note, save_note
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects
from plotly.graph_objects import Figure

from optuna_ga import (
    DashboardReport,
    GASampler,
    best_of_final_generation,
    ignored_trials,
    optimize_generations,
    schedule_of,
)
from optuna_ga._dashboard.note import note_text
from tests.logs import messages_of
from tests.pbt.walks import walk
from tests.several import study_of_two, with_values
from tests.studies import (
    OpenDatabase,
    added,
    bad_by_chance,
    failed,
    of_four,
    parents,
    pruned,
    run,
    sphere,
    study_with,
)

FIGURES = {"ga-fitness", "ga-genealogy", "ga-genes", "ga-improvements"}


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The warnings that are logged."""
    with messages_of("optuna.generations", logging.WARNING) as messages:
        yield messages


def system_attrs(study: Study) -> dict[str, Any]:
    """Return the study's system attributes, where the dashboard keeps its data."""
    return study._storage.get_study_system_attrs(study._study_id)


def n_reports(study: Study) -> int:
    """Return how often the note was written."""
    n: int = system_attrs(study).get("dashboard:note_ver", 0)
    return n


def figures(study: Study) -> dict[str, dict[str, Any]]:
    """Return the study's figures as the dashboard reads them."""
    objects = get_plotly_graph_objects(system_attrs(study))
    return {name: json.loads(figure) for name, figure in objects.items()}


def table(note: str, first: str) -> dict[str, list[str]]:
    """Return the rows of the note's last table with this first heading, by their first cell."""
    lines = note[note.rindex(f"| {first} |") :].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0]: row[1:] for row in rows}


def reported(study: Study) -> str:
    """Return the note after a report."""
    DashboardReport().write(study)
    note: str = get_note(study)
    return note


@pytest.mark.parametrize(
    "sampler",
    [
        GASampler(4, parent_fraction=0.75, mutation_prob=0.1, seed=7),
        GASampler.adaptive(5, surrogate=False, seed=7),
    ],
)
def test_the_note_shows_the_samplers_settings(sampler: GASampler) -> None:
    """As the call that makes the sampler."""
    assert f"New trials come from `{sampler!r}`." in reported(run(sampler, 10))


def test_the_note_names_the_best_trials(open_database: OpenDatabase) -> None:
    """Links have the study's id, and parameters are given in full."""
    run(RandomSampler(), 1, storage=open_database(), study_name="one more")
    study = run(of_four(), 12, storage=open_database(), study_name="s")
    note = reported(study)

    best, final = study.best_trial, best_of_final_generation(study)
    assert best.number != final.number
    for trial in best, final:
        link = f"(/dashboard/studies/2/trials?numbers={trial.number})"
        assert f"Trial [{trial.number}]{link}, value {trial.value:.6g}\n" in note
        assert all(f"| `{name}` | `{value!r}` |" in note for name, value in trial.params.items())


def test_the_note_has_a_row_for_each_generation() -> None:
    """It counts the trials of each state, and shows their best and median value."""
    history = [added(3), pruned(), failed(), added(1), added(5), added(6), added(9), added(7)]
    study = study_with(*history)
    study.ask()
    rows = table(reported(study), "generation")

    link = "(/dashboard/studies/0/trials?numbers="
    assert rows == {
        f"[2]{link}8)": ["1", "0", "0", "0", "1", "", ""],
        f"[1]{link}4,5,6,7)": ["4", "4", "0", "0", "0", f"[5]{link}4)", "6.5"],
        f"[0]{link}0,1,2,3)": ["4", "2", "1", "1", "0", f"[1]{link}3)", "2"],
    }


def test_unfinished_trials_have_columns_where_there_are_any() -> None:
    """So each trial is counted in one state."""
    study = run(RandomSampler(seed=0), 5)
    assert "running" not in reported(study)
    study.ask()
    study.enqueue_trial({"x": 0.5})

    assert "| trials | complete | pruned | failed | running | waiting |" in reported(study)
    assert table(get_note(study), "trials") == {"7": ["5", "0", "0", "1", "1"]}


def test_the_note_has_the_schedule_that_trained_the_answer() -> None:
    """A row for each segment; other searches have no schedules."""
    study, _ = walk(16)
    answer = best_of_final_generation(study)
    rows = table(reported(study), "segment")

    steps = [params["step"] for params in schedule_of(study, answer)]
    assert [row[1] for row in rows.values()] == [f"`{step}`" for step in steps]
    assert "segment" not in reported(run(of_four(), 8))


def test_the_note_names_the_trials_that_the_model_ignores() -> None:
    """With links, also if the study is loaded without its sampler."""
    study = run(GASampler.adaptive(seed=1), 60, bad_by_chance)
    numbers = [trial.number for trial in ignored_trials(study)]
    links = ", ".join(f"[{each}](/dashboard/studies/0/trials?numbers={each})" for each in numbers)
    text = (
        "## Ignored by the model\n\n"
        f"Far worse than the model predicts from the other trials: {links}. They stay in the"
    )

    assert len(numbers) > 1
    assert text in reported(study)
    study.sampler = RandomSampler()
    assert text in reported(study)


def test_the_note_names_ignored_trials_while_a_model_suggests_trials() -> None:
    """Not after another sampler has taken over, which ignores none."""
    study = optuna.create_study(sampler=GASampler.adaptive(seed=1))
    study.optimize(bad_by_chance, n_trials=40, callbacks=[DashboardReport()])
    assert "Ignored by the model" in get_note(study)

    study.sampler = RandomSampler(seed=0)
    study.optimize(sphere, n_trials=10, callbacks=[DashboardReport()])

    assert "Ignored by the model" not in get_note(study)


def test_the_list_of_ignored_trials_has_an_end() -> None:
    """A hundred are named, and the others are counted."""
    text = note_text(run(of_four(), 4), 4, ignored=range(150))

    assert "[99](/dashboard/studies/0/trials?numbers=99), and 50 more." in text
    assert "[100]" not in text


@pytest.mark.parametrize(
    "sampler", [GASampler(10), GASampler.adaptive(surrogate=False), RandomSampler(seed=1)]
)
def test_the_note_names_no_ignored_trials_without_a_model(sampler: BaseSampler) -> None:
    """Even if a model of the same trials would ignore some."""
    study = run(GASampler.adaptive(seed=1), 60, bad_by_chance)
    assert ignored_trials(study)
    own = optuna.create_study(sampler=sampler)
    own.add_trials(study.trials)

    assert "Ignored" not in reported(own)


def test_the_table_of_generations_has_an_end() -> None:
    """The last fifty generations are shown."""
    *rows, last = table(reported(run(of_four(), 240)), "generation")

    assert [int(row.partition("]")[0][1:]) for row in rows] == list(range(59, 9, -1))
    assert last == "and 10 earlier"


@pytest.mark.parametrize("text", ["a|b", "``", "*x*", "one\ntwo", "<b>"])
def test_no_parameter_breaks_a_table(text: str) -> None:
    """Names and choices are shown as code, escaped for a table."""
    study = run(of_four(), 4, lambda trial: len(trial.suggest_categorical(text, [text])))
    rows = reported(study).splitlines()

    shown = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    assert rows.count(f"| `{shown}` | `{shown}` |") == 2


OWN = ["My own words.", "# Mine\n\n## Report of optuna_ga, what I tried\n\nprecious\n\n"]


@pytest.mark.parametrize("words", OWN)
def test_the_users_own_text_stays_however_it_ends(words: str) -> None:
    """The report begins at the line that is its heading, and nowhere else."""
    study = run(of_four(), 4)
    save_note(study, words)
    DashboardReport().write(study)
    DashboardReport().write(study)
    note = get_note(study)

    assert note.startswith(f"{words.rstrip()}\n\n# Report of optuna_ga\n\nNew trials come ")
    assert note.count("\n# Report of optuna_ga\n") == 1


def test_a_report_with_other_line_ends_is_replaced() -> None:
    """An editor may have saved the note as on Windows."""
    study = run(of_four(), 4)
    note = reported(study)
    save_note(study, "Mine.\r\n\r\n" + note.replace("\n", "\r\n"))

    assert reported(study) == f"Mine.\n\n{note}"


def test_workers_may_be_sent_a_report() -> None:
    """A report is pickled without its lock."""
    study = run(of_four(), 4)
    pickle.loads(pickle.dumps(DashboardReport(every=2))).write(study)

    assert get_note(study)


def test_what_stands_above_the_report_stays() -> None:
    """The user's own note is not overwritten."""
    study = run(of_four(), 4)
    save_note(study, "My own words.\n\n")
    notes = [reported(study), reported(study)]

    assert notes[0] == notes[1]
    assert notes[0].startswith("My own words.\n\n# Report of optuna_ga\n")


def test_it_is_written_once_for_each_generation() -> None:
    """An incomplete generation has no report."""
    study = run(of_four(), 0)
    versions: list[int] = []

    def note_version(study: Study, trial: FrozenTrial) -> None:
        versions.append(n_reports(study))

    study.optimize(sphere, n_trials=11, callbacks=[DashboardReport(), note_version])

    assert versions == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert set(figures(study)) == FIGURES


def test_it_can_be_written_less_often() -> None:
    """Here every second generation has a report."""
    study = run(of_four(), 0)
    study.optimize(sphere, n_trials=20, callbacks=[DashboardReport(every=2)])

    assert n_reports(study) == 2


def test_the_driver_calls_it_too() -> None:
    """A generation that is evaluated at once has one report."""
    study = run(of_four(), 0)
    optimize_generations(
        study, lambda trials: list(map(sphere, trials)), 3, callbacks=[DashboardReport()]
    )

    assert n_reports(study) == 3


def test_the_last_of_a_generation_to_finish_counts() -> None:
    """Trials of later generations may finish earlier."""
    study, report, versions = run(of_four(), 0), DashboardReport(), []
    trials = [study.ask() for _ in range(8)]
    for number in (3, 4, 5, 6, 7, 0, 2, 1):
        report(study, study.tell(trials[number], 1.0))
        versions.append(n_reports(study))

    assert versions == [0, 0, 0, 0, 1, 1, 1, 2]


@pytest.mark.slow
def test_threads_write_whole_reports(open_database: OpenDatabase) -> None:
    """After the last trial the report holds all trials, and all figures can be read."""
    study = run(of_four(), 0, storage=open_database(), study_name="s")
    study.optimize(sphere, n_trials=16, n_jobs=4, callbacks=[DashboardReport()])

    shown = figures(study)
    assert set(shown) == FIGURES
    assert len(shown["ga-fitness"]["data"][0]["x"]) == 16
    assert len(table(get_note(study), "generation")) == 4


def test_a_study_without_generations_has_a_note_alone(logged: list[str]) -> None:
    """The note shows the sampler, the best trial and the number of trials."""
    study = run(RandomSampler(seed=0), 0)
    study.optimize(sphere, n_trials=40, callbacks=[DashboardReport()])
    note = get_note(study)

    assert n_reports(study) == 2
    assert "`RandomSampler`" in note
    assert f"Trial [{study.best_trial.number}](" in note
    assert table(note, "trials") == {"40": ["40", "0", "0"]}
    assert figures(study) == {}
    assert logged == []


def test_another_sampler_may_continue_the_generations() -> None:
    """The population size is recorded on the study."""
    study = run(of_four(), 4)
    study.sampler = RandomSampler(seed=0)
    study.optimize(sphere, n_trials=8, callbacks=[DashboardReport()])

    assert n_reports(study) == 2
    assert (
        f"The latest sampler of `optuna_ga` was `{of_four()!r}`. New trials come from "
        "`RandomSampler`. 4 of 12 trials have the attributes of `optuna_ga`; the others are "
    ) in get_note(study)
    assert len(table(get_note(study), "generation")) == 3


def test_the_note_says_how_many_trials_are_of_another_sampler() -> None:
    """Also where a `GASampler` is the last of several."""
    study = run(RandomSampler(seed=0), 8)
    study.sampler = of_four()
    study.optimize(sphere, n_trials=4)
    study.enqueue_trial({"x": 0.5})

    assert f"New trials come from `{of_four()!r}`. 4 of 12 trials have" in reported(study)


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"]])
def test_the_note_of_an_adaptive_search_has_one_answer(
    loaded: bool, directions: list[Literal["minimize", "maximize"]]
) -> None:
    """No generation is a unit of this search; the hint at a range's end belongs to the best."""
    study = optuna.create_study(sampler=GASampler.adaptive(4, seed=0), directions=directions)
    study.enqueue_trial({"x": 0.0})
    n = len(directions)
    study.optimize(lambda trial: [trial.suggest_float("x", 0, 1)] * n, n_trials=8)
    if loaded:
        study.sampler = optuna.samplers.TPESampler()
    note = reported(study)

    assert "of the final generation" not in note
    assert note.count(" of the study\n") == 1
    assert note.count("At an end of the range: `x` (lower)") == (n == 1)


def test_the_note_of_a_loaded_study_has_the_recorded_sampler(open_database: OpenDatabase) -> None:
    """The study was loaded to be looked at, with Optuna's default sampler."""
    run(of_four(), 8, storage=open_database(), study_name="s")
    study = optuna.load_study(study_name="s", storage=open_database())
    DashboardReport().write(study)

    assert f"\n\nThe latest sampler of `optuna_ga` was `{of_four()!r}`.\n\n" in get_note(study)
    assert "TPESampler" not in get_note(study)


@pytest.mark.parametrize(
    "history",
    [
        [failed()] * 4,
        [pruned()] * 4,
        [added(math.inf)] * 4,
        [added(1, constraints={"c": 1.0})] * 4,
        [optuna.create_trial(value=1.0)] * 4,
    ],
)
def test_no_generation_is_too_bad_to_be_shown(
    history: list[FrozenTrial], logged: list[str]
) -> None:
    """Failed, pruned, infinite, infeasible and empty trials have a row."""
    study = study_with(*history)
    DashboardReport()(study, study.trials[3])

    assert logged == []
    assert len(table(get_note(study), "generation")) == 1


def test_the_note_on_several_objectives_shows_the_front(logged: list[str]) -> None:
    """It has the values of each trial of the front, and how many are of each generation."""
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=of_four())
    study.optimize(
        lambda trial: (trial.suggest_float("x", 0, 1), trial.number % 3),
        n_trials=8,
        callbacks=[DashboardReport()],
    )
    _, whole, final = get_note(study).split("## Front of the ")
    best = study.best_trials

    assert logged == []
    for trial in best:
        assert f"{trial.number}) | " + " | ".join(f"{v:.6g}" for v in trial.values) in whole
    assert len(whole.strip().splitlines()) == len(["title", "", "header", "rule", *best])
    assert sum(int(row[-1]) for row in table(final, "generation").values()) == len(best)


class RefusingStorage(InMemoryStorage):
    """A storage that accepts no system attributes of a study."""

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        raise StorageInternalError("the disk is full")


def test_a_storage_that_refuses_does_not_stop_the_study(logged: list[str]) -> None:
    """One warning says why there is no report."""
    study = run(of_four(), 0, storage=RefusingStorage())
    study.optimize(sphere, n_trials=12, callbacks=[DashboardReport()])

    assert len(study.trials) == 12
    assert len(logged) == 1
    assert "the disk is full" in logged[0]


@pytest.mark.slow
@pytest.mark.parametrize("package", ["optuna_dashboard", "plotly"])
def test_a_missing_package_does_not_stop_the_study(package: str) -> None:
    """One warning says how to install it; without Plotly there is still the note."""
    code = f"""
import sys
sys.modules[{package!r}] = None
import optuna
from optuna_ga import DashboardReport, GASampler
optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(sampler=GASampler(4))
report = DashboardReport()
study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=12, callbacks=[report])
print(len(study.trials), len(study._storage.get_study_system_attrs(study._study_id)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=120
    )

    n_trials, n_written = map(int, done.stdout.split())
    assert n_trials == 12
    assert (n_written > 0) == (package == "plotly")
    assert done.stderr.count('`pip install -e ".[dashboard]"`') == 1


@pytest.mark.slow
def test_figures_stay_small_however_large_the_study() -> None:
    """They show the latest generations, within the size that the dashboard loads."""
    study = run(GASampler(20, seed=0), 1200)
    DashboardReport().write(study)

    shown = figures(study)
    assert set(shown) == FIGURES
    assert all(len(json.dumps(figure)) <= 160_000 for figure in shown.values())
    assert set(shown["ga-fitness"]["data"][0]["x"]) == set(range(35, 60))


def wide(trial: Trial) -> float:
    """Return the sum of many genes with long names."""
    return sum(trial.suggest_float(f"{'long ' * 20}{i}", 0.0, 1.0) for i in range(60))


@pytest.mark.slow
def test_figures_stay_small_however_many_genes() -> None:
    """Hover texts are shortened before generations are left out; eight parameters are shown."""
    study = run(of_four(), 80, wide)
    DashboardReport().write(study)

    shown = figures(study)
    assert set(shown) == FIGURES | {"ga-genes-2"}
    assert all(len(json.dumps(figure)) <= 160_000 for figure in shown.values())
    assert set(shown["ga-fitness"]["data"][0]["x"]) == set(range(20))
    assert "…" in shown["ga-fitness"]["data"][0]["text"][0]
    for name, numbers in (("ga-genes", "1 to 4"), ("ga-genes-2", "5 to 8")):
        layout = shown[name]["layout"]
        assert len({axis for axis in layout if axis.startswith("yaxis")}) == 4
        assert f"Shown: parameters {numbers} of 60" in layout["title"]["text"]


@pytest.mark.parametrize(("n_genes", "is_high"), [(4, False), (5, True)])
def test_a_title_of_two_lines_has_room_above_the_titles_of_plots(
    n_genes: int, is_high: bool
) -> None:
    """With five genes the second line says which are shown."""
    study = run(of_four(), 8, lambda trial: suggested(trial, n_genes))
    DashboardReport().write(study)
    layout = figures(study)["ga-genes"]["layout"]

    assert ("Shown: " in layout["title"]["text"]) == is_high
    assert (layout["margin"]["t"] > 100) == is_high


@pytest.mark.parametrize("n_genes", [1, 3, 6])
def test_the_lowest_plots_of_genes_have_the_title_of_their_axis(n_genes: int) -> None:
    """As in the figure that is drawn elsewhere."""
    study = run(of_four(), 8, lambda trial: suggested(trial, n_genes))
    DashboardReport().write(study)
    for name in {"ga-genes", "ga-genes-2"} & figures(study).keys():
        figure = Figure(figures(study)[name])
        axes = list(zip(figure.select_xaxes(), figure.select_yaxes(), strict=True))
        lowest = min(y.domain for _, y in axes)

        assert {x.title.text for x, y in axes if y.domain == lowest} == {"Generation"}


def test_choices_on_the_dashboard_have_room_in_two_rows() -> None:
    """Eight names at most."""
    choices = list(range(15))
    study = run(of_four(), 8, lambda t: suggested(t, 3) + t.suggest_categorical("c", choices))
    DashboardReport().write(study)

    assert figures(study)["ga-genes"]["layout"]["yaxis"]["ticktext"] == [
        str(choice) for choice in choices[::2]
    ]


def suggested(trial: Trial, n_genes: int) -> float:
    """Return the sum of so many genes."""
    return sum(trial.suggest_float(f"x{i}", 0.0, 1.0) for i in range(n_genes))


def with_genes(*names: str, **options: Any) -> FrozenTrial:
    """Return a trial to add that has these parameters."""
    space: dict[str, BaseDistribution] = {name: FloatDistribution(0.0, 1.0) for name in names}
    params = dict.fromkeys(names, 0.5)
    return optuna.create_trial(value=1.0, params=params, distributions=space, **options)


def genes_shown(study: Study, figure: str = "ga-genes") -> tuple[list[str], str]:
    """Return the parameters of a figure of the report and the figure's title."""
    DashboardReport().write(study)
    layout = figures(study)[figure]["layout"]
    return [title["text"] for title in layout["annotations"]], layout["title"]["text"]


@pytest.mark.parametrize(("population_size", "n_before"), [(300, 300), (10, 20)])
def test_the_last_genes_are_shown_where_later_trials_have_none(
    population_size: int, n_before: int
) -> None:
    """Such as where all of them failed at once."""
    study = optuna.create_study(sampler=GASampler(population_size))
    study.add_trials([with_genes("x")] * n_before + [with_genes()] * 500)
    names, title = genes_shown(study)

    assert names[0].startswith("x")
    assert f"only generations 0 to {n_before // population_size - 1}" in title


def test_no_parameter_is_in_two_figures() -> None:
    """The figures are of the last trials, however many parameters earlier ones had."""
    study = optuna.create_study(sampler=GASampler(10))
    study.add_trials([with_genes(*"abcdef")] * 20 + [with_genes("q")] * 500)

    assert genes_shown(study)[0] == ["q"]
    assert set(figures(study)) == FIGURES


def test_the_genes_of_a_second_figure_are_shown_where_they_are() -> None:
    """Each figure ends with the last generation that has its parameters."""
    study = optuna.create_study(sampler=GASampler(10))
    study.add_trials([with_genes(*"abcdef")] * 20 + [with_genes(*"abcd")] * 20)

    assert genes_shown(study)[0] == list("abcd")
    names, title = genes_shown(study, "ga-genes-2")
    assert names == list("ef")
    assert title.endswith("Shown: parameters 5 to 6 of 6; only generations 0 to 1</sub>")


def test_a_best_value_at_an_end_of_its_range_is_pointed_out() -> None:
    """The range may be too narrow."""
    study = run(of_four(), 8, lambda trial: trial.suggest_float("x", 1.0, 2.0))
    study.enqueue_trial({"x": 1.0})
    study.optimize(lambda trial: trial.suggest_float("x", 1.0, 2.0), n_trials=1)

    assert "At an end of the range: `x` (lower)." in reported(study)


def test_generations_are_those_that_trials_show() -> None:
    """Another population size changes neither the note nor the figures of earlier trials."""
    study = run(GASampler(10, seed=0), 20)
    study.sampler = GASampler(5, seed=0)
    study.optimize(sphere, n_trials=10)
    note = reported(study)
    shown = [trial.user_attrs["ga_generation"] for trial in study.trials]
    points = [
        text
        for trace in figures(study)["ga-genealogy"]["data"]
        for text in trace.get("text", [])
        if text.startswith("<b>Trial")
    ]

    assert sorted({*shown}) == [0, 1, 4, 5]
    assert {int(row[1]) for row in re.findall(r"(?m)^\| (\[(\d+)\])", note)} == {*shown}
    for number, generation in enumerate(shown):
        assert any(f"Trial {number}</b>, generation {generation}<" in text for text in points)


@pytest.mark.parametrize("size", [2, 3])
def test_small_generations_have_figures(size: int) -> None:
    """Sizes that the paper's algorithm refuses are those of the adaptive."""
    study = run(GASampler.adaptive(size, seed=0), 8)
    DashboardReport().write(study)

    assert set(figures(study)) == FIGURES


def test_the_last_trials_are_shown_where_generations_have_grown() -> None:
    """Their generations have lower numbers than those of smaller generations before."""
    study = run(GASampler(5, seed=0), 300)
    study.sampler = GASampler(100, seed=0)
    study.optimize(sphere, n_trials=600)
    note, shown = reported(study), figures(study)
    points = [text for trace in shown["ga-genealogy"]["data"] for text in trace.get("text", [])]
    numbers = {int(found) for text in points for found in re.findall(r"<b>Trial (\d+)", text)}

    assert numbers == {*range(400, 900)}
    assert "only generations 4 to 8" in shown["ga-genealogy"]["layout"]["title"]["text"]
    first_rows = re.findall(r"(?m)^\| (\d+) \| 100 \|", note)
    assert first_rows[:6] == ["8", "7", "6", "5", "4", "3"]


def test_figures_stay_small_however_long_the_choices() -> None:
    """Hover texts, labels and the note show the beginning of each."""
    choices = [str(digit) * 17_000 for digit in range(3)]
    study = run(of_four(), 80, lambda trial: float(trial.suggest_categorical("c", choices)[0]))

    assert len(reported(study)) < 10_000
    shown = figures(study)
    assert set(shown) == FIGURES
    assert all(set(shown[name]["data"][0]["x"]) for name in FIGURES)
    assert set(shown["ga-fitness"]["data"][0]["x"]) == set(range(20))
    assert shown["ga-genes"]["layout"]["yaxis"]["ticktext"] == [f"{d * 4}…{d * 11}" for d in "012"]


def test_a_figure_says_which_generations_it_shows() -> None:
    """Also below a title that says more."""
    study = study_with(failed(), *[added(1.0)] * 599)
    DashboardReport().write(study)

    title = figures(study)["ga-fitness"]["layout"]["title"]["text"]
    assert title.endswith("<br><sub>Shown: only generations 25 to 149</sub>")
    study = study_with(*[added(1.0)] * 599, failed())
    DashboardReport().write(study)
    title = figures(study)["ga-fitness"]["layout"]["title"]["text"]
    assert title.endswith("without a finite value: 1 failed; only generations 25 to 149</sub>")


def test_the_note_says_what_its_tables_leave_out() -> None:
    """Parameters from the hundredth on, and generations before the last fifty."""
    study = run(of_four(), 240, lambda trial: 0.0)
    study.optimize(lambda trial: sum(trial.suggest_float(str(i), -1, 0) for i in range(130)), 1)

    note = reported(study)
    assert "| and 30 more |  |" in note
    assert "| and 11 earlier |" in note


@pytest.mark.slow
def test_the_note_names_figures_that_are_too_large() -> None:
    """Here a single generation is."""
    study = run(GASampler(3000, seed=0), 3000, lambda trial: trial.suggest_float("x" * 99, 0, 1))

    assert "too large for these figures: fitness, genealogy" in reported(study)


def test_figures_are_replaced_by_shorter_ones() -> None:
    """Nothing is left of a longer figure."""
    study = run(GASampler(20, seed=0), 200)
    DashboardReport().write(study)
    longer = {name: len(json.dumps(figure)) for name, figure in figures(study).items()}
    study.optimize(sphere, n_trials=20)
    DashboardReport().write(study)

    assert len(json.dumps(figures(study)["ga-fitness"])) < longer["ga-fitness"]


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_a_bad_interval_is_named(value: Any, error: type[Exception]) -> None:
    """The error shows the value that was given."""
    with pytest.raises(error, match=f"`every` must .* but {value!r} was given"):
        DashboardReport(every=value)


def test_the_median_is_that_of_the_trials_that_can_be_best() -> None:
    """Infeasible and infinite values are left out, and an infeasible best is named so."""
    violated = {"constraints": {"c": 1.0}}
    history = [added(100), *(added(value, **violated) for value in (0.1, 0.2)), added(math.inf)]
    history += [added(value, **violated) for value in (1, 2, 3, 4)]
    rows = table(reported(study_with(*history)), "generation")
    link = "(/dashboard/studies/0/trials?numbers="

    assert rows[f"[0]{link}0,1,2,3)"][-2:] == [f"[100]{link}0)", "100"]
    assert rows[f"[1]{link}4,5,6,7)"][-2:] == [f"[1]{link}4) (infeasible)", ""]
    assert "value 1 (infeasible)" in reported(study_with(*history))


def test_a_generation_whose_fittest_was_pruned_says_so() -> None:
    """With its last report, which an added trial has instead of a value."""
    history = [pruned(intermediate_values={0: 3.0}), failed(), failed(), failed()]
    note = reported(study_with(*history))

    assert "[3](/dashboard/studies/0/trials?numbers=0) (pruned)" in note
    assert "value 3 (pruned)" in note


LINK = "(/dashboard/studies/0/trials?numbers="


def test_a_front_is_listed_from_one_end_to_the_other() -> None:
    """A hundred trials are named with their values, and the others are counted."""
    history = [with_values(150 - n, n) for n in range(150)]
    note, _ = note_text(study_of_two(of_four(), history=history), 4).split("## Front of the final")

    named = [(f"[{n}]{LINK}{n})", [str(150 - n), str(n)]) for n in range(149, 49, -1)]
    assert list(table(note, "trial").items()) == [*named, ("and 50 more", ["", ""])]


@pytest.mark.parametrize(("n_generations", "n_left_out"), [(50, 0), (53, 3)])
def test_a_schedule_ends_with_the_answer(n_generations: int, n_left_out: int) -> None:
    """Each trial continued the fitter parent; of a long lineage the last fifty are shown."""
    study, _ = walk(4 * n_generations)
    trials, lineage = study.trials, [best_of_final_generation(study)]
    while numbers := parents(lineage[0]):
        lineage.insert(0, min((trials[n] for n in numbers), key=lambda t: (t.value, t.number)))

    rows = [
        (str(n), [f"[{t.number}]{LINK}{t.number})", f"`{t.params['step']}`", f"{t.value:.6g}"])
        for n, t in enumerate(lineage)
    ]
    earlier = [(f"and {n_left_out} earlier", ["", "", ""])] if n_left_out else []
    assert list(table(note_text(study, 4), "segment").items()) == [*earlier, *rows[n_left_out:]]


def test_a_report_that_was_sent_to_a_worker_is_written_as_often() -> None:
    """Its settings are pickled, too."""
    report = pickle.loads(pickle.dumps(DashboardReport(every=2)))
    study = run(of_four(), 0)
    study.optimize(sphere, n_trials=20, callbacks=[report])

    assert n_reports(study) == 2
