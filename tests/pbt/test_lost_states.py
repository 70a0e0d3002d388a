"""Trials pass over parents whose states are lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Study, Trial
from optuna.artifacts import FileSystemArtifactStore
from optuna.trial import TrialState

from optuna_ga import (
    Checkpoints,
    generations_dataframe,
    optimize_generations,
    parent_to_continue,
    replay,
    schedule_of,
)
from optuna_ga._pbt import checkpoints as checkpoints_module
from optuna_ga.visualization import plot_genealogy
from tests.pbt.walks import Walk, one_by_one, sampler
from tests.studies import parents, run
from tests.visualization.figures import edges


def without_states(folder: Path, study: Study, numbers: range) -> None:
    """Remove the states of some trials."""
    for number in numbers:
        (folder / study.trials[number].user_attrs["ga_checkpoint"]).unlink(missing_ok=True)


def interrupted(folder: Path, lost: range) -> Study:
    """Return a study of five generations of four; before the third these trials' states go."""
    study = run(sampler(), 8, Walk(Checkpoints(folder)))
    without_states(folder, study, lost)
    study.optimize(Walk(Checkpoints(folder)), n_trials=12)
    return study


def test_a_search_whose_states_are_lost_starts_afresh(tmp_path: Path) -> None:
    """No trial fails, children keep the genes they inherit, and the search goes on."""
    study = interrupted(tmp_path, range(8))

    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    for trial in study.trials[8:12]:
        assert set(trial.user_attrs["ga_lost_parents"]) == set(parents(trial)) != set()
        assert trial.value == pytest.approx(abs(trial.params["step"] - 3.0), abs=1e-12)
        assert schedule_of(study, trial) == [trial.params]
    assert not any("ga_lost_parents" in trial.user_attrs for trial in study.trials[12:])
    assert [len(schedule_of(study, trial)) for trial in study.trials[12:16]] == [2] * 4


def test_the_other_parent_is_continued_if_only_one_state_is_lost(tmp_path: Path) -> None:
    """The trial's line is that of the parent whose state was there."""
    study = run(sampler(), 8, Walk(Checkpoints(tmp_path)))
    trial = study.ask()
    fitter, other = sorted(parents(study.trials[8]), key=lambda n: study.trials[n].values)
    without_states(tmp_path, study, range(fitter, fitter + 1))
    objective = Walk(Checkpoints(tmp_path))
    study.tell(trial, objective(trial))

    assert study.trials[8].user_attrs["ga_lost_parents"] == [fitter]
    assert objective.continued[8] == other
    assert schedule_of(study, 8)[-2:] == [study.trials[other].params, study.trials[8].params]


def test_a_damaged_state_is_passed_over_too(tmp_path: Path) -> None:
    """Half a file is no state."""
    study = run(sampler(), 8, Walk(Checkpoints(tmp_path)))
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:50])
    study.optimize(Walk(Checkpoints(tmp_path)), n_trials=1)

    assert len(study.trials[8].user_attrs["ga_lost_parents"]) == 2


class Unreachable(FileSystemArtifactStore):
    """A store on a server that is down."""

    def open_reader(self, artifact_id: str) -> Any:
        raise ConnectionError("down")


def test_a_store_that_is_down_loses_nothing(tmp_path: Path) -> None:
    """The trial fails, rather than that the population starts afresh."""
    study = run(sampler(), 8, Walk(Checkpoints(tmp_path)))
    with pytest.raises(OSError, match="down"):
        study.optimize(Walk(Checkpoints(Unreachable(tmp_path))), n_trials=1)

    assert "ga_lost_parents" not in study.trials[8].user_attrs


def test_each_lost_state_is_warned_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The warnings say which state, and that the trial starts afresh."""
    warnings: list[str] = []
    monkeypatch.setattr(checkpoints_module._logger, "warning", warnings.append)
    interrupted(tmp_path, range(8))

    assert len(warnings) == 4 * 3
    assert "Trial 8 passes over its parent: The state of trial" in warnings[0]
    assert "Trial 8 trains from scratch" in warnings[2]


def test_table_figure_and_replay_show_where_a_line_starts_afresh(tmp_path: Path) -> None:
    """Parents are still parents of the genes."""
    study = interrupted(tmp_path, range(8))
    table = generations_dataframe(study)
    assert [set(lost) for lost in table["lost"][8:12]] == [set(p) for p in table["parents"][8:12]]
    assert not any(table["lost"][12:]) and not any(table["lost"][:8])

    drawn = edges(plot_genealogy(study), "Lineage of fitter parents")
    assert min(parent for parent, _ in drawn) in range(8, 12)

    def walked(trial: Trial) -> float:
        return Walk(memory)(trial)

    memory = Checkpoints()
    (repeat,) = replay(study, 12, one_by_one(walked), n_repeats=1)
    assert repeat.value == pytest.approx(study.trials[12].value)


def test_a_state_that_is_back_is_found(tmp_path: Path) -> None:
    """A trial that is evaluated again, after a kill, forgets that it was lost."""
    study = run(sampler(), 8, Walk(Checkpoints(tmp_path)))
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    without_states(tmp_path, study, range(8))
    trial = study.ask()
    assert Checkpoints(tmp_path).load_parent(trial) is None
    assert parent_to_continue(trial) is None
    for path, content in kept.items():
        path.write_bytes(content)
    optimize_generations(study, one_by_one(Walk(Checkpoints(tmp_path))), 3)

    assert study.trials[8].user_attrs["ga_lost_parents"] == []
    assert len(schedule_of(study, 8)) > 1


def test_only_running_trials_have_a_state_to_load() -> None:
    """A finished trial has been trained."""
    study = run(sampler(), 8, Walk(Checkpoints()))
    trial: Any = study.trials[7]

    with pytest.raises(TypeError, match="must be a running"):
        Checkpoints().load_parent(trial)
    with pytest.raises(ValueError, match="population_based_training"):
        Checkpoints().load_parent(optuna.create_study().ask())
