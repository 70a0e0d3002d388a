"""The main job, run small: rows, resumption, reports and bad options."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from optuna_dashboard import get_note
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

from benchmarks.paper.tune import main
from benchmarks.paper.tune_report import read_runs, table
from benchmarks.rows import read_frame, read_rows
from benchmarks.samplers import PAPER_SAMPLERS
from optuna_ga.fashion_mnist import _image_source, _network
from optuna_ga.fashion_mnist._data import load_subset
from tests.terminals import open_terminal

TINY = ["--population-size", "4", "--generations", "2", "--training-images", "64"]
ROOT = Path(__file__).parents[3]


# A network of few weights that is evaluated on few images takes little time.
TRAINING_LITTLE = """
from optuna_ga.fashion_mnist import _image_source, _network
from optuna_ga.fashion_mnist._data import load_subset

def load_few(device, load=_image_source.load_subset):
    data = load(device)
    return data._replace(validation=data.validation.take(slice(40)))

_image_source.load_subset = load_few
_network.WIDTH = 4
"""


@pytest.fixture(scope="module", autouse=True)
def _training_little() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_image_source, "load_subset", load_subset)  # To be put back.
        patch.setattr(_network, "WIDTH", _network.WIDTH)
        exec(TRAINING_LITTLE, {})
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a small run of every sampler."""
    folder = tmp_path_factory.mktemp("benchmark")
    main([*TINY, "--out", str(folder)])
    return folder


def studies(out: Path) -> list[optuna.Study]:
    """Return the studies of an output folder."""
    storage = f"sqlite:///{out}/studies.db"
    names = optuna.get_all_study_names(storage)
    return [optuna.load_study(study_name=name, storage=storage) for name in names]


@pytest.mark.slow
def test_four_samplers_share_one_storage_and_one_budget(out: Path) -> None:
    """Eight trials each, trained on the same images from the same weights."""
    found = studies(out)

    assert [study.user_attrs["benchmark:sampler"] for study in found] == list(PAPER_SAMPLERS)
    assert [study.study_name for study in found] == [f"{one}, seed 0" for one in PAPER_SAMPLERS]
    assert [len(study.trials) for study in found] == [8, 8, 8, 8]
    assert all(t.state == TrialState.COMPLETE for study in found for t in study.trials)


@pytest.mark.slow
def test_rows_are_the_trials(out: Path) -> None:
    """Each row is flat and says what its figure depends on."""
    rows = read_rows(out / "rows.csv")
    trials = [trial for study in studies(out) for trial in study.trials]

    assert [float(row["value"]) for row in rows] == [trial.value for trial in trials]
    assert [float(row["momentum"]) for row in rows] == [t.params["momentum"] for t in trials]
    assert rows[0]["optuna"] == optuna.__version__
    assert [row["sampler"] for row in rows if row["answer"] == "True"] == ["ga"]


@pytest.mark.slow
def test_the_report_shows_the_best_of_each_sampler(out: Path) -> None:
    """The table's losses are the studies' best values; the curves are a PNG."""
    (runs,) = read_runs(out / "rows.csv").values()
    text = table(runs)

    for study in studies(out):
        assert f"{study.best_value:.4f}" in text
        assert f"{study.best_params['learning_rate']:.4f}" in text
    assert "first 10 trials at random" in " ".join(text.split())
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_studies_of_other_settings_have_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second of a name is marked; a rerun finds it, and each generation prints a line."""
    few = ["run", "--samplers", "ga-elitism", "--out", str(tmp_path)]
    main([*few, *TINY])
    main([*few, *TINY, "--training-seed", "1"])
    first, second = studies(tmp_path)
    main([*few, *TINY, "--training-seed", "1"])
    printed = capsys.readouterr().out

    assert first.study_name == "ga-elitism, seed 0"
    assert second.study_name == "ga-elitism, seed 0 (2)"
    assert len(studies(tmp_path)[1].trials) == 8
    for study in (first, second):
        assert f"ga-elitism, seed 0, generation 1: best {study.best_value:.4f}\n" in printed


@pytest.mark.slow
def test_no_line_is_wider_than_a_terminal(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table and its notes have at most 100 columns, but for the paths."""
    main(["report", "--out", str(out)])
    lines = [line for line in capsys.readouterr().out.splitlines() if str(out) not in line]

    assert max(map(len, lines)) <= 100


@pytest.mark.slow
def test_the_last_command_can_be_pasted(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An address with a space is quoted for the shell."""
    folder = tmp_path / "my results"
    folder.mkdir()
    (folder / "rows.csv").write_text((out / "rows.csv").read_text())
    main(["report", "--out", str(folder)])
    last = capsys.readouterr().out.splitlines()[-1]

    assert shlex.split(last)[-1] == f"sqlite:///{folder}/studies.db"


@pytest.mark.slow
def test_diverged_trials_are_counted_by_their_mark(out: Path) -> None:
    """Rows of earlier code, whose value is infinite, have it as well."""
    rows = read_frame(out / "rows.csv").assign(diverged="")
    rows.loc[rows["trial"] == 3, "diverged"] = "True"
    text = " ".join(table(rows.assign(best=rows["value"])).split())

    assert "Diverged trials: adaptive 1 of 8, ga 1 of 8, random 1 of 8, tpe 1 of 8." in text


@pytest.mark.slow
def test_a_second_run_repeats_nothing(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All trials are there already, and no time is expected; the last line opens the dashboard."""
    before = (out / "rows.csv").read_text()
    main([*TINY, "--out", str(out)])

    assert (out / "rows.csv").read_text() == before
    lines = capsys.readouterr().out.splitlines()
    last = lines[-1]
    assert not any("trainings" in line for line in lines)
    assert last.endswith(f"optuna-dashboard sqlite:///{out}/studies.db")


@pytest.mark.slow
def test_the_genetic_algorithms_study_has_a_report_for_the_dashboard(out: Path) -> None:
    """A note with a row for the last generation, and all figures."""
    study = studies(out)[1]
    figures = get_plotly_graph_objects(study._storage.get_study_system_attrs(study._study_id))

    assert set(figures) == {"ga-fitness", "ga-genealogy", "ga-genes", "ga-improvements"}
    assert "| [1](" in get_note(study)


@pytest.mark.slow
def test_another_samplers_study_has_no_report(tmp_path: Path) -> None:
    """Random search has no generations, so its note stays empty even after 20 trials."""
    few = [*TINY, "--generations", "5", "--samplers", "random"]
    main(["run", *few, "--out", str(tmp_path)])
    (study,) = studies(tmp_path)

    assert len(study.trials) == 20
    assert get_note(study) == ""


@pytest.mark.slow
def test_the_progress_bar_tells_study_generation_and_best_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal it also shows the time left."""
    terminal = open_terminal(monkeypatch)
    main(["run", *TINY, "--samplers", "ga", "--out", str(tmp_path)])
    last = [line for line in terminal.getvalue().split("\r") if "8/8" in line][-1]
    (study,) = studies(tmp_path)

    assert last.startswith("ga, seed 0, generation 1: 100%")
    assert "<00:00" in last
    assert f"best {study.best_value:.4f}" in last


ENDING_EARLY = """
import os, sys
import benchmarks.paper.studies
from benchmarks.paper.tune import main

class Progress(benchmarks.paper.studies.tqdm):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options | {"disable": False})

    def update(self):
        super().update()
        if self.n == int(sys.argv[2]):
            if sys.argv[1] == "kill":
                os._exit(9)
            raise KeyboardInterrupt

benchmarks.paper.studies.tqdm = Progress
main(sys.argv[3:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_a_run_that_ended_early_goes_on(how: str, out: Path, tmp_path: Path) -> None:
    """A third call completes a run that ended twice: the search is the same, no trial repeats."""
    arguments = ["run", *TINY, "--out", str(tmp_path)]
    script = TRAINING_LITTLE + ENDING_EARLY
    for n_done in ("3", "13"):
        command = [sys.executable, "-c", script, how, n_done, *arguments]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        assert ended.returncode == 9 if how == "kill" else ended.returncode != 0
        assert ended.stderr.rstrip().endswith(b"KeyboardInterrupt") == (how == "interrupt")
    main(arguments)

    adaptive, ga, random, tpe = (study.trials for study in studies(tmp_path))
    quiet = [study.trials for study in studies(out)]
    assert [t.params for t in [*adaptive, *ga]] == [t.params for t in [*quiet[0], *quiet[1]]]
    assert [t.state for t in [*adaptive, *ga, *random, *tpe]] == [TrialState.COMPLETE] * 32
    assert len({trial.params["momentum"] for trial in random}) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "argument --epochs: must be at least 1, but 0 was given"),
        (["--seeds", "-1"], "argument --seeds: must be at least 0, but -1 was given"),
        (["--seeds", "one"], "argument --seeds: 'one' is no integer"),
        (["--population-size", "3"], "argument --population-size: must be at least 4"),
        (["--samplers", "grid"], "argument --samplers: invalid choice: 'grid'"),
        (["--data", "half"], "argument --data: invalid choice: 'half'"),
        (["--training-images", "7000"], "`n_training_images` must be at most 6000"),
        (["--device", "toaster"], "`device` must be a device"),
        (["--storage", "nowhere://x"], "argument --storage: 'nowhere://x' cannot be opened"),
        (["--epoch=1"], "unrecognized arguments: --epoch=1"),
        (["report"], "argument --out: there is no rows.csv"),
    ],
)
def test_a_wrong_option_is_a_clear_error(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the option and the value, and no study is created."""
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "--out", str(tmp_path)])

    assert message in capsys.readouterr().err
    assert not (tmp_path / "studies.db").exists() or not studies(tmp_path)


def test_help_states_every_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Each option has a help text with its default."""
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])

    text = " ".join(capsys.readouterr().out.split())
    assert text.count("(default: ") == 14


@pytest.mark.slow
def test_it_needs_no_package_of_other_benchmarks() -> None:
    """`python -m benchmarks` imports neither scikit-learn nor cmaes."""
    code = "import sys, benchmarks.paper.tune; print({'sklearn', 'cmaes'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert ran.stdout.strip() == "set()"
