"""Fixtures: storages of every kind, and the servers behind them."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # Test processes share the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import gc
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from hypothesis import settings
from optuna.storages import (
    BaseStorage,
    GrpcStorageProxy,
    InMemoryStorage,
    JournalStorage,
    RDBStorage,
    get_storage,
)
from optuna.storages.journal import JournalFileBackend, JournalRedisBackend

from tests import servers
from tests.studies import OpenDatabase

optuna.logging.set_verbosity(optuna.logging.ERROR)
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable")
gc.disable()  # What is imported stays: `pytest_collection_finish` enables it.


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def _do_not_wait_for_the_disk(connection: Any, record: object) -> None:
    """Leave SQLite's writes to the system: they outlive a killed process, which tests kill."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("pragma synchronous = off")


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over the modules, and look rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    gc.enable()


def pytest_xdist_auto_num_workers() -> int:
    """Return one test process more than there are cores, since tests wait for processes."""
    return (os.cpu_count() or 1) + 1


FILES = ["sqlite", "journal"]
SERVERS = ["postgresql", "mariadb", "redis", "grpc"]


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


@pytest.fixture
def guarded_postgresql() -> Iterator[str]:
    """The URL, without the password "secret", of a PostgreSQL database that asks for it."""
    for url in _running(servers.postgresql()):
        engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("alter user optuna password 'secret'"))
            file = connection.execute(sqlalchemy.text("show hba_file")).scalar_one()
            Path(file).write_text("host all all 127.0.0.1/32 scram-sha-256\n")
            connection.execute(sqlalchemy.text("select pg_reload_conf()"))
        engine.dispose()
        yield url


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


@pytest.fixture(
    params=[*FILES, *(pytest.param(server, marks=pytest.mark.slow) for server in SERVERS)]
)
def shared_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStorage]:
    """A storage of each kind that several processes can share; servers take long."""
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
    """Storage in memory and in a journal, which are read differently."""
    if request.param == "memory":
        return InMemoryStorage()
    return JournalStorage(JournalFileBackend(f"{tmp_path}/journal.log"))


@pytest.fixture
def heeded_sigint() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
