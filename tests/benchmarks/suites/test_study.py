"""Suites: studies with simulated workers, continued runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna import Study
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from benchmarks import runner
from benchmarks.rows import RESULTS, read_rows, write_rows
from benchmarks.runner import Job, Missing, in_processes
from benchmarks.samplers import SAMPLERS, Search
from benchmarks.suites import SUITES, study
from benchmarks.suites import __main__ as suites
from benchmarks.suites.study import CHECKPOINTS, run_study
from benchmarks.suites.task import Suite, Task
from tests.benchmarks.suites.objectives import Mixed, Sphere

RUN = ["tiny", "--processes", "1", "--trials", "5"]


class Recorder(RandomSampler):
    """Notes how many trials have finished when each begins, and what each has as its result."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.known: list[int] = []
        self.told: list[tuple[dict[str, Any], float]] = []

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Note how many trials have finished."""
        self.known.append(len(study.get_trials(states=[TrialState.COMPLETE, TrialState.FAIL])))

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Note parameters and value."""
        self.told.append((trial.params, values[0] if values else math.inf))


TINY = Suite(
    "tiny", (Task("sphere", True, Sphere), Task("tuned", False, Sphere)), 10, 2, optimum=0.0
)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Make the tiny suite known, run studies in this process, and return what was run."""
    done: list[Any] = []

    def in_this_process(function: Any, jobs: Any, *_: Any) -> Iterator[Any]:
        for job in jobs:
            done.append(job.arguments[1:])
            yield job, function(*job.arguments)

    monkeypatch.setattr(runner, "in_processes", in_this_process)
    monkeypatch.setitem(SUITES, "tiny", f"{__name__}:TINY")
    return done


@pytest.mark.parametrize("n_workers", [1, 8])
def test_the_best_so_far_is_what_looks_best_of_what_was_told(n_workers: int) -> None:
    """A sampler's notes agree: noisy values choose the trial, and its score has no noise."""
    sampler, objective = Recorder(), Sphere(noise=20.0, failing=(0, 7))
    outcome = run_study(objective, sampler, 60, n_workers)

    assert list(outcome.best) == [n for n in CHECKPOINTS if n <= 60]
    for n, score in outcome.best.items():
        params, _ = min(sampler.told[:n], key=lambda told: told[1])
        assert score == objective.score(params)
    assert 0.0 < outcome.sampler_s < 10.0


def test_before_any_value_the_score_is_that_of_the_first_trial() -> None:
    """Failed trials have no value, so no trial is the best yet."""
    outcome = run_study(Sphere(failing=range(10)), RandomSampler(seed=0), 15, 1)

    assert (outcome.best[5], outcome.best[10]) == (1000.0, 1000.0)
    assert outcome.best[15] < 1000.0


@pytest.mark.parametrize("n_workers", [1, 8])
def test_so_many_trials_run_all_the_time(n_workers: int) -> None:
    """A trial begins when all but the other workers' trials have ended."""
    sampler = Recorder()
    run_study(Sphere(), sampler, 30, n_workers)

    assert sampler.known == [max(0, number + 1 - n_workers) for number in range(30)]


@pytest.mark.parametrize("n_workers", [1, 8])
def test_by_generations_trials_begin_together(n_workers: int) -> None:
    """A trial begins when all trials of the generations before have ended."""
    sampler = Recorder()
    run_study(Sphere(), sampler, 30, n_workers, by_generations=True)

    assert sampler.known == [n_workers * (number // n_workers) for number in range(30)]


def test_samplers_have_the_population_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """By generations a sampler's population is a generation; otherwise it is its default."""
    monkeypatch.setitem(SUITES, "tiny", f"{__name__}:TINY")
    found: list[Search] = []

    def noted(search: Search) -> BaseSampler:
        found.append(search)
        return SAMPLERS["ga"](search)

    monkeypatch.setattr(study, "SAMPLERS", {"noted": noted})
    for n_workers, by_generations in ((4, True), (1, True), (4, False)):
        study.row_of("tiny", "sphere", "noted", n_workers, 0, 8, by_generations)

    assert [search.population_size for search in found] == [4, None, None]


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "gp"])  # It is slow.
def test_each_sampler_runs_on_every_kind_of_parameter(name: str) -> None:
    """Two runs are equal, and neither warns."""
    first, again = (
        run_study(Mixed(), SAMPLERS[name](Search(1, n_trials=15, space=Mixed.space)), 15, 4).best
        for _ in range(2)
    )

    assert first == again


def test_a_continued_run_runs_only_what_is_missing(tmp_path: Path, jobs: list[Any]) -> None:
    """It runs seed by seed, and existing rows stay unchanged."""
    out = ["--out", str(tmp_path / "rows.csv")]
    suites.main([*RUN, *out, "--samplers", "random", "--workers", "1", "--seeds", "1"])
    first = read_rows(tmp_path / "rows.csv")
    suites.main([*RUN, *out, "--samplers", "random", "ga", "--workers", "1", "2"])
    rows = read_rows(tmp_path / "rows.csv")

    assert jobs == [
        ("sphere", "random", 1, 0, 5),
        ("sphere", "random", 2, 0, 5), ("sphere", "ga", 1, 0, 5), ("sphere", "ga", 2, 0, 5),
        ("sphere", "random", 1, 1, 5), ("sphere", "random", 2, 1, 5), ("sphere", "ga", 1, 1, 5),
        ("sphere", "ga", 2, 1, 5),
    ]  # fmt: skip
    assert first[0] in rows
    expected = run_study(Sphere(1), SAMPLERS["ga"](Search(1)), 5, 2).best[5]
    found = next(r for r in rows if (r["sampler"], r["workers"], r["seed"]) == ("ga", "2", "1"))
    assert float(found["best_5"]) == pytest.approx(expected, rel=1e-5)
    assert found["best_10"] == ""


def test_a_slow_sampler_runs_fewer_trials_and_seeds(
    tmp_path: Path, jobs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its limit holds, which may be another one with workers; `--tuning` chooses the tasks."""
    monkeypatch.setattr(suites, "LIMITS", {("tiny", "random"): suites.Limit(5, 2, 1)})
    options = ["--samplers", "random", "ga", "--tuning"]
    suites.main(["tiny", *options, "--out", str(tmp_path / "rows.csv")])

    assert jobs == [
        ("tuned", "random", 1, 0, 5), ("tuned", "random", 8, 0, 5), ("tuned", "ga", 1, 0, 10),
        ("tuned", "ga", 8, 0, 10), ("tuned", "random", 1, 1, 5), ("tuned", "ga", 1, 1, 10),
        ("tuned", "ga", 8, 1, 10),
    ]  # fmt: skip


@pytest.mark.parametrize("suite", SUITES)
def test_a_suites_command_without_options_repeats_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suite: str
) -> None:
    """All of its committed rows are among the studies that it asks for."""
    asked: set[tuple[str, ...]] = set()

    def ask(missing: Missing, *_: Any) -> None:
        asked.update(tuple(map(str, job.arguments[1:])) for job in missing.jobs)
        raise KeyboardInterrupt

    monkeypatch.setattr(suites, "run_missing", ask)
    with pytest.raises(KeyboardInterrupt):
        suites.main([suite, "--out", str(tmp_path / "rows.csv")])
    rows = read_rows(RESULTS / f"suite_{suite.replace('-', '_')}.csv")

    assert rows and {tuple(row[key] for key in suites.KEY) for row in rows} <= asked


@pytest.mark.parametrize(
    ("kind", "task", "compared"),
    [
        ("tuning", "tuned", "nsga2"),
        ("ablation", "tuned", "14-parents"),
        ("stages", "tuned", "one-stage"),
        ("rivals", "sphere", "smac"),
        ("crowd", "sphere", "adaptive-model-free"),
        ("generations", "sphere", "nsga2"),
        ("long", "sphere", "cmaes"),
    ],
)
def test_each_kind_of_comparison_has_its_tasks_samplers_and_file(
    tmp_path: Path,
    jobs: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    task: str,
    compared: str,
) -> None:
    """The report names the command that made it."""
    monkeypatch.setattr(suites, "RESULTS", tmp_path)
    row = dict.fromkeys(("sampler_s", *(f"best_{n}" for n in CHECKPOINTS)), "1")
    asked: list[dict[str, Any]] = []

    def made_up(*job: Any, **options: Any) -> dict[str, str]:
        asked.append(options)
        return row

    monkeypatch.setattr(suites, "row_of", made_up)
    suites.main([*RUN, f"--{kind}", "--seeds", "1", "--workers", "1"])

    assert {job[0] for job in jobs} == {task}
    assert {"adaptive", compared} <= {job[1] for job in jobs}
    whole = {"by_generations": True} if kind == "generations" else {}
    assert all(options == whole for options in asked)
    assert read_rows(tmp_path / f"suite_tiny_{kind}.csv")
    assert f"`python -m benchmarks.suites tiny --{kind}`" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tasks", "tuned"], "'tuned' must be among sphere"),
        (["report"], "there are no rows in rows.csv"),
        (["--tuning"], "must have part tuning"),
    ],
)
def test_what_cannot_be_run_is_said(
    options: list[str],
    message: str,
    tmp_path: Path,
    jobs: list[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The error names the option or what is missing."""
    path = tmp_path / "rows.csv"
    if options == ["--tuning"]:
        write_rows(path, [{"suite": "tiny", "part": "held-out"}])
    with pytest.raises(SystemExit, match="2"):
        suites.main(["tiny", *options, "--out", str(path)])

    assert message in capsys.readouterr().err
    assert not jobs


def test_nothing_begins_after_the_deadline() -> None:
    """No job begins and no process is started."""
    assert list(in_processes(abs, [Job({}, (-1,)), Job({}, (-2,))], 1, seconds=-1.0)) == []


def test_a_missing_package_hits_only_its_own_suite(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names the package and the command that installs it."""
    monkeypatch.setitem(SUITES, "tiny", "no_such_package:SUITE")
    with pytest.raises(SystemExit, match="2"):
        suites.main(["tiny"])

    assert "No module named 'no_such_package'; `pip install" in capsys.readouterr().err
