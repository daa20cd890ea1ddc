"""The least that a look at a feed takes: list its files, read what is known of them, compare.

A sensor written by hand asks the folder, Dagster and the ledger for as much, and validates nothing.
Prints, as JSON, the seconds of each look and what the last one found.
"""

import json
import os
import sys
import time

import dagster as dg
import duckdb

LOOKS = 5


def compare_by_hand(folder: str, database: str, instance: dg.DagsterInstance) -> list[str]:
    """Return the names of the files that Dagster or the ledger does not know as they are."""
    landed = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            landed[entry.name] = (
                f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"
            )
    registered = set(instance.get_dynamic_partitions("customers"))
    with duckdb.connect(database) as duck:
        rows = duck.execute(
            "SELECT source_file, partition_key, version, status, content_hash FROM file_loads"
        ).fetchall()
    loaded = {row[0]: row for row in rows if row[1] in registered}
    return [
        name
        for name, version in sorted(landed.items())
        if name not in loaded or loaded[name][2] != version
    ]


def main() -> None:
    """Look again and again, and print what it took."""
    seconds, found = [], []
    with dg.DagsterInstance.get() as instance:
        for _ in range(LOOKS):
            started = time.perf_counter()
            found = compare_by_hand(sys.argv[1], os.environ["DUCKDB_DATABASE"], instance)
            seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds, "found": len(found)}))


if __name__ == "__main__":
    main()
