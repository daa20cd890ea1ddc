"""Computations that are killed: what has landed is whole, and the next one makes all level."""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sources.computed_rows import land_rows
from partitioned_etl.engine.sources.parameters import Parameters
from support.scale import examples
from support.workbench import Child, Workbench

StartChild = Callable[[str], Child]
SCORES = Feed(name="scores", columns={"serial": "BIGINT", "number": "BIGINT"}, source=Parameters())
KEYS = [f"k{number}" for number in range(4)]
COUNT = 20_000
COMPUTE = """
import json
from pathlib import Path
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sources.computed_rows import land_rows

feed = Feed(**json.loads({declared!r}))
left = {times}

def stop(name):
    global left
    left -= name == {moment!r}
    if name == {moment!r} and not left:
        pause("there")

failpoints.listener = stop
pause("ready")
for key in {keys!r}:
    rows = ({{"serial": {serial}, "number": number}} for number in range({count}))
    land_rows(feed, Path(bench.landing_dir), key, lambda: rows)
print("done", flush=True)
"""


def start(
    start_child: StartChild,
    serial: int,
    *,
    keys: list[str] = KEYS,
    moment: str = "",
    times: int = 1,
) -> Child:
    declared = json.dumps(SCORES.model_dump(mode="json", exclude_unset=True))
    values = {"moment": moment, "times": times, "keys": keys, "serial": serial, "count": COUNT}
    child = start_child(COMPUTE.format(declared=declared, **values))
    child.wait_for("ready")
    return child


def compute(bench: Workbench, serial: int, key: str) -> None:
    rows = ({"serial": serial, "number": number} for number in range(COUNT))
    land_rows(SCORES, bench.landing_dir, key, lambda: rows)


def list_serials(bench: Workbench) -> dict[str, int]:
    """Give of which computation each landed file is, all of whose rows are."""
    found = {}
    for path in (bench.landing_dir / "scores").iterdir():
        rows = json.loads(path.read_text())
        assert [row["number"] for row in rows] == [*range(COUNT)]
        [found[path.stem]] = {row["serial"] for row in rows}
    return found


def assert_level(bench: Workbench) -> None:
    bench.sync(SCORES)
    bench.assert_level(SCORES)
    assert len(bench.rows(SCORES)) == COUNT * len(KEYS)


@pytest.mark.parametrize(
    ("moment", "times"),
    [
        (failpoints.MID_FETCH, 1),
        (failpoints.MID_FETCH, COUNT + 5),
        (failpoints.BEFORE_LANDING, 1),
        (failpoints.BEFORE_LANDING, 3),
        (failpoints.AFTER_LANDING, 2),
    ],
)
def test_a_computation_that_is_killed_leaves_whole_files_and_nothing_else(
    bench: Workbench, start_child: StartChild, moment: str, times: int
) -> None:
    bench.landing_dir.mkdir()
    for key in KEYS:
        compute(bench, 1, key)
    child = start(start_child, 2, moment=moment, times=times)
    child.go_on()
    child.wait_for("there")
    child.kill()
    landed = list_serials(bench)
    whole = times if moment == failpoints.AFTER_LANDING else times // COUNT
    whole = times - 1 if moment == failpoints.BEFORE_LANDING else whole
    assert landed == {**dict.fromkeys(KEYS, 1), **dict.fromkeys(KEYS[:whole], 2)}
    assert_level(bench)
    # What a killed one left on its way is removed by the next.
    compute(bench, 3, KEYS[0])
    state: Path = bench.landing_dir / ".sources" / "scores"
    assert [path.name for path in state.iterdir()] == ["lock"]
    assert_level(bench)


def test_computations_of_many_processes_leave_whole_files_and_each_others_rows_alone(
    bench: Workbench, start_child: StartChild
) -> None:
    bench.landing_dir.mkdir()
    children = [start(start_child, serial) for serial in (1, 2, 3)]
    slow = start(start_child, 4, moment=failpoints.MID_FETCH, times=10)
    for child in [slow, *children]:
        child.go_on()
    slow.wait_for("there")
    for child in children:
        child.wait_for("done")
        child.finish()
    assert {*list_serials(bench).values()} <= {1, 2, 3}
    # One that takes longer than all others goes on undisturbed.
    slow.go_on()
    slow.wait_for("done")
    slow.finish()
    assert list_serials(bench) == dict.fromkeys(KEYS, 4)
    assert_level(bench)


@pytest.mark.scaled
def test_computations_that_are_killed_at_any_moment_leave_whole_files(
    bench: Workbench, start_child: StartChild
) -> None:
    rng = random.Random("the same every time")
    bench.landing_dir.mkdir()
    for key in KEYS:
        compute(bench, 0, key)
    for serial in range(1, 1 + examples(3)):
        before = list_serials(bench)
        child = start(start_child, serial, keys=rng.sample(KEYS, 2))
        child.go_on()
        time.sleep(rng.uniform(0, 0.4))
        child.kill()
        for key, landed in list_serials(bench).items():
            assert landed in (before[key], serial)
        assert_level(bench)
