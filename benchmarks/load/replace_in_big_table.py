"""One partition of 10,000 rows replaced in a table of 50 million, against one in an empty table.

Both are what a run's load does: open the warehouse, replace the partition, close it. What a ledger
of many partitions costs when a folder is compared with it, `growth` measures. The rows of the large
table are put there by SQL, with ledger rows as loads would have left them. A third way has the
partitions in random order, so that no zone map of DuckDB tells where the rows of one are.
"""

import sys
import tempfile
from pathlib import Path

import duckdb

from measure import MEASURED, REFERENCE, Bar, report, take_turns
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.registry import connect_landing
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.sql import LEDGER_TABLE
from partitioned_etl.engine.warehouse.registry import connect_warehouse

ROWS, PARTITIONS = 10_000, 5_000
KEY = "p2500"
MUST = 1.5
RANDOM = "measured, keys in random order"
FEED = Feed(
    name="readings",
    pattern="{key}.csv",
    columns={"id": "BIGINT", "value": "DOUBLE"},
)


class Site:
    """A landing directory with one file, and a database.

    Args:
        folder: The folder of both; it must not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.database = folder / "warehouse.duckdb"
        self.landing = connect_landing(folder / "landing", settle_seconds=0)
        self.warehouse = connect_warehouse(self.database)
        self.path = folder / "landing" / FEED.folder / f"{KEY}.csv"
        self.path.parent.mkdir(parents=True)
        self._edition = 0

    def write_file(self) -> None:
        """Write the file with new values."""
        self._edition += 1
        aside = self.path.with_suffix(".part")
        with duckdb.connect() as connection:
            connection.execute(
                f"COPY (SELECT n AS id, n * {self._edition} AS value FROM range({ROWS}) AS r(n)) "
                f"TO '{aside}' (HEADER)"
            )
        aside.replace(self.path)

    def forget(self) -> None:
        """Write the file, and begin with an empty table."""
        self.write_file()
        self.database.unlink(missing_ok=True)
        with self.warehouse.open(self.landing.readable_dir) as opened:
            opened.table(FEED).prepare()

    def load(self) -> None:
        """Load the file."""
        files = list(self.landing.list_files(FEED).files.values())
        with self.warehouse.open(self.landing.readable_dir) as opened:
            outcomes = load_files(opened.table(FEED), self.landing, files)
        assert [outcome.row_count for outcome in outcomes] == [ROWS], outcomes

    def fill(self, order: str) -> None:
        """Put all other partitions into the table and the ledger.

        Args:
            order: SQL for what the partitions are sorted by; the number of one is `k`.
        """
        self.write_file()
        self.load()
        with duckdb.connect(str(self.database)) as connection:
            connection.execute("DELETE FROM readings")
            connection.execute(
                f"INSERT INTO readings SELECT unnest(range({ROWS})), k * 0.37, 'p' || k, "
                f"'p' || k || '.csv' FROM (FROM range({PARTITIONS}) AS r(k) ORDER BY {order})"
            )
            connection.execute(
                f"INSERT INTO {LEDGER_TABLE} SELECT l.* REPLACE ('p' || k AS partition_key, "
                f"'p' || k || '.csv' AS source_file, sha256(k::VARCHAR) AS content_hash) "
                f"FROM {LEDGER_TABLE} AS l, range({PARTITIONS}) AS r(k) WHERE 'p' || k <> '{KEY}'"
            )

    def verify_rows(self) -> None:
        """Make sure that the table has every row once."""
        with duckdb.connect(str(self.database)) as connection:
            query = f"SELECT count(*), count(*) FILTER (partition_key = '{KEY}') FROM readings"
            assert connection.execute(query).fetchone() == (ROWS * PARTITIONS, ROWS)


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    with tempfile.TemporaryDirectory(prefix="replace_in_big_table_") as name:
        empty, big, mixed = (Site(Path(name) / part) for part in ("empty", "big", "mixed"))
        big.fill("k")
        mixed.fill("hash(k)")
        figures = take_turns(
            {REFERENCE: empty.load, MEASURED: big.load, RANDOM: mixed.load},
            prepare={REFERENCE: empty.forget, MEASURED: big.write_file, RANDOM: mixed.write_file},
            runs=9,
        )
        big.verify_rows()
        mixed.verify_rows()
    ratio = figures[MEASURED].median / figures[REFERENCE].median
    return report(
        "replace_in_big_table",
        "10,000 rows replaced in a table of 50 million, against an empty table",
        figures,
        [Bar("time in the large table against the empty one", ratio, MUST, is_least=False)],
    )


if __name__ == "__main__":
    sys.exit(main())
