"""A `dagster dev` of its own for a test or a benchmark: start it, ask it, stop it, kill it.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import psutil

from partitioned_etl.engine.settings import Settings

PROJECT = Path(__file__).parents[2]
TESTS = Path(__file__).parents[1]
LOCATION = "partitioned_etl"
SAMPLE = "support.sample_location"
DEADLINE_S = 600
"""How long to wait for what must come: a machine with much else to do takes minutes for seconds."""
STOP_DEADLINE_S = 30
UNFINISHED = ("NOT_STARTED", "QUEUED", "STARTING", "STARTED", "CANCELING")

_POLL_S = 0.3
_LOG_TAIL_CHARS = 5000

T = TypeVar("T")


class DevServer:
    """One `dagster dev` on the loopback address, with a folder that outlives its restarts.

    Attributes:
        folder: Working directory of the server.
        landing_dir: Its landing directory.
        database: Its DuckDB database.
        url: Where its web UI is, once it was started.
    """

    def __init__(
        self, folder: Path, module: str = SAMPLE, settings: Mapping[str, str] | None = None
    ) -> None:
        """Fill a folder with what a server needs; `start` starts one in it.

        Args:
            folder: An empty folder.
            module: Module, or path of a file, that holds the code location.
            settings: Settings that differ from the defaults.
        """
        self.folder, self.landing_dir = folder, folder / "landing"
        self.database, self.url = folder / "warehouse.duckdb", ""
        self._log, self._settings = folder / "dev.log", dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._seen: object = None
        kind = "python_file" if module.endswith(".py") else "python_module"
        name = "relative_path" if module.endswith(".py") else "module_name"
        (folder / "workspace.yaml").write_text(
            f"load_from: [{{{kind}: {{{name}: {module}, location_name: {LOCATION}}}}}]\n",
            encoding="utf-8",
        )
        shutil.copy(PROJECT / "dagster.yaml", folder)
        for name in ("tmp", "incoming", "landing/daily", "landing/customers", "landing/monthly"):
            (folder / name).mkdir(parents=True)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the server's processes."""
        strange = ("DAGSTER", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
        system = {name: text for name, text in os.environ.items() if not name.startswith(strange)}
        places = {
            "LANDING_DIR": self.landing_dir,
            "DUCKDB_DATABASE": self.database,
            "ARCHIVE_DIR": self.folder / "archive",
            "REPORTS_DIR": self.folder / "reports",
            "HOME": self.folder / "tmp",
            "TMPDIR": self.folder / "tmp",
            "PYTHONPATH": TESTS,
        }
        # Every setting is given, because a line of the checkout's .env would fill a gap.
        return {
            **system,
            **default_environment(),
            **{name: str(path) for name, path in places.items()},
            **self._settings,
        }

    @property
    def process_id(self) -> int:
        """The server's process, which leads its session."""
        assert self._process, "the server is not started"
        return self._process.pid

    def land(self, feed_folder: str, files: Mapping[str, str | bytes]) -> float:
        """Let files appear in a feed's folder at nearly one moment, each of them whole.

        Returns:
            That moment, on the performance counter.
        """
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            (self.folder / "incoming" / name).write_bytes(data)
        landed_at = time.perf_counter()
        for name in files:
            (self.folder / "incoming" / name).replace(self.landing_dir / feed_folder / name)
        return landed_at

    def start(self) -> None:
        """Start a server and wait until it has loaded the code location."""
        port = find_free_port()
        self.url = f"http://127.0.0.1:{port}"
        with self._log.open("ab") as output, default_interrupt():
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-W", "ignore", "-m", "dagster", "dev"),
                    *("-h", "127.0.0.1", "-p", str(port)),
                ],
                cwd=self.folder,
                env=self.environment,
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
        self,
        what: str,
        condition: Callable[[], T | None],
        *,
        poll_s: float = _POLL_S,
        deadline_s: float = DEADLINE_S,
    ) -> T:
        """Ask for something until it is true, and return it; fail after a deadline."""
        deadline = time.monotonic() + deadline_s
        while not (value := condition()):
            is_alive = self._process is not None and self._process.poll() is None
            if not is_alive or time.monotonic() > deadline:
                state = f"for {deadline_s} s" if is_alive else "before the server ended"
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

    def count_runs(self, statuses: Sequence[str]) -> int:
        """Count the runs of some statuses."""
        query = "query ($of: RunsFilter) { runsOrError(filter: $of) { ... on Runs { count } } }"
        return self.ask(query, of={"statuses": statuses})["runsOrError"]["count"]

    def wait_until_quiet(self, seconds: float = 0.0) -> None:
        """Wait until no run has been queued or under way for so long."""
        busy_at = time.monotonic()

        def is_quiet() -> bool:
            nonlocal busy_at
            if self.count_runs(UNFINISHED):
                busy_at = time.monotonic()
            return time.monotonic() - busy_at >= seconds

        self.wait_until("no run is under way", is_quiet, poll_s=0.5)

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

    def wait_for_files(self, table: str, count: int) -> float:
        """Wait until a table holds the rows of so many partitions; give that moment."""
        sql = f"SELECT count(DISTINCT partition_key) FROM {table}"
        self.wait_until(
            f"{count} partitions are loaded", lambda: self.read_number(sql) >= count, poll_s=0.05
        )
        return time.perf_counter()


@contextlib.contextmanager
def open_server(module: str = SAMPLE, **settings: str) -> Iterator[DevServer]:
    """Give a server that is not started yet; end it and remove its folder afterwards.

    Args:
        module: Module, or path of a file, that holds the code location.
        settings: Settings that differ from the defaults.
    """
    # The path stays short, because Dagster puts sockets below it.
    with tempfile.TemporaryDirectory(prefix="dev-", ignore_cleanup_errors=True) as folder:
        server = DevServer(Path(folder), module, settings)
        try:
            yield server
        finally:
            server.kill()


def default_environment() -> dict[str, str]:
    """Give every setting with its default, as environment variables."""
    return {
        name.upper(): "" if field.default is None else str(field.default)
        for name, field in Settings.model_fields.items()
    }


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
