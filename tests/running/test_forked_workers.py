"""Workers that are forked from a driver with threads, and workers that do not come."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from multiprocessing import get_all_start_methods
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from optuna_ga import InParallel, optimize_generations
from optuna_ga._running import futures
from tests.running.evaluations import journal
from tests.studies import sphere

_DRIVER = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import optuna
import torch

from optuna_ga import GASampler, InParallel, optimize_generations

def objective(trial):
    weights = torch.full((300, 300), trial.suggest_float("x", 0.0, 1.0), requires_grad=True)
    loss = (torch.eye(300) @ weights).mean()
    loss.backward()
    return loss.item()

sampler = GASampler(4, seed=0)
alone = optuna.create_study(sampler=sampler)
alone.optimize(objective, n_trials=8)
assert torch.get_num_threads() == 2
study = optuna.create_study(storage=f"sqlite:///{sys.argv[1]}/study.db", sampler=sampler)
with ProcessPoolExecutor(2, get_context("fork")) as executor:
    optimize_generations(study, InParallel(objective, executor), 2)
assert [trial.params for trial in study.trials] == [trial.params for trial in alone.trials]
"""


@pytest.mark.slow
@pytest.mark.skipif("fork" not in get_all_start_methods(), reason="Nothing is forked here.")
def test_forked_workers_train_after_the_driver_has(tmp_path: Path) -> None:
    """PyTorch's threads do not exist in a fork, which would wait for them for ever."""
    pytest.importorskip("torch")
    path = os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")]))
    # Dask's workers, which other tests start, leave limits of their own in the environment.
    two = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    environment = {**os.environ, **two, "PYTHONPATH": path}
    command = [sys.executable, "-W", "ignore", "-c", _DRIVER, str(tmp_path)]
    done = subprocess.run(command, env=environment, timeout=100, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


class LateExecutor(Executor):
    """Executor whose only worker comes once somebody has asked for it."""

    def __init__(self) -> None:
        self.asked = Event()
        self._worker = ThreadPoolExecutor(1)

    def submit(self, task: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        """Run a task afterwards."""

        def run() -> Any:
            assert self.asked.wait(60)
            return task(*arguments, **options)

        return self._worker.submit(run)


def test_a_driver_says_that_it_waits_for_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so once, and goes on when a worker comes."""
    executor, messages = LateExecutor(), list[str]()

    def warn(message: str) -> None:
        messages.append(message)
        executor.asked.set()

    monkeypatch.setattr(futures, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(futures, "_SECONDS_BETWEEN_WAKINGS", 0.01)
    monkeypatch.setattr(futures._logger, "warning", warn)
    study = journal(tmp_path)
    optimize_generations(study, InParallel(sphere, executor), 1)

    assert [message.split(" within")[0] for message in messages] == [
        "No worker has opened the study"
    ]
    assert len(study.trials) == 4
