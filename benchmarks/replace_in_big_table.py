"""One partition of 10,000 rows replaced in a table of 50 million, against one in an empty table.

Both are what a run's load does: open the database, replace the partition, close it. What the
ledger costs that knows 5,000 partitions, when a folder is held against it, is in `growth`. The rows
of the large table are put there by SQL, with ledger rows as loads would have left them. A third way
has the partitions in random order, so that no zone map of DuckDB tells where the rows of one are.
"""

import sys
import tempfile
from pathlib import Path

import duckdb

from measure import MEASURED, REFERENCE, Bar, report, take_turns
from partitioned_etl.ingest.database import connect
from partitioned_etl.ingest.feed import LEDGER_TABLE, Feed
from partitioned_etl.ingest.landing import list_landed_files
from partitioned_etl.ingest.warehouse import replace_partitions

ROWS, PARTITIONS = 10_000, 5_000
KEY = "p2500"
MUST = 1.5
RANDOM = "measured, keys in random order"
FEED = Feed(
    name="readings",
    folder="readings",
    pattern="{key}.csv",
    columns={"id": "BIGINT", "value": "DOUBLE"},
    table="readings",
)


class Place:
    """A landing directory with one file, and a database.

    Args:
        folder: The folder of both; it must not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.landing_dir, self.database = folder / "landing", folder / "warehouse.duckdb"
        self.path = self.landing_dir / FEED.folder / f"{KEY}.csv"
        self.path.parent.mkdir(parents=True)
        self._version = 0

    def write_file(self) -> None:
        """Write the file with new values."""
        self._version += 1
        aside = self.path.with_suffix(".part")
        with duckdb.connect() as connection:
            connection.execute(
                f"COPY (SELECT n AS id, n * {self._version} AS value FROM range({ROWS}) AS r(n)) "
                f"TO '{aside}' (HEADER)"
            )
        aside.replace(self.path)

    def forget(self) -> None:
        """Write the file, and begin with an empty table."""
        self.write_file()
        self.database.unlink(missing_ok=True)
        with connect(self.database, self.landing_dir) as connection:
            replace_partitions(connection, FEED, [])

    def load(self) -> None:
        """Load the file."""
        files = list(list_landed_files(FEED, self.landing_dir).files.values())
        with connect(self.database, self.landing_dir) as connection:
            outcomes = replace_partitions(connection, FEED, files)
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
                f"'p' || k || '.csv' AS source_file, sha256(k::VARCHAR) AS sha256) "
                f"FROM {LEDGER_TABLE} AS l, range({PARTITIONS}) AS r(k) WHERE 'p' || k <> '{KEY}'"
            )

    def check(self) -> None:
        """Make sure that the table has every row once."""
        with duckdb.connect(str(self.database)) as connection:
            query = f"SELECT count(*), count(*) FILTER (partition_key = '{KEY}') FROM readings"
            assert connection.execute(query).fetchone() == (ROWS * PARTITIONS, ROWS)


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    with tempfile.TemporaryDirectory(prefix="replace_in_big_table_") as name:
        empty, big, mixed = (Place(Path(name) / part) for part in ("empty", "big", "mixed"))
        big.fill("k")
        mixed.fill("hash(k)")
        figures = take_turns(
            {REFERENCE: empty.load, MEASURED: big.load, RANDOM: mixed.load},
            prepare={REFERENCE: empty.forget, MEASURED: big.write_file, RANDOM: mixed.write_file},
            runs=9,
        )
        big.check()
        mixed.check()
    ratio = figures[MEASURED].median / figures[REFERENCE].median
    return report(
        "replace_in_big_table",
        "10,000 rows replaced in a table of 50 million, against an empty table",
        figures,
        [Bar("time in the large table against the empty one", ratio, MUST, is_least=False)],
    )


if __name__ == "__main__":
    sys.exit(main())
