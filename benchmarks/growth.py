"""Growth: 10 files changed in a folder of 1,000, 10,000 and 100,000 that are loaded.

`sync_feed` lists the folder, reads the ledger, holds one against the other and loads the 10 files.
The second line is the least that any way must do which looks at the folder: `os.scandir` and a
`stat` per file. The files are put into table and ledger as loads would have left them.
"""

import os
import sys
import tempfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from measure import MEASURED, REFERENCE, Bar, Figures, Lines, report, take_turns
from partitioned_etl.ingest.database import connect, transaction
from partitioned_etl.ingest.feed import LEDGER_TABLE, Feed
from partitioned_etl.ingest.landing import list_landed_files
from partitioned_etl.ingest.ledger import upsert_ledger
from partitioned_etl.ingest.loading import ledger_row
from partitioned_etl.ingest.sync import sync_feed
from partitioned_etl.ingest.warehouse import replace_partitions

SIZES = (1_000, 10_000, 100_000)
CHANGED = 10
_BATCH = 10_000
MUST_RATIO = 8.0
FEED = Feed(
    name="readings",
    folder="readings",
    pattern="{key}.csv",
    columns={"id": "BIGINT", "value": "DOUBLE"},
    table="readings",
)


class Place:
    """A landing directory of many loaded files, and its database.

    Args:
        root: The folder of both.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.database = root, root / FEED.folder, root / "warehouse.duckdb"
        self.folder.mkdir()
        self.size = self._version = 0

    def _write(self, number: int) -> None:
        path = self.folder / f"r{number:06}.csv"
        path.write_text(f"id,value\n{number},{self._version}\n", encoding="utf-8")

    def grow(self, size: int) -> None:
        """Let files land until there are so many, all of them loaded."""
        for number in range(self.size, size):
            self._write(number)
        self.size = size
        self.database.unlink(missing_ok=True)
        files = list(list_landed_files(FEED, self.root).files.values())
        with connect(self.database, self.root) as connection:
            replace_partitions(connection, FEED, [])
            with transaction(connection):
                for start in range(0, size, _BATCH):
                    rows = [
                        ledger_row(
                            FEED,
                            file,
                            "",
                            sha256=sha256(file.path.read_bytes()).hexdigest(),
                            row_count=1,
                            file_row_count=1,
                            loaded_at=datetime.now(UTC),
                        )
                        for file in files[start : start + _BATCH]
                    ]
                    upsert_ledger(connection, rows)
                connection.execute(
                    "INSERT INTO readings SELECT row_number() OVER () - 1, 0, partition_key, "
                    f"source_file FROM {LEDGER_TABLE}"
                )

    def change(self) -> None:
        """Change a few files."""
        self._version += 1
        for number in range(0, self.size, self.size // CHANGED):
            self._write(number)

    def sync(self) -> None:
        """Bring the table level."""
        synced = sync_feed(FEED, self.root, self.database, settle_seconds=0)
        assert len(synced.loaded) == CHANGED, synced.rejected[:1]
        assert len(synced.unchanged) == self.size - CHANGED, synced.rejected[:1]

    def look(self) -> None:
        """List the folder and ask for every file's status."""
        with os.scandir(self.folder) as entries:
            found = [entry.stat() for entry in entries]
        assert len(found) == self.size


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    measured: dict[int, dict[str, Figures]] = {}
    with tempfile.TemporaryDirectory(prefix="growth_") as name:
        place = Place(Path(name))
        for size in SIZES:
            place.grow(size)
            measured[size] = take_turns(
                {REFERENCE: place.look, MEASURED: place.sync},
                runs=9,
                prepare={MEASURED: place.change},
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
