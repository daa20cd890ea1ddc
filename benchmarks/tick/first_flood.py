"""20,000 files that are there when `dagster dev` is started for the first time.

They are requested in the order of their partition keys, MAX_FILES_PER_RUN by a tick. Memory is that
of all processes of the server but the run workers.
"""

import sys
import time
from datetime import date, timedelta

import psutil

from measure import MEASURED, Bar, Figures, Lines, report
from server_inputs import SHIPPED, make_price_files
from support.dev_server import LOCATION, DevServer, open_server

FILES = 20_000
FIRST_DAY = date(1960, 1, 1)
MUST_TICK_SECONDS, MUST_GROWTH_MEGABYTES = 60.0, 200.0
_TICKS = (
    "query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) { ... on Sensor { "
    "sensorState { ticks(limit: 1000) { status timestamp endTimestamp } } } } }"
)
_SENSOR = {
    "repositoryLocationName": LOCATION,
    "repositoryName": "__repository__",
    "sensorName": "daily_prices_sensor",
}


def measure_megabytes(server: DevServer) -> float:
    """Give the memory of the server's processes that stay."""
    total = 0
    for process in [*psutil.Process(server.process_id).children(recursive=True)]:
        try:
            if "multiprocessing" not in " ".join(process.cmdline()):
                total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    days = [FIRST_DAY + timedelta(number) for number in range(FILES + 1)]
    with open_server(
        SHIPPED,
        SENSOR_INTERVAL_SECONDS="5",
        DAILY_START_DATE=str(days[0]),
        DAILY_END_DATE=str(days[FILES]),
    ) as server:
        server.land("daily", make_price_files(map(str, days[:FILES])))
        server.start()
        started_at = time.perf_counter()
        points = [(0.0, 0.0)]
        memory = []

        def read_loaded() -> bool:
            count = server.read_number("SELECT count(*) FROM file_loads")
            if count > points[-1][1]:
                points.append((round(time.perf_counter() - started_at, 1), count))
                memory.append(measure_megabytes(server))
            return points[-1][1] == FILES

        server.wait_until("every file is loaded", read_loaded, poll_s=0.5, deadline_s=3600)
        seconds = points[-1][0]
        ticks = server.ask(_TICKS, sensor=_SENSOR)["sensorOrError"]["sensorState"]["ticks"]
    failed = [tick for tick in ticks if tick["status"] == "FAILURE"]
    ended = [tick for tick in ticks if tick["endTimestamp"]]
    longest = max(tick["endTimestamp"] - tick["timestamp"] for tick in ended)
    return report(
        "first_flood",
        f"{FILES:,} files present at the first start",
        {MEASURED: Figures.of([FILES / seconds])},
        [
            Bar("seconds of the longest tick", longest, MUST_TICK_SECONDS, is_least=False),
            Bar("failed ticks", len(failed), 0, is_least=False),
            Bar(
                "MB that memory grows by",
                round(memory[-1] - memory[0], 1),
                MUST_GROWTH_MEGABYTES,
                is_least=False,
            ),
        ],
        unit="files/s",
        lines=Lines(
            "seconds since the start", {"this project": points}, is_log=False, y="files loaded"
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
