"""The progress bar."""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import optuna
import pytest
from optuna import Trial, TrialPruned
from optuna.samplers import RandomSampler

from optuna_ga import optimize_generations
from tests.running.evaluations import after_results, random_study, several_objectives, spheres
from tests.studies import run
from tests.terminals import open_terminal


@pytest.mark.parametrize("shown", [True, False])
def test_the_progress_bar_is_shown_on_request(
    monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    """It shows trials, generation, time left and best value."""
    terminal = open_terminal(monkeypatch)
    study = run(RandomSampler(seed=0), 2)
    optimize_generations(study, spheres, 4, population_size=2, show_progress_bar=shown)
    found = terminal.getvalue()

    assert bool(found) == shown
    if shown:
        last = found.replace("\n", "\r").rstrip("\r").split("\r")[-1]
        assert "8/8" in last
        assert "00:00<00:00" in last
        assert "generation 3" in last
        assert f"best {study.best_value:.6g}" in last


def test_the_progress_bar_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal nothing is written."""
    optimize_generations(random_study(), spheres, 4, population_size=2, show_progress_bar=True)

    assert capsys.readouterr() == ("", "")


def test_the_progress_bar_bears_several_objectives_and_failures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then there is no best value to show."""
    terminal = open_terminal(monkeypatch)
    after_results(several_objectives(), [0.0, 0.0], None, show_progress_bar=True)
    after_results(random_study(), None, TrialPruned(), show_progress_bar=True)

    assert terminal.getvalue().count("2/2") == 2


def test_the_progress_bar_leaves_logs_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Optuna's handler is disabled, nothing is logged beside the bar."""
    optuna.logging.disable_default_handler()
    monkeypatch.setattr(logging.getLogger("optuna"), "level", logging.INFO)
    terminal = open_terminal(monkeypatch)
    try:
        optimize_generations(random_study(), spheres, 2, population_size=2, show_progress_bar=True)
    finally:
        optuna.logging.enable_default_handler()

    assert "4/4" in terminal.getvalue()
    assert "finished" not in terminal.getvalue()


LOGGING = """
import optuna
from optuna_ga import optimize_generations

study = optuna.create_study()
evaluate = lambda trials: [trial.suggest_float("x", 0, 1) for trial in trials]
optimize_generations(study, evaluate, 3, population_size=2, show_progress_bar=True)
"""


def test_logs_stay_whole_beside_the_progress_bar() -> None:
    """In a terminal each log message begins a line of its own."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    subprocess.run([sys.executable, "-c", LOGGING], stderr=terminal, check=True, timeout=120)
    found = os.read(controller, 1_000_000).decode()
    os.close(controller)
    os.close(terminal)
    lines = found.replace("\r", "\n").split("\n")
    logs = [line for line in lines if "finished with value: " in line]

    assert len(logs) == 6
    assert all(" Best is trial " in line for line in logs)
    assert all(re.match(r"(\x1b\[\d*m)*\[I", line) for line in logs)
    assert any("6/6" in line and "finished" not in line for line in lines)


def test_the_progress_bar_bears_infeasible_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """No best value is shown until a trial is feasible."""
    terminal = open_terminal(monkeypatch)

    def evaluate(trials: list[Trial]) -> list[float]:
        for trial in trials:
            trial.set_constraint("c", 1.0)
        return [1.0] * len(trials)

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    optimize_generations(study, evaluate, 2, population_size=2, show_progress_bar=True)

    assert "4/4" in terminal.getvalue()
    assert "best" not in terminal.getvalue()


def test_the_progress_bar_shows_the_size_of_the_front(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the generation has ended: of four trials one is dominated, and one failed."""
    terminal = open_terminal(monkeypatch)
    values = [[0.0, 1.0], [1.0, 2.0], [2.0, 0.0], None]
    after_results(several_objectives(), *values, show_progress_bar=True)
    last = terminal.getvalue().replace("\n", "\r").rstrip("\r").split("\r")[-1]

    assert "4/4" in last
    assert "2 in the front" in last
