"""Each example runs with few trials, and what it prints is true."""

from __future__ import annotations

import ast
import io
import json
import re
import runpy
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import optuna_dashboard
import pytest
from optuna import Study
from optuna.trial import TrialState

from tests.studies import OpenDatabase, parents, story

FOLDER = Path(__file__).parents[1] / "examples"


def output(example: str, *arguments: str) -> str:
    """Run an example as a script of this process, and return what it prints."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(sys, "argv", [example, *arguments])
        runpy.run_path(str(FOLDER / f"{example}.py"), run_name="__main__")
    return printed.getvalue()


def params(line: str) -> dict[str, Any]:
    """Return the parameters that a line ends with."""
    found: dict[str, Any] = ast.literal_eval(line.partition(" with ")[2])
    return found


def only_study(open_database: OpenDatabase) -> Study:
    """Return the study of a database that has one."""
    return optuna.load_study(study_name=None, storage=open_database())


def test_the_quickstart_ends_with_the_best_parameters() -> None:
    """After ten generations they are close to the minimum, x = 2 and n = 7."""
    best = ast.literal_eval(output("quickstart"))

    assert set(best) == {"x", "n", "shape"}
    assert abs(best["x"] - 2) < 1
    assert abs(best["n"] - 7) <= 1


@pytest.mark.slow
def test_several_objectives_end_with_a_front() -> None:
    """From the smallest network to the largest, each more accurate than the one before."""
    lines = output("several_objectives", "--trials", "15").splitlines()
    sizes = [int(line.split()[0]) for line in lines]
    accuracies = [float(line.split("accuracy ")[1].split()[0]) for line in lines]

    assert len(lines) > 2
    assert sizes == sorted(sizes)
    assert accuracies == sorted(accuracies)
    assert all(params(line)["width"] >= 1 for line in lines)


@pytest.mark.slow
def test_a_conditional_pipeline_has_the_parameters_of_one_model() -> None:
    """All models are tried, and the best trial has its own model's parameters."""
    tried, best = output("conditional", "--trials", "30").splitlines()
    own = {"forest": {"depth", "n_trees"}, "neighbours": {"n_neighbours"}, "svm": {"c", "gamma"}}

    counts = ast.literal_eval(tried)
    assert set(counts) == set(own)
    assert sum(counts.values()) == 30
    assert set(params(best)) == own[params(best)["model"]] | {"model", "scaled"}
    assert float(best.split()[1]) > 0.9


@pytest.mark.slow
def test_a_batch_of_networks_is_trained_at_once() -> None:
    """Two generations of four train on the device that PyTorch finds."""
    small = ("--epochs", "1", "--generations", "2", "--images", "64", "--population-size", "4")
    trained, best = output("one_gpu", *small).splitlines()

    assert re.fullmatch(r"8 networks in \d+\.\d s on (cpu|cuda)", trained)
    assert set(params(best)) == {"learning_rate", "momentum", "weight_decay"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mlps", "cnns", "encoders"])
def test_networks_of_any_kind_train_at_once(kind: str) -> None:
    """As one they end where they do one after the other, up to what rounding may tip over."""
    small = ("--epochs", "1", "--generations", "1")
    one, other = (
        output(f"train_{kind}", "--backend", backend, *small) for backend in ("loop", "vmap")
    )

    assert re.match(r"(Accuracy|Errors|Loss) 0\.\d{3} with ", one)
    assert float(one.split()[1]) == pytest.approx(float(other.split()[1]), abs=0.02)


@pytest.mark.slow
def test_hyperband_saves_most_of_the_epochs() -> None:
    """Some trials are pruned, and others trained to the end."""
    pruned, epochs, best = output("pruning", "--trials", "40").splitlines()
    n_pruned = int(pruned.split()[0])
    n_epochs, n_all = map(int, re.findall(r"\d+", epochs))

    assert 0 < n_pruned < 40
    assert (40 - n_pruned) * 27 < n_epochs < n_all / 2
    assert float(best.split()[1]) < 0.2


@pytest.mark.slow
def test_a_killed_run_is_resumed_to_the_same_study(
    open_database: OpenDatabase, tmp_path: Path
) -> None:
    """The run is killed in its second generation, of which two trials have results by then."""
    few = ("--storage", f"sqlite:///{tmp_path}/study.db", "--generations", "3")
    slowly = [sys.executable, "-W", "error", str(FOLDER / "resume.py"), *few, "--seconds", "0.3"]
    with subprocess.Popen(slowly, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Trial 12 "):
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL
    states = [trial.state for trial in only_study(open_database).trials]
    assert states == [TrialState.COMPLETE] * 10 + [TrialState.RUNNING] * 10

    resumed = output("resume", *few, "--seconds", "0")
    assert resumed.startswith("The study has 20 trials\nTrial 12 is being evaluated\n")
    whole = runpy.run_path(str(FOLDER / "resume.py"))["search"]("sqlite:///:memory:", 3, 0.0)
    assert story(only_study(open_database)) == story(whole)


@pytest.mark.slow
def test_a_schedule_is_found_while_networks_train() -> None:
    """Ten segments reach a lower loss than one, and one of five replays reaches it too."""
    best, again = output("population_based_training").splitlines()
    first, _ = output("population_based_training", "--generations", "1").splitlines()
    loss, rates = best.removeprefix("Loss ").split(" with the learning rates ")
    replays = ast.literal_eval(again.partition(": ")[2])

    assert len(ast.literal_eval(rates)) == 10
    assert float(loss) < float(first.split()[1]) / 10
    assert len(replays) == 5
    assert min(replays) < 10 * float(loss)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["TPESampler", "NSGAIISampler"])
def test_trials_of_another_sampler_are_bred_from(
    first: str, open_database: OpenDatabase, tmp_path: Path
) -> None:
    """The first child has the other sampler's trials as parents; later ones are of both."""
    url = f"sqlite:///{tmp_path}/study.db"
    before, after, child, *_ = output(
        "from_another_sampler", "--storage", url, "--first", first, "--trials", "30"
    ).splitlines()
    trials = only_study(open_database).trials

    assert before.startswith(f"{first}: ")
    assert float(after.split()[1]) <= float(before.split()[1])
    assert child == f"Trial 30 has the parents {parents(trials[30])}"
    assert all("ga_generation" not in trial.user_attrs for trial in trials[:30])
    for trial in trials[30:]:
        earlier = sorted(trials[: trial.number], key=lambda one: (one.value, one.number))
        assert {*parents(trial)} <= {one.number for one in earlier[:8]}


@pytest.mark.slow
def test_the_dashboard_shows_the_report(open_database: OpenDatabase, tmp_path: Path) -> None:
    """The printed command opens a database with a note and figures."""
    url = f"sqlite:///{tmp_path}/study.db"
    printed = output("dashboard", "--storage", url, "--trials", "20")
    study = get(optuna_dashboard.wsgi(open_database()), "/api/studies/1")

    assert printed.splitlines()[0] == f"optuna-dashboard {url}"
    assert len(study["trials"]) == 20
    assert study["note"]["body"]
    assert study["plotly_graph_objects"]


def get(app: Any, path: str) -> Any:
    """Return the answer of a web application, without a server."""
    environ: dict[str, Any] = {"PATH_INFO": path}
    setup_testing_defaults(environ)
    return json.loads(b"".join(app(environ, lambda status, headers, error=None: None)))
