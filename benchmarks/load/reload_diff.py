"""A reload of 1 million rows, told what it changed, against the same without the comparison.

The file is one of the daily price feed that ships. Each load gets it with other values in one row
of a thousand, and replaces what the one before it left; both are what a run's load does: open the
warehouse, replace the partition, close it. Two more ways have other values in one row of a hundred,
and in every row.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import duckdb

from large_file import write_file
from measure import MEASURED, REFERENCE, Bar, report, take_turns
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.registry import connect_landing
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.warehouse.registry import connect_warehouse
from sample_feeds.defs.daily_prices import DAILY_PRICES

ROWS = 1_000_000
MUST = 1.3
FEW, SOME, ALL = 1_000, 100, 1
"""Of how many rows one has another value."""
DECLARED = {name: getattr(DAILY_PRICES, name) for name in DAILY_PRICES.model_fields_set}
UNCOMPARED = Feed(**{**DECLARED, "compare_up_to_rows": 0})


class Site:
    """A landing directory with one file, and a database.

    Args:
        folder: The folder of both.
    """

    def __init__(self, folder: Path) -> None:
        self.landing = connect_landing(folder / "landing", settle_seconds=0)
        self.warehouse = connect_warehouse(folder / "warehouse.duckdb")
        self.path = folder / "landing" / DAILY_PRICES.folder / "2018-01-22.csv"
        self.path.parent.mkdir(parents=True)
        write_file(self.path, ROWS)

    def edit(self, every: int) -> None:
        """Change a value in one row of so many."""
        aside = self.path.with_suffix(".part")
        with duckdb.connect() as connection:
            connection.execute("SET threads = 1")
            connection.execute(
                "COPY (SELECT * REPLACE (CASE WHEN row_number() OVER () % "
                f"{every} = 0 THEN amount + 1 ELSE amount END AS amount) "
                f"FROM read_csv('{self.path}')) TO '{aside}' (HEADER)"
            )
        aside.replace(self.path)

    def load(self, feed: Feed, told: tuple[int | None, int | None]) -> None:
        """Load the file, and make sure of how many rows it says that it added and removed."""
        files = list(self.landing.list_files(feed).files.values())
        with self.warehouse.open(self.landing.readable_dir) as opened:
            [outcome] = load_files(opened.table(feed), self.landing, files)
        assert (outcome.changes.added, outcome.changes.removed) == told, outcome.changes


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    with tempfile.TemporaryDirectory(prefix="reload_diff_") as name:
        site = Site(Path(name))
        site.load(DAILY_PRICES, (ROWS, 0))
        every = {
            REFERENCE: FEW,
            MEASURED: FEW,
            "measured, one row of 100": SOME,
            "measured, every row": ALL,
        }

        def way(name: str, one_of: int) -> Callable[[], None]:
            if name == REFERENCE:
                return lambda: site.load(UNCOMPARED, (None, None))
            return lambda: site.load(DAILY_PRICES, (ROWS // one_of, ROWS // one_of))

        figures = take_turns(
            {name: way(name, one_of) for name, one_of in every.items()},
            prepare={
                name: lambda one_of=one_of: site.edit(one_of) for name, one_of in every.items()
            },
            runs=9,
        )
    ratio = figures[MEASURED].median / figures[REFERENCE].median
    return report(
        "reload_diff",
        "a reload of 1 million rows that says what it changed, against one that does not",
        figures,
        [Bar("time against a reload without it", ratio, MUST, is_least=False)],
    )


if __name__ == "__main__":
    sys.exit(main())
