"""Many writers: three processes that load different and the same keys, and what is left of it.

Each has a landing of its own, and all the same warehouse.
"""

from collections.abc import Callable
from typing import Any

from support.workbench import NOTES, Child, Workbench

_LAND_MANY = """
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
"""
OWN = [f"own {number}" for number in (1, 2, 3)]
"""The key that only one of the processes loads, again and again."""


def write_side_by_side(
    bench: Workbench, start_child: Callable[[str], Child], rounds: int, load: str
) -> list[tuple[Any, ...]]:
    """Have three processes land and load, and hold what is there against what they landed.

    Args:
        bench: The bench.
        start_child: Starts a process.
        rounds: How often each of them lands four files.
        load: What each does in a round when its files of `keys` have landed, indented.

    Returns:
        Key, lowest and highest id, number of rows and of different notes, of each partition.
    """
    children = [
        start_child(_LAND_MANY.format(number=number, rounds=rounds) + load) for number in (1, 2, 3)
    ]
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
    news = {f"new {turn}" for turn in range(rounds)}
    own_turns = {f"{own} in {turn}" for own in OWN for turn in range(rounds)}
    assert {key for key, *_ in found} == {*news, *OWN, *own_turns, "old"}
    bench.assert_level(NOTES)
    bench.assert_history(NOTES)
    return found
