"""One tick over 100,000 loaded files that are the parts of 1,000 partitions.

The reference is a tick over 100,000 partitions of one file. Both are evaluated in processes of
their own, as in a code server, in turn.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg

from events_feed import build_feed
from measure import MEASURED, REFERENCE, Bar, Figures, plain_environment, report
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.registry import connect_landing
from partitioned_etl.engine.sync import sync_feed
from partitioned_etl.engine.warehouse.registry import connect_warehouse
from past_loads import record_past_load

FILES, PARTITIONS = 100_000, 1_000
PATTERNS = {MEASURED: "{key}_{part}.csv", REFERENCE: "{key}.csv"}
TICKS = Path(__file__).with_name("evaluate_ticks.py")
MUST_TIMES = 1.25


def land_and_load(feed: Feed, folder: Path, instance: dg.DagsterInstance) -> None:
    """Make files, and write ledger and partition keys as if they were loaded."""
    landing_dir, database = folder / "landing", folder / "warehouse.duckdb"
    (landing_dir / feed.folder).mkdir(parents=True)
    paths = [
        landing_dir / feed.folder / f"{number % PARTITIONS:04}_{number:06}.csv"
        for number in range(FILES)
    ]
    paths[0].write_text("id\n1\n", encoding="utf-8")
    sync_feed(feed, landing_dir, database, settle_seconds=0)
    for path in paths[1:]:
        path.write_text("x\n", encoding="utf-8")
    landing, warehouse = connect_landing(landing_dir, settle_seconds=0), connect_warehouse(database)
    listing = landing.list_files(feed)
    with warehouse.open(landing.readable_dir) as opened:
        record_past_load(opened.table(feed), list(listing.files.values()), run_id=str(uuid4()))
    keys = list(listing.by_key)
    for start in range(0, len(keys), 10_000):
        instance.add_dynamic_partitions(feed.name, keys[start : start + 10_000])


def measure(pattern: str, folder: Path) -> dict[str, Any]:
    """Give what ticks over the files of a feed took when nothing had changed."""
    environment = plain_environment() | {
        "LANDING_DIR": str(folder / "landing"),
        "DUCKDB_DATABASE": str(folder / "warehouse.duckdb"),
        "SETTLE_SECONDS": "0",
        "DAGSTER_HOME": str(folder),
    }
    os.environ |= environment
    folder.mkdir()
    (folder / "dagster.yaml").touch()
    with dg.DagsterInstance.get() as instance:
        land_and_load(build_feed(pattern), folder, instance)

    def run(cursor: str) -> dict[str, Any]:
        child = subprocess.run(
            [sys.executable, "-W", "ignore", TICKS, cursor, pattern],
            check=True,
            env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
        )
        return json.loads(child.stdout.splitlines()[-1])

    # The first tick after all these loads makes sure that each was reported.
    told = run(run("")["cursor"])
    assert told["runs"] == 0
    return told


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    with tempfile.TemporaryDirectory(prefix="many_parts_") as name:
        told = {way: measure(pattern, Path(name, way)) for way, pattern in PATTERNS.items()}
    figures = {way: Figures.of(found["seconds"]) for way, found in told.items()}
    times = figures[MEASURED].median / figures[REFERENCE].median
    memory = told[MEASURED]["megabytes"] / told[REFERENCE]["megabytes"]
    return report(
        "many_parts",
        f"one tick over {FILES:,} loaded files, {FILES // PARTITIONS} to a partition",
        figures,
        [
            Bar("times one file to a partition", round(times, 3), MUST_TIMES, is_least=False),
            Bar("times its memory", round(memory, 3), MUST_TIMES, is_least=False),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
