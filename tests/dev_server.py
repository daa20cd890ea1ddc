"""A `dagster dev` of its own for a test: start it, ask it, stop it, kill it.

It works in a temporary folder that holds what a checkout's folder would: workspace.yaml,
dagster.yaml, landed files, the database and Dagster's storage. Nothing of it remains.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import psutil

from partitioned_etl.ingest.settings import DEFAULTS

PROJECT = Path(__file__).parents[1]
DEADLINE_S = 120
STOP_DEADLINE_S = 30

_POLL_S = 0.3
_LOG_TAIL_CHARS = 5000

T = TypeVar("T")


class DevServer:
    """One `dagster dev` on the loopback address, with a folder that outlives its restarts.

    Attributes:
        folder: Working directory of the server.
        landing_dir: Its landing directory, with the sample files at first.
        database: Its DuckDB database.
        url: Where its web UI is.
    """

    def __init__(self, folder: Path) -> None:
        """Fill a folder with what a server needs; `start` starts one in it."""
        self.folder = folder
        self.landing_dir = folder / "landing"
        self.database = folder / "warehouse.duckdb"
        self._log = folder / "dev.log"
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("workspace.yaml", "dagster.yaml"):
            shutil.copy(PROJECT / name, folder)
        shutil.copytree(PROJECT / "data" / "source", self.landing_dir)
        (folder / "tmp").mkdir()
        (folder / "incoming").mkdir()

    def land(self, feed_folder: str, files: Mapping[str, str | bytes]) -> None:
        """Let files appear in a feed's folder at nearly one moment, each of them whole."""
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            (self.folder / "incoming" / name).write_bytes(data)
        for name in files:
            (self.folder / "incoming" / name).replace(self.landing_dir / feed_folder / name)

    def start(self) -> None:
        """Start a server and wait until it has loaded the code location."""
        port = find_free_port()
        self.url = f"http://127.0.0.1:{port}"
        # Every setting is given, because a line of the checkout's .env would fill a gap.
        settings = DEFAULTS | {
            "LANDING_DIR": str(self.landing_dir),
            "DUCKDB_DATABASE": str(self.database),
            "ARCHIVE_DIR": str(self.folder / "archive"),
            "REPORTS_DIR": str(self.folder / "reports"),
            "SENSOR_INTERVAL_SECONDS": "1",
            "SETTLE_SECONDS": "0.5",
        }
        system = {name: text for name, text in os.environ.items() if "DAGSTER" not in name}
        homes = dict.fromkeys(("HOME", "TMPDIR"), str(self.folder / "tmp"))
        with self._log.open("ab") as output, default_interrupt():
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "dagster", "dev"),
                    *("-h", "127.0.0.1", "-p", str(port)),
                ],
                cwd=self.folder,
                env=system | settings | homes,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait_until("the code location is loaded", self._is_loaded)

    def stop(self) -> None:
        """Interrupt the server as Ctrl-C does, and kill what is left of it after a deadline."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + STOP_DEADLINE_S
        while self._list_processes() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        self.kill()

    def kill(self) -> None:
        """Kill the server and all its processes at once, as a power cut does."""
        if self._process is None:
            return
        while processes := self._list_processes():
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.wait()
        self._process = None

    def _list_processes(self) -> list[psutil.Process]:
        """Give every process of the server's session, also one whose parent is gone."""
        assert self._process is not None
        self._process.poll()
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                of_session = os.getsid(process.pid) == self._process.pid
                if of_session and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def wait_until(
        self, what: str, condition: Callable[[], T | None], *, poll_s: float = _POLL_S
    ) -> T:
        """Ask for something until it is true, and return it; fail after a deadline."""
        deadline = time.monotonic() + DEADLINE_S
        while not (value := condition()):
            is_alive = self._process is not None and self._process.poll() is None
            if not is_alive or time.monotonic() > deadline:
                state = f"for {DEADLINE_S} s" if is_alive else "before the server ended"
                log = self._log.read_text(encoding="utf-8", errors="replace")
                raise AssertionError(f"not true {state}: {what}\n{log[-_LOG_TAIL_CHARS:]}")
            time.sleep(poll_s)
        return value

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """Send a GraphQL query and return its data."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def _is_loaded(self) -> bool:
        try:
            workspace = self.ask(
                "{ workspaceOrError { ... on Workspace { locationEntries "
                "{ loadStatus locationOrLoadError { ... on PythonError { message } } } } } }"
            )["workspaceOrError"]
        except OSError:
            return False
        entries = workspace.get("locationEntries", [])
        for entry in entries:
            assert not entry["locationOrLoadError"], entry["locationOrLoadError"]["message"]
        return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)

    def read_rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Query the database, between two uses by the server; no rows while it has no table."""
        if not self.database.exists():
            return []
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                with duckdb.connect(str(self.database), read_only=True) as connection:
                    return connection.execute(sql, values).fetchall()
            except duckdb.CatalogException:
                return []
            except duckdb.IOException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


@contextlib.contextmanager
def open_folder_for_server() -> Iterator[DevServer]:
    """Give a server that is not started yet; end it and remove its folder afterwards."""
    # The path stays short, because Dagster puts sockets below it.
    with tempfile.TemporaryDirectory(prefix="dagster-dev-") as folder:
        server = DevServer(Path(folder))
        try:
            yield server
        finally:
            server.kill()


def find_free_port() -> int:
    """Give a port of the loopback address that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def default_interrupt() -> Iterator[None]:
    """Let a process that is started meanwhile end by SIGINT, which a background job ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
