"""Loads that are killed at any moment, on each landing with each warehouse."""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from time import sleep

import pytest

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.errors import WarehouseError
from support.benches import KINDS
from support.killed_loads import LOADERS, Kills
from support.postgres_bench import PostgresBench
from support.postgres_server import PostgresServer
from support.scale import IS_SEEDED, examples
from support.workbench import NOTES, Child, Workbench, at_moment, land_numbers, loaded_numbers

pytestmark = [
    pytest.mark.scale,
    pytest.mark.slow,
    pytest.mark.usefixtures("durable_server"),
]

StartChild = Callable[[str], Child]


# On a folder and a DuckDB file, tests/promises does the same.
@pytest.mark.parametrize(
    "bench", [kind for kind in KINDS if kind != "folder-duckdb"], indirect=True
)
def test_loads_that_are_killed_leave_old_or_new_partitions_and_the_next_one_makes_them_level(
    bench: Workbench, start_child: StartChild
) -> None:
    kills = Kills(bench, start_child(LOADERS), large_rows=5_000)
    kills.at_failpoints()
    kills.at_any_moment(examples(4))
    kills.around_the_commit(examples(4))
    print(kills)
    assert kills.outcomes["failpoint: old"] == len(failpoints.ALL) - 1
    assert kills.outcomes["failpoint: new"] == 1


def end_backend(bench: PostgresBench, number: int, how: str) -> None:
    """End a process of the server: as an operator does, or so that all of the server recovers."""
    if how == "SIGTERM":
        bench.query("SELECT pg_terminate_backend(%s, 60000)", number)
        return
    with suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)
        while True:  # until the server has noticed
            os.kill(number, 0)
            sleep(0.01)


def test_a_backend_that_ends_around_the_commit_leaves_the_old_rows_or_the_new_ones(
    postgres_bench: PostgresBench,
    durable_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench, seed = postgres_bench, "the same every time" if IS_SEEDED else os.urandom(8).hex()
    rng, outcomes = random.Random(seed), Counter[str]()
    told: list[str] = []
    land_numbers(bench, "a", 0)
    bench.load(NOTES)
    for turn in range(1, 1 + examples(6)):
        old, new = {"a": [turn - 1] * turn}, {"a": [turn] * (turn + 1)}
        land_numbers(bench, "a", *new["a"])
        # The first one ends before the commit for certain, all others a little earlier or later.
        delay_s = 0 if turn == 1 else rng.random() * 0.004
        how = rng.choice(["SIGTERM", "SIGKILL"])
        ending: list[Thread] = []

        def begin(how: str = how, delay_s: float = delay_s, ending: list[Thread] = ending) -> None:
            [(number,)] = bench.query(
                "SELECT pid FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

            def end() -> None:
                sleep(delay_s)
                end_backend(bench, number, how)

            ending.append(Thread(target=end))
            ending[0].start()
            if not delay_s:
                ending[0].join()

        at_moment(monkeypatch, failpoints.BEFORE_COMMIT, begin)
        try:
            bench.load(NOTES)
        except WarehouseError as error:
            told.append(str(error))
        ending[0].join()
        durable_server.wait()
        found = loaded_numbers(bench)
        assert found in (old, new)
        outcomes["old" if found == old else "new"] += 1
        bench.assert_level(NOTES)
        bench.sync(NOTES)
        assert loaded_numbers(bench) == new
        bench.assert_level(NOTES)
    print(f"seed {seed}, {dict(outcomes)}, {len(told)} lost")
    assert told
    assert durable_server.password not in "".join(told)
