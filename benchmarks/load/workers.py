"""1, 2 and 4 processes that load different partitions into one PostgreSQL database.

Each has as many files as the others, in a folder of its own, and loads ten in a transaction, as
runs of ranges of keys do. The processes are there before the clock starts. Server and processes
share this machine's cores: that is what ends the curve, and more machines would not have it.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import duckdb

from measure import Bar, Figures, Lines, report, take_turns
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.warehouse.registry import connect_warehouse
from support.postgres_server import PostgresServer, run_postgres

WORKERS = (1, 2, 4)
FILES, ROWS = 400, 2_000
PER_LOAD = 10
RUNS = 5
MUST = 1.0
FEED = Feed(
    name="readings",
    pattern="{key}.csv",
    columns={"id": "BIGINT", "day": "DATE", "value": "DOUBLE"},
)


def write_files(landing_dir: Path, numbers: Sequence[int]) -> None:
    """Write a process's files."""
    folder = landing_dir / FEED.folder
    folder.mkdir(parents=True)
    with duckdb.connect() as duck:
        for number in numbers:
            duck.execute(
                f"COPY (SELECT n AS id, DATE '2018-01-01' + n::INTEGER % 365 AS day, "
                f"n * 0.7 + {number} AS value FROM range({ROWS}) AS r(n)) "
                f"TO '{folder / f'r{number:04}.csv'}' (HEADER)"
            )


def load_all(landing_dir: Path, url: str) -> None:
    """Load a process's files, some at a time."""
    landing = LocalLanding(landing_dir, settle_seconds=0)
    files = list(landing.list_files(FEED).files.values())
    warehouse = connect_warehouse(url)
    for start in range(0, len(files), PER_LOAD):
        with warehouse.open(landing.readable_dir) as opened:
            outcomes = load_files(opened.table(FEED), landing, files[start : start + PER_LOAD])
            assert all(outcome.is_loaded for outcome in outcomes), outcomes


class Workers:
    """Processes that wait for databases, and load into each all that is theirs.

    Args:
        root: Where the files are.
        count: How many processes.
        stack: What ends them.
    """

    def __init__(self, root: Path, count: int, stack: ExitStack) -> None:
        self._processes: list[subprocess.Popen[str]] = []
        for place in range(count):
            landing_dir = root / f"{count} processes" / str(place)
            write_files(landing_dir, range(place, FILES, count))
            process = subprocess.Popen(
                [sys.executable, __file__, str(landing_dir)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            self._processes.append(process)
            self._hear(process)

    def _hear(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    def load(self, url: str) -> None:
        """Let all of them load, and wait for the last one."""
        for process in self._processes:
            assert process.stdin is not None
            print(url, file=process.stdin, flush=True)
        for process in self._processes:
            self._hear(process)


class Ways:
    """The ways, each into a database of its own.

    Args:
        server: The server.
        root: Where the files are.
        stack: What ends the processes.
    """

    def __init__(self, server: PostgresServer, root: Path, stack: ExitStack) -> None:
        self._server, self._url = server, ""
        self._workers = {count: Workers(root, count, stack) for count in WORKERS}

    def make_database(self) -> None:
        """Make a database that is empty."""
        self._url = self._server.make_database()

    def of(self, count: int) -> Callable[[], None]:
        """Give what lets so many processes load."""
        return lambda: self._workers[count].load(self._url)


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    with (
        tempfile.TemporaryDirectory(prefix="workers_") as name,
        run_postgres(fsync="on") as server,
        ExitStack() as stack,
    ):
        ways = Ways(server, Path(name), stack)
        names = {count: f"{count} process{'es' if count > 1 else ''}" for count in WORKERS}
        figures: dict[str, Figures] = take_turns(
            {names[count]: ways.of(count) for count in WORKERS},
            runs=RUNS,
            prepare=dict.fromkeys(names.values(), ways.make_database),
        )
    per_second = {count: FILES / figures[names[count]].median for count in WORKERS}
    points = [(float(count), round(speed, 1)) for count, speed in per_second.items()]
    return report(
        "workers",
        f"{FILES} files of {ROWS:,} rows into PostgreSQL, by several processes",
        figures,
        [
            Bar(
                f"{count} processes: times the files per second of one", speed / per_second[1], MUST
            )
            for count, speed in per_second.items()
            if count > 1
        ],
        amount=(FILES, "files"),
        lines=Lines("processes", {"files per second": points}, is_log=False, y="files/s"),
    )


def work(landing_dir: Path) -> None:
    """Load into each database that is named on standard input."""
    print("ready", flush=True)
    for line in sys.stdin:
        load_all(landing_dir, line.strip())
        print("ready", flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        work(Path(sys.argv[1]))
    else:
        sys.exit(main())
