"""Loads that are killed at any moment, and databases whose files were lost, cut or put back."""

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.errors import WarehouseError
from partitioned_etl.engine.feed import Feed
from support.killed_loads import LOADERS, Kills
from support.scale import examples
from support.workbench import (
    NOTES,
    Child,
    Workbench,
    change_feed,
    land_numbers,
    loaded_numbers,
)

StartChild = Callable[[str], Child]

RANDOM_KILLS = examples(2)


def wal_of(bench: Workbench) -> Path:
    return bench.database.with_name(bench.database.name + ".wal")


class KillsWithALog(Kills):
    """Kills that count how often a write-ahead log is left."""

    def after_kill(self) -> None:
        self.outcomes["with a log"] += wal_of(self.loads.bench).exists()


@pytest.mark.scaled
def test_loads_that_are_killed_leave_old_or_new_partitions_and_the_next_one_makes_them_level(
    bench: Workbench, start_child: StartChild
) -> None:
    kills = KillsWithALog(bench, start_child(LOADERS))
    kills.at_failpoints()
    kills.at_any_moment(RANDOM_KILLS)
    print(kills)
    assert kills.outcomes["failpoint: old"] + kills.outcomes["random: old"]
    assert kills.outcomes["failpoint: new"] + kills.outcomes["random: new"]
    assert kills.outcomes["with a log"]


KILLED_WITH_A_LOG = """
failpoints.listener = lambda moment: pause("committed") if moment == "after_commit" else None
bench.sync(NOTES)
"""


@pytest.fixture
def killed(bench: Workbench, start_child: StartChild) -> Path:
    """A database whose last load was committed and killed, so that it is in the log only."""
    for key in ("a", "b", "c"):
        land_numbers(bench, key, 1, 2)
    bench.sync(NOTES)
    land_numbers(bench, "a", *range(1_000))
    land_numbers(bench, "d", 7)
    child = start_child(KILLED_WITH_A_LOG)
    child.wait_for("committed")
    child.kill()
    assert wal_of(bench).stat().st_size > 1_000
    return wal_of(bench)


LANDED = {"a": list(range(1_000)), "b": [1, 2], "c": [1, 2], "d": [7]}


def test_a_log_that_is_lost_or_cut_off_after_a_kill_is_loaded_again(
    bench: Workbench, killed: Path
) -> None:
    database, log = bench.database.read_bytes(), killed.read_bytes()
    size = len(log)
    for cut in (None, 0, 1, 40, size // 4, size // 2, size - 100, size - 1):
        bench.database.write_bytes(database)
        killed.unlink(missing_ok=True)
        if cut is not None:
            killed.write_bytes(log[:cut])
        report = bench.sync(NOTES)
        assert [record.partition_key for record in report.loaded] == ["a", "d"]
        assert loaded_numbers(bench) == LANDED
        bench.assert_level(NOTES)


def assert_refused_until_the_log_is_removed(bench: Workbench) -> None:
    database, log = bench.database.read_bytes(), wal_of(bench).read_bytes()
    with pytest.raises(WarehouseError, match=re.escape(str(wal_of(bench)))):
        bench.sync(NOTES)
    assert (bench.database.read_bytes(), wal_of(bench).read_bytes()) == (database, log)
    wal_of(bench).unlink()
    bench.sync(NOTES)
    assert loaded_numbers(bench) == LANDED
    bench.assert_level(NOTES)


def test_a_damaged_log_is_an_error_that_names_it_and_without_it_all_is_loaded(
    bench: Workbench, killed: Path
) -> None:
    log = bytearray(killed.read_bytes())
    log[len(log) // 2] ^= 255
    killed.write_bytes(log)
    assert_refused_until_the_log_is_removed(bench)


def test_an_older_database_that_is_put_back_is_brought_level(bench: Workbench) -> None:
    land_numbers(bench, "a", 1, 2)
    land_numbers(bench, "b", 1)
    bench.sync(NOTES)
    backup = bench.database.read_bytes()
    land_numbers(bench, "a", 3)
    land_numbers(bench, "c", 4)
    bench.sync(NOTES)
    land_numbers(bench, "c", 5)
    bench.sync(NOTES)

    bench.database.write_bytes(backup)
    report = bench.sync(NOTES)
    assert [record.partition_key for record in report.loaded] == ["a", "c"]
    assert loaded_numbers(bench) == {"a": [3], "b": [1], "c": [5]}
    bench.assert_level(NOTES)


def test_an_older_database_beside_a_newer_log_is_an_error_and_without_the_log_all_is_loaded(
    bench: Workbench, start_child: StartChild
) -> None:
    for key in ("a", "b", "c"):
        land_numbers(bench, key, 1, 2)
    bench.sync(NOTES)
    backup = bench.database.read_bytes()
    land_numbers(bench, "a", 5, 6, 7)
    bench.sync(NOTES)
    land_numbers(bench, "a", *range(1_000))
    land_numbers(bench, "d", 7)
    child = start_child(KILLED_WITH_A_LOG)
    child.wait_for("committed")
    child.kill()

    bench.database.write_bytes(backup)
    assert_refused_until_the_log_is_removed(bench)


SALES = Feed(name="sales", pattern="{date:%Y-%m}.csv", columns={"id": "INTEGER", "note": "VARCHAR"})
WITH_DAY = change_feed(SALES, columns={"id": "BIGINT", "day": "DATE"})
NARROW = change_feed(SALES, columns={"id": "SMALLINT"})
CHANGE_COLUMNS = """
from partitioned_etl.engine.migrate import apply_migration
from promises.test_kills import NARROW, WITH_DAY

failpoints.listener = lambda name: pause("there") if name == "{moment}" else None
if {is_load}:
    bench.sync(WITH_DAY)
else:
    with bench.open_table(NARROW) as table:
        apply_migration(table, bench.landing.list_files(NARROW))
"""


@pytest.mark.parametrize(
    ("moment", "is_load", "columns"),
    [
        (failpoints.AFTER_ALTER, True, {"id": "INTEGER", "note": "VARCHAR"}),
        pytest.param(
            failpoints.AFTER_BEGIN,
            True,
            {"id": "BIGINT", "note": "VARCHAR", "day": "DATE"},
            marks=pytest.mark.long,
        ),
        (failpoints.AFTER_ALTER, False, {"id": "INTEGER", "note": "VARCHAR"}),
    ],
    ids=["before the alteration is there", "before the load", "in a migration"],
)
def test_columns_that_are_changed_are_the_old_ones_or_the_new_ones(
    bench: Workbench, start_child: StartChild, moment: str, is_load: bool, columns: dict[str, str]
) -> None:
    bench.land(SALES, "2024-01.csv", "id,note\n70000,a\n")
    bench.land(SALES, "2024-02.csv", "id,note\n7,b\n")
    bench.sync(SALES)
    bench.land(WITH_DAY, "2024-03.csv", "id,day\n8,2024-03-02\n")
    child = start_child(CHANGE_COLUMNS.format(moment=moment, is_load=is_load))
    child.wait_for("there")
    child.kill()
    described = {name: one for name, one, *_ in bench.query("DESCRIBE sales")}
    assert described == {**columns, "partition_key": "VARCHAR", "source_file": "VARCHAR"}
    assert bench.query("SELECT id, note FROM sales ORDER BY ALL") == [(7, "b"), (70000, "a")]
    bench.assert_level(SALES)
    bench.sync(WITH_DAY)
    assert bench.query("SELECT id, note, day FROM sales ORDER BY ALL") == [
        (7, "b", None),
        (8, None, date(2024, 3, 2)),
        (70000, "a", None),
    ]
    bench.assert_level(WITH_DAY)


SEVERAL_FILES = """
from partitioned_etl.engine import failpoints
from promises.test_kills import VERSIONED_PARTS

failpoints.listener = lambda name: pause("there") if name == "{moment}" else None
bench.sync(VERSIONED_PARTS)
"""
VERSIONED_PARTS = change_feed(NOTES, pattern="{key}_{part}-{version}.csv", key_pattern="[a-z]")


@pytest.mark.parametrize(
    "moment",
    [
        failpoints.AFTER_LEDGER,
        pytest.param(failpoints.AFTER_DELETE, marks=pytest.mark.long),
        failpoints.BEFORE_COMMIT,
        failpoints.AFTER_COMMIT,
    ],
)
def test_a_part_and_a_version_are_there_whole_or_not_at_all(
    bench: Workbench, start_child: StartChild, moment: str
) -> None:
    feed = VERSIONED_PARTS
    bench.land(feed, "a_1-1.csv", "id,note\n1,x\n")
    bench.land(feed, "a_2-1.csv", "id,note\n2,x\n")
    bench.sync(feed)
    old = [(1, "loaded", "a_1-1.csv"), (2, "loaded", "a_2-1.csv")]
    bench.land(feed, "a_1-2.csv", "id,note\n10,x\n")
    bench.land(feed, "a_3-1.csv", "id,note\n3,x\n")
    child = start_child(SEVERAL_FILES.format(moment=moment))
    child.wait_for("there")
    child.kill()
    new = [
        (2, "loaded", "a_2-1.csv"),
        (3, "loaded", "a_3-1.csv"),
        (10, "loaded", "a_1-2.csv"),
        (None, "superseded", "a_1-1.csv"),
    ]
    state = (
        "SELECT id, status, l.source_file FROM file_loads AS l "
        "LEFT JOIN raw_notes AS t USING (source_file) ORDER BY ALL"
    )
    assert bench.query(state) == (new if moment == failpoints.AFTER_COMMIT else old)
    bench.sync(feed)
    assert bench.query(state) == new
    bench.assert_level(feed)
