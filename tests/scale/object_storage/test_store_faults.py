"""A store that fails in every way it can: what is loaded is exact, and what is not says why."""

import logging
import time
from typing import Any

import pytest

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.landing import bucket as bucket_module
from partitioned_etl.engine.landing import store_errors
from partitioned_etl.engine.landing.landing import hash_content
from partitioned_etl.engine.outcomes import OutcomeStatus
from support.bucket_bench import BucketBench
from support.faulty_proxy import FaultyProxy
from support.s3_server import WRITER
from support.workbench import NOTES, at_moment, change_feed, loaded_numbers

ACCESS_DENIED = "<Error><Code>AccessDenied</Code><Message>hush</Message></Error>"
NO_SUCH_KEY = "<Error><Code>NoSuchKey</Code></Error>"
INTERNAL = "<Error><Code>InternalError</Code></Error>"
BOUND_S = 60
"""More than any of these may take, and less than a store is asked again by default."""


def note(*numbers: int) -> str:
    return "id,note\n" + "".join(f"{number},x\n" for number in numbers)


def put_three(bucket: BucketBench) -> None:
    bucket.put_all(NOTES, {"a.csv": note(1), "b.csv": note(*range(50)), "c.csv": note(3)})


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (
            {"status": 403, "body": ACCESS_DENIED},
            "cannot be read: the store denies access (403 AccessDenied): check the credentials",
        ),
        ({"status": 404, "body": NO_SUCH_KEY}, "b.csv: is gone since it was listed"),
        ({"status": 412}, "b.csv: changed while it was read; it will be read again"),
        ({"status": 500, "body": INTERNAL}, "cannot be read: the store answers 500 InternalError"),
        ({"keep": 0.5}, "cannot be read: the connection to the store ended early"),
        ({"keep": 0.5, "says_less": True}, "b.csv: changed while it was read"),
    ],
    ids=["403", "404", "412", "500", "cut", "shorter"],
)
def test_an_object_that_cannot_be_read_costs_itself_alone(
    bucket: BucketBench, proxy: FaultyProxy, fault: dict[str, Any], reason: str
) -> None:
    put_three(bucket)
    proxy.fail("GET", "notes/b.csv", **fault)
    started = time.monotonic()
    outcomes = bucket.load(NOTES)
    assert time.monotonic() - started < BOUND_S
    assert outcomes["b.csv"].status is OutcomeStatus.CHANGED
    assert reason in outcomes["b.csv"].reason
    assert "hush" not in outcomes["b.csv"].reason
    assert loaded_numbers(bucket.bench) == {"a": [1], "c": [3]}
    assert {*bucket.bench.ledger(NOTES).rows} == {"a.csv", "c.csv"}
    proxy.faults.clear()
    bucket.sync(NOTES)
    assert loaded_numbers(bucket.bench) == {"a": [1], "b": [*range(50)], "c": [3]}


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        ({"status": 500, "body": INTERNAL}, 2),
        ({"status": 503, "body": "<Error><Code>SlowDown</Code></Error>"}, 2),
        ({"keep": 0.5}, 1),
        ({"keep": 0}, 1),
    ],
    ids=["500", "503", "cut", "cut at once"],
)
def test_what_fails_for_a_moment_is_asked_for_again(
    bucket: BucketBench, proxy: FaultyProxy, fault: dict[str, Any], times: int
) -> None:
    put_three(bucket)
    proxy.fail("GET", "notes/b.csv", **fault, times=times)
    outcomes = bucket.load(NOTES)
    assert {outcome.reason for outcome in outcomes.values()} == {""}
    assert loaded_numbers(bucket.bench) == {"a": [1], "b": [*range(50)], "c": [3]}
    assert proxy.count("GET", "notes/b.csv") > times


def test_a_large_object_whose_connection_ends_early_is_read_on_from_there(
    bucket: BucketBench, proxy: FaultyProxy
) -> None:
    bucket.put(NOTES, "a.csv", note(*range(300_000)))
    proxy.fail("GET", "notes/a.csv", keep=0.7, times=2)
    outcomes = bucket.load(NOTES)
    assert outcomes["a.csv"].reason == ""
    told = bucket.bench.query("SELECT count(*), count(DISTINCT id), sum(id) FROM raw_notes")
    assert told == [(300_000, 300_000, sum(range(300_000)))]


def test_a_store_that_does_not_answer_is_given_up(
    bucket: BucketBench, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_three(bucket)
    monkeypatch.setattr(store_errors, "REQUEST_SECONDS", 1)
    bucket_module._connect.cache_clear()
    proxy.fail("GET", "notes/b.csv", is_slow=True)
    outcomes = bucket.load(NOTES)
    assert "cannot be read: the store did not answer within 1 s" in outcomes["b.csv"].reason
    assert loaded_numbers(bucket.bench) == {"a": [1], "c": [3]}
    proxy.fail("GET", "list-type", is_slow=True)
    with pytest.raises(LandedFileError, match="the store did not answer within 1 s"):
        bucket.list_files(NOTES)
    bucket_module._connect.cache_clear()


def test_an_object_that_is_replaced_while_it_is_read_is_not_loaded(
    bucket: BucketBench, proxy: FaultyProxy
) -> None:
    """The rest of it would be of another version."""
    put_three(bucket)
    files = bucket.list_files(NOTES)
    proxy.fail("GET", "notes/b.csv", keep=0.5, times=1)
    proxy.fail(
        "GET",
        "notes/b.csv",
        times=1,
        before=lambda: bucket.put(NOTES, "b.csv", note(*range(50, 100))),
    )
    outcomes = bucket.load(NOTES, files)
    assert "b.csv: changed while it was read" in outcomes["b.csv"].reason
    assert loaded_numbers(bucket.bench) == {"a": [1], "c": [3]}


def test_a_lost_page_of_a_listing_is_no_listing(bucket: BucketBench, proxy: FaultyProxy) -> None:
    feed = change_feed(NOTES, on_missing="remove")
    contents = {f"k{number:04}.csv": note(number) for number in range(1200)}
    bucket.put_all(feed, contents)
    assert len(bucket.landing.list_files(feed).files) == 1200
    assert proxy.count("GET", "continuation-token") == 1
    bucket.sync(feed)
    proxy.fail("GET", "continuation-token", status=500, body=INTERNAL)
    with pytest.raises(LandedFileError, match="cannot be listed: the store answers 500 Internal"):
        bucket.sync(feed)
    assert bucket.bench.query("SELECT count(*) FROM raw_notes") == [(1200,)]
    proxy.faults.clear()
    proxy.fail("GET", "continuation-token", status=500, body=INTERNAL, times=1)
    assert len(bucket.landing.list_files(feed).files) == 1200


@pytest.mark.parametrize(
    "fault",
    [{"status": 403, "body": ACCESS_DENIED}, {"status": 500}, {"status": 404}],
    ids=["403", "500", "404"],
)
def test_nothing_is_committed_that_cannot_be_compared_with_the_store_again(
    bucket: BucketBench,
    proxy: FaultyProxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: dict[str, Any],
) -> None:
    put_three(bucket)
    at_moment(monkeypatch, failpoints.MID_INSERT, lambda: proxy.fail("HEAD", "notes/", **fault))
    with caplog.at_level(logging.WARNING):
        outcomes = bucket.load(NOTES)
    assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.CHANGED}
    assert bucket.bench.rows(NOTES) == []
    assert not bucket.bench.ledger(NOTES).rows
    assert fault["status"] == 404 or "cannot be looked at: the store" in caplog.text
    assert WRITER[1] not in caplog.text


def test_a_store_that_fails_for_all_is_not_asked_for_each(
    bucket: BucketBench, proxy: FaultyProxy
) -> None:
    bucket.put_all(NOTES, {f"k{number:03}.csv": note(number) for number in range(200)})
    files = bucket.list_files(NOTES)
    proxy.fail("GET", "notes/", status=403, body=ACCESS_DENIED)
    outcomes = bucket.load(NOTES, files)
    assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.CHANGED}
    reasons = [outcome.reason for outcome in outcomes.values()]
    assert any("403 AccessDenied" in reason for reason in reasons)
    assert any("the store failed for those before it" in reason for reason in reasons)
    assert proxy.count("GET", "notes/k") < 100


def test_the_content_of_an_object_that_is_cut_is_no_content(
    bucket: BucketBench, proxy: FaultyProxy
) -> None:
    bucket.put(NOTES, "a.csv", note(*range(50)))
    (file,) = bucket.list_files(NOTES)
    told = hash_content(file)
    proxy.fail("GET", "notes/a.csv", keep=0.5, times=1)
    assert hash_content(file) == told
    proxy.faults.clear()
    proxy.fail("GET", "notes/a.csv", keep=0.5)
    with pytest.raises(LandedFileError, match="ended early"):
        hash_content(file)
