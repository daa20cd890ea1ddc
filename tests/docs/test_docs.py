"""The runnable blocks of the documentation print what the pages say, and the services work."""

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
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from support.dev_server import (
    DEADLINE_S,
    PROJECT,
    default_environment,
    default_interrupt,
    find_free_port,
)
from support.runnable_page import Block, find_missing, list_blocks, make_checkout, run_blocks

STOP_DEADLINE_S = 60
PAGES = sorted(
    str(path.relative_to(PROJECT))
    for path in [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]
    if list_blocks(path.read_text(encoding="utf-8"))
)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_runnable_block_prints_what_the_page_says(page: str, tmp_path: Path) -> None:
    blocks = list_blocks((PROJECT / page).read_text(encoding="utf-8"))
    make_checkout(tmp_path / "partitioned-etl")
    printed = run_blocks(blocks, tmp_path / "partitioned-etl", DEADLINE_S)
    missing = {block.line: find_missing(block, printed[block.line]) for block in blocks}
    assert not {line: text for line, text in missing.items() if text}, printed


@contextlib.contextmanager
def start_service(unit: str, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start what a systemd unit of the page starts, in a folder of its own and on a free port."""
    settings = configparser.ConfigParser()
    settings.read_string(
        unit.replace("/opt/partitioned-etl", str(folder)).replace("3000", str(port))
    )
    service = settings["Service"]
    name, home = service["Environment"].split("=")
    system = {name: text for name, text in os.environ.items() if "DAGSTER" not in name}
    with (folder / "service.log").open("ab") as log, default_interrupt():
        process = subprocess.Popen(
            shlex.split(service["ExecStart"]),
            cwd=service["WorkingDirectory"],
            env=system | default_environment() | {name: home, "PYTHONPATH": str(folder / "src")},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
            os.killpg(process.pid, signal.Signals[service["KillSignal"]])
            process.wait(STOP_DEADLINE_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_until(what: str, condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not true: {what}\n{log.read_text(encoding='utf-8')}"
        time.sleep(0.5)


@pytest.mark.long
@pytest.mark.slow
def test_the_services_load_what_lands_show_it_and_stop(tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    units = re.findall(r"^```ini\n# /etc/systemd/\S+\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    daemon, web = units
    folder, port = tmp_path / "partitioned-etl", find_free_port()
    make_checkout(folder)
    log = folder / "service.log"
    # The page says so: the services find Dagster's storage made.
    run_blocks([Block(0, "make run", [])], folder, DEADLINE_S)

    def is_loaded() -> bool:
        try:
            with duckdb.connect(
                str(folder / default_environment()["DUCKDB_DATABASE"]), read_only=True
            ) as connection:
                found = connection.execute("SELECT count(*) FROM file_loads").fetchone()
        except duckdb.Error:
            return False
        return found == (13,)

    def is_shown() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5) as info:
                return b"dagster_webserver_version" in info.read()
        except OSError:
            return False

    def is_live() -> bool:
        [command] = re.findall(r"`(\S+ liveness-check)`", page)
        environment = os.environ | {"DAGSTER_HOME": str(folder)}
        return not subprocess.run(
            shlex.split(command), cwd=folder, env=environment, capture_output=True, check=False
        ).returncode

    with start_service(daemon, folder, port), start_service(web, folder, port):
        samples = folder / "data" / "source" / "customers"
        shutil.copy(samples / "acme.csv", samples / "umbrella.csv")
        wait_until("what landed is loaded", is_loaded, log)
        wait_until("the web server answers", is_shown, log)
        assert is_live()
