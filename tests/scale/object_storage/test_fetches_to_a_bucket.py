"""Files that are fetched, and rows that are computed, land in a bucket as in a folder."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import obstore
import pytest

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.errors import SourceError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sources.computed_rows import land_rows, remove_files
from partitioned_etl.engine.sources.mirror import find_difference, mirror_source
from partitioned_etl.engine.sources.parameters import Parameters
from support.bucket_bench import BucketBench
from support.define import define_feed, define_location
from support.dev_server import find_free_port
from support.location import Location
from support.remote_server import RemoteServer, give, start_remote_server
from support.s3_server import READER, WRITER
from support.workbench import Child, change_feed

SCORES = Feed(name="scores", columns={"score": "BIGINT"}, source=Parameters())
MANIFEST, TROUBLES = ".sources/notes/manifest.jsonl", ".sources/notes/troubles.json"
FETCH = """
import json
from threading import Lock
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sources.mirror import mirror_source

lock = Lock()

def stop(name):
    if name == {moment!r}:
        with lock:
            pause("there")

failpoints.listener = stop
mirror_source(Feed(**json.loads({declared!r})), {url!r})
"""


@pytest.fixture
def remote(no_pauses: None) -> Iterator[RemoteServer]:
    with start_remote_server() as server:
        yield server


def read_all(bucket: BucketBench) -> dict[str, bytes]:
    """Give all objects below the landing's prefix."""
    start = f"{bucket.prefix}/"
    keys = [
        meta["path"] for page in obstore.list(bucket.store, prefix=bucket.prefix) for meta in page
    ]
    return {
        key.removeprefix(start): bytes(obstore.get(bucket.store, key).bytes())
        for key in sorted(keys)
    }


def read_landed(bucket: BucketBench) -> dict[str, bytes]:
    found = {key.partition("/"): content for key, content in read_all(bucket).items()}
    return {name: content for (folder, _, name), content in found.items() if folder == "notes"}


def expected(remote: RemoteServer) -> dict[str, bytes]:
    return {f"{key}.csv": content for key, content in sorted(remote.items.items())}


def assert_nothing_is_staged(bucket: BucketBench) -> None:
    assert not [*bucket.staging_dir.glob("*")]


def test_many_items_are_fetched_once_then_what_is_new_changed_and_gone(
    bucket: BucketBench, remote: RemoteServer
) -> None:
    feed = change_feed(remote.feed(parallel=8), on_missing="remove")
    remote.put(*(f"k{number}" for number in range(300)))
    assert len(bucket.sync(feed).loaded) == 300
    assert len(remote.list_fetched()) == 300
    assert read_landed(bucket) == expected(remote)
    assert {*read_all(bucket)} == {MANIFEST} | {f"notes/{name}" for name in expected(remote)}
    assert_nothing_is_staged(bucket)

    assert len(bucket.sync(feed).unchanged) == 300
    assert remote.list_fetched() == []

    remote.put("k1", "k2", note="changed")
    remote.put("new")
    del remote.items["k3"]
    difference = find_difference(feed, bucket.url)
    assert (len(difference.wanted), difference.unchanged, difference.gone) == (3, 297, ["k3.csv"])
    report = bucket.sync(feed)
    assert {one.partition_key for one in report.loaded} == {"k1", "k2", "new"}
    assert [one.partition_key for one in report.removed] == ["k3"]
    assert remote.list_fetched() == ["k1", "k2", "new"]
    assert read_landed(bucket) == expected(remote)
    bucket.bench.assert_level(feed)


def test_an_object_that_somebody_replaced_is_fetched_again_and_never_removed(
    bucket: BucketBench, remote: RemoteServer
) -> None:
    feed = change_feed(remote.feed(), on_missing="remove")
    remote.put("a", "b", "c", "d", "e")
    mirror_source(feed, bucket.url)
    bucket.put(feed, "a.csv", "id,note\n7,longer than the one before\n")
    bucket.delete(feed, "b.csv")
    assert {*mirror_source(feed, bucket.url).landed} == {"a.csv", "b.csv"}
    assert read_landed(bucket) == expected(remote)
    bucket.put(feed, "c.csv", "id,note\n7,longer than the one before\n")
    del remote.items["c"], remote.items["d"]
    fetched = mirror_source(feed, bucket.url)
    assert fetched.removed == ["d.csv"]
    assert {*read_landed(bucket)} == {"a.csv", "b.csv", "c.csv", "e.csv"}


def test_a_manifest_that_is_lost_costs_a_fetch_and_no_load(
    bucket: BucketBench, remote: RemoteServer
) -> None:
    feed = remote.feed()
    remote.put("a", "b")
    bucket.sync(feed)
    before = bucket.bench.rows(feed)
    obstore.delete(bucket.store, f"{bucket.prefix}/{MANIFEST}")
    remote.list_fetched()
    assert bucket.sync(feed).loaded == []
    assert remote.list_fetched() == ["a", "b"]
    assert bucket.bench.rows(feed) == before


def test_a_large_file_lands_whole_and_what_cannot_be_fetched_is_kept_in_mind(
    bucket: BucketBench, remote: RemoteServer
) -> None:
    feed = remote.feed()
    rows = "".join(f"{number},{'x' * 100}\n" for number in range(250_000))
    remote.items["large"] = f"id,note\n{rows}".encode()
    remote.put("broken")
    remote.answers["/item/broken"] = lambda handler: give(handler, b"", 404)
    fetched = mirror_source(feed, bucket.url)
    assert [one.name for one in fetched.failed] == ["broken.csv"]
    assert read_landed(bucket) == {"large.csv": remote.items["large"]}
    [[name, reason]] = json.loads(read_all(bucket)[TROUBLES])
    assert (name, "404" in reason) == ("broken.csv", True)
    del remote.answers["/item/broken"]
    mirror_source(feed, bucket.url)
    assert TROUBLES not in read_all(bucket)


@pytest.mark.parametrize("moment", failpoints.OF_A_FETCH)
def test_a_fetch_that_is_killed_leaves_whole_objects_and_the_next_goes_on(
    bucket: BucketBench,
    remote: RemoteServer,
    start_child: Callable[[str], Child],
    moment: str,
) -> None:
    feed = remote.feed(parallel=2)
    keys = [f"k{number}" for number in range(6)]
    remote.put(*keys)
    bucket.sync(feed)
    old = expected(remote)
    remote.put(*keys, "new", note="changed")
    declared = json.dumps(feed.model_dump(mode="json", exclude_unset=True))
    child = start_child(FETCH.format(declared=declared, moment=moment, url=bucket.url))
    child.wait_for("there")
    child.kill()
    new = expected(remote)
    for name, content in read_landed(bucket).items():
        assert content in (old.get(name), new[name])
    bucket.sync(feed)
    assert read_landed(bucket) == new
    assert_nothing_is_staged(bucket)
    bucket.bench.assert_level(feed)
    assert len(bucket.bench.rows(feed)) == 7


def test_a_store_that_may_not_be_written_to_is_named_without_its_secrets(
    bucket: BucketBench, remote: RemoteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, secret = READER
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    remote.put("a")
    with pytest.raises(SourceError, match=r"feed notes: .*cannot be written: .*denies") as caught:
        mirror_source(remote.feed(), bucket.url)
    assert read_all(bucket) == {}
    with pytest.raises(SourceError, match=r"feed scores: .*cannot be written: .*denies") as other:
        land_rows(SCORES, bucket.url, "a", lambda: [{"score": 1}])
    for told in (str(caught.value), str(other.value)):
        assert secret not in told
        assert key not in told


def test_computed_rows_land_whole_and_their_object_goes_with_the_key(
    bucket: BucketBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert land_rows(SCORES, bucket.url, "a", lambda: [{"score": 1}, {"score": 2}]) == "a.json"

    def fail() -> Iterator[dict[str, Any]]:
        yield {"score": 3}
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        land_rows(SCORES, bucket.url, "a", fail)
    assert_nothing_is_staged(bucket)
    assert {*read_all(bucket)} == {"scores/a.json"}
    assert len(bucket.sync(SCORES).loaded) == 1
    assert [row[:2] for row in bucket.bench.rows(SCORES)] == [(1, "a"), (2, "a")]
    land_rows(SCORES, bucket.url, "b", list)
    files = bucket.list_files(SCORES)
    land_rows(SCORES, bucket.url, "b", lambda: [{"score": 4}])
    with monkeypatch.context() as unreachable:
        unreachable.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{find_free_port()}")
        with pytest.raises(SourceError, match="the store cannot be reached"):
            remove_files(SCORES, bucket.url, files)
    remove_files(SCORES, bucket.url, files)
    assert {*read_all(bucket)} == {"scores/b.json"}


@pytest.fixture
def through_dagster(
    bucket: BucketBench, database: Path, monkeypatch: pytest.MonkeyPatch
) -> BucketBench:
    """The bucket, as the landing of the settings."""
    monkeypatch.setenv("LANDING_DIR", bucket.url)
    return bucket


def test_the_sensors_fetch_to_the_bucket_and_load_from_it(
    through_dagster: BucketBench,
    remote: RemoteServer,
    instance: dg.DagsterInstance,
    query: Callable[[str], list[tuple[Any, ...]]],
) -> None:
    defined = define_feed(remote.feed())
    location = Location(define_location(defined), defined, instance)
    remote.put("a", "b")
    [request] = location.tick_fetch()
    assert location.execute(request).success
    assert location.settle() == [["a", "b"]]
    rows = "SELECT partition_key, note FROM raw_notes ORDER BY ALL"
    assert query(rows) == [("a", "x"), ("b", "x")]
    assert location.tick_fetch() == []
    assert location.skipped == "feed notes: 2 unchanged"
    time.sleep(1.1)  # the store tells whole seconds
    remote.put("a", note="y")
    [request] = location.tick_fetch()
    assert location.execute(request).success
    assert location.settle() == [["a"]]
    assert query(rows) == [("a", "y"), ("b", "x")]
    kept = b"".join(read_all(through_dagster).values())
    assert not any(part.encode() in kept for part in WRITER)


def test_a_store_that_cannot_be_reached_is_asked_again_by_the_next_tick(
    through_dagster: BucketBench,
    remote: RemoteServer,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    defined = define_feed(remote.feed())
    location = Location(define_location(defined), defined, instance)
    remote.put("a")
    with monkeypatch.context() as unreachable:
        unreachable.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{find_free_port()}")
        assert location.tick_fetch() == []
    assert location.skipped.startswith("feed notes: s3://")
    assert location.skipped.endswith("the next tick tries again")
    assert "the store cannot be reached" in location.skipped
    assert len(location.tick_fetch()) == 1
    assert read_all(through_dagster) == {}
