"""DuckLake bench: a workbench whose warehouse is a lake."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.plan import Plan, make_plan
from partitioned_etl.engine.sync import SyncReport, sync_feed
from partitioned_etl.engine.warehouse.ducklake import DuckLake, OpenDuckLake
from partitioned_etl.engine.warehouse.ducklake_table import DuckLakeTable
from partitioned_etl.engine.warehouse.ledger import Ledger
from support.workbench import Child, Workbench


def is_ducklake_installed() -> bool:
    """Return whether DuckLake's extension is there, as `make test-ducklake` has it."""
    return find_spec("duckdb_extension_ducklake") is not None


@dataclass
class DuckLakeBench(Workbench):
    """A landing directory and a lake.

    Attributes:
        url: The lake's address.
        lock_wait_seconds: How long loads wait for their turn.
    """

    url: str = ""
    lock_wait_seconds: float = 60

    @property
    def warehouse(self) -> DuckLake:  # type: ignore[override]
        return DuckLake(self.url, self.lock_wait_seconds)

    def sync(self, feed: Feed) -> SyncReport:
        return sync_feed(
            feed,
            self.landing_dir,
            self.url,
            settle_seconds=0,
            lock_wait_seconds=self.lock_wait_seconds,
        )

    def plan(self, feed: Feed) -> Plan:
        return make_plan(feed, self.landing.list_files(feed), self.landing, self.warehouse)

    @contextmanager
    def open(self, lock_wait_seconds: float = 60) -> Iterator[OpenDuckLake]:  # type: ignore[override]
        self.landing_dir.mkdir(parents=True, exist_ok=True)
        with self.warehouse.open(self.landing_dir, lock_wait_seconds=lock_wait_seconds) as opened:
            yield opened

    @contextmanager
    def open_table(self, feed: Feed, lock_wait_seconds: float = 60) -> Iterator[DuckLakeTable]:  # type: ignore[override]
        with self.open(lock_wait_seconds) as opened:
            yield opened.table(feed)

    def start_child(self, code: str) -> Child:
        return DuckLakeChild(self, code)

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self.open() as opened:
            return opened.session.execute(sql, values or None).fetchall()

    def tables(self) -> list[str]:
        found = self.query(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()"
        )
        return sorted(name for (name,) in found)

    def rows(self, feed: Feed) -> list[tuple[Any, ...]]:
        return sorted(self.query(f'SELECT * FROM "{feed.table}"'), key=repr)

    def ledger(self, feed: Feed) -> Ledger:
        with self.open_table(feed) as table:
            return table.read_ledger()

    def assert_level(self, feed: Feed) -> None:
        with self.open_table(feed) as table:
            counted, ledger = table.count_rows(), table.read_ledger()
        told = {(row.partition_key, row.source_file): row.row_count for row in ledger}
        assert counted == {of_file: count for of_file, count in told.items() if count}


class DuckLakeChild(Child):
    """A process that runs Python code with `bench`, this test's bench of a lake."""

    _PROLOGUE = Child._PROLOGUE.replace(
        "bench = Workbench(Path(sys.argv[1]), stays_open=False)",
        "import os\nfrom support.ducklake_bench import DuckLakeBench\n"
        "bench = DuckLakeBench(Path(sys.argv[1]), url=os.environ['BENCH_URL'])",
    )
