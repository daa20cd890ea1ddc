"""Many writers at once, on each warehouse: nothing is lost or doubled."""

from collections.abc import Callable

import pytest

from support.many_writers import OWN, write_side_by_side
from support.scale import examples
from support.workbench import Child, Workbench

pytestmark = [
    pytest.mark.scale,
    pytest.mark.slow,
    pytest.mark.usefixtures("durable_server"),
]

StartChild = Callable[[str], Child]

LOAD = """
    # Now and then all of them, which others have loaded meanwhile.
    files = bench.list_files(NOTES)
    bench.load(NOTES, files if turn % 10 == 9 else [f for f in files if f.partition_key in keys])
"""


def test_processes_that_load_different_and_the_same_keys_lose_and_double_nothing(
    bench: Workbench, start_child: StartChild
) -> None:
    rounds = examples(5)
    found = write_side_by_side(bench, start_child, rounds, LOAD)
    for key, lowest, *_ in found:
        if key.startswith("own"):
            assert lowest // 1000 == int(key.split()[1])
    assert len(found) == len({key for key, *_ in found})
    lasts = {key: serial % 1000 for key, serial, *_ in found if key in {*OWN, "old"}}
    assert set(lasts.values()) == {rounds - 1}
    latest = dict(bench.query("SELECT source_file, loaded_at FROM file_loads"))
    assert all(latest.values())
