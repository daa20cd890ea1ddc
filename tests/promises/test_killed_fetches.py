"""Fetches that are killed: what has landed is whole, and the next one makes everything level."""

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sources.mirror import mirror_source
from support.remote_server import RemoteServer, start_remote_server
from support.scale import examples
from support.workbench import Child, Workbench

StartChild = Callable[[str], Child]
KEYS = [f"k{number}" for number in range(12)]
FETCH = """
import json
from itertools import count
from threading import Lock
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sources.mirror import mirror_source

feed = Feed(**json.loads({declared!r}))
counted, lock = count(1), Lock()

def stop(name):
    with lock:
        if name == {moment!r} and next(counted) == {times}:
            pause("there")

failpoints.listener = stop
pause("ready")
mirror_source(feed, bench.landing_dir)
print("done", flush=True)
"""


@pytest.fixture
def remote(bench: Workbench) -> Iterator[RemoteServer]:
    bench.landing_dir.mkdir()
    with start_remote_server() as server:
        yield server


def offer(remote: RemoteServer, serial: int, *keys: str) -> None:
    """Offer files that are longer than what is read at once."""
    for key in keys:
        rows = "".join(f"{serial},{row}\n" for row in range(20_000))
        remote.items[key] = f"id,note\n{rows}".encode()


def start_fetch(start_child: StartChild, feed: Feed, moment: str = "", times: int = 1) -> Child:
    declared = json.dumps(feed.model_dump(mode="json", exclude_unset=True))
    child = start_child(FETCH.format(declared=declared, moment=moment, times=times))
    child.wait_for("ready")
    return child


def read_landed(bench: Workbench) -> dict[str, bytes]:
    folder = bench.landing_dir / "notes"
    return {path.stem: path.read_bytes() for path in folder.glob("*.csv")}


def assert_level(bench: Workbench, remote: RemoteServer, feed: Feed) -> None:
    bench.sync(feed)
    assert read_landed(bench) == remote.items
    bench.assert_level(feed)
    assert len(bench.rows(feed)) == 20_000 * len(remote.items)
    state: Path = bench.landing_dir / ".sources" / "notes"
    assert {path.name for path in state.iterdir()} == {"lock", "manifest.jsonl"}
    remote.list_fetched()
    assert bench.sync(feed).loaded == []
    assert remote.list_fetched() == []


@pytest.mark.parametrize("times", [1, 7])
@pytest.mark.parametrize("moment", failpoints.OF_A_FETCH)
def test_a_fetch_that_is_killed_leaves_whole_files_and_the_next_goes_on(
    bench: Workbench, remote: RemoteServer, start_child: StartChild, moment: str, times: int
) -> None:
    feed = remote.feed(parallel=2)
    offer(remote, 1, *KEYS)
    bench.sync(feed)
    old = dict(remote.items)
    offer(remote, 2, *KEYS[:8], "new")
    remote.list_fetched()
    child = start_fetch(start_child, feed, moment, times)
    child.go_on()
    child.wait_for("there")
    child.kill()
    for key, content in read_landed(bench).items():
        assert content in (old.get(key), remote.items[key])
    # What had landed and was noted is not fetched again.
    before = len(remote.list_fetched())
    mirror_source(feed, bench.landing_dir)
    again = len(remote.list_fetched())
    assert before + again <= 9 + 2 + 1
    assert_level(bench, remote, feed)


@pytest.mark.scaled
def test_fetches_that_are_killed_at_any_moment_leave_whole_files(
    bench: Workbench, remote: RemoteServer, start_child: StartChild
) -> None:
    feed, rng = remote.feed(parallel=3), random.Random("the same every time")
    offer(remote, 0, *KEYS)
    bench.sync(feed)
    seconds = 0.3
    for serial in range(1, 1 + examples(3)):
        old = dict(remote.items)
        offer(remote, serial, *rng.sample(KEYS, 6))
        child = start_fetch(start_child, feed)
        child.go_on()
        time.sleep(rng.uniform(0, seconds))
        child.kill()
        for key, content in read_landed(bench).items():
            assert content in (old[key], remote.items[key])
        assert_level(bench, remote, feed)


def test_two_processes_that_fetch_for_one_feed_take_turns(
    bench: Workbench, remote: RemoteServer, start_child: StartChild
) -> None:
    feed = remote.feed(parallel=2)
    offer(remote, 1, *KEYS)
    children = [start_fetch(start_child, feed) for _ in range(3)]
    for child in children:
        child.go_on()
    for child in children:
        child.wait_for("done")
        child.finish()
    assert len(remote.list_fetched()) == len(KEYS)
    assert_level(bench, remote, feed)
