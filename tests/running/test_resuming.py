"""A killed run resumes to the study of an undisturbed one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Trial, TrialPruned
from optuna.pruners import ThresholdPruner
from optuna.trial import TrialState

from optuna_ga import optimize_generations
from tests.running.evaluations import (
    PRUNED,
    REPORTS,
    Recorder,
    random_study,
    states,
    values,
    with_reports,
)
from tests.studies import OpenDatabase, of_four, run, story

KILLED = """
import os, signal, sys
import optuna
from optuna_ga import optimize_generations
from tests.studies import of_four, sphere
from tests.running.evaluations import with_reports

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class MortalStudy(optuna.Study):
    def ask(self, *args, **options):
        trial = super().ask(*args, **options)
        if moment == "ask" and trial.number == 9:
            die()
        return trial

def evaluate(trials):
    if moment == "evaluate" and trials[0].number == 8:
        with_reports(trials[:1])
        trials[1].report(sphere(trials[1]), 0)
        trials[3].suggest_float("x", -1.0, 1.0)
        die()
    return with_reports(trials)

def observe(study, trial):
    if moment == "tell" and trial.number == 9:
        die()

url, moment, elitism = sys.argv[1:]
sampler = of_four(elitism=elitism == "True")
optuna.create_study(study_name="killed", storage=url)
study = MortalStudy("killed", url, sampler=sampler)
optimize_generations(study, evaluate, 4, callbacks=[observe])
"""


@pytest.mark.parametrize(
    ("moment", "elitism", "resumed"),
    [
        ("ask", False, [8, 9, 10, 11]),
        ("evaluate", False, [8, 9, 10, 11]),
        ("evaluate", True, [8, 9, 10, 11]),
        ("tell", False, [10, 11]),
        ("tell", True, [10, 11]),
    ],
)
def test_a_killed_run_resumes_as_if_it_had_not_been(
    open_database: OpenDatabase, tmp_path: Path, moment: str, elitism: bool, resumed: list[int]
) -> None:
    """Left-over trials are evaluated again under their own numbers; the study is the same."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, f"sqlite:///{tmp_path}/study.db", moment, str(elitism)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    study = optuna.load_study(
        study_name="killed", storage=open_database(), sampler=of_four(elitism=elitism)
    )
    assert TrialState.RUNNING in states(study)
    evaluate = Recorder(with_reports)
    optimize_generations(study, evaluate, 4)

    whole = optuna.create_study(sampler=of_four(elitism=elitism))
    optimize_generations(whole, with_reports, 4)
    assert evaluate.calls == [resumed, [12, 13, 14, 15]]
    assert story(whole) == story(study)
    for one, other in zip(whole.trials, study.trials, strict=True):
        assert one.intermediate_values == other.intermediate_values
        assert len(one.intermediate_values) == REPORTS


def test_a_left_over_trial_is_finished_though_no_generation_is_missing() -> None:
    """No trial stays running, even if there are enough trials."""
    study = run(of_four(), 7)
    study.ask()
    evaluate = Recorder()
    optimize_generations(study, evaluate, 1)

    assert evaluate.calls == [[7]]
    assert story(run(of_four(), 8)) == story(study)


def test_a_resumed_trial_can_be_pruned_by_what_it_reported() -> None:
    """Its first report of a step counts; reporting the step again changes nothing."""
    study = random_study(pruner=ThresholdPruner(upper=1.0))
    study.ask().report(2.0, 0)

    def evaluate(trials: list[Trial]) -> list[Any]:
        trials[0].report(0.5, 0)
        return [TrialPruned() if trials[0].should_prune() else 0.0]

    optimize_generations(study, evaluate, 1, population_size=1)
    assert states(study) == [PRUNED]
    assert values(study) == [[2.0]]
