"""One file: the time until its rows are queryable, in `dagster dev`.

The sensors tick every 5 seconds and wait until a file was left alone for 2.
"""

import sys
import time

from measure import MEASURED, Bar, Figures, report
from server_inputs import SHIPPED, make_price_files
from support.dev_server import open_server

INTERVAL_SECONDS = 5
MUST_SECONDS = INTERVAL_SECONDS + 5
RUNS = 8
TABLE = "raw_dynamic_partition_data"


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    took = []
    with open_server(SHIPPED, SENSOR_INTERVAL_SECONDS=str(INTERVAL_SECONDS)) as server:
        server.start()
        for run in range(RUNS + 1):
            landed_at = server.land("customers", make_price_files([f"file-{run}"]))
            took.append(server.wait_for_files(TABLE, run + 1) - landed_at)
            server.wait_until_quiet()
            # Files land at all moments between two ticks of the sensor.
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
