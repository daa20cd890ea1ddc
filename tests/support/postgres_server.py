"""PostgreSQL server: one that tests start themselves, on a free port and in a folder of its own."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

DEADLINE_S = 120
_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)
INITDB = shutil.which("initdb", path=os.pathsep.join(map(str, reversed(_FOLDERS)))) or (
    shutil.which("initdb")
)
_serial = count()


def require_postgres() -> None:
    """Skip a test where PostgreSQL is not installed; where nothing may be left out, fail."""
    if INITDB is None:
        reason = "PostgreSQL's server is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def as_whom() -> dict[str, Any]:
    """Give the user that the server runs as, which may not be root."""
    if os.getuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@dataclass
class PostgresServer:
    """A server that is started and stopped by who made it.

    Attributes:
        folder: Its folder.
        port: Its port on 127.0.0.1.
        password: The password of the user `postgres`.
        options: Settings of the server, as on its command line.
    """

    folder: Path
    port: int
    password: str
    options: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[Any] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert INITDB
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "shared_buffers": "64MB",
            "fsync": "off",
            **self.options,
        }
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(Path(INITDB).with_name("postgres")),
                    *("-D", str(self.folder / "data")),
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                stdout=log,
                stderr=log,
                cwd="/",
                # Its worker processes share one group, so that a Ctrl-C of the tests is not theirs.
                start_new_session=True,
                **as_whom(),
            )
        self.wait()

    def wait(self) -> None:
        """Wait until it answers, also after a crash of one of its processes."""
        assert self._process
        deadline = time.monotonic() + DEADLINE_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _answers(self) -> bool:
        import psycopg

        with suppress(psycopg.OperationalError), psycopg.connect(self.url("postgres")):
            return True
        return False

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT as an operator does, SIGQUIT at once, as if it had crashed."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(DEADLINE_S)
        self._process = None

    def restart(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it, by default as if it had crashed, and start it again."""
        self.stop(how)
        self.start()

    def url(self, database: str) -> str:
        """Give the address of a database, with the password."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    def make_database(self) -> str:
        """Make a database that nobody uses, and give its address."""
        import psycopg

        name = f"test_{os.getpid()}_{next(_serial)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)


def _find_free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def run_postgres(**options: str) -> Iterator[PostgresServer]:
    """Make a server, and leave nothing of it behind.

    Args:
        options: Settings of the server.
    """
    assert INITDB
    whom = as_whom()
    folder = Path(tempfile.mkdtemp(prefix="partitioned_etl_postgres_"))
    server = PostgresServer(folder, _find_free_port(), secrets.token_hex(16), options)
    try:
        password = folder / "password"
        password.write_text(server.password, encoding="utf-8")
        if whom:
            for path in (folder, password):
                os.chown(path, whom["user"], whom["group"])
        subprocess.run(
            [
                *(INITDB, "-D", str(folder / "data"), "-U", "postgres", "--no-sync"),
                *("--auth=scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--locale=C"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **whom,
        )
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
