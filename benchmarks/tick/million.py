"""One tick of a landing sensor over 1,000,000 objects in a bucket that are landed and loaded.

The bucket is simulated: a server answers with pages of a listing, and the ledger is written as if
its objects had been loaded. The ticks are evaluated in a process of their own, as in a code server.
The reference only lists the bucket, with the same library.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from events_feed import build_feed
from listed_bucket import PARTS, PREFIX, SIZE_BYTES, name_of, version_of
from measure import MEASURED, REFERENCE, Bar, Figures, Lines, plain_environment, report
from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.landing.local import LocalFolder
from partitioned_etl.engine.warehouse.registry import connect_warehouse
from past_loads import record_past_load

OBJECTS = (10_000, 100_000, 1_000_000)
CHANGED = 10
FILES_PER_LOAD = 10_000
PATTERN = "{key}/{part}.csv"
TICKS = Path(__file__).with_name("evaluate_ticks.py")
SERVER = Path(__file__).with_name("listed_bucket.py")
MUST_SECONDS, MUST_MEGABYTES = 15.0, 300.0
LIST = """
import sys, time, obstore
from obstore.store import from_url
store = from_url("s3://bucket", client_options={"allow_http": True})
started = time.perf_counter()
count = sum(len(page) for page in obstore.list(store, prefix=sys.argv[1]))
print(time.perf_counter() - started, count)
"""


@contextmanager
def serve(*told: object) -> Iterator[str]:
    """Serve the listing of a bucket, of which the server is told; give the server's address."""
    argv = [sys.executable, str(SERVER), *map(str, told)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.terminate()


def environment_of(endpoint: str, folder: Path) -> dict[str, str]:
    """Give the environment of ticks over the bucket of a server, with all else in a folder."""
    return plain_environment() | {
        "LANDING_DIR": "s3://bucket",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ALLOW_HTTP": "true",
        "DUCKDB_DATABASE": str(folder / "warehouse.duckdb"),
        "DAGSTER_HOME": str(folder),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


def land(number: int) -> LandedFile:
    """Give an object as a landing lists it that has not changed."""
    name = name_of(number)
    return LandedFile(name[:4], name, version_of(number), SIZE_BYTES, 0, LocalFolder(Path()))


def record(objects: int, folder: Path) -> None:
    """Write the ledger as if the objects had been loaded, and Dagster's keys."""
    feed, warehouse = build_feed(PATTERN), connect_warehouse(folder / "warehouse.duckdb")
    with warehouse.open(folder) as opened:
        table = opened.table(feed)
        table.prepare()
        for start in range(0, objects, FILES_PER_LOAD):
            numbers = range(start, start + FILES_PER_LOAD)
            record_past_load(table, [land(number) for number in numbers])
    (folder / "dagster.yaml").touch()
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        keys = [f"{number:04}" for number in range(objects // PARTS)]
        instance.add_dynamic_partitions(feed.name, keys)


def measure(objects: int, folder: Path) -> dict[str, dict[str, Any]]:
    """Give what ticks over so many objects took, and what listing them alone did."""
    folder.mkdir()
    record(objects, folder)
    told: dict[str, dict[str, Any]] = {}
    for way, changed in ((MEASURED, 0), (f"{CHANGED} changed", CHANGED)):
        with serve(objects, changed) as endpoint:
            environment = environment_of(endpoint, folder)

            def run(*argv: str, environment: dict[str, str] = environment) -> str:
                argv = (sys.executable, "-W", "ignore", *argv)
                return subprocess.run(
                    argv, check=True, env=environment, stdout=subprocess.PIPE, text=True
                ).stdout.splitlines()[-1]

            if not changed:
                listed = [run("-c", LIST, f"{PREFIX}/").split() for _ in range(3)]
                assert all(int(count) == objects for _, count in listed)
                told[REFERENCE] = {"seconds": [float(seconds) for seconds, _ in listed]}
            told[way] = json.loads(run(str(TICKS), "", PATTERN))
            assert (told[way]["runs"] > 0) == bool(changed), told[way]
    return told


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="million_") as name:
        told = {objects: measure(objects, Path(name, str(objects))) for objects in OBJECTS}
    print(f"{time.perf_counter() - started:.0f} s in all")
    most = told[OBJECTS[-1]]
    figures = {way: Figures.of(of_way["seconds"]) for way, of_way in most.items()}
    ticks = [way for way in most if way != REFERENCE]
    megabytes = max(most[way]["megabytes"] for way in ticks)
    return report(
        "million",
        f"one tick over {OBJECTS[-1]:,} loaded objects",
        figures,
        [
            Bar("seconds", max(figures[way].median for way in ticks), MUST_SECONDS, is_least=False),
            Bar("MB of memory", round(megabytes), MUST_MEGABYTES, is_least=False),
        ],
        lines=Lines(
            "objects",
            {
                way: [(n, Figures.of(told[n][key]["seconds"]).median) for n in OBJECTS]
                for way, key in (("a tick", MEASURED), ("only listing them", REFERENCE))
            },
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
