"""Landing site: one way at work in a folder of its own, and its tables held against its files.

Takes a way; lets files land, starts loads, and gives what the tables hold. The files of the three
feeds that every way has are the sample files.
"""

import csv
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from ways import PROJECT, Way

FEEDS = {
    "daily": ("share_price", "amount"),
    "customers": ("share_price", "amount"),
    "monthly": ("id", "user_id"),
}
_HEADER = "date,share_price,amount,spend,shift,spread\n"

Rows = Counter[tuple[object, ...]]


def prices(count: int, price: float) -> str:
    """Give the text of a price file whose rows have one price and different amounts."""
    return _HEADER + "".join(f"2018-01-15,{price},{row},3,4,5\n" for row in range(count))


class LandingSite:
    """One way at work in a folder of its own, with the sample files landed.

    Attributes:
        way: The way.
        landing_dir: Where files land.
        database: The DuckDB database.
    """

    def __init__(self, way: Way, folder: Path) -> None:
        self.way = way
        self.landing_dir = folder / "landing"
        self.database = folder / "warehouse.duckdb"
        for feed in FEEDS:
            shutil.copytree(PROJECT / "data" / "source" / feed, self.landing_dir / feed)
        self._home = folder / "home"
        if way.project:
            shutil.copytree(way.project, self._home)
        self._home.mkdir(exist_ok=True)
        shutil.copy(PROJECT / "dagster.yaml", self._home)
        self._environment = os.environ | {
            "LANDING_DIR": str(self.landing_dir),
            "DUCKDB_DATABASE": str(self.database),
            "ARCHIVE_DIR": str(folder / "archive"),
            "REPORTS_DIR": str(folder / "reports"),
            "SETTLE_SECONDS": "0",
            "DAGSTER_HOME": str(self._home),
            "DLT_DATA_DIR": str(self._home),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
        }

    def start(self) -> subprocess.Popen[bytes]:
        """Start a load in a process of its own."""
        log = (self._home / "load.log").open("ab")
        with log:
            return subprocess.Popen(
                self.way.command, cwd=self._home, env=self._environment, stdout=log, stderr=log
            )

    def load(self) -> int:
        """Load what has landed, and give the exit code."""
        return self.start().wait()

    def path(self, customer: str) -> Path:
        """Give the path of a customer's file."""
        return self.landing_dir / "customers" / f"{customer}.csv"

    def land(self, customer: str, text: str) -> None:
        """Let a customer's file land, in one move as a sender should."""
        part = self._home / "part"
        part.write_text(text, encoding="utf-8")
        part.rename(self.path(customer))

    def list_database_files(self) -> list[tuple[str, int, int]]:
        """Give name, size and time of the database and its log, which comes and goes."""
        found = []
        for path in self.database.parent.glob("warehouse.duckdb*"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            found.append((path.name, stat.st_size, stat.st_mtime_ns))
        return sorted(found)

    def read_files(self) -> dict[str, Rows]:
        """Give the rows of all files by feed."""
        found: dict[str, Rows] = {}
        for feed, columns in FEEDS.items():
            found[feed] = Counter()
            for path in (self.landing_dir / feed).glob("*.csv"):
                with path.open(encoding="utf-8", newline="") as file:
                    for row in csv.DictReader(file):
                        found[feed][path.stem, *(float(row[column]) for column in columns)] += 1
        return found

    def read_tables(self) -> dict[str, Rows]:
        """Give the rows of all tables by feed."""
        return {
            feed: Counter((key, *map(float, values)) for key, *values in self._query(query))
            for feed, query in self.way.tables.items()
        }

    def read_prices(self, customer: str) -> dict[float, int]:
        """Give how many different rows of each price the table holds of one customer."""
        rows = self._query(
            "SELECT share_price, count(DISTINCT amount), count(*) "
            f"FROM ({self.way.tables['customers']}) AS customers(key, share_price, amount) "
            "WHERE key = ? GROUP BY ALL",
            customer,
        )
        return {price: distinct if distinct == count else -1 for price, distinct, count in rows}

    def compare(self) -> str:
        """Say how the tables differ from the files, or that they do not."""
        return describe_difference(self.read_files(), self.read_tables()) or "as the files"

    def _query(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.execute(query, values).fetchall()


def describe_difference(files: Mapping[str, Rows], tables: Mapping[str, Rows]) -> str:
    """Say how tables differ from files; empty if they are equal."""
    differ = []
    for feed, rows in tables.items():
        missing, extra = (files[feed] - rows).total(), (rows - files[feed]).total()
        words = [f"{missing:,} missing"] * bool(missing) + [f"{extra:,} too many"] * bool(extra)
        if words:
            differ.append(f"rows of {feed}: {', '.join(words)}")
    return "; ".join(differ)
