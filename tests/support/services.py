"""The services of a server: what their systemd units start, in a checkout and on a free port."""

import configparser
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import duckdb

from support.dev_server import (
    DEADLINE_S,
    PROJECT,
    default_environment,
    default_interrupt,
    find_free_port,
)
from support.runnable_page import Block, make_checkout, run_blocks

STOP_DEADLINE_S = 60
UNITS = PROJECT / "deploy" / "one-machine"
WHERE = "/opt/partitioned-etl"
"""Where the units have the checkout."""


@contextlib.contextmanager
def start_service(
    unit: str, folder: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start what a unit starts, and stop it as systemd does.

    Args:
        unit: The unit's text.
        folder: Where its log is, and what it writes aside.
        environment: What systemd, or the unit's `EnvironmentFile`, would set.
    """
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(unit)
    service = settings["Service"]
    own = dict(one.split("=", 1) for one in shlex.split(service["Environment"]))
    # A process that is killed leaves its sockets there.
    (aside := folder / "tmp").mkdir(exist_ok=True)
    with (folder / "service.log").open("ab") as log, default_interrupt():
        process = subprocess.Popen(
            shlex.split(service["ExecStart"].replace("%%", "%")),
            cwd=service["WorkingDirectory"],
            env={**environment, "TMPDIR": str(aside), **own},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
            stop = os.kill if service.get("KillMode") == "mixed" else os.killpg
            stop(process.pid, signal.Signals[service.get("KillSignal", "SIGTERM")])
            process.wait(STOP_DEADLINE_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_until(what: str, condition: Callable[[], bool], log: Path) -> None:
    """Wait until something is true; fail with the services' log after a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not true: {what}\n{log.read_text(encoding='utf-8')}"
        time.sleep(0.5)


def check_services(folder: Path, home: str, settings: Mapping[str, str]) -> None:
    """Let a checkout's services load what lands and show it, and stop them.

    Args:
        folder: The checkout, which is made.
        home: DAGSTER_HOME, relative to it.
        settings: Settings of the services.
    """
    make_checkout(folder)
    port, log = find_free_port(), folder / "service.log"
    environment = {
        **{name: text for name, text in os.environ.items() if "DAGSTER" not in name},
        **default_environment(),
        **settings,
        "PYTHONPATH": str(folder / "src"),
        "DAGSTER_HOME": str(folder / home),
    }
    with (folder / ".env").open("a", encoding="utf-8") as file:
        file.writelines(f"{name}={text}\n" for name, text in settings.items())
        file.write(f"DAGSTER_HOME={folder / home}\n")
    # The services find Dagster's storage made.
    run_blocks([Block(0, "make run", [])], folder, DEADLINE_S)
    daemon, web = (
        (UNITS / f"{name}.service")
        .read_text(encoding="utf-8")
        .replace(f"{WHERE}/deploy/one-machine", str(folder / home))
        .replace(WHERE, str(folder))
        .replace("-p 3000", f"-p {port}")
        for name in ("partitioned-etl", "partitioned-etl-web")
    )

    def is_loaded() -> bool:
        try:
            with duckdb.connect(
                str(folder / default_environment()["DUCKDB_DATABASE"]), read_only=True
            ) as connection:
                found = connection.execute("SELECT count(*) FROM file_loads").fetchone()
        except duckdb.Error:
            return False
        return found == (16,)

    def is_shown() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5) as info:
                return b"dagster_webserver_version" in info.read()
        except OSError:
            return False

    def is_live() -> bool:
        page = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
        [command] = re.findall(r"`(\S+ liveness-check)`", page)
        return not subprocess.run(
            shlex.split(command), cwd=folder, env=environment, capture_output=True, check=False
        ).returncode

    with (
        start_service(daemon, folder, environment),
        start_service(web, folder, environment),
    ):
        samples = folder / "data" / "source" / "customers"
        shutil.copy(samples / "acme.csv", samples / "umbrella.csv")
        wait_until("what landed is loaded", is_loaded, log)
        wait_until("the web server answers", is_shown, log)
        assert is_live()
