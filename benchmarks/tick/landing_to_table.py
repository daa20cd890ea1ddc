"""Files that land at once: the time until the last row is queryable, in `dagster dev`.

The sensors tick every 5 seconds and wait until a file was left alone for 2. The reference is one
run per file under the default executor, `against/run_per_file.py`, without a settle time.
"""

import sys
import time

from measure import MEASURED, REFERENCE, Bar, Figures, Lines, report
from server_inputs import RUN_PER_FILE, SHIPPED, make_price_files
from support.dev_server import DevServer, open_server

COUNTS = {20: 3, 100: 3, 1000: 3}
"""How often so many files land."""
QUIET_SECONDS = 10
"""Within that, every sensor has ticked: what is downstream has been requested, such as copies."""
REFERENCE_COUNT = 20
MUST_TAKE = {100: 2.6, 1000: 7.8}
"""The most time for so many files, in times of what the reference takes for one."""
MUST_RATIO = 90
TABLE = "raw_dynamic_partition_data"


def land_and_wait(server: DevServer, count: int, so_far: int) -> float:
    """Let files land, wait for their rows, and give the seconds that it took."""
    stems = [f"file-{so_far + number:06}" for number in range(count)]
    landed_at = server.land("customers", make_price_files(stems))
    took = server.wait_for_files(TABLE, so_far + count) - landed_at
    server.wait_until_quiet(QUIET_SECONDS)
    # Files land at different moments between two ticks of the sensor.
    time.sleep(1.7 * (so_far % 3))
    return took


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    runs: dict[int, list[float]] = {count: [] for count in COUNTS}
    with open_server(SHIPPED, SENSOR_INTERVAL_SECONDS="5") as server:
        server.start()
        so_far = 1
        land_and_wait(server, 1, 0)
        for count, times in COUNTS.items():
            for _ in range(times):
                runs[count].append(land_and_wait(server, count, so_far))
                so_far += count
    with open_server(RUN_PER_FILE, SENSOR_INTERVAL_SECONDS="5") as server:
        server.start()
        reference = land_and_wait(server, REFERENCE_COUNT, 0)

    seconds = {count: Figures.of(times) for count, times in runs.items()}
    most = max(COUNTS)
    figures = {
        REFERENCE: Figures.of([REFERENCE_COUNT / reference]),
        MEASURED: Figures.of([most / took for took in runs[most]]),
    }
    ratio = figures[MEASURED].median / figures[REFERENCE].median
    points = [(count, round(count / one.median, 2)) for count, one in seconds.items()]
    return report(
        "landing_to_table",
        "files dropped at once until the last row is queryable",
        figures,
        [
            Bar("times the files per second of one run per file", round(ratio, 1), MUST_RATIO),
            *(
                Bar(
                    f"time for {count} files, in times of the reference's for one",
                    round(seconds[count].median * REFERENCE_COUNT / reference, 2),
                    must,
                    is_least=False,
                )
                for count, must in MUST_TAKE.items()
            ),
        ],
        unit="files/s",
        lines=Lines(
            "files dropped at once",
            {
                "this project": points,
                "one run per file": [(REFERENCE_COUNT, round(REFERENCE_COUNT / reference, 2))],
            },
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
