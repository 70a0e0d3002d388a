"""Samplers compared by regret: rows, resumption, ranks, wins, settings and importances."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler

from benchmarks import compare_report
from benchmarks.compare import best_so_far
from benchmarks.paper.tune import main
from benchmarks.rows import read_rows, write_rows
from benchmarks.table import ga_settings, ga_settings_report, hyperparameters
from benchmarks.table.problem import CPU_TABLE, table_problem
from optuna_ga import GASampler
from optuna_ga.fashion_mnist import SEARCH_SPACE

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
SMALL = ["--problem", "fashion-mnist-table", "--trials", "20", "--processes", "1"]


def test_rows_are_the_regrets_of_separate_studies(tmp_path: Path) -> None:
    """A second call runs what is missing; a study in this process gives the same."""
    out = tmp_path / "compared"
    main([*SMALL, "--samplers", "ga", "--seeds", "2", "--out", str(out)])
    first = read_rows(out.with_suffix(".csv"))
    main([*SMALL, "--samplers", "ga", "random", "--seeds", "2", "--out", str(out)])
    rows = read_rows(out.with_suffix(".csv"))

    assert rows[:4] == first
    assert [(r["sampler"], r["seed"], r["trials"]) for r in rows] == [
        (name, seed, trials)
        for name in ("ga", "random") for seed in ("0", "1") for trials in ("10", "20")
    ]  # fmt: skip
    regrets = best_so_far(GASampler(seed=1), 20)
    found = [float(row["regret"]) for row in rows[2:4]]
    assert found == pytest.approx([regrets[9], regrets[19]], rel=1e-5)


def test_rows_of_other_settings_are_not_continued(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says what differs; the rows stay."""
    path = tmp_path / "compared.csv"
    made_up(path)
    before = path.read_text()
    with pytest.raises(SystemExit, match="2"):
        main([*SMALL, "--out", str(tmp_path / "compared")])

    assert "must have been made with table fashion_mnist_table_cpu.npz" in capsys.readouterr().err
    assert path.read_text() == before


def test_the_regret_is_that_of_the_best_trial_so_far() -> None:
    """Counted again from a study's own values."""
    problem = table_problem()
    study = optuna.create_study(sampler=RandomSampler(seed=3), pruner=NopPruner())
    study.optimize(problem, n_trials=30)
    bests = np.minimum.accumulate([trial.value or math.nan for trial in study.trials])
    capped = np.minimum(bests, np.log(10))

    assert best_so_far(RandomSampler(seed=3), 30) == pytest.approx(capped - problem.optimum.loss)


def test_with_noise_the_regret_is_that_of_the_trial_that_looks_best() -> None:
    """The noise decides which trial it is, and is no part of its regret."""
    problem = table_problem(noise_seed=5)
    study = optuna.create_study(sampler=RandomSampler(seed=3), pruner=NopPruner())
    study.optimize(problem, n_trials=30)
    setting = np.array([study.best_params[name] for name in SEARCH_SPACE])

    assert best_so_far(RandomSampler(seed=3), 30, noise_seed=5)[-1] == problem.regret(setting)
    assert problem.regret(setting) != study.best_value - problem.optimum.loss


def made_up(path: Path) -> compare_report.Regrets:
    """Return regrets of three samplers over ten seeds: `a` before `b`, and `c` by turns."""
    rows = [
        {"sampler": name, "seed": seed, "trials": trials, "regret": regret + 1e-3 * seed}
        | {"optuna": "5", "commit": "c", "table": "t", "noise": False}
        for seed in range(10)
        for trials in (10, 20)
        for name, regret in (("a", 0.1), ("b", 0.2), ("c", 0.05 if seed % 2 else 0.3))
    ]
    write_rows(path, rows)
    return compare_report.read(path)


def test_ranks_and_wins_are_counted(tmp_path: Path) -> None:
    """Of made-up regrets, by hand."""
    path = tmp_path / "rows.csv"
    text = compare_report.report(made_up(path), path)

    assert "| a | 1.5 (1.1-1.9) |" in text  # Half the seeds first, half second.
    assert "| b | 2.5 (2.1-2.9) |" in text
    assert "| a |  | 10 * | 5 |" in text
    assert "| c | 5 | 5 |  |" in text
    assert "| b | 204.5 (202.3-206.7) |" in text


def test_seeds_that_not_all_samplers_have_do_not_count(tmp_path: Path) -> None:
    """A run that is not complete is compared on what is common."""
    path = tmp_path / "rows.csv"
    made_up(path)
    rows = [r for r in read_rows(path) if (r["sampler"], r["seed"]) != ("a", "9")]
    write_rows(path, rows)

    assert [len(values) for _, values in compare_report.read(path).values()] == [9, 9, 9]


def test_settings_are_compared_on_balanced_cells(tmp_path: Path) -> None:
    """Made-up regrets that depend on the mutation probability alone show that, and no more."""
    names = [f"regret_{n}" for n in ga_settings.RECORDED]
    rng = np.random.default_rng(0)
    rows = [
        {**cell._asdict(), "seed": seed, "table": "t"}
        | {name: 0.1 + cell.mutation_prob + rng.normal(0, 0.01) for name in names}
        for cell in [*ga_settings.GRID, *ga_settings.OTHERS]
        for seed in range(12)
    ]
    path = tmp_path / "rows.csv"
    write_rows(path, rows)
    lines = ga_settings_report.report(read_rows(path)).splitlines()
    starred = [line.split("|")[1:3] for line in lines if line.endswith("* |")]

    assert [[cell.strip() for cell in cells] for cells in starred] == [
        ["mutation_prob", "0.0"], ["mutation_prob", "0.1"], ["mutation_prob", "0.4"]
    ]  # fmt: skip
    verdicts = [line for line in lines if "run 3 against run 2" in line]
    assert verdicts[0].endswith("| the opposite |")


def test_a_cells_regrets_are_those_of_its_sampler() -> None:
    """After the recorded numbers of trials."""
    cell = ga_settings.Cell("ga", 10, 0.5, 0.1, True)
    regrets = ga_settings.regrets_of(cell, 7, CPU_TABLE)
    sampler = GASampler(10, mutation_prob=0.1, elitism=True, seed=7)

    expected = best_so_far(sampler, 200)
    assert list(regrets.values()) == [expected[n - 1] for n in ga_settings.RECORDED]


def test_importances_add_up_and_find_the_learning_rate() -> None:
    """They are shares; over all trials PED-ANOVA ranks the learning rate first."""
    rows = hyperparameters.importances(0, CPU_TABLE)

    assert len(rows) == 2 * len(hyperparameters.EVALUATORS)
    for row in rows:
        assert sum(row[name] for name in SEARCH_SPACE) == pytest.approx(1, abs=2e-3)
    first = next(r for r in rows if (r["trials"], r["evaluator"]) == ("all", "PED-ANOVA"))
    assert max(SEARCH_SPACE, key=lambda name: first[name]) == "learning_rate"


def test_training_needs_no_package_of_the_comparison() -> None:
    """`python -m benchmarks` imports neither scikit-learn nor cmaes."""
    code = "import sys, benchmarks.paper.tune; print({'sklearn', 'cmaes'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert ran.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("compare_cpu", lambda p: compare_report.report(compare_report.read(p), p)),
        ("ga_settings_cpu", lambda p: ga_settings_report.report(read_rows(p))),
        ("hyperparameters_cpu", lambda p: hyperparameters.report(read_rows(p))),
    ],
)
def test_the_committed_report_is_made_of_the_committed_rows(name: str, made: object) -> None:
    """To the letter."""
    path = RESULTS / f"{name}.csv"

    assert callable(made)
    assert path.with_suffix(".md").read_text() == made(path)
