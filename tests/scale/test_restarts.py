"""A server that goes down and comes back in the middle of loads: nothing is lost, doubled or half.

Two processes load again and again from one landing, each its own files and one that both change.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

import pytest

from partitioned_etl.engine.feed import OnMissing
from support.benches import IN_BUCKETS
from support.postgres_server import PostgresServer
from support.s3_server import S3Server
from support.scale import IS_SEEDED, examples
from support.workbench import CHILD_DEADLINE_S, NOTES, Child, Workbench, change_feed

pytestmark = [
    pytest.mark.scale,
    pytest.mark.slow,
    pytest.mark.usefixtures("durable_server"),
]

StartChild = Callable[[str], Child]
REMOVING = change_feed(NOTES, on_missing=OnMissing.REMOVE)
ROWS = 200
OWN = 3

LOAD_UNTIL_TOLD = """
import select
from obstore.exceptions import BaseError
from partitioned_etl.engine.errors import LandedFileError, WarehouseError
from partitioned_etl.engine.feed import OnMissing
from support.workbench import change_feed

feed, number, serial, failures = change_feed(NOTES, on_missing=OnMissing.REMOVE), {number}, 0, 0

def load():
    keys = [f"own {{number}} {{own}}" for own in range({own})]
    for key in (*keys, "shared"):
        rows = "".join(f"{{number * 1_000_000 + serial}},{{row}}\\n" for row in range({rows}))
        bench.land(feed, f"{{key}}.csv", "id,note\\n" + rows)
    assert not bench.sync(feed).removed

print("ready", flush=True)
while True:
    is_told = select.select([sys.stdin], [], [], 0)[0]
    serial += 1
    try:
        load()
    except (BaseError, LandedFileError, WarehouseError):
        failures += 1
    else:
        if is_told:
            break
print(f"{{serial}} {{failures}}", flush=True)
"""


def read_serials(bench: Workbench) -> dict[str, int]:
    """Read which content each partition holds, of which every row must be there, and once."""
    sql = (
        "SELECT partition_key, min(id), max(id), count(*), count(DISTINCT note) "
        "FROM raw_notes GROUP BY 1"
    )
    with bench.warehouse.open_read_only(lock_wait_seconds=CHILD_DEADLINE_S) as opened:
        found = [*opened.query(sql).rows]
    for key, lowest, highest, count, distinct in found:
        assert lowest == highest, key
        assert count == distinct == ROWS, key
    return {str(key): int(str(serial)) % 1_000_000 for key, serial, *_ in found}


def wait_until_both_load(bench: Workbench, children: list[Child]) -> None:
    """Wait until each process has loaded something new."""
    before = read_serials(bench)
    keys = [f"own {number} 0" for number, _ in enumerate(children)]
    while True:
        held = read_serials(bench)
        if all(held.get(key, 0) > before.get(key, 0) for key in keys):
            return
        assert all(child.is_running() for child in children)
        Event().wait(0.05)


@contextmanager
def loading(bench: Workbench, start_child: StartChild) -> Iterator[list[Child]]:
    """Let two processes load all the time, and see in the end that nothing is wrong."""
    bench.land(REMOVING, "first.csv", "id,note\n" + "".join(f"0,{row}\n" for row in range(ROWS)))
    bench.sync(REMOVING)
    children = [
        start_child(LOAD_UNTIL_TOLD.format(number=number, own=OWN, rows=ROWS)) for number in (0, 1)
    ]
    for child in children:
        child.wait_for("ready")
    yield children
    serials, failures = [], 0
    for child in children:
        child.go_on()
    for child in children:
        serial, failed = map(int, child.read_line().split())
        serials.append(serial)
        failures += failed
        child.finish()
    bench.sync(REMOVING)
    held = read_serials(bench)
    expected = {f"own {n} {own}": serials[n] for n in (0, 1) for own in range(OWN)}
    assert held.pop("shared") in serials
    assert held == {"first": 0, **expected}
    bench.assert_level(REMOVING)
    print(f"{sum(serials)} loads, of which {failures} failed")
    assert failures


@pytest.mark.parametrize("bench", ["folder-postgres", "s3-postgres"], indirect=True)
def test_postgresql_restarts_in_the_middle_of_loads(
    bench: Workbench, start_child: StartChild, durable_server: PostgresServer
) -> None:
    with loading(bench, start_child) as children:
        for how in [signal.SIGINT, signal.SIGQUIT] * examples(1):
            wait_until_both_load(bench, children)
            durable_server.restart(how)
            read_serials(bench)


# To start again takes the store ten times as long as the loads.
@pytest.mark.parametrize("bench", IN_BUCKETS[-1:] if IS_SEEDED else IN_BUCKETS, indirect=True)
def test_the_object_store_restarts_in_the_middle_of_loads(
    bench: Workbench, start_child: StartChild, s3_server: S3Server
) -> None:
    with loading(bench, start_child) as children:
        for _ in range(examples(1)):
            wait_until_both_load(bench, children)
            s3_server.restart()
            read_serials(bench)
        wait_until_both_load(bench, children)
