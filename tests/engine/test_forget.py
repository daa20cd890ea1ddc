"""What a person has forgotten is gone from table, rejected rows and ledger: all, or nothing."""

from collections.abc import Callable, Sequence

import pytest

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.errors import FeedDefinitionError, WarehouseError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.forget import (
    HeldFile,
    drop_feed,
    forget_files,
    list_held_files,
    stand_in_for,
)
from support.workbench import NOTES, Child, Workbench, at_moment, change_feed

DAYS = change_feed(
    NOTES,
    name="days",
    folder="days",
    table="days",
    pattern="{date:%Y-%m-%d}.csv",
    bad_rows=BadRows.QUARANTINE,
    max_rejected_percent=100,
)
MONTHS = change_feed(DAYS, pattern="{date:%Y-%m}.csv")
STALE = HeldFile("2024-01-02", "2024-01-02.csv", 1, is_landed=False)
TABLES = ("days", "rejected_rows", "file_loads WHERE feed = 'days'")
ROWS = "id,note\n1,x\nno number,x\n"


@pytest.fixture
def days(bench: Workbench) -> Workbench:
    """A workbench with two days loaded, each with a rejected row, and another feed."""
    for day in ("2024-01-01", "2024-01-02"):
        bench.land(DAYS, f"{day}.csv", ROWS)
    bench.land(NOTES, "a.csv", "id,note\n1,x\n")
    bench.sync(DAYS)
    bench.sync(NOTES)
    return bench


def list_held(
    bench: Workbench, feed: Feed, *, stale: bool = False, keys: Sequence[str] | None = ()
) -> list[HeldFile]:
    with bench.open_table(feed) as table:
        return list_held_files(table, bench.landing.list_files(feed), stale=stale, keys=keys)


def forget(bench: Workbench, feed: Feed, files: Sequence[HeldFile]) -> None:
    with bench.open_table(feed) as table:
        forget_files(table, files)


def contents(bench: Workbench) -> dict[str, list[str]]:
    """Give the partition keys of a feed in each of the three tables."""
    return {
        table: [key for (key,) in bench.query(f"SELECT partition_key FROM {table} ORDER BY 1")]
        for table in TABLES
    }


def of_each(*keys: str) -> dict[str, list[str]]:
    return {table: [*keys] for table in TABLES}


def test_what_is_stale_is_forgotten_and_nothing_else(days: Workbench) -> None:
    days.land(MONTHS, "2024-01.csv", ROWS)
    days.sync(MONTHS)
    held = list_held(days, MONTHS, stale=True)
    assert held == [STALE]
    assert list_held(days, DAYS, stale=True) == []
    forget(days, MONTHS, held)
    assert contents(days) == of_each("2024-01-01")
    assert [row.source_file for row in days.ledger(MONTHS)] == ["2024-01.csv"]
    assert days.ledger(NOTES).by_key.keys() == {"a"}
    assert list_held(days, MONTHS, stale=True) == []


def test_a_partition_is_forgotten_with_rows_that_the_ledger_does_not_know(days: Workbench) -> None:
    with days.connect() as duck:
        duck.execute("INSERT INTO days (partition_key, source_file) VALUES ('2024-01-02', 'x.csv')")
        duck.execute("INSERT INTO days (partition_key) VALUES ('2024-01-02')")
    held = list_held(days, DAYS, keys=["2024-01-02"])
    assert held == [
        HeldFile("2024-01-02", "", 1, is_landed=True),
        STALE._replace(is_landed=True),
        HeldFile("2024-01-02", "x.csv", 1, is_landed=True),
    ]
    forget(days, DAYS, held)
    assert contents(days) == of_each("2024-01-01")
    # It is still landed.
    assert [record.source_file for record in days.sync(DAYS).loaded] == ["2024-01-02.csv"]


def test_of_a_partition_that_holds_nothing_there_is_nothing_to_forget(days: Workbench) -> None:
    assert list_held(days, DAYS, keys=["2024-02-01", "'"]) == []
    forget(days, DAYS, [])
    assert contents(days) == of_each("2024-01-01", "2024-01-02")


def test_all_of_a_feed_is_dropped(days: Workbench) -> None:
    with days.open_table(stand_in_for("days")) as table:
        assert table.count_files() == 2
        drop_feed(table)
        assert not table.exists()
        assert table.count_files() == 0
    assert days.query("SELECT feed FROM file_loads") == [("notes",)]
    assert days.query("SELECT count(*) FROM rejected_rows") == [(0,)]
    assert len(days.sync(DAYS).loaded) == 2


def test_the_table_of_a_feed_that_is_dropped_may_stay(days: Workbench) -> None:
    with days.open_table(stand_in_for("days", "other")) as table:
        drop_feed(table, keeps_table=True)
    assert contents(days) == of_each() | {"days": ["2024-01-01", "2024-01-02"]}


def test_a_table_that_is_of_no_feed_is_not_dropped(days: Workbench) -> None:
    with days.connect() as duck:
        duck.execute("CREATE TABLE mine (id BIGINT)")
    with (
        days.open_table(stand_in_for("days", "mine")) as table,
        pytest.raises(WarehouseError, match="table mine is of no feed: it lacks the columns"),
    ):
        drop_feed(table)
    assert contents(days) == of_each("2024-01-01", "2024-01-02")
    assert "mine" in days.tables()
    with pytest.raises(FeedDefinitionError, match="is one of this package's own"):
        stand_in_for("days", "file_loads")


class EndedError(Exception):
    """Ends what is done at a failpoint."""


def end() -> None:
    raise EndedError


@pytest.mark.parametrize("moment", [failpoints.AFTER_BEGIN, failpoints.BEFORE_COMMIT])
def test_what_ends_in_the_middle_has_removed_nothing(
    days: Workbench, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    at_moment(monkeypatch, moment, end, times=2)
    with days.open_table(DAYS) as table:
        with pytest.raises(EndedError):
            forget_files(table, [STALE])
        with pytest.raises(EndedError):
            drop_feed(table)
    assert contents(days) == of_each("2024-01-01", "2024-01-02")


KILLED = """
from partitioned_etl.engine.forget import HeldFile, drop_feed, forget_files, stand_in_for

failpoints.listener = lambda name: pause(name) if name == {moment!r} else None
with bench.open_table(stand_in_for("days")) as table:
    if {drops}:
        drop_feed(table)
    else:
        forget_files(table, [HeldFile("2024-01-02", "2024-01-02.csv", 1, False)])
"""


@pytest.mark.long
@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize(
    "moment", [failpoints.AFTER_BEGIN, failpoints.BEFORE_COMMIT, failpoints.AFTER_COMMIT]
)
def test_a_process_that_is_killed_leaves_all_or_nothing(
    days: Workbench, start_child: Callable[[str], Child], moment: str, drops: bool
) -> None:
    child = start_child(KILLED.format(moment=moment, drops=drops))
    child.wait_for(moment)
    child.kill()
    if moment != failpoints.AFTER_COMMIT:
        assert contents(days) == of_each("2024-01-01", "2024-01-02")
    elif drops:
        assert days.tables() == ["file_loads", "load_history", "raw_notes", "rejected_rows"]
        assert days.query("SELECT feed FROM file_loads") == [("notes",)]
    else:
        assert contents(days) == of_each("2024-01-01")
