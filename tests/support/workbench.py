"""Workbench: a landing directory and a database of one test, and the feeds that tests use.

It is a module and no fixture, because the processes that tests start need the same feeds. A bench
with another landing or another warehouse is made by `benches.py`.
"""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pytest

from partitioned_etl.engine import failpoints, replace, survey
from partitioned_etl.engine.contract import RowRule
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import LandedFile, Landing
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.outcomes import Outcome
from partitioned_etl.engine.plan import Plan, make_plan
from partitioned_etl.engine.sql import quote_identifier
from partitioned_etl.engine.sync import SyncReport, sync_feed
from partitioned_etl.engine.warehouse.duckdb_file import DuckDBFile, OpenDuckDB
from partitioned_etl.engine.warehouse.feed_table import DuckDBTable
from partitioned_etl.engine.warehouse.ledger import Ledger
from partitioned_etl.engine.warehouse.read_copy import read_copy_of

CHILD_DEADLINE_S = 600
Fetch = Callable[[str], list[tuple[Any, ...]]]

NO_LINE_END = "no line end after the last line: cut off? If not, set final_line_end: optional"
"""Why a file is refused whose last line has no line end."""

NOTES = Feed(
    name="notes",
    folder="notes",
    pattern="{key}.csv",
    columns={"id": "BIGINT", "note": "VARCHAR"},
    table="raw_notes",
    key_pattern=r"(?s).+",
)
"""A dynamic feed that takes every file name."""

PRICES = Feed(
    name="prices",
    folder="daily",
    pattern="{date:%Y-%m-%d}.csv",
    columns={"day": "DATE", "price": "DOUBLE"},
    table="raw_prices",
    row_rules=(
        RowRule(
            name="price_is_positive", column="price", expression="price > 0", reason="not above 0"
        ),
    ),
)
"""A daily feed with a row rule."""

ORDERS = Feed(
    name="orders",
    folder="monthly",
    pattern="{date:%Y-%m}.csv",
    columns={"id": "BIGINT", "day": "DATE", "status": "VARCHAR"},
    table="stg_orders",
    row_rules=(
        RowRule(
            name="day_is_in_file_month",
            column="day",
            expression="strftime(day, '%Y-%m-01') = partition_key",
            reason="not in the month of the file's name",
        ),
    ),
)
"""A monthly feed whose row rule looks at the partition key."""

CUSTOMER_DAYS = Feed(
    name="customer_days",
    folder="customers",
    pattern="{key}/{date:%Y-%m-%d}.csv",
    columns={"id": "BIGINT", "note": "VARCHAR"},
    table="raw_customer_days",
)
"""A two-dimensional feed: a folder a customer, a file a day."""


def change_feed(feed: Feed, **changes: Any) -> Feed:
    """Give a feed that is declared like another one but for some attributes."""
    declared = {name: getattr(feed, name) for name in feed.model_fields_set}
    return type(feed)(**{**declared, **changes})


class FakeClock:
    """Stands in for the module `time`: it goes on only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0
        self.slept_s = 0.0
        self.pace = 1.0

    def monotonic(self) -> float:
        return self.now_s

    def time_ns(self) -> int:
        return int(self.now_s * 1e9)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds * self.pace
        self.slept_s += seconds * self.pace


class Place(Protocol):
    """Where the files of a bench land."""

    @property
    def address(self) -> Path | str:
        """Its address, as the setting LANDING_DIR takes it."""
        ...

    @property
    def landing(self) -> Landing:
        """The landing, in which every file is settled at once."""
        ...

    def put(self, feed: Feed, name: str, content: str | bytes) -> None:
        """Let a file land, whose version is new for certain if its content is."""
        ...

    def delete(self, feed: Feed, name: str) -> None:
        """Take a file away."""
        ...

    def touch(self, feed: Feed, name: str) -> None:
        """Let the bytes of a file land again: only its version is new."""
        ...


@dataclass
class Folder:
    """A landing directory.

    Attributes:
        root: The folder that it is in.
    """

    root: Path

    @property
    def address(self) -> Path:
        return self.root / "landing"

    @property
    def landing(self) -> LocalLanding:
        return LocalLanding(self.address, settle_seconds=0)

    def path(self, feed: Feed, name: str) -> Path:
        return self.address / feed.folder / name

    def put(self, feed: Feed, name: str, content: str | bytes) -> None:
        """Write a file aside and rename it, so that its signature is new for certain."""
        path = self.path(feed, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.root / f"arriving {os.getpid()}"
        aside.write_bytes(content if isinstance(content, bytes) else content.encode())
        aside.replace(path)

    def delete(self, feed: Feed, name: str) -> None:
        self.path(feed, name).unlink()

    def touch(self, feed: Feed, name: str) -> None:
        self.path(feed, name).touch()


@dataclass
class Workbench:
    """A landing directory and a database in one temporary folder.

    To open a database takes longer than most loads of a test. So it stays open from the first load
    on, until somebody asks for its path or for the warehouse, or starts a process.

    Attributes:
        root: The folder.
        stays_open: Whether the database stays open between two loads.
        file: The database, where it is not in the folder.
        place: Where files land, where that is not a directory in the folder.
        lock_wait_seconds: How long loads wait for others.
        read_copy_seconds: How often, at most, a copy of the database is made for readers.
    """

    root: Path
    stays_open: bool = True
    file: Path | None = None
    place: Place = field(default=None)  # type: ignore[assignment]
    lock_wait_seconds: float = 0
    read_copy_seconds: float = 0
    _duck: duckdb.DuckDBPyConnection | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.place = self.place or Folder(self.root)

    @property
    def landing_dir(self) -> Path:
        return Folder(self.root).address

    @property
    def address(self) -> str:
        """The address of the warehouse, as the setting WAREHOUSE takes it."""
        return f"duckdb:{self._database}"

    @property
    def database(self) -> Path:
        """The path of the database, which is closed."""
        self.close()
        return self._database

    @property
    def _database(self) -> Path:
        return self.file or self.root / "warehouse.duckdb"

    def close(self) -> None:
        """Close the database."""
        if self._duck:
            self._duck.close()
            self._duck = None

    def path(self, feed: Feed, name: str) -> Path:
        return self.landing_dir / feed.folder / name

    def land(self, feed: Feed, name: str, content: str | bytes) -> Path:
        """Let a file land, whose version is new for certain; give its path in a directory."""
        self.place.put(feed, name, content)
        return self.path(feed, name)

    @property
    def landing(self) -> Landing:
        """The landing, in which every file is settled at once."""
        return self.place.landing

    @property
    def warehouse(self) -> DuckDBFile:
        """The warehouse, which is closed."""
        self.close()
        return self._warehouse

    @property
    def _warehouse(self) -> DuckDBFile:
        return DuckDBFile(
            self._database, self.lock_wait_seconds, read_copy_seconds=self.read_copy_seconds
        )

    def list_files(self, feed: Feed) -> list[LandedFile]:
        return list(self.landing.list_files(feed).files.values())

    def sync(self, feed: Feed) -> SyncReport:
        return sync_feed(
            feed,
            self.place.address,
            self.address,
            settle_seconds=0,
            lock_wait_seconds=self.lock_wait_seconds,
        )

    def describe(self) -> dict[str, Any]:
        """Say what `benches.read_bench` needs to make the bench once more in another process."""
        landing = str(self.place.address) if isinstance(self.place.address, str) else ""
        return {
            "root": str(self.root),
            "landing": landing,
            "warehouse": self.address,
            "lock_wait_seconds": self.lock_wait_seconds,
            "read_copy_seconds": self.read_copy_seconds,
        }

    def start_child(self, code: str) -> "Child":
        """Start a process that runs Python code with this bench."""
        return Child(self, code)

    def plan(self, feed: Feed) -> Plan:
        """Plan what a sync would do."""
        return make_plan(feed, self.landing.scan(feed), self.landing, self._warehouse)

    @contextmanager
    def open(self, lock_wait_seconds: float | None = None) -> Iterator[OpenDuckDB]:
        """Open the warehouse."""
        warehouse = self._warehouse
        with warehouse.open(
            self.landing.readable_dir, lock_wait_seconds=lock_wait_seconds
        ) as opened:
            if self.stays_open and not self._duck:
                self._duck = warehouse._connect(0)
            yield opened

    @contextmanager
    def open_table(
        self, feed: Feed, lock_wait_seconds: float | None = None
    ) -> Iterator[DuckDBTable]:
        """Open the warehouse, and give a feed's table."""
        with self.open(lock_wait_seconds) as opened:
            yield opened.table(feed)

    @contextmanager
    def connect(
        self, lock_wait_seconds: float | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the warehouse, and give its connection."""
        with self.open(lock_wait_seconds) as opened:
            yield opened.duck

    def load(self, feed: Feed, files: Sequence[LandedFile] | None = None) -> dict[str, Outcome]:
        """Load files, by default all that lie there, and give the outcome per partition key."""
        wanted = self.list_files(feed) if files is None else files
        with self.open_table(feed) as table:
            outcomes = load_files(table, self.landing, wanted)
        return {outcome.file.partition_key: outcome for outcome in outcomes}

    def assert_history(self, feed: Feed) -> None:
        """Check that what all loads added and removed is what the table holds.

        Nobody but loads has changed it, and all that they replaced was compared.
        """
        told = self.query(
            "SELECT CAST(coalesce(sum(rows_added - rows_removed), 0) AS BIGINT), "
            "count(*) - count(rows_unchanged), count(*) - count(DISTINCT (source_file, changed_at))"
            f" FROM load_history WHERE feed = '{feed.name}'"
        )
        ((count,),) = self.query(f"SELECT count(*) FROM {quote_identifier(feed.table)}")
        assert told == [(count, 0, 0)]

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._read() as duck:
            return duck.execute(sql, list(values)).fetchall()

    @contextmanager
    def _read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        if self._duck:
            yield self._duck
            return
        with duckdb.connect(str(self._database), read_only=True) as duck:
            yield duck

    def tables(self) -> list[str]:
        if not self._database.exists():
            return []
        return [name for (name,) in self.query("SELECT table_name FROM duckdb_tables() ORDER BY 1")]

    def rows(self, feed: Feed) -> list[tuple[Any, ...]]:
        """Every row of a feed's table, sorted."""
        return self.query(f"SELECT * FROM {quote_identifier(feed.table)} ORDER BY ALL")

    def ledger(self, feed: Feed) -> Ledger:
        """What the ledger knows of a feed."""
        with self._read() as duck:
            return DuckDBTable(feed, duck).read_ledger()

    def assert_level(self, feed: Feed) -> None:
        """Hold the ledger's row counts against the table's."""
        counted = self.query(
            f"SELECT partition_key, count(*) FROM {quote_identifier(feed.table)} "
            "GROUP BY ALL ORDER BY ALL"
        )
        ledger = self.ledger(feed)
        told = [(key, ledger.count_rows(key)) for key in ledger.by_key]
        assert counted == [(key, count) for key, count in told if count]

    @contextmanager
    def read_as_others_do(self) -> Iterator[Fetch]:
        """Give what runs queries on one state of the warehouse, as dashboards do beside loads."""
        with duckdb.connect(str(read_copy_of(self._database)), read_only=True) as duck:
            yield lambda sql: duck.execute(sql).fetchall()

    def wait_until_alone(self) -> None:
        """Wait until nothing goes on any more of a process that was killed."""


def land_numbers(bench: Workbench, key: str, *numbers: int) -> Path:
    """Land a file of the notes feed with one row per number."""
    rows = "".join(f"{number},x\n" for number in numbers)
    return bench.land(NOTES, f"{key}.csv", "id,note\n" + rows)


def loaded_numbers(bench: Workbench) -> dict[str, list[int]]:
    """Give the numbers in the notes feed's table by partition key."""
    found: dict[str, list[int]] = {}
    for number, _, key, source_file in bench.rows(NOTES):
        assert source_file == f"{key}.csv"
        found.setdefault(key, []).append(number)
    return found


def at_moment(
    monkeypatch: pytest.MonkeyPatch, moment: str, act: Callable[[], object], times: int = 1
) -> None:
    """Let something happen as a load reaches a failpoint, the first so many times."""
    left = times

    def listen(name: str) -> None:
        nonlocal left
        if name == moment and left:
            left -= 1
            act()

    monkeypatch.setattr(failpoints, "listener", listen)


@contextmanager
def in_background(
    monkeypatch: pytest.MonkeyPatch, moment: str, act: Callable[[], object]
) -> Iterator[None]:
    """Let something begin in a thread as a load reaches a failpoint, and wait until it is done."""
    with ThreadPoolExecutor(1) as pool:
        begun: list[Future[object]] = []
        at_moment(monkeypatch, moment, lambda: begun.append(pool.submit(act)))
        yield
        [future] = begun
        future.result(CHILD_DEADLINE_S)


def call_large_from(monkeypatch: pytest.MonkeyPatch, size_bytes: int) -> None:
    """Take files of more than so many bytes for large ones."""
    for module in (survey, replace):
        monkeypatch.setattr(module, "LARGE_BYTES", size_bytes)


class Child:
    """A process that runs Python code with `bench`, this test's workbench, and what it prints."""

    _PROLOGUE = """
import sys
from pathlib import Path
from support.benches import read_bench
from support.workbench import NOTES, Workbench, land_numbers
from partitioned_etl.engine import failpoints
bench = read_bench()

def pause(word):
    print(word, flush=True)
    return sys.stdin.readline()

"""

    def __init__(self, bench: Workbench, code: str) -> None:
        bench.close()
        bench.stays_open = False
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._PROLOGUE + code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=os.environ
            | {
                "BENCH": json.dumps(bench.describe()),
                "PYTHONPATH": os.pathsep.join(sys.path),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )

    def wait_for(self, word: str) -> None:
        """Wait until it prints a line, which must be this word."""
        assert self.read_line() == word

    def read_line(self) -> str:
        """Wait until it prints a line."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], CHILD_DEADLINE_S)
        assert ready, f"nothing was printed in {CHILD_DEADLINE_S} s"
        return self._process.stdout.readline().strip()

    def go_on(self) -> None:
        """Let it go on from where it paused."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def is_running(self) -> bool:
        """Return whether it has not ended yet."""
        return self._process.poll() is None

    def finish(self) -> None:
        """Wait until it has ended, which must be well."""
        assert self._process.wait(CHILD_DEADLINE_S) == 0

    def kill(self) -> None:
        """End it by SIGKILL, wherever it is."""
        self._process.kill()
        self._process.wait(CHILD_DEADLINE_S)

    def close(self) -> None:
        """Leave nothing of it behind."""
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
