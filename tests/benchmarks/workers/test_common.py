"""The objectives that the experiments with many workers share."""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path
from typing import NoReturn

import optuna
import pytest

from benchmarks.workers.common import DIED, faulty, open_with_heartbeat
from tests import servers
from tests.studies import added


def exit_by_exception(code: int) -> NoReturn:
    """Stand in for `os._exit`."""
    raise SystemExit(code)


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")  # Of a trial that is asked for.
def test_a_trial_that_kills_its_process_has_had_a_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the thread of Optuna that records them has not begun: or none would ever fail it."""
    monkeypatch.setattr(os, "_exit", exit_by_exception)
    n_before = next(n for n in range(1000) if random.Random(f"fault {n}").random() < 0.02)
    with servers.opened(open_with_heartbeat(f"sqlite:///{tmp_path}/study.db")) as storage:
        study = optuna.create_study(storage=storage)
        study.add_trials([added(1.0)] * n_before)
        trial = study.ask()  # It starts no such thread.
        with pytest.raises(SystemExit):
            faulty(trial, 0.0, mortal=True)
        assert study.trials[n_before].user_attrs[DIED]

    with sqlite3.connect(tmp_path / "study.db") as database:
        assert database.execute("select count(*) from trial_heartbeats").fetchone() == (1,)
