"""PostgreSQL pooler: PgBouncer before a server's database, as `deploy/one-machine` sets it up."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager, suppress
from getpass import getuser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from support.dev_server import PROJECT, find_free_port
from support.postgres_server import DEADLINE_S, PostgresServer, as_whom

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


def require_pgbouncer() -> None:
    """Skip a test where PgBouncer is not installed; where nothing may be left out, fail."""
    if PGBOUNCER is None:
        reason = "PgBouncer is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@contextmanager
def run_pooler(server: PostgresServer, address: str) -> Iterator[str]:
    """Put a pooler before a database.

    Args:
        server: The server; the pooler's files are in its folder.
        address: The address of its database.

    Yields:
        The database's address through the pooler.
    """
    assert PGBOUNCER
    name, port, user = urlsplit(address).path[1:], find_free_port(), getuser()
    config, users, log = (
        server.folder / name for name in ("pgbouncer.ini", "userlist.txt", "pgbouncer.log")
    )
    with psycopg.connect(address, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [user]).fetchone():
            role, password = Identifier(user), Literal(server.password)
            create = SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}")
            connection.execute(create.format(role, password))
    settings = ConfigParser()
    settings.read(PROJECT / "deploy/one-machine/pgbouncer.ini", encoding="utf-8")
    settings["databases"] = {name: f"host=127.0.0.1 port={server.port} dbname={name}"}
    settings["pgbouncer"].update(
        {
            "listen_port": str(port),
            "auth_file": str(users),
            "auth_hba_file": str(
                shutil.copy(PROJECT / "deploy/one-machine/pg_hba.conf", log.parent)
            ),
            "unix_socket_dir": str(log.parent),
        }
    )
    for setting in ("logfile", "pidfile"):
        settings.remove_option("pgbouncer", setting)
    with config.open("w", encoding="utf-8") as file:
        settings.write(file)
    users.write_text(f'"{user}" "{server.password}"\n', encoding="utf-8")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [PGBOUNCER, str(config)], stdout=output, stderr=output, cwd="/", **as_whom()
        )
    pooled = f"postgresql://{user}@/{name}?host={log.parent}&port={port}"
    try:
        _wait(pooled, process, log)
        yield pooled
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def _wait(address: str, process: subprocess.Popen[Any], log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        with suppress(psycopg.OperationalError), psycopg.connect(address):
            return
        assert process.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < deadline
        time.sleep(0.05)
