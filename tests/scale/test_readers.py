"""Readers beside loads: each sees one state of all tables, and none of them an error."""

from collections.abc import Callable
from threading import Event

import pytest

from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.feed import Feed
from support.benches import ON_FOLDERS
from support.scale import examples
from support.workbench import NOTES, Child, Workbench, change_feed

pytestmark = [
    pytest.mark.scale,
    pytest.mark.slow,
    pytest.mark.usefixtures("durable_server"),
]

StartChild = Callable[[str], Child]
QUARANTINE = change_feed(NOTES, bad_rows=BadRows.QUARANTINE, max_rejected_percent=100)
WIDER = change_feed(QUARANTINE, columns={**NOTES.columns, "day": "DATE"})
OFTEN = 1e-6

READ_ALL = """
import select

reads, seen = 0, []
while not select.select([sys.stdin], [], [], 0)[0]:
    with bench.read_as_others_do() as fetch:
        rows = fetch("SELECT * FROM raw_notes")
        ledger = fetch("SELECT source_file, row_count, rejected_count FROM file_loads")
        rejected = fetch("SELECT source_file FROM rejected_rows")
        counted = fetch("SELECT source_file, min(id), max(id), count(*), count(DISTINCT note) "
            "FROM raw_notes GROUP BY 1")
    reads += 1
    told = {name: (good, bad) for name, good, bad in ledger}
    assert {name: count for name, _, _, count, _ in counted} == {n: g for n, (g, _) in told.items()}
    assert len(rows) == sum(good for good, _ in told.values()), "a table changed between two reads"
    for name, lowest, highest, count, distinct in counted:
        assert lowest == highest, (name, lowest, highest)
        assert count == distinct == lowest % 50 + 1, (name, lowest, count, distinct)
        assert [one for (one,) in rejected].count(name) == told[name][1] == lowest % 3
    newest = max(highest for _, _, highest, *_ in counted)
    assert not seen or newest >= seen[-1], "it went back"
    if newest not in seen:
        seen.append(newest)
        aside = bench.root / "seen aside"
        aside.write_text(str(newest))
        aside.replace(bench.root / "seen")
print(f"{reads} {len(seen)}", flush=True)
"""


def land(bench: Workbench, feed: Feed, key: str, serial: int) -> None:
    """Land good rows and bad ones; how many of each, the serial number tells."""
    rest = ",x" + "," * (len(feed.columns) - 2)
    good = "".join(f"{serial},{row}{rest[2:]}\n" for row in range(serial % 50 + 1))
    bad = f"bad{rest}\n" * (serial % 3)
    bench.land(feed, f"{key}.csv", f"{','.join(feed.columns)}\n{good}{bad}")


@pytest.mark.parametrize("bench", ON_FOLDERS, indirect=True)
def test_who_reads_all_the_time_sees_whole_states_and_no_error(
    bench: Workbench, start_child: StartChild
) -> None:
    bench.read_copy_seconds = OFTEN
    loads = examples(50)
    for key in ("a", "b", "c"):
        land(bench, QUARANTINE, key, 0)
    bench.load(QUARANTINE)
    reader = start_child(READ_ALL)

    def wait_until_seen(serial: int) -> None:
        mark = bench.root / "seen"
        while not mark.exists() or int(mark.read_text(encoding="utf-8")) < serial:
            assert reader.is_running()
            with bench.open():  # as a tick does, which makes a copy that is due
                Event().wait(0.01)

    wait_until_seen(0)
    for serial in range(1, 1 + loads):
        # In the middle, the feed gets another column.
        feed, keys = QUARANTINE if serial < loads / 2 else WIDER, {"abc"[serial % 3], "c"}
        for key in keys:
            land(bench, feed, key, serial)
        files = [file for file in bench.list_files(feed) if file.partition_key in keys]
        outcomes = bench.load(feed, files)
        assert all(one.is_loaded for one in outcomes.values())
        if serial % 10 == 0:
            wait_until_seen(serial)
    wait_until_seen(loads)
    reader.go_on()
    reads, states = map(int, reader.read_line().split())
    reader.finish()
    bench.assert_level(QUARANTINE)
    print(f"{loads} loads, {reads} reads of {states} states")
    assert states > loads / 10
