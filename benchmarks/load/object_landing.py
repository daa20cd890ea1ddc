"""From a bucket: 1,000 objects of 5 kB, one of 1 GB; against the same in a folder, and dlt.

The bucket is SeaweedFS's on this machine, so what counts is not a network: it is listing, signed
requests, and the copies that DuckDB reads. All lies in memory where there is room, because a disk
that just removed a thousand files is slow to make others. Bucket and folder load by `sync_feed`,
strictly, with hashes and ledger. dlt reads the same bucket, through s3fs, in its fastest way,
`arrow` of `against/load_with_dlt.py`; only its pipeline is timed, not the start of its process.
Everybody begins with no database, and after each run rows and a sum are checked.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import obstore
from obstore.store import S3Store

from dlt_process import ROWS_AND_SUM, dlt_versions, require_dlt, sum_files, time_dlt
from large_file import write_file
from measure import MEASURED, REFERENCE, Bar, Figures, report, take_turns
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sync import sync_feed
from sample_feeds.defs.daily_prices import DAILY_PRICES
from support.s3_server import S3Server, environment_of, find_weed

SMALL_FILES, SMALL_ROWS = 1_000, 56
LARGE_ROWS = 11_200_000
ROOM_BYTES = 8 << 30
MUST, DLT_MUST = 0.6, 3.0
DLT = "dlt"
BUCKET = "landing"
URL = f"s3://{BUCKET}/in"
LARGE = Feed(name="large", pattern="{key}.csv", columns=DAILY_PRICES.columns)
SMALL = Feed(name="small", pattern="{key}.csv", columns=DAILY_PRICES.columns)
KINDS = {"1,000 of 5 kB": (SMALL, 9), "one of 1 GB": (LARGE, 3)}
"""The feeds, and how often each loads."""


def write_files(landing_dir: Path) -> None:
    """Write the large file, and the small ones."""
    for feed in (LARGE, SMALL):
        (landing_dir / feed.folder).mkdir(parents=True)
    write_file(landing_dir / LARGE.folder / "all.csv", LARGE_ROWS)
    sample = landing_dir / "sample"
    write_file(sample, SMALL_FILES * SMALL_ROWS)
    head, *lines = sample.read_text(encoding="utf-8").splitlines(keepends=True)
    sample.unlink()
    for number in range(SMALL_FILES):
        rows = "".join(lines[number * SMALL_ROWS : (number + 1) * SMALL_ROWS])
        path = landing_dir / SMALL.folder / f"r{number:04}.csv"
        path.write_text(head + rows, encoding="utf-8")


def put_files(landing_dir: Path) -> None:
    """Put the same files into the bucket.

    They are put as what SeaweedFS takes for compressed already. Texts it compresses itself, and
    then decompresses a whole chunk for every part that is asked for, which other stores do not.
    """
    store = S3Store(BUCKET, client_options={"allow_http": True, "timeout": "300s"})
    for path in landing_dir.glob("*/*.csv"):
        key = f"in/{path.relative_to(landing_dir).as_posix()}"
        attributes = {"Content-Type": "application/zip"}
        obstore.put(store, key, path, attributes=attributes, use_multipart=False)


def find_room() -> str | None:
    """Give a folder in memory; None if there is none with room for everything."""
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > ROOM_BYTES
    return str(memory) if has_room else None


class Ways:
    """The ways of one feed's files, each into a database of its own.

    Args:
        feed: The feed.
        landing_dir: Where the files are, which are in the bucket, too.
        database: Where to load them.
    """

    def __init__(self, feed: Feed, landing_dir: Path, database: Path) -> None:
        self._feed, self._landing_dir, self._database = feed, landing_dir, database
        files = sorted((landing_dir / feed.folder).iterdir())
        self._count, self._sums = len(files), sum_files(files)

    def load_folder(self) -> float:
        """Load the folder's files, and give the seconds."""
        return self._load(self._landing_dir)

    def load_bucket(self) -> float:
        """Load the bucket's objects, and give the seconds."""
        return self._load(URL)

    def load_with_dlt(self) -> float:
        """Let dlt load the bucket's objects, and give the seconds."""
        return time_dlt(f"{URL}/{self._feed.folder}", "arrow", self._sums)

    def _load(self, place: Path | str) -> float:
        self._database.unlink(missing_ok=True)
        started = time.perf_counter()
        loaded = sync_feed(self._feed, place, self._database, settle_seconds=0).loaded
        seconds = time.perf_counter() - started
        assert len(loaded) == self._count, len(loaded)
        with duckdb.connect(str(self._database), read_only=True) as duck:
            found = duck.execute(f"SELECT {ROWS_AND_SUM} FROM {self._feed.table}").fetchone()
        assert found == self._sums, f"{found} were loaded, not {self._sums}"
        return seconds


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    if not find_weed():
        sys.exit("SeaweedFS is missing: make .venv/.scale-installed")
    require_dlt()
    kinds: dict[str, dict[str, Figures]] = {}
    with tempfile.TemporaryDirectory(prefix="object_landing_", dir=find_room()) as name:
        folder = Path(name)
        write_files(folder / "landing")
        server = S3Server(folder / "s3")
        try:
            os.environ |= environment_of(server.endpoint) | {"STAGING_DIR": str(folder / "staging")}
            server.make_bucket(BUCKET)
            put_files(folder / "landing")
            for kind, (feed, runs) in KINDS.items():
                ways = Ways(feed, folder / "landing", folder / "warehouse.duckdb")
                kinds[kind] = take_turns(
                    {
                        REFERENCE: ways.load_folder,
                        MEASURED: ways.load_bucket,
                        DLT: ways.load_with_dlt,
                    },
                    runs=runs,
                )
        finally:
            server.stop()
    names = {REFERENCE: "folder", MEASURED: "bucket", DLT: "bucket, dlt"}
    return report(
        "object_landing",
        "files from a bucket, against the same files from a folder, and dlt",
        {f"{kind}, {names[way]}": one for kind, ways in kinds.items() for way, one in ways.items()},
        [
            Bar(f"{kind}: {words}", round(ways[other].median / ways[MEASURED].median, 3), must)
            for other, words, must in (
                (REFERENCE, "ratio of the folder's speed", MUST),
                (DLT, "times dlt's speed", DLT_MUST),
            )
            for kind, ways in kinds.items()
        ],
        packages=dlt_versions("s3fs"),
    )


if __name__ == "__main__":
    sys.exit(main())
