"""One file: the time until its rows are queryable, in `dagster dev`.

The sensors look every 5 seconds and wait until a file was left alone for 2.
"""

import sys
import time

from measure import MEASURED, Bar, Figures, report
from servers.dev_server import open_server

INTERVAL_SECONDS = 5
MUST_SECONDS = INTERVAL_SECONDS + 5
RUNS = 8
TABLE = "raw_dynamic_partition_data"


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    took = []
    with open_server(SENSOR_INTERVAL_SECONDS=str(INTERVAL_SECONDS)) as server:
        server.start()
        for run in range(RUNS + 1):
            dropped_at = server.drop("customers", [f"file-{run}.csv"])
            took.append(server.wait_for_files(TABLE, run + 1) - dropped_at)
            server.wait_until_quiet()
            # Drops come at all moments between two looks of the sensor.
            time.sleep(run * INTERVAL_SECONDS / RUNS)
    figures = {MEASURED: Figures.of(took[1:])}
    return report(
        "first_row",
        f"one file dropped until its rows are queryable, sensors every {INTERVAL_SECONDS} s",
        figures,
        [Bar("seconds from drop to query", figures[MEASURED].median, MUST_SECONDS, is_least=False)],
    )


if __name__ == "__main__":
    sys.exit(main())
