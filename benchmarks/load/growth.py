"""Growth: 10 files changed in a folder of 1,000, 10,000 and 100,000 that are loaded.

`sync_feed` lists the folder, reads the ledger, compares the two and loads the 10 files. The second
line is the least that any way must do which looks at the folder: `os.scandir` and a `stat` per
file. The files are put into table and ledger as loads would have left them.
"""

import os
import sys
import tempfile
from pathlib import Path

from measure import MEASURED, REFERENCE, Bar, Figures, Lines, report, take_turns
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.registry import connect_landing
from partitioned_etl.engine.sql import LEDGER_TABLE
from partitioned_etl.engine.sync import sync_feed
from partitioned_etl.engine.warehouse.registry import connect_warehouse
from past_loads import record_past_load

SIZES = (1_000, 10_000, 100_000)
CHANGED = 10
_BATCH = 10_000
MUST_RATIO = 8.0
FEED = Feed(
    name="readings",
    pattern="{key}.csv",
    columns={"id": "BIGINT", "value": "DOUBLE"},
)


class Site:
    """A landing directory of many loaded files, and its database.

    Args:
        root: The folder of both.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.database = root, root / FEED.folder, root / "warehouse.duckdb"
        self.folder.mkdir()
        self.size = self._edition = 0

    def _write(self, number: int) -> None:
        path = self.folder / f"r{number:06}.csv"
        path.write_text(f"id,value\n{number},{self._edition}\n", encoding="utf-8")

    def grow(self, size: int) -> None:
        """Let files land until there are so many, all of them loaded."""
        for number in range(self.size, size):
            self._write(number)
        self.size = size
        self.database.unlink(missing_ok=True)
        landing = connect_landing(self.root, settle_seconds=0)
        files = list(landing.list_files(FEED).files.values())
        with connect_warehouse(self.database).open(landing.readable_dir) as opened:
            table = opened.table(FEED)
            table.prepare()
            for start in range(0, size, _BATCH):
                record_past_load(table, files[start : start + _BATCH])
            opened.duck.execute(
                "INSERT INTO readings SELECT row_number() OVER () - 1, 0, partition_key, "
                f"source_file FROM {LEDGER_TABLE}"
            )

    def change(self) -> None:
        """Change a few files."""
        self._edition += 1
        for number in range(0, self.size, self.size // CHANGED):
            self._write(number)

    def sync(self) -> None:
        """Bring the table level."""
        synced = sync_feed(FEED, self.root, self.database, settle_seconds=0)
        assert len(synced.loaded) == CHANGED, synced.refused[:1]
        assert len(synced.unchanged) == self.size - CHANGED, synced.refused[:1]

    def list_files(self) -> None:
        """List the folder, with `stat` of every file."""
        with os.scandir(self.folder) as entries:
            found = [entry.stat() for entry in entries]
        assert len(found) == self.size


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    measured: dict[int, dict[str, Figures]] = {}
    with tempfile.TemporaryDirectory(prefix="growth_") as name:
        site = Site(Path(name))
        for size in SIZES:
            site.grow(size)
            measured[size] = take_turns(
                {REFERENCE: site.list_files, MEASURED: site.sync},
                runs=9,
                prepare={MEASURED: site.change},
            )
    names = {MEASURED: "sync_feed, 10 files changed", REFERENCE: "bare listing with stat"}
    points = {
        label: [(size, figures[way].median) for size, figures in measured.items()]
        for way, label in names.items()
    }
    figures = measured[SIZES[-1]]
    grown = figures[MEASURED].median - measured[SIZES[0]][MEASURED].median
    return report(
        "growth",
        "10 changed files in a folder of many loaded ones",
        {f"{way}, {size:,}": one for size, ways in measured.items() for way, one in ways.items()}
        | figures,
        [
            Bar(
                "growth from 1,000 to 100,000 files, in bare listings of these",
                grown / figures[REFERENCE].median,
                MUST_RATIO,
                is_least=False,
            )
        ],
        lines=Lines("loaded files in the folder", points),
    )


if __name__ == "__main__":
    sys.exit(main())
