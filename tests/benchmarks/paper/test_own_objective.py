"""The main job with an objective of the user's own."""

from __future__ import annotations

import re
from pathlib import Path

import optuna
import pytest
from optuna import Trial, TrialPruned

from benchmarks.paper.own_objective import load_objective
from benchmarks.paper.tune import main
from benchmarks.rows import read_rows

HERE = __name__


def parabola(trial: Trial) -> float:
    """Return a square; of two kinds one has a parameter more."""
    if trial.suggest_categorical("kind", ["plain", "shifted"]) == "shifted":
        return trial.suggest_int("shift", 1, 9)
    return trial.suggest_float("x", -1.0, 1.0) ** 2


def pruning(trial: Trial) -> float:
    """Be pruned."""
    raise TrialPruned


class Together:
    """An objective that takes a generation at once, and keeps its own time."""

    def evaluate_generation(self, trials: list[Trial]) -> list[float]:
        for trial in trials:
            trial.set_user_attr("training_s", 7.0)
        return [parabola(trial) for trial in trials]


together = Together()


@pytest.mark.slow
def test_samplers_are_compared_on_an_objective_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table has its parameters in place of the paper's, and no accuracy."""
    tiny = ["--population-size", "4", "--generations", "2", "--samplers", "ga", "random"]
    main([*tiny, "--objective", f"{HERE}:parabola", "--out", str(tmp_path)])
    header = re.search(r"\| sampler.*", capsys.readouterr().out)
    rows = read_rows(tmp_path / "rows.csv")

    assert header is not None
    titles = [title.strip() for title in header[0].split("|")[1:-1]]
    assert set(titles) == {
        "sampler", "value", "kind", "shift", "x", "time"
    }  # fmt: skip
    assert len(rows) == 16
    assert all(float(row["training_s"]) >= 0.0 for row in rows)


def test_an_objective_may_evaluate_a_generation_at_once() -> None:
    """The times that it writes itself stay."""
    study = optuna.create_study()
    trials = [study.ask() for _ in range(3)]

    assert len(list(load_objective(f"{HERE}:together")(trials))) == 3
    assert [trial.user_attrs["training_s"] for trial in trials] == [7.0] * 3


def test_a_pruned_trial_is_a_result() -> None:
    """The others of its generation go on."""
    results = list(load_objective(f"{HERE}:pruning")([optuna.create_study().ask()]))

    assert isinstance(results[0], TrialPruned)


def test_the_example_is_an_objective() -> None:
    """An MLP on digits, with the paper's search space."""
    study = optuna.create_study()
    trials = [study.ask() for _ in range(2)]
    losses = list(load_objective("examples.train_digits:objective")(trials))

    assert all(isinstance(loss, float) and loss > 0.0 for loss in losses)
    assert set(trials[0].params) == {"learning_rate", "momentum", "weight_decay"}
    assert trials[0].user_attrs["training_s"] == trials[1].user_attrs["training_s"]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("", "must be module:name"),
        ("parabola", "must be module:name"),
        ("no_such_module:f", "No module named 'no_such_module'"),
        (f"{HERE}:absent", "has no function or object 'absent'"),
        (f"{HERE}:Together", "has no function or object 'Together'"),
    ],
)
def test_a_wrong_reference_is_a_clear_error(
    reference: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is run."""
    with pytest.raises(SystemExit):
        main(["--objective", reference, "--out", str(tmp_path)])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [["--data", "full"], ["--epochs", "3"], ["--training-images", "9"], ["--device", "cpu"]],
)
def test_options_of_the_cnns_training_are_refused(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An objective of one's own would ignore them."""
    with pytest.raises(SystemExit):
        main(["--objective", f"{HERE}:parabola", "--out", str(tmp_path), *options])

    assert f"argument {options[0]}: is not for --objective" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_a_damaged_file_of_rows_is_a_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has been cut off in its last line."""
    (tmp_path / "rows.csv").write_text("problem,sampler,seed,trial,state,value\np,ga,0,0,COMP")
    with pytest.raises(SystemExit):
        main(["report", "--out", str(tmp_path)])

    assert "line 2 has not" in capsys.readouterr().err
