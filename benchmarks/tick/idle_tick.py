"""One tick of a landing sensor over 100,000 files that are landed and loaded.

The ticks are evaluated in a process of their own, as in a code server, with no file changed and
with ten changed. The reference asks folder, Dagster and ledger for as much and only compares.
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

from measure import MEASURED, REFERENCE, Bar, Figures, plain_environment, report
from partitioned_etl.engine.landing.registry import connect_landing
from partitioned_etl.engine.sync import sync_feed
from partitioned_etl.engine.warehouse.registry import connect_warehouse
from past_loads import record_past_load
from sample_feeds.defs.customer_prices import CUSTOMER_PRICES
from server_inputs import PRICES

FILES = 100_000
FILES_PER_LOAD = 1_000
CHANGED = 10
TICKS = Path(__file__).with_name("evaluate_ticks.py")
BY_HAND = Path(__file__).with_name("compare_by_hand.py")
MUST_TIMES, MUST_CURSOR_KB, MUST_MEGABYTES = 3.0, 64.0, 300.0


def land_and_load(landing_dir: Path, database: Path, instance: dg.DagsterInstance) -> None:
    """Make files, and write ledger and partition keys as if they were loaded."""
    folder = landing_dir / CUSTOMER_PRICES.folder
    folder.mkdir(parents=True)
    (folder / "customer-000000.csv").write_text(PRICES, encoding="utf-8")
    sync_feed(CUSTOMER_PRICES, landing_dir, database, settle_seconds=0)
    for number in range(1, FILES):
        (folder / f"customer-{number:06}.csv").write_text("x\n", encoding="utf-8")
    landing, warehouse = connect_landing(landing_dir, settle_seconds=0), connect_warehouse(database)
    files = list(landing.list_files(CUSTOMER_PRICES).files.values())
    for start in range(0, FILES, FILES_PER_LOAD):
        some = files[start : start + FILES_PER_LOAD]
        with warehouse.open(landing.readable_dir) as opened:
            record_past_load(opened.table(CUSTOMER_PRICES), some, run_id=str(uuid4()))
        instance.add_dynamic_partitions("customers", [file.partition_key for file in some])


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    with tempfile.TemporaryDirectory(prefix="idle_tick_") as name:
        folder = Path(name)
        environment = plain_environment() | {
            "LANDING_DIR": str(folder / "landing"),
            "DUCKDB_DATABASE": str(folder / "warehouse.duckdb"),
            "SETTLE_SECONDS": "0",
            "DAGSTER_HOME": name,
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        os.environ |= environment
        (folder / "dagster.yaml").touch()
        with dg.DagsterInstance.get() as instance:
            land_and_load(folder / "landing", folder / "warehouse.duckdb", instance)

        def run(program: Path, argument: str) -> dict[str, Any]:
            child = subprocess.run(
                [sys.executable, "-W", "ignore", program, argument],
                check=True,
                env=environment,
                stdout=subprocess.PIPE,
            )
            return json.loads(child.stdout.splitlines()[-1])

        # The first tick after all these loads makes sure that each was reported.
        settled = run(TICKS, "")["cursor"]
        idle = run(TICKS, settled)
        changed = sorted((folder / "landing" / CUSTOMER_PRICES.folder).iterdir())
        for path in changed[:: FILES // CHANGED]:
            path.write_text(PRICES + "2018-02-01,1,2,3,4,5\n", encoding="utf-8")
        by_hand = run(BY_HAND, str(changed[0].parent))
        busy = run(TICKS, str(idle["cursor"] or ""))
        found = (idle["runs"], by_hand["found"], busy["runs"])
        assert found == (0, CHANGED, CHANGED), found

    ticks = {MEASURED: idle, f"{CHANGED} changed": busy}
    figures = {
        way: Figures.of(told["seconds"]) for way, told in (ticks | {REFERENCE: by_hand}).items()
    }
    slowest = max(figures[way].median for way in ticks)
    most = {
        "times the least that a look takes": (slowest / figures[REFERENCE].median, MUST_TIMES),
        "KB of the cursor": (len(str(busy["cursor"])) / 1e3, MUST_CURSOR_KB),
        "MB of memory": (max(told["megabytes"] for told in ticks.values()), MUST_MEGABYTES),
    }
    return report(
        "idle_tick",
        f"one tick over {FILES:,} loaded files",
        figures,
        [Bar(what, round(value, 3), must, is_least=False) for what, (value, must) in most.items()],
    )


if __name__ == "__main__":
    sys.exit(main())
