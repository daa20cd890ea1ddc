"""Loads beside a reader: what it costs a load that somebody reads all tables meanwhile.

One process reads every table whole, twice a second. From PostgreSQL it reads the tables that
loads write; of a DuckDB file, the copy that DUCKDB_READ_COPY=1 leaves beside it, so its loads also
pay for copies. The reference of each is the same loads with no reader, and with no copies. The
reader stays, and rests while the reference runs.
"""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import duckdb
import psycopg

from measure import Bar, report, take_turns
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.sql import LEDGER_TABLE, REJECTED_ROWS_TABLE
from partitioned_etl.engine.warehouse.read_copy import read_copy_of
from partitioned_etl.engine.warehouse.registry import connect_warehouse
from support.postgres_server import run_postgres

PARTITIONS, ROWS = 20, 2_000
LOADS = 40
RUNS = 15
READS_PER_SECOND = 2
COPY_SECONDS = 1.0
MUST = 1.05
FEED = Feed(
    name="readings",
    pattern="{key}.csv",
    columns={"id": "BIGINT", "value": "DOUBLE"},
)
TABLES = (FEED.table, LEDGER_TABLE, REJECTED_ROWS_TABLE)


class Site:
    """A landing directory whose files change, and a warehouse.

    Args:
        root: The folder of both.
        address: The warehouse.
    """

    def __init__(self, root: Path, address: str) -> None:
        self.landing = LocalLanding(root, settle_seconds=0)
        self.address = address
        self._folder, self._edition = root / FEED.folder, 0
        self._folder.mkdir(parents=True)
        self.load(PARTITIONS)

    def load(self, loads: int = LOADS, read_copy_seconds: float = 0) -> None:
        """Load one changed file after the other, each in a transaction of its own."""
        warehouse = connect_warehouse(self.address, read_copy_seconds=read_copy_seconds)
        for _ in range(loads):
            self._edition += 1
            path = self._folder / f"p{self._edition % PARTITIONS:02}.csv"
            aside = path.with_suffix(".part")
            rows = "".join(f"{row},{self._edition}\n" for row in range(ROWS))
            aside.write_text("id,value\n" + rows, encoding="utf-8")
            aside.replace(path)
            [file] = [
                file
                for name, file in self.landing.list_files(FEED).files.items()
                if name == path.name
            ]
            with warehouse.open(self.landing.readable_dir) as opened:
                [outcome] = load_files(opened.table(FEED), self.landing, [file])
            assert outcome.is_loaded, outcome


class Reader:
    """A process that reads a warehouse all the time, but while it rests.

    Args:
        address: The warehouse, or the copy of a DuckDB file.
        stack: What ends it.
    """

    def __init__(self, address: str, stack: ExitStack) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        stack.callback(self._process.wait)
        stack.callback(self._process.kill)

    def tell(self, word: str) -> None:
        """Say `read` or `rest`, and wait until it does so."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(word, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == f"{word}\n", "the reader failed"


def read_all(address: str) -> None:
    """Read all tables whole, each time in a transaction of its own."""
    if address.startswith("postgresql:"):
        with psycopg.connect(address) as connection:
            for table in TABLES:
                connection.execute(f"SELECT * FROM {table}".encode()).fetchall()
    else:
        with duckdb.connect(address, read_only=True) as duck:
            for table in TABLES:
                duck.execute(f"SELECT * FROM {table}").fetchall()


def read_until_told(address: str) -> None:
    """Read while the last word on standard input is `read`."""
    reads, ended = threading.Event(), threading.Event()

    def read() -> None:
        while not ended.is_set():
            reads.wait()
            read_all(address)
            ended.wait(1 / READS_PER_SECOND)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    for word in sys.stdin:
        (reads.set if word == "read\n" else reads.clear)()
        if not thread.is_alive():
            sys.exit("a read failed")
        print(word, end="", flush=True)


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    with (
        tempfile.TemporaryDirectory(prefix="readers_") as name,
        run_postgres(fsync="on") as server,
        ExitStack() as stack,
    ):
        root = Path(name)
        database = root / "warehouse.duckdb"
        postgres = Site(root / "postgres", server.make_database())
        duck = Site(root / "duckdb", f"duckdb:{database}")
        duck.load(1, read_copy_seconds=1e-9)
        of_postgres = Reader(postgres.address, stack)
        of_duckdb = Reader(str(read_copy_of(database)), stack)

        def let(reading: Reader | None = None) -> Callable[[], None]:
            def tell() -> None:
                for reader in (of_postgres, of_duckdb):
                    reader.tell("read" if reader is reading else "rest")

            return tell

        figures = take_turns(
            {
                "PostgreSQL": postgres.load,
                "PostgreSQL, read": postgres.load,
                "DuckDB file": duck.load,
                "DuckDB file, copied and read": lambda: duck.load(read_copy_seconds=COPY_SECONDS),
            },
            runs=RUNS,
            prepare={
                "PostgreSQL": let(),
                "PostgreSQL, read": let(of_postgres),
                "DuckDB file": let(),
                "DuckDB file, copied and read": let(of_duckdb),
            },
        )
    return report(
        "readers",
        f"{LOADS} loads, with and without somebody who reads all tables",
        figures,
        [
            Bar(
                f"{alone}: times the loads without a reader",
                figures[beside].median / figures[alone].median,
                MUST,
                is_least=False,
            )
            for alone, beside in (
                ("PostgreSQL", "PostgreSQL, read"),
                ("DuckDB file", "DuckDB file, copied and read"),
            )
        ],
        amount=(LOADS, "loads"),
    )


if __name__ == "__main__":
    if sys.argv[1:]:
        read_until_told(sys.argv[1])
    else:
        sys.exit(main())
