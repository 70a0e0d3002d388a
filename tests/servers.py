"""Start real servers on free ports of this machine, for tests and measurements.

Each is a context manager that yields a URL and stops the server at its end. The programs come
from Debian's packages `postgresql`, `mariadb-server` and `redis-server`; a `MissingServerError`
says what is missing. Databases refuse to run as root, so root starts them as their own users.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from optuna.storages import BaseStorage, GrpcStorageProxy, RDBStorage
from optuna.storages.journal import JournalRedisBackend

_PATIENCE_S = 60.0
_FOLDERS = ["/usr/sbin", "/usr/local/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]

_PROXY = """
import sys
import optuna
optuna.storages.run_grpc_proxy_server(
    optuna.storages.get_storage(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2])
)
"""


@contextmanager
def opened(storage: BaseStorage) -> Iterator[BaseStorage]:
    """Hold a storage of any kind, and close its connections at the end."""
    try:
        yield storage
    finally:
        if isinstance(storage, GrpcStorageProxy):
            storage.close()
        backend = getattr(storage, "_backend", None)
        if isinstance(backend, RDBStorage):
            backend.remove_session()
            backend.engine.dispose()
        if isinstance(backend, JournalRedisBackend):
            backend._redis.close()


class MissingServerError(RuntimeError):
    """A server's program is not installed."""


@contextmanager
def postgresql() -> Iterator[str]:
    """Run PostgreSQL; the URL is that of its empty database."""
    programs = [_program(name, "postgresql") for name in ("initdb", "postgres", "createdb")]
    with _folder("postgres") as (folder, prefix), _free_port() as port:
        data = f"{folder}/data"
        settings = ["--auth=trust", "--username=optuna", "--encoding=UTF8", "--no-sync"]
        _call([*prefix, programs[0], "-D", data, *settings])
        options = [f"-cunix_socket_directories={folder}", "-cfsync=off", "-cmax_connections=200"]
        command = [programs[1], "-D", data, "-h", "127.0.0.1", "-p", str(port), *options]
        with _running([*prefix, *command], lambda: _listens(port), signal.SIGINT):
            create = [programs[2], "-h", "127.0.0.1", "-p", str(port), "-U", "optuna", "optuna"]
            _retry(lambda: _call(create))
            yield f"postgresql+psycopg2://optuna@127.0.0.1:{port}/optuna"


@contextmanager
def mariadb() -> Iterator[str]:
    """Run MariaDB; the URL is that of its empty database."""
    install, server, client = (
        _program(name, "mariadb-server") for name in ("mariadb-install-db", "mariadbd", "mariadb")
    )
    with _folder("mysql") as (folder, prefix), _free_port() as port:
        common = ["--no-defaults", f"--datadir={folder}/data"]
        _call([*prefix, install, *common, "--auth-root-authentication-method=normal"])
        place = [f"--socket={folder}/socket", f"--port={port}", "--bind-address=127.0.0.1"]
        speed = ["--innodb-flush-log-at-trx-commit=0", f"--pid-file={folder}/pid"]
        with _running([*prefix, server, *common, *place, *speed], lambda: _listens(port)):
            statement = "create database optuna character set utf8mb4"
            root = ["-uroot", f"--socket={folder}/socket", "-e", statement]
            _retry(lambda: _call([client, "--no-defaults", *root]))
            yield f"mysql+pymysql://root@127.0.0.1:{port}/optuna?charset=utf8mb4"


@contextmanager
def redis() -> Iterator[str]:
    """Run Redis, keeping its data in memory alone."""
    program = _program("redis-server", "redis-server")
    with _folder("redis") as (folder, prefix), _free_port() as port:
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        command = [*prefix, program, "--port", str(port), *options]
        with _running(command, lambda: _listens(port)):
            yield f"redis://127.0.0.1:{port}"


@contextmanager
def grpc_proxy(url: str) -> Iterator[int]:
    """Run Optuna's gRPC proxy in front of a database; yields its port on 127.0.0.1."""
    with _free_port() as port:
        command = [sys.executable, "-W", "ignore", "-c", _PROXY, url, str(port)]
        with _running(command, lambda: _listens(port)):
            yield port


def _program(name: str, package: str) -> str:
    path = shutil.which(name) or shutil.which(name, path=os.pathsep.join(_FOLDERS))
    if path is None:
        raise MissingServerError(f"`{name}` is not installed; Debian's package is {package}.")
    return path


@contextmanager
def _folder(user: str) -> Iterator[tuple[str, list[str]]]:
    """Yield an empty folder and what a command begins with to run as its owner."""
    with tempfile.TemporaryDirectory(prefix=f"{user}-", ignore_cleanup_errors=True) as folder:
        if os.getuid() != 0:
            yield folder, []
            return
        try:
            owner = pwd.getpwnam(user)
        except KeyError:
            raise MissingServerError(
                f"The user `{user}` is missing, whom root is to be."
            ) from None
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        yield folder, ["setpriv", f"--reuid={user}", f"--regid={owner.pw_gid}", "--clear-groups"]


@contextmanager
def _free_port() -> Iterator[int]:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    yield port


@contextmanager
def _running(
    command: Sequence[str], ready: Callable[[], bool], stop: signal.Signals = signal.SIGTERM
) -> Iterator[None]:
    """Run a server from when it is ready until the block ends."""
    with tempfile.TemporaryFile("w+") as log:
        # In a session of its own, so that an interrupt of this process is not for the server.
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd="/", start_new_session=True
        )
        try:
            end = time.monotonic() + _PATIENCE_S
            while not ready():
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise RuntimeError(f"{command} did not start:\n{log.read()[-2000:]}")
                time.sleep(0.05)
            yield
        finally:
            process.send_signal(stop)
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        connected = probe.connect_ex(("127.0.0.1", port)) == 0
        return connected and probe.getsockname() != probe.getpeername()  # It can reach itself.


def _call(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    if done.returncode:
        raise RuntimeError(f"{command} failed:\n{(done.stdout + done.stderr)[-2000:]}")


def _retry(work: Callable[[], None]) -> None:
    """Do the work, again and again while a server that listens does not answer yet."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return work()
        except RuntimeError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
