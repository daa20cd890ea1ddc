"""A backfill of 1,000 days that are loaded already, launched as the web UI does it.

It ends when the last of its runs has ended. Dagster looks for new backfills every 30 seconds, which
is in all figures. The reference is one run per partition, `against/run_per_file.py`.
"""

import sys
import time
from datetime import date, timedelta

from measure import MEASURED, REFERENCE, Figures, report, throughput_bar
from server_inputs import RUN_PER_FILE, SHIPPED, make_price_files
from support.dev_server import DevServer, open_server

DAYS = 1000
REFERENCE_DAYS = 20
RUNS = 2
MUST = 60
START = date(2020, 1, 1)
WINDOW = {
    "SENSOR_INTERVAL_SECONDS": "5",
    "DAILY_START_DATE": START.isoformat(),
    "DAILY_END_DATE": (START + timedelta(days=DAYS)).isoformat(),
}


def time_backfill(server: DevServer, assets: list[str], days: list[str]) -> float:
    """Launch a backfill and give the seconds per partition until its runs have ended."""
    launched_at = time.time()
    answer = server.ask(
        "mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill("
        "backfillParams: $params) { __typename ... on LaunchBackfillSuccess { backfillId } } }",
        params={
            "assetSelection": [{"path": [asset]} for asset in assets],
            "partitionNames": days,
        },
    )["launchPartitionBackfill"]
    query = (
        "query ($id: String!) { partitionBackfillOrError(backfillId: $id) { "
        "... on PartitionBackfill { status runs(limit: 2000) { status endTime } } } }"
    )

    def read_end() -> float | None:
        backfill = server.ask(query, id=answer["backfillId"])["partitionBackfillOrError"]
        if not backfill["status"].startswith("COMPLETED"):
            return None
        statuses = {run["status"] for run in backfill["runs"]}
        assert statuses == {"SUCCESS"}, f"the backfill's runs ended with {statuses}"
        return max(run["endTime"] for run in backfill["runs"])

    ended_at = server.wait_until("the backfill has ended", read_end, poll_s=1)
    return (ended_at - launched_at) / len(days)


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    days = [(START + timedelta(days=number)).isoformat() for number in range(DAYS)]
    with open_server(SHIPPED, **WINDOW) as server:
        server.start()
        server.land("daily", make_price_files(days))
        server.wait_for_files("raw_partition_data", DAYS)
        server.wait_until_quiet()
        assets = ["import_partition_file", "duckdb_partition_table"]
        measured = [time_backfill(server, assets, days) for _ in range(RUNS)]
    with open_server(RUN_PER_FILE, **WINDOW) as server:
        server.start()
        days = days[:REFERENCE_DAYS]
        server.land("daily", make_price_files(days))
        reference = time_backfill(server, ["day_file", "day_table"], days)

    figures = {
        REFERENCE: Figures.of([1000 * reference]),
        MEASURED: Figures.of([1000 * seconds for seconds in measured]),
    }
    return report(
        "backfill",
        f"{DAYS} days loaded again from the web UI, against one run per day",
        figures,
        [throughput_bar("times the partitions per second", figures, MUST)],
        unit="ms per partition",
    )


if __name__ == "__main__":
    sys.exit(main())
