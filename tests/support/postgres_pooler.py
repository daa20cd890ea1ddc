"""PostgreSQL pooler: PgBouncer before a server's database, as `deploy/one-machine` sets it up."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from support.dev_server import PROJECT, find_free_port
from support.postgres_server import DEADLINE_S, PostgresServer, as_whom

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


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
    name, port = urlsplit(address).path[1:], find_free_port()
    config, users, log = (
        server.folder / name for name in ("pgbouncer.ini", "userlist.txt", "pgbouncer.log")
    )
    settings = ConfigParser()
    settings.read(PROJECT / "deploy/one-machine/pgbouncer.ini", encoding="utf-8")
    settings["databases"] = {name: f"host=127.0.0.1 port={server.port} dbname={name}"}
    own = {"listen_port": str(port), "auth_file": str(users), "unix_socket_dir": ""}
    settings["pgbouncer"].update(own)
    for setting in ("logfile", "pidfile"):
        settings.remove_option("pgbouncer", setting)
    with config.open("w", encoding="utf-8") as file:
        settings.write(file)
    users.write_text(f'"postgres" "{server.password}"\n', encoding="utf-8")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [PGBOUNCER, str(config)], stdout=output, stderr=output, cwd="/", **as_whom()
        )
    pooled = address.replace(f":{server.port}/", f":{port}/")
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
