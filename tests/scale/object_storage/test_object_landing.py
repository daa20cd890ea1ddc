"""Files that land in a bucket: what is listed, and what is loaded of it."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import obstore
import pytest

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing import bucket as bucket_module
from partitioned_etl.engine.landing import copies
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.landing.object_store import ObjectLanding, ObjectPrefix
from partitioned_etl.engine.landing.registry import connect_landing
from partitioned_etl.engine.outcomes import OutcomeStatus
from partitioned_etl.engine.sync import sync_feed
from partitioned_etl.engine.warehouse.duckdb_file import DuckDBFile
from support.bucket_bench import BucketBench
from support.odd_names import CASES, OddNames, content_of, make_files, tell
from support.s3_server import READER, WRITER, S3Server
from support.s3_signing import put_as_is
from support.workbench import (
    CUSTOMER_DAYS,
    NOTES,
    Child,
    Workbench,
    at_moment,
    change_feed,
    loaded_numbers,
)

CASES_FOR_S3 = {name: case for name, case in CASES.items() if case.is_for_s3}


def note(*numbers: int) -> str:
    return "id,note\n" + "".join(f"{number},x\n" for number in numbers)


@pytest.mark.parametrize("case", CASES_FOR_S3.values(), ids=CASES_FOR_S3)
def test_a_bucket_is_listed_as_a_folder_with_the_same_names(
    bucket: BucketBench, case: OddNames
) -> None:
    folder = bucket.bench.landing_dir / case.feed.folder
    make_files(folder, case.names)
    if len([path for path in folder.rglob("*") if path.is_file()]) < len(case.names):
        pytest.skip("this file system does not tell these names apart")
    for name in case.names:
        bucket.put(case.feed, name, content_of(name))
    assert tell(bucket.landing, case.feed) == tell(
        LocalLanding(bucket.bench.landing_dir, 0), case.feed
    )


def test_marks_of_folders_are_passed_over_and_empty_files_are_not(
    bucket: BucketBench, s3_server: S3Server
) -> None:
    feed = change_feed(NOTES, pattern="{key}", allow_empty=True, format={"type": "csv"})
    for name in ("", "archive/", "full/"):
        put_as_is(s3_server.endpoint, f"{bucket.bucket}/{bucket.key(feed, name)}", *WRITER)
    bucket.put(feed, "full/x.csv", "id,note\n")
    bucket.put(feed, "empty", b"")
    listing = bucket.landing.list_files(feed)
    assert list(listing.files) == ["empty"]
    assert [(one.name, one.reason) for one in listing.ignored] == [("full", "folder")]
    assert not listing.refused


def test_a_key_that_cannot_be_listed_is_named_and_nothing_is_loaded_or_removed(
    bucket: BucketBench, s3_server: S3Server
) -> None:
    feed = change_feed(NOTES, on_missing="remove")
    bucket.put(feed, "a.csv", note(1))
    bucket.sync(feed)
    key = bucket.key(feed, "new\nline.csv")
    put_as_is(s3_server.endpoint, f"{bucket.bucket}/{key}", *WRITER)
    with pytest.raises(LandedFileError) as caught:
        bucket.sync(feed)
    assert "feed notes: " in str(caught.value)
    assert r"notes/new\nline.csv' in it is none that can be read" in str(caught.value)
    assert loaded_numbers(bucket.bench) == {"a": [1]}


def test_an_object_that_changes_between_list_and_get_is_not_loaded(bucket: BucketBench) -> None:
    bucket.put_all(NOTES, {f"{name}.csv": note(1) for name in "abc"})
    files = bucket.list_files(NOTES)
    bucket.put(NOTES, "b.csv", note(2))
    bucket.delete(NOTES, "c.csv")
    outcomes = bucket.load(NOTES, files)
    assert {name: outcome.reason for name, outcome in outcomes.items()} == {
        "a.csv": "",
        "b.csv": "b.csv: changed while it was read; it will be read again",
        "c.csv": "c.csv: is gone since it was listed",
    }
    assert loaded_numbers(bucket.bench) == {"a": [1]}
    bucket.sync(NOTES)
    assert loaded_numbers(bucket.bench) == {"a": [1], "b": [2]}


@pytest.mark.parametrize("moment", [failpoints.AFTER_SURVEY, failpoints.MID_INSERT])
def test_an_object_that_is_replaced_before_the_commit_is_not_loaded(
    bucket: BucketBench, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    bucket.put_all(NOTES, {"a.csv": note(1), "b.csv": note(2), "c.csv": note(3)})

    def change() -> None:
        bucket.put(NOTES, "b.csv", note(4))
        bucket.delete(NOTES, "c.csv")

    at_moment(monkeypatch, moment, change)
    outcomes = bucket.load(NOTES)
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "a.csv": OutcomeStatus.LOADED,
        "b.csv": OutcomeStatus.CHANGED,
        "c.csv": OutcomeStatus.CHANGED,
    }
    assert loaded_numbers(bucket.bench) == {"a": [1]}
    assert {*bucket.bench.ledger(NOTES).rows} == {"a.csv"}
    bucket.sync(NOTES)
    assert loaded_numbers(bucket.bench) == {"a": [1], "b": [4]}


def test_a_thousand_small_objects_are_one_load(bucket: BucketBench) -> None:
    bucket.put_all(NOTES, {f"k{number:04}.csv": note(number) for number in range(1000)})
    outcomes = bucket.load(NOTES)
    assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.LOADED}
    assert loaded_numbers(bucket.bench) == {f"k{number:04}": [number] for number in range(1000)}
    assert bucket.staged() == []


def test_a_large_object_arrives_in_parts(
    bucket: BucketBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (bucket_module, copies):
        monkeypatch.setattr(module, "PART_BYTES", 100_000)
    bucket.put(NOTES, "a.csv", note(*range(100_000)))
    bucket.load(NOTES)
    told = bucket.bench.query("SELECT count(*), sum(id), min(id), max(id) FROM raw_notes")
    assert told == [(100_000, sum(range(100_000)), 0, 99_999)]


def test_who_may_only_read_can_load(bucket: BucketBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put(NOTES, "a.csv", note(1))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER[1])
    assert len(bucket.sync(NOTES).loaded) == 1
    assert loaded_numbers(bucket.bench) == {"a": [1]}


SECRET = "a-secret-that-nobody-may-see"


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"AWS_SECRET_ACCESS_KEY": SECRET}, "the store denies access (403 SignatureDoesNotMatch)"),
        (
            {"AWS_ACCESS_KEY_ID": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET},
            "the store denies access (403 InvalidAccessKeyId)",
        ),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_SECRET_ACCESS_KEY": SECRET},
            "the store cannot be reached: check the endpoint",
        ),
    ],
)
def test_wrong_credentials_and_endpoints_are_told_without_a_secret(
    bucket: BucketBench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variables: dict[str, str],
    reason: str,
) -> None:
    bucket.put(NOTES, "a.csv", note(1))
    bucket.sync(NOTES)
    bucket.put(NOTES, "a.csv", note(2))
    files = bucket.list_files(NOTES)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.DEBUG), pytest.raises(LandedFileError) as caught:
        bucket.sync(NOTES)
    assert reason in str(caught.value)
    assert f"feed notes: {bucket.url}/notes/ cannot be listed" in str(caught.value)
    landing = connect_landing(bucket.url, 0)
    assert isinstance(landing, ObjectLanding)
    place = ObjectPrefix(landing.bucket, f"{landing.prefix}notes/")
    outcomes = bucket.load(NOTES, [file._replace(place=place) for file in files])
    assert reason in outcomes["a.csv"].reason
    ledger = str(bucket.bench.query("SELECT * FROM file_loads"))
    for text in (str(caught.value), outcomes["a.csv"].reason, ledger, caplog.text):
        assert SECRET not in text
        assert WRITER[1] not in text
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert loaded_numbers(bucket.bench) == {"a": [1]}


def test_a_bucket_that_does_not_exist_is_told(bucket: BucketBench) -> None:
    with pytest.raises(LandedFileError, match="there is no such bucket"):
        sync_feed(NOTES, "s3://no-such-bucket/in", bucket.bench.database)


LOAD_AND_PAUSE = """
from support.bucket_bench import BucketBench
bucket = BucketBench(bench, {endpoint!r}, {bucket!r}, {prefix!r}, Path({staging!r}))
told = False

def listen(name):
    global told
    if name == {moment!r} and not told:
        told = True
        pause("there")

failpoints.listener = listen
bucket.load(NOTES)
"""


@pytest.mark.parametrize(
    "moment", [failpoints.MID_STAGING, failpoints.AFTER_SURVEY, failpoints.BEFORE_COMMIT]
)
def test_a_load_that_is_killed_leaves_nothing_that_the_next_one_does_not_clear(
    bucket: BucketBench, start_child: Callable[[str], Child], moment: str
) -> None:
    contents = {f"k{number:02}.csv": note(number) for number in range(40)}
    bucket.put_all(NOTES, contents)
    code = LOAD_AND_PAUSE.format(
        endpoint=bucket.endpoint,
        bucket=bucket.bucket,
        prefix=bucket.prefix,
        staging=str(bucket.staging_dir),
        moment=moment,
    )
    child = start_child(code)
    child.wait_for("there")
    child.kill()
    assert bucket.staged()
    outcomes = bucket.load(NOTES)
    assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.LOADED}
    assert loaded_numbers(bucket.bench) == {f"k{number:02}": [number] for number in range(40)}
    assert bucket.staged() == []


def test_feeds_with_landings_of_their_own_load_at_once(
    bucket: BucketBench, bench: Workbench
) -> None:
    """One in the folder, one in the bucket, one in another prefix, in threads of one process."""
    other = change_feed(NOTES, name="other", folder="notes", table="other", landing=bucket.url)
    far = change_feed(
        CUSTOMER_DAYS, folder="days", landing=f"s3://{bucket.bucket}/{bucket.prefix}-far"
    )
    bench.land(NOTES, "a.csv", note(1))
    bucket.put(other, "b.csv", note(2))
    obstore.put(bucket.store, f"{bucket.prefix}-far/days/acme/2018-01-22.csv", note(3).encode())
    database = bench.database

    def load(feed: Feed) -> int:
        report = sync_feed(feed, bench.landing_dir, database, settle_seconds=0)
        return len(report.loaded)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(load, (NOTES, other, far))) == [1, 1, 1]
    assert bench.rows(NOTES) == [(1, "x", "a", "a.csv")]
    assert bench.rows(other) == [(2, "x", "b", "b.csv")]
    assert bench.rows(far) == [(3, "x", "acme|2018-01-22", "acme/2018-01-22.csv")]


def test_others_use_the_database_while_objects_are_copied(
    bucket: BucketBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put(NOTES, "a.csv", note(1))
    bucket.sync(NOTES)
    bucket.put(NOTES, "b.csv", note(2))
    seen: list[object] = []

    def look() -> None:
        # DuckDB refuses to open a database read-only that the process has open to write.
        with DuckDBFile(bucket.bench.database, 0).open_read_only() as opened:
            seen.append(opened.duck.execute("SELECT id FROM raw_notes").fetchall())

    at_moment(monkeypatch, failpoints.MID_STAGING, look)
    bucket.sync(NOTES)
    assert seen == [[(1,)]]
    assert loaded_numbers(bucket.bench) == {"a": [1], "b": [2]}
