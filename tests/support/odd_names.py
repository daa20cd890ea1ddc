"""Odd names: what lies in a feed's place in cases that every landing must tell alike."""

from pathlib import Path
from typing import Any, NamedTuple

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import Landing, Listing
from support.workbench import CUSTOMER_DAYS, NOTES, PRICES, change_feed

CALENDAR = change_feed(CUSTOMER_DAYS, pattern="{date:%Y}/{date:%m}/{key}_{any}.csv")
PARTS = change_feed(NOTES, pattern="{key}-{part}.csv", part_count=2)
VERSIONS = change_feed(NOTES, pattern="{key}_v{version}.csv")
WITH_MARKERS = change_feed(NOTES, done_suffix=".done")
WITH_SUCCESS = change_feed(
    PRICES, pattern="{date:%Y-%m-%d}/{part}.csv", done_file="{date:%Y-%m-%d}/_SUCCESS"
)
PLAIN_KEYS = change_feed(NOTES, key_pattern=Feed.model_fields["key_pattern"].default)


class OddNames(NamedTuple):
    """Names of files below a feed's folder.

    Attributes:
        feed: The feed.
        names: The names.
        is_for_s3: Whether the tests' S3 server keeps them as they are.
    """

    feed: Feed
    names: tuple[str, ...]
    is_for_s3: bool = True


CASES = {
    "plain": OddNames(NOTES, ("b.csv", "a.csv", "c.csv.gz", "10.csv", "9.csv")),
    "hidden and temporary": OddNames(
        NOTES, (".a.csv", ".csv", "~b.csv", "c.csv~", "d.csv.part", "e.csv.tmp", "f.crdownload")
    ),
    "unmatched": OddNames(NOTES, ("README.md", "a.CSV", "a.csv.7z", "csv")),
    "spelling": OddNames(NOTES, ("acme.csv", "ACME.csv", "globex.csv", "caf\u00e9.csv")),
    "unicode form": OddNames(NOTES, ("caf\u00e9.csv", "cafe\u0301.csv", "stra\u00dfe.csv")),
    "compressed twice": OddNames(NOTES, ("a.csv", "a.csv.gz", "b.csv.zst")),
    "characters": OddNames(
        NOTES,
        (
            *("a b.csv", "a%20b.csv", "%2e%2e.csv", "a[1].csv", "a1.csv", "*.csv", "x?.csv"),
            *("#h.csv", "+p&q=r.csv", "\U0001f600.csv", "'quoted\"; DROP TABLE x.csv", " .csv"),
            *("a;b.csv", "{key}.csv", "$(id).csv", "a|b.csv", "a:b.csv", "%00.csv"),
        ),
    ),
    "plain keys": OddNames(PLAIN_KEYS, ("a b.csv", "a.b.csv", "-a.csv", "\u00e4.csv")),
    "backslash": OddNames(NOTES, ("a\\b.csv", "c.csv"), is_for_s3=False),
    "dates": OddNames(PRICES, ("2018-02-30.csv", "2018-02-28.csv", "2018-2-1.csv", "x.csv")),
    "deeper": OddNames(
        NOTES, ("a.csv", "archive/b.csv", "archive/2018/c.csv", "d.csv/e.csv", ".git/config")
    ),
    "folders": OddNames(
        CUSTOMER_DAYS,
        (
            *("acme/2018-01-22.csv", "globex/2018-01-22.csv.gz", ".hidden/2018-01-22.csv"),
            *("acme.tmp/2018-01-22.csv", "acme/.2018-01-22.csv", "acme/2018-01-23.csv.part"),
            *("acme/2018/2018-01-22.csv", "2018-01-22.csv", "acme/README.md", "ACME/x.txt"),
            *("initech/sub/deep/x.csv",),
        ),
    ),
    "spelling of folders": OddNames(
        CUSTOMER_DAYS, ("acme/2018-01-22.csv", "ACME/2018-01-23.csv", "globex/2018-01-22.csv")
    ),
    "patterns in folders": OddNames(
        CUSTOMER_DAYS, ("a*/2018-01-22.csv", "a[1]/2018-01-22.csv", "b/2018-01-22.csv")
    ),
    "calendar": OddNames(
        CALENDAR,
        (
            *("2018/01/acme_2.csv", "2018/02/acme_.csv", "2017/12/globex_x_y.csv.gz"),
            *("2018/1/a_.csv", "2018.csv", "2018/a_.csv", "2018/01/a.csv", "2018/01/a_/a_.csv"),
            *("2018/.01/a_.csv", "2018/03/a_1.csv", "2018/03/a_2.csv", "x/01/a_.csv"),
        ),
    ),
    "parts": OddNames(PARTS, ("a-1.csv", "a-2.csv", "b-1.csv", "c-1.csv", "c-2.csv", "c-3.csv")),
    "versions": OddNames(VERSIONS, ("a_v1.csv", "a_v2.csv", "a_v10.csv", "b_v1.csv", "B_v2.csv")),
    "markers": OddNames(WITH_MARKERS, ("a.csv", "a.csv.done", "b.csv", "c.csv.done")),
    "success": OddNames(
        WITH_SUCCESS,
        ("2018-01-22/a.csv", "2018-01-22/_SUCCESS", "2018-01-23/a.csv", "2018-01-24/_SUCCESS"),
    ),
}


def make_files(folder: Path, names: tuple[str, ...]) -> None:
    """Write a file of some bytes of each name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content_of(name))


def content_of(name: str) -> bytes:
    """Give what a file of a name holds: a length that tells it from others."""
    return b"id,note\n" + b"1,x\n" * (len(name) % 7)


def tell(landing: Landing, feed: Feed) -> dict[str, Any]:
    """Give all that a listing says, but for versions, times and places."""
    listing: Listing = landing.list_files(feed)
    return {
        "files": [
            (file.partition_key, file.name, file.size_bytes, file.lacks)
            for file in listing.files.values()
        ],
        "superseded": sorted(listing.superseded),
        "ignored": [(one.name, one.reason, one.is_unmatched) for one in listing.ignored],
        "refused": listing.refused,
    }
