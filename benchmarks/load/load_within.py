"""One load in a process of its own, whose memory is measured.

Takes a way, the folder of a `memory` benchmark and a memory limit; prints the most memory that the
process had, in bytes. Nothing else is imported, so that nothing else is in it.
"""

import sys
from pathlib import Path

import duckdb

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sync import sync_feed
from peak_memory import read_peak_bytes

FEED = Feed(
    name="readings",
    pattern="{key}.csv",
    columns={
        "id": "BIGINT",
        "day": "DATE",
        "name": "VARCHAR",
        "value": "DOUBLE",
        "spread": "DOUBLE",
    },
)


def main() -> None:
    """Load the file that lies there, and print the peak."""
    way, folder, limit = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    database = folder / f"{way}.duckdb"
    if way == "load":
        synced = sync_feed(FEED, folder, database, settle_seconds=0, memory_limit=limit)
        assert len(synced.loaded) == 1, synced
    else:
        columns = ", ".join(f"{column} {kind}" for column, kind in FEED.column_types.items())
        with duckdb.connect(str(database)) as connection:
            connection.execute(f"SET memory_limit = '{limit}'")
            connection.execute("SET preserve_insertion_order = false")
            connection.execute(f"CREATE TABLE readings ({columns})")
            (path,) = (folder / FEED.folder).iterdir()
            connection.execute(f"COPY readings FROM '{path}' (HEADER)")
    print(read_peak_bytes())


if __name__ == "__main__":
    main()
