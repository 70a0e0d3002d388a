"""What the sampler's tests share: small studies, and the rules of generations told naively."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import settings
from optuna import Study, Trial
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler
from optuna.storages import (
    BaseStorage,
    GrpcStorageProxy,
    InMemoryStorage,
    JournalStorage,
    RDBStorage,
    get_storage,
)
from optuna.storages.journal import JournalFileBackend, JournalRedisBackend
from optuna.trial import FrozenTrial, TrialState

from optuna_ga import GASampler
from tests import oracles, servers

optuna.logging.set_verbosity(optuna.logging.ERROR)
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable")

parents = oracles.parents

OpenDatabase = Callable[[], BaseStorage]
Objective = Callable[[Trial], float]
Story = list[tuple[int, TrialState, dict[str, Any], list[float] | None, dict[str, Any]]]


@pytest.fixture
def open_database(tmp_path: Path) -> Iterator[OpenDatabase]:
    """Open the test's database once more, as another process does."""
    opened: list[RDBStorage] = []

    def open_again() -> BaseStorage:
        opened.append(RDBStorage(f"sqlite:///{tmp_path}/study.db"))
        return optuna.storages.get_storage(opened[-1])

    yield open_again
    for storage in opened:
        storage.remove_session()
        storage.engine.dispose()


def _running(server: AbstractContextManager[Any]) -> Iterator[Any]:
    """Run a server for the tests; if it is not installed, they fail in CI and skip elsewhere."""
    with ExitStack() as stack:
        try:
            running = stack.enter_context(server)
        except servers.MissingServerError as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(str(error))
        yield running


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL database."""
    yield from _running(servers.postgresql())


@pytest.fixture(scope="session")
def mariadb() -> Iterator[str]:
    """The URL of a MariaDB database."""
    yield from _running(servers.mariadb())


@pytest.fixture(scope="session")
def redis() -> Iterator[str]:
    """The URL of a Redis server."""
    yield from _running(servers.redis())


@pytest.fixture(scope="session")
def grpc_port(postgresql: str) -> Iterator[int]:
    """The port of Optuna's gRPC proxy in front of PostgreSQL."""
    yield from _running(servers.grpc_proxy(postgresql))


@pytest.fixture(params=["sqlite", "journal", "postgresql", "mariadb", "redis", "grpc"])
def shared_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStorage]:
    """A storage of each kind that several processes can share."""
    ask = request.getfixturevalue
    open_storage: dict[str, Callable[[], BaseStorage]] = {
        "sqlite": lambda: get_storage(f"sqlite:///{tmp_path}/study.db"),
        "journal": lambda: JournalStorage(JournalFileBackend(f"{tmp_path}/journal.log")),
        "postgresql": lambda: get_storage(ask("postgresql")),
        "mariadb": lambda: get_storage(ask("mariadb")),
        "redis": lambda: JournalStorage(JournalRedisBackend(ask("redis"))),
        "grpc": lambda: GrpcStorageProxy(host="127.0.0.1", port=ask("grpc_port")),
    }
    with servers.opened(open_storage[request.param]()) as storage:
        yield storage


@pytest.fixture(params=["memory", "journal"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> BaseStorage:
    """A storage of each of the two kinds that are read differently."""
    if request.param == "memory":
        return InMemoryStorage()
    return JournalStorage(JournalFileBackend(f"{tmp_path}/journal.log"))


class Terminal(io.StringIO):
    """What takes its text for a person's."""

    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make the standard error, for the rest of the test, a terminal of a usual size."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "30")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def sphere(trial: Trial) -> float:
    """Return the squared distance of three genes from the origin."""
    return sum(trial.suggest_float(name, -1.0, 1.0) ** 2 for name in "xyz")


def constant(trial: Trial) -> float:
    """Return the same whatever the three genes are."""
    return 0.0 * sphere(trial)


def run(
    sampler: BaseSampler, n_trials: int, objective: Objective = sphere, **options: Any
) -> Study:
    """Return a study after this many trials; the options are those of `create_study`."""
    study = optuna.create_study(sampler=sampler, **options)
    study.optimize(objective, n_trials=n_trials)
    return study


def story(study: Study) -> Story:
    """Return all that a study's trials are, but for their ids and times."""
    return [(t.number, t.state, t.params, t.values, t.user_attrs) for t in study.trials]


def bred(study: Study) -> list[FrozenTrial]:
    """Return the trials that have parents."""
    return [trial for trial in study.trials if parents(trial)]


def fresh_genes(study: Study, name: str) -> list[Any]:
    """Return the values of a parameter that their trials have from neither parent."""
    trials = study.trials
    return [
        trial.params[name]
        for trial in trials
        if trial.params[name] not in [trials[number].params[name] for number in parents(trial)]
    ]


def of_four(**options: Any) -> GASampler:
    """Return a sampler with four trials in a generation, whose parents are the best two."""
    return GASampler(4, seed=0, **options)


def added(value: float | None = None, **options: Any) -> FrozenTrial:
    """Return a finished trial to add to a study, whose gene `x` is 0.5 unless given."""
    return optuna.create_trial(
        value=value,
        params={"x": options.pop("x", 0.5)},
        distributions={"x": FloatDistribution(0.0, 1.0)},
        **options,
    )


failed = partial(added, state=TrialState.FAIL)
pruned = partial(added, state=TrialState.PRUNED)


def study_with(*history: FrozenTrial, direction: Any = "minimize", **options: Any) -> Study:
    """Return a study whose next trial is one of the four after these."""
    study = optuna.create_study(sampler=of_four(**options), direction=direction)
    study.add_trials(history)
    return study


def next_parents(study: Study) -> set[int]:
    """Return the parents of a new trial that asks for the gene `x`."""
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    return set(parents(study.trials[trial.number]))


def parents_by_the_rules(
    trials: Sequence[FrozenTrial],
    number: int,
    *,
    population_size: int,
    n_parents: int,
    elitism: bool = False,
    maximize: bool = False,
) -> list[int]:
    """Return the numbers of those trials that trial `number` may have as parents."""
    pool = oracles.pool(trials, number, population_size, elitism)
    usable = [trial for trial in pool if oracles.usable(trial)]
    usable.sort(key=lambda trial: oracles.fitness(trial, maximize))
    return [trial.number for trial in usable[:n_parents]]


def assert_parents_by_the_rules(study: Study, first: int, **rules: Any) -> None:
    """Assert that each trial from `first` on has both parents that the rules name."""
    trials, rules = study.trials, {"population_size": 4, "n_parents": 2, **rules}
    for trial in trials[first:]:
        assert set(parents(trial)) == set(parents_by_the_rules(trials, trial.number, **rules))
