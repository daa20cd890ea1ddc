"""One more part of 10,000 rows in a partition of 500 such parts, against one in an empty table.

Both are what a run's load does: list the folder, open the warehouse, compare with the ledger, load
the part that is new, close it. The 500 parts are put there by loads.
"""

import sys
import tempfile
from pathlib import Path

import duckdb

from measure import MEASURED, REFERENCE, Bar, report, take_turns
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.registry import connect_landing
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.plan import choose_parts, compare
from partitioned_etl.engine.warehouse.registry import connect_warehouse

ROWS, PARTS = 10_000, 500
MUST = 1.5
FEED = Feed(
    name="readings",
    pattern="{key}/part-{part}.csv",
    columns={"id": "BIGINT", "value": "DOUBLE"},
)


class Site:
    """A landing directory with the parts of one partition, and a database.

    Args:
        folder: The folder of both; it must not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.database = folder / "warehouse.duckdb"
        self.landing = connect_landing(folder / "landing", settle_seconds=0)
        self.warehouse = connect_warehouse(self.database)
        self.folder = folder / "landing" / FEED.folder / "p"
        self.folder.mkdir(parents=True)
        self.count = 0

    def land(self, count: int = 1) -> None:
        """Let more parts land."""
        with duckdb.connect() as connection:
            for _ in range(count):
                self.count += 1
                connection.execute(
                    f"COPY (SELECT n AS id, n * {self.count} AS value FROM range({ROWS}) AS r(n)) "
                    f"TO '{self.folder}/part-{self.count:04}.csv' (HEADER)"
                )

    def forget(self) -> None:
        """Let a part land that is the only one, and begin with an empty table."""
        for path in self.folder.iterdir():
            path.unlink()
        self.land()
        self.database.unlink(missing_ok=True)
        with self.warehouse.open(self.landing.readable_dir) as opened:
            opened.table(FEED).prepare()

    def load(self, expected: int = 1) -> None:
        """Load the parts that are new."""
        listing = self.landing.list_files(FEED)
        with self.warehouse.open(self.landing.readable_dir) as opened:
            table = opened.table(FEED)
            plan = compare(FEED, listing, table.read_ledger(listing.files))
            files = choose_parts(plan, listing.by_key["p"])
            outcomes = load_files(table, self.landing, files)
        assert [outcome.row_count for outcome in outcomes] == [ROWS] * expected, outcomes

    def verify_rows(self) -> None:
        """Make sure that the table has every row once."""
        with duckdb.connect(str(self.database)) as connection:
            query = "SELECT count(*), count(DISTINCT source_file) FROM readings"
            assert connection.execute(query).fetchone() == (ROWS * self.count, self.count)


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    with tempfile.TemporaryDirectory(prefix="one_more_part_") as name:
        empty, full = (Site(Path(name) / which) for which in ("empty", "full"))
        full.land(PARTS)
        full.load(PARTS)
        figures = take_turns(
            {REFERENCE: empty.load, MEASURED: full.load},
            prepare={REFERENCE: empty.forget, MEASURED: full.land},
            runs=15,
        )
        full.verify_rows()
    ratio = figures[MEASURED].median / figures[REFERENCE].median
    return report(
        "one_more_part",
        "A part of 10,000 rows in a partition of 500 parts, against one in an empty table",
        figures,
        [
            Bar(
                "time in a partition of 500 parts against an empty table",
                ratio,
                MUST,
                is_least=False,
            )
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
