"""One tick over 1,000,000 loaded objects of 1,000 days, of which the last week is looked at.

The reference is a tick over the same objects that looks at all. The bucket is simulated, as for
`million`. Both are evaluated in processes of their own, as in a code server.
"""

import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from evaluate_ticks import TICKS
from events_feed import build_feed
from listed_bucket import COUNT_PATH, PARTS, SIZE_BYTES, name_of, version_of
from measure import MEASURED, REFERENCE, Bar, Figures, report
from million import FILES_PER_LOAD, environment_of, serve
from million import TICKS as EVALUATE
from partitioned_etl.components.sensor import LandingCursor
from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.landing.local import LocalFolder
from partitioned_etl.engine.warehouse.registry import connect_warehouse
from past_loads import record_past_load

OBJECTS = 1_000_000
PATTERN = "{date:%Y}/{date:%m}/{date:%d}/{part}.csv"
LIST_SINCE_DAYS = 6
MUST_SECONDS, MUST_MEGABYTES, MUST_REQUESTS = 1.0, 300.0, 10


def record(first_day: date, folder: Path) -> None:
    """Write the ledger as if the objects had been loaded."""
    feed = build_feed(PATTERN, start=str(first_day))
    place = LocalFolder(Path())
    with connect_warehouse(folder / "warehouse.duckdb").open(folder) as opened:
        table = opened.table(feed)
        table.prepare()
        for start in range(0, OBJECTS, FILES_PER_LOAD):
            files = list[LandedFile]()
            for number in range(start, start + FILES_PER_LOAD):
                name = name_of(number, first_day)
                key = feed.partition_key_of(name)
                files.append(LandedFile(key, name, version_of(number), SIZE_BYTES, 0, place))
            record_past_load(table, files)
    (folder / "dagster.yaml").touch()


def evaluate(folder: Path, endpoint: str, **declared: Any) -> dict[str, Any]:
    """Give what ticks took, and how many requests each of them made."""
    environment = environment_of(endpoint, folder)
    # As after an earlier tick that looked at all and found nothing to do.
    cursor = str(LandingCursor(complete_until=time.time()))
    before = count_requests(endpoint)
    argv = (sys.executable, "-W", "ignore", str(EVALUATE), cursor, PATTERN, json.dumps(declared))
    done = subprocess.run(argv, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert not told["runs"], told
    return told | {"requests": (count_requests(endpoint) - before) // TICKS}


def count_requests(endpoint: str) -> int:
    """Give how many pages of a listing the server was asked for."""
    with urlopen(endpoint + COUNT_PATH) as answer:
        return int(answer.read())


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    first_day = datetime.now(UTC).date() - timedelta(days=OBJECTS // PARTS - 1)
    with tempfile.TemporaryDirectory(prefix="list_since_") as name:
        folder = Path(name)
        record(first_day, folder)
        with serve(OBJECTS, 0, first_day) as endpoint:
            since = evaluate(
                folder, endpoint, start=str(first_day), list_since_days=LIST_SINCE_DAYS
            )
            in_all = evaluate(folder, endpoint, start=str(first_day))
    for way in (since, in_all):
        print(f"{way['requests']} requests, {way['megabytes']:.0f} MB")
    told = {MEASURED: since, REFERENCE: in_all}
    figures = {way: Figures.of(of_way["seconds"]) for way, of_way in told.items()}
    return report(
        "list_since",
        f"one tick over a week of {OBJECTS:,} loaded objects",
        figures,
        [
            Bar("seconds", figures[MEASURED].median, MUST_SECONDS, is_least=False),
            Bar("MB of memory", round(since["megabytes"]), MUST_MEGABYTES, is_least=False),
            Bar("requests to the store", since["requests"], MUST_REQUESTS, is_least=False),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
