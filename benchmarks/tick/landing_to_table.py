"""Files that land at once: the time until the last row is queryable, in `dagster dev`.

The sensors tick every 5 seconds and wait until a file was left alone for 2. The reference is one
run per file under the default executor, `against/run_per_file.py`, without a settle time.

The same with Dagster's storage in PostgreSQL, as `deploy/one-machine` sets it up, with PgBouncer.
It is also told until when the run is green, which the storage decides.
"""

import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from measure import MEASURED, REFERENCE, Bar, Figures, Lines, report
from server_inputs import RUN_PER_FILE, SHIPPED, make_price_files
from support.dev_server import PROJECT, DevServer, open_server
from support.postgres_pooler import PGBOUNCER, run_pooler
from support.postgres_server import run_postgres

COUNTS = {20: 3, 100: 3, 1000: 3}
"""How often so many files land."""
QUIET_SECONDS = 10
"""Within that, every sensor has ticked: what is downstream has been requested, such as copies."""
REFERENCE_COUNT = 20
MUST_TAKE = {100: 2.6, 1000: 7.8}
"""The most time for so many files, in times of what the reference takes for one."""
MUST_RATIO = 90
MUST_SECONDS = 12
"""The most that the most files may take with Dagster's storage in PostgreSQL."""
TABLE, JOB = "raw_dynamic_partition_data", "customer_prices_job"


@dataclass(frozen=True)
class Took:
    """How long files took, in seconds.

    Attributes:
        rows: Until the last of their rows was queryable.
        green: Until the run that loaded them had succeeded, too.
    """

    rows: float
    green: float


@contextmanager
def open_on_postgres() -> Iterator[DevServer]:
    """Give a server, not started yet, with Dagster's storage in a PostgreSQL server of its own."""
    with run_postgres(fsync="on") as postgres:
        address = postgres.make_database()
        with run_pooler(postgres, address) as pooled:
            settings = {
                "SENSOR_INTERVAL_SECONDS": "5",
                "DAGSTER_POSTGRES_URL": pooled.replace("://", "+psycopg2://"),
            }
            with open_server(SHIPPED, **settings) as server:
                shutil.copy(PROJECT / "deploy/one-machine/dagster.yaml", server.folder)
                yield server


def land_and_wait(server: DevServer, count: int, so_far: int, job: str = JOB) -> Took:
    """Let files land, wait for their rows and what follows, and tell how long it took."""
    stems = [f"file-{so_far + number:06}" for number in range(count)]
    landed_at = server.land("customers", make_price_files(stems))
    wall_clock = time.time() - (time.perf_counter() - landed_at)
    rows = server.wait_for_files(TABLE, so_far + count) - landed_at
    server.wait_until_quiet(QUIET_SECONDS)
    ended_at = find_end(server, job)
    # Files land at different moments between two ticks of the sensor.
    time.sleep(1.7 * (so_far % 3))
    return Took(rows, max(rows, ended_at - wall_clock))


def find_end(server: DevServer, job: str) -> float:
    """Give the moment when the latest run of a job ended; all of its runs must have succeeded."""
    query = (
        "query ($of: RunsFilter) { runsOrError(filter: $of) { "
        "... on Runs { results { status endTime } } } }"
    )
    runs = server.ask(query, of={"pipelineName": job})["runsOrError"]["results"]
    assert {run["status"] for run in runs} == {"SUCCESS"}, runs
    return max(run["endTime"] for run in runs)


def time_landings(server: DevServer, counts: Mapping[int, int]) -> dict[int, list[Took]]:
    """Start a server, and let so many files land so often."""
    took: dict[int, list[Took]] = {count: [] for count in counts}
    server.start()
    so_far = 1
    land_and_wait(server, 1, 0)
    for count, times in counts.items():
        for _ in range(times):
            took[count].append(land_and_wait(server, count, so_far))
            so_far += count
    return took


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    if not PGBOUNCER:
        sys.exit("PgBouncer is missing (Debian: pgbouncer)")
    most = max(COUNTS)
    with open_server(SHIPPED, SENSOR_INTERVAL_SECONDS="5") as server:
        runs = time_landings(server, COUNTS)
    with open_on_postgres() as server:
        on_postgres = time_landings(server, {most: COUNTS[most]})[most]
    with open_server(RUN_PER_FILE, SENSOR_INTERVAL_SECONDS="5") as server:
        server.start()
        reference = land_and_wait(server, REFERENCE_COUNT, 0, "customers_job").rows

    seconds = {count: Figures.of([one.rows for one in took]) for count, took in runs.items()}
    figures = {
        REFERENCE: Figures.of([REFERENCE_COUNT / reference]),
        MEASURED: Figures.of([most / one.rows for one in runs[most]]),
        "until green": Figures.of([most / one.green for one in runs[most]]),
        "PostgreSQL": Figures.of([most / one.rows for one in on_postgres]),
        "PostgreSQL, until green": Figures.of([most / one.green for one in on_postgres]),
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
            Bar(
                f"PostgreSQL: seconds for {most} files",
                Figures.of([one.rows for one in on_postgres]).median,
                MUST_SECONDS,
                is_least=False,
            ),
        ],
        unit="files/s",
        lines=Lines(
            "files dropped at once",
            {
                "this project": points,
                "one run per file": [(REFERENCE_COUNT, round(REFERENCE_COUNT / reference, 2))],
                "this project, PostgreSQL": [(most, round(figures["PostgreSQL"].median, 2))],
            },
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
