"""Many writers at once, on each warehouse: nothing is lost or doubled."""

from collections.abc import Callable

import pytest

from support.scale import examples
from support.workbench import NOTES, Child, Workbench

pytestmark = [
    pytest.mark.scale,
    pytest.mark.slow,
    pytest.mark.usefixtures("durable_server"),
]

StartChild = Callable[[str], Child]

LOAD_MANY = """
from support.benches import make_beside
number, rounds = {number}, {rounds}
bench = make_beside(bench, f"lander {{number}}")
pause("ready")
for turn in range(rounds):
    serial = number * 1000 + turn
    keys = (f"own {{number}}", f"own {{number}} in {{turn}}", f"new {{turn}}", "old")
    for key in keys:
        rows = "".join(f"{{serial}},{{row}}\\n" for row in range(20 + number))
        bench.land(NOTES, f"{{key}}.csv", "id,note\\n" + rows)
    # Now and then all of them, which others have loaded meanwhile.
    files = bench.list_files(NOTES)
    bench.load(NOTES, files if turn % 10 == 9 else [f for f in files if f.partition_key in keys])
"""


def test_processes_that_load_different_and_the_same_keys_lose_and_double_nothing(
    bench: Workbench, start_child: StartChild
) -> None:
    rounds = examples(5)
    children = [start_child(LOAD_MANY.format(number=number, rounds=rounds)) for number in (1, 2, 3)]
    for child in children:
        child.wait_for("ready")
    for child in children:
        child.go_on()
    for child in children:
        child.finish()
    found = bench.query(
        "SELECT partition_key, min(id), max(id), count(*), count(DISTINCT note) "
        "FROM raw_notes GROUP BY 1"
    )
    for key, lowest, highest, count, distinct in found:
        assert lowest == highest, key
        assert count == distinct == 20 + lowest // 1000, key
        if key.startswith("own"):
            assert lowest // 1000 == int(key.split()[1])
    news = {f"new {turn}" for turn in range(rounds)}
    owns = {f"own {number}" for number in (1, 2, 3)}
    own_turns = {f"{own} in {turn}" for own in owns for turn in range(rounds)}
    assert {key for key, *_ in found} == {*news, *owns, *own_turns, "old"}
    assert len(found) == len({key for key, *_ in found})
    lasts = {key: serial % 1000 for key, serial, *_ in found if key in {*owns, "old"}}
    assert set(lasts.values()) == {rounds - 1}
    bench.assert_level(NOTES)
    latest = dict(bench.query("SELECT source_file, loaded_at FROM file_loads"))
    assert all(latest.values())
