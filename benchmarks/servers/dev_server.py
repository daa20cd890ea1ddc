"""A `dagster dev` of its own for a benchmark: start it, drop files, wait for their rows, end it.

It works in a temporary folder, which is also its DAGSTER_HOME, with the `dagster.yaml` that ships.
Nothing of it remains.
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

from partitioned_etl.ingest.settings import DEFAULTS

PROJECT = Path(__file__).parents[2]
RUN_PER_FILE = str(Path(__file__).with_name("run_per_file.py"))
"""The code location that this project is compared with."""
PRICES = "date,share_price,amount,spend,shift,spread\n" + "".join(
    f"2018-01-{day:02},{day}.5,{day * 100},{day * 150.25},0.5,-0.25\n" for day in range(1, 11)
)
"""A price file of ten rows, to which each file adds one of its own, for loads in which the
orchestrator costs more than the rows."""
DEADLINE_SECONDS = 600.0
_STOP_SECONDS = 20.0
_UNFINISHED = ("NOT_STARTED", "QUEUED", "STARTING", "STARTED", "CANCELING")

T = TypeVar("T")


class DevServer:
    """One `dagster dev` on the loopback address.

    Attributes:
        folder: Working directory of the server, and its DAGSTER_HOME.
        landing_dir: Its landing directory.
        database: Its DuckDB database.
        url: Where its web UI is.
    """

    def __init__(self, folder: Path, *, module: str, settings: Mapping[str, str]) -> None:
        """Prepare a folder; `start` starts a server in it.

        Args:
            folder: An empty folder.
            module: Python module, or path of a file, that holds the code location.
            settings: Settings that differ from the defaults.
        """
        self.folder = folder
        self.landing_dir = folder / "landing"
        self.database = folder / "warehouse.duckdb"
        self.url = f"http://127.0.0.1:{_find_free_port()}"
        self._module = ("-f" if module.endswith(".py") else "-m", module)
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._seen: object = None
        shutil.copy(PROJECT / "dagster.yaml", folder)
        for name in ("incoming", "landing/customers", "landing/daily", "landing/monthly"):
            (folder / name).mkdir(parents=True)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the server's processes."""
        return {
            **plain_environment(),
            **DEFAULTS,
            "LANDING_DIR": str(self.landing_dir),
            "DUCKDB_DATABASE": str(self.database),
            "DAGSTER_HOME": str(self.folder),
            **self._settings,
        }

    @property
    def process_id(self) -> int:
        """The server's process, which leads its group."""
        assert self._process, "the server is not started"
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it has loaded the code location."""
        with (self.folder / "dev.log").open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-W", "ignore", "-m", "dagster", "dev", *self._module),
                    *("-h", "127.0.0.1", "-p", self.url.rpartition(":")[2]),
                ],
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait_until(self._is_loaded, poll_seconds=0.3)

    def stop(self) -> None:
        """Interrupt the server's processes, and kill what is left of them after a while."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def drop(self, feed_folder: str, names: list[str]) -> float:
        """Let price files, no two alike, appear at nearly one moment; give that moment."""
        incoming = self.folder / "incoming"
        for number, name in enumerate(names, 1):
            text = f"{PRICES}2018-02-01,{number},2,3,4,5\n"
            (incoming / name).write_text(text, encoding="utf-8")
        dropped_at = time.perf_counter()
        for name in names:
            (incoming / name).replace(self.landing_dir / feed_folder / name)
        return dropped_at

    def wait_for_files(self, table: str, count: int) -> float:
        """Wait until a table holds the rows of so many files; give that moment."""
        sql = f"SELECT count(DISTINCT partition_key) FROM {table}"
        self.wait_until(lambda: self.read_number(sql) >= count, poll_seconds=0.05)
        return time.perf_counter()

    def wait_until_quiet(self, seconds: float = 0.0) -> None:
        """Wait until no run has been queued or under way for so long."""
        busy_at = time.monotonic()

        def is_quiet() -> bool:
            nonlocal busy_at
            if self.count_runs(*_UNFINISHED):
                busy_at = time.monotonic()
            return time.monotonic() - busy_at >= seconds

        self.wait_until(is_quiet, poll_seconds=0.5)

    def count_runs(self, *statuses: str) -> int:
        """Count the runs of some statuses."""
        query = "query ($of: RunsFilter) { runsOrError(filter: $of) { ... on Runs { count } } }"
        answer = self.ask(query, of={"statuses": statuses})
        return answer["runsOrError"]["count"]

    def read_number(self, sql: str) -> float:
        """Query the database if it was written since the last time; otherwise give -1.

        The loader cannot open the file while it is read, so it is opened no oftener than needed.
        """
        with contextlib.suppress(FileNotFoundError, duckdb.IOException, duckdb.CatalogException):
            status = self.database.stat()
            if (status.st_mtime_ns, status.st_size) == self._seen:
                return -1
            with duckdb.connect(str(self.database), read_only=True) as connection:
                found = connection.execute(sql).fetchone()
            self._seen = (status.st_mtime_ns, status.st_size)
            return found[0] if found else -1
        return -1

    def wait_until(
        self,
        condition: Callable[[], T | None],
        *,
        poll_seconds: float,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> T:
        """Ask for something until it is true, and give it."""
        deadline = time.monotonic() + deadline_seconds
        while not (value := condition()):
            is_alive = self._process is not None and self._process.poll() is None
            if not is_alive or time.monotonic() > deadline:
                log = (self.folder / "dev.log").read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"the server does not do what it should:\n{log[-3000:]}")
            time.sleep(poll_seconds)
        return value

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """Send a GraphQL query and give its data."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as response:
            answer = json.load(response)
        if "errors" in answer:
            raise RuntimeError(str(answer["errors"]))
        return answer["data"]

    def _is_loaded(self) -> bool:
        try:
            workspace = self.ask(
                "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus "
                "locationOrLoadError { ... on PythonError { message } } } } } }"
            )["workspaceOrError"]
        except OSError:
            return False
        entries = workspace.get("locationEntries", [])
        if any(errors := [entry["locationOrLoadError"] for entry in entries]):
            raise RuntimeError(str(errors))
        return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)


@contextlib.contextmanager
def open_server(
    module: str = "partitioned_etl.definitions", **settings: str
) -> Iterator[DevServer]:
    """Give a server that is not started yet; end it and remove its folder afterwards.

    Args:
        module: Python module, or path of a file, that holds the code location.
        settings: Settings that differ from the defaults.
    """
    # The path stays short, because Dagster puts sockets below it.
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        server = DevServer(Path(folder), module=module, settings=settings)
        try:
            yield server
        finally:
            server.stop()


def plain_environment() -> dict[str, str]:
    """Give this process's environment without what makes Dagster or Python behave otherwise."""
    strange = ("DAGSTER", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    return {name: text for name, text in os.environ.items() if not name.startswith(strange)}


def _find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
