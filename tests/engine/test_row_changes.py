"""What a reload changed: rows added, removed and unchanged, told by outcome and load history."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed, OnMissing
from partitioned_etl.engine.forget import drop_feed, forget_files, list_held_files
from partitioned_etl.engine.reconcile import reconcile_table
from partitioned_etl.engine.warehouse.load_history import HistoryRow, RowChanges
from support.workbench import NOTES, PRICES, Child, Workbench, change_feed, land_numbers

PARTS = change_feed(NOTES, pattern="{key}_{part}-{version}.csv", key_pattern="[a-z]")


def history(bench: Workbench, feed: Feed = NOTES) -> list[HistoryRow]:
    with bench.open_table(feed) as table:
        return list(table.read_history())


def latest(bench: Workbench, feed: Feed = NOTES) -> tuple[object, ...]:
    row = history(bench, feed)[0]
    return (str(row.kind), row.rows_added, row.rows_removed, row.rows_unchanged, row.not_compared)


def load_numbers(bench: Workbench, name: str, *numbers: int, feed: Feed = NOTES) -> RowChanges:
    """Let a file land and load it, and give what that changed."""
    bench.land(feed, name, "id,note\n" + "".join(f"{number},x\n" for number in numbers))
    [file] = [one for one in bench.list_files(feed) if one.name == name]
    [outcome] = bench.load(feed, [file]).values()
    return outcome.changes


def test_a_first_load_adds_all_rows_and_a_reload_what_differs(bench: Workbench) -> None:
    assert load_numbers(bench, "a.csv", 1, 2, 2) == RowChanges(3, 0, 0)
    assert load_numbers(bench, "a.csv", 2, 3) == RowChanges(1, 2, 1, is_reload=True)
    assert load_numbers(bench, "a.csv", 3, 2) == RowChanges(0, 0, 2, is_reload=True)
    assert load_numbers(bench, "a.csv") == RowChanges(0, 2, 0, is_reload=True)
    assert load_numbers(bench, "a.csv", 7) == RowChanges(1, 0, 0, is_reload=True)
    bench.assert_history(NOTES)


def test_files_of_one_load_are_compared_each_with_its_own_rows(bench: Workbench) -> None:
    for key, numbers in {"a": (1, 2), "b": (1, 2), "c": (1,)}.items():
        land_numbers(bench, key, *numbers)
    bench.load(NOTES)
    for key, numbers in {"a": (1, 3), "b": (1, 2, 2), "d": (1,)}.items():
        land_numbers(bench, key, *numbers)
    files = [file for file in bench.list_files(NOTES) if file.partition_key != "c"]
    told = {key: outcome.changes for key, outcome in bench.load(NOTES, files).items()}
    assert told == {
        "a": RowChanges(1, 1, 1, is_reload=True),
        "b": RowChanges(1, 0, 2, is_reload=True),
        "d": RowChanges(1, 0, 0),
    }


def test_many_rows_of_which_few_differ_are_counted(bench: Workbench) -> None:
    load_numbers(bench, "a.csv", *range(20_000))
    assert load_numbers(bench, "a.csv", *range(7, 20_003)) == RowChanges(
        3, 7, 19_993, is_reload=True
    )


def test_a_part_is_compared_with_that_part_and_a_version_with_the_one_before(
    bench: Workbench,
) -> None:
    load_numbers(bench, "a_1-1.csv", 1, 2, feed=PARTS)
    assert load_numbers(bench, "a_2-1.csv", 1, feed=PARTS) == RowChanges(1, 0, 0)
    changes = load_numbers(bench, "a_1-2.csv", 2, 3, feed=PARTS)
    assert changes == RowChanges(1, 1, 1, is_reload=True)
    bench.assert_history(PARTS)


def test_a_file_that_moves_to_another_key_is_compared_by_its_columns(bench: Workbench) -> None:
    moved = change_feed(NOTES, pattern="a{key}.csv")
    load_numbers(bench, "ab.csv", 1, 2)
    assert load_numbers(bench, "ab.csv", 2, 3, feed=moved) == RowChanges(1, 1, 1, is_reload=True)
    assert [row.partition_key for row in history(bench)] == ["b", "ab"]
    bench.assert_history(moved)


def test_a_column_that_comes_or_goes_makes_rows_with_a_value_others(bench: Workbench) -> None:
    wide = change_feed(NOTES, columns={**NOTES.columns, "extra": "VARCHAR"})
    load_numbers(bench, "a.csv", 1, 2)
    bench.land(wide, "a.csv", "id,note,extra\n1,x,new\n2,x,\n")
    bench.sync(wide)
    assert latest(bench, wide) == ("reload", 1, 1, 1, "")
    load_numbers(bench, "a.csv", 1, 2)
    assert latest(bench) == ("reload", 1, 1, 1, "")


NESTED = {
    "list": "BIGINT[]",
    "struct": "STRUCT(a DOUBLE, b VARCHAR)",
    "json": "JSON",
}


def test_nested_values_are_compared_as_values(bench: Workbench) -> None:
    feed = change_feed(NOTES, pattern="{key}.jsonl", format="json_lines", columns=NESTED)
    first = '{"list": [1, null], "struct": {"a": 0.0, "b": null}, "json": {"x": 1}}\n'
    same = '{"list": [1, null], "struct": {"a": -0.0, "b": null}, "json": {"x": 1}}\n'
    other = '{"list": [null, 1], "struct": {"a": 0.0, "b": ""}, "json": {"x": 1}}\n'
    bench.land(feed, "a.jsonl", first * 2)
    bench.sync(feed)
    bench.land(feed, "a.jsonl", same + other)
    bench.sync(feed)
    assert latest(bench, feed) == ("reload", 1, 1, 1, "")


def test_rejected_rows_are_counted_and_not_compared(bench: Workbench) -> None:
    feed = change_feed(NOTES, bad_rows=BadRows.QUARANTINE, max_rejected_percent=100)
    bench.land(feed, "a.csv", "id,note\n1,x\nbad,x\n")
    bench.sync(feed)
    bench.land(feed, "a.csv", "id,note\n1,x\n2,x\nbad,y\nworse,y\n")
    bench.sync(feed)
    assert latest(bench, feed) == ("reload", 1, 0, 1, "")
    assert [row.rejected_count for row in history(bench, feed)] == [2, 1]


@pytest.mark.parametrize(("before", "after"), [((1, 2, 3), (1,)), ((1,), (1, 2, 3))])
def test_a_file_with_more_rows_than_the_limit_is_not_compared_and_the_others_are(
    bench: Workbench, before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    feed = change_feed(NOTES, compare_up_to_rows=2)
    for numbers in (before, after):
        land_numbers(bench, "a", *numbers)
        land_numbers(bench, "b", len(numbers))
        told = {key: outcome.changes for key, outcome in bench.load(feed).items()}
    reason = "3 rows, more than 2"
    assert told["a"] == RowChanges(not_compared=reason, is_reload=True)
    assert told["b"] == RowChanges(1, 1, 0, is_reload=True)


def test_without_a_limit_nothing_is_compared_and_first_loads_are_told(bench: Workbench) -> None:
    feed = change_feed(NOTES, compare_up_to_rows=0)
    assert load_numbers(bench, "a.csv", 1, feed=feed) == RowChanges(1, 0, 0)
    reason = "compare_up_to_rows is 0"
    changes = load_numbers(bench, "a.csv", 1, feed=feed)
    assert changes == RowChanges(not_compared=reason, is_reload=True)


def test_rows_that_nobody_knows_are_no_reason_for_wrong_numbers(bench: Workbench) -> None:
    load_numbers(bench, "a.csv", 1)
    with bench.connect() as duck:
        duck.execute("INSERT INTO raw_notes VALUES (8, 'x', 'a', 'other.csv')")
        duck.execute("INSERT INTO raw_notes VALUES (9, 'x', 'b', NULL)")
    reason = "the table held rows that the ledger did not know"
    assert load_numbers(bench, "a.csv", 1).not_compared == reason
    assert load_numbers(bench, "b.csv", 1).not_compared == reason
    assert bench.query("SELECT count(*) FROM raw_notes") == [(2,)]


def test_rows_that_were_doubled_by_hand_are_told_as_removed(bench: Workbench) -> None:
    load_numbers(bench, "a.csv", 1)
    with bench.connect() as duck:
        duck.execute("INSERT INTO raw_notes FROM raw_notes")
    assert load_numbers(bench, "a.csv", 1) == RowChanges(0, 1, 1, is_reload=True)


def test_a_refused_file_leaves_no_history_and_its_correction_is_compared(bench: Workbench) -> None:
    load_numbers(bench, "a.csv", 1, 2)
    bench.land(NOTES, "a.csv", "id,note\nbad,x\n")
    bench.sync(NOTES)
    assert len(history(bench)) == 1
    assert load_numbers(bench, "a.csv", 2, 3) == RowChanges(1, 1, 1, is_reload=True)


def test_the_history_is_of_one_feed_with_the_latest_first_and_a_frame(bench: Workbench) -> None:
    load_numbers(bench, "a.csv", 1)
    load_numbers(bench, "b.csv", 1, 2)
    bench.land(PRICES, "2024-01-02.csv", "day,price\n2024-01-02,1\n")
    bench.sync(PRICES)
    with bench.open_table(NOTES) as table:
        frame = table.read_history().to_frame()
        since = table.read_ledger().rows["b.csv"].loaded_at
        assert [row.source_file for row in table.read_history(since)] == ["b.csv"]
    assert list(frame.columns) == list(HistoryRow._fields)
    assert list(frame["source_file"]) == ["b.csv", "a.csv"]
    assert list(frame["rows_added"]) == [2, 1]


def test_what_is_removed_or_forgotten_is_told_and_a_drop_takes_the_history_along(
    bench: Workbench,
) -> None:
    feed = change_feed(NOTES, on_missing=OnMissing.REMOVE)
    for key in ("a", "b", "c"):
        load_numbers(bench, f"{key}.csv", 1, 2)
    bench.place.delete(feed, "c.csv")
    bench.sync(feed)
    assert latest(bench) == ("removed", 0, 2, 0, "")
    listing = bench.landing.list_files(feed)
    with bench.open_table(feed) as table:
        forget_files(table, list_held_files(table, listing, keys=["a"]), run_id="run 1")
    assert latest(bench) == ("forgotten", 0, 2, 0, "")
    assert history(bench)[0].run_id == "run 1"
    bench.assert_history(feed)
    with bench.open_table(feed) as table:
        drop_feed(table)
        assert not list(table.read_history())


def test_a_database_without_history_is_read_and_gets_it_by_its_next_load(bench: Workbench) -> None:
    load_numbers(bench, "a.csv", 1, 2)
    with bench.connect() as duck:
        duck.execute("DROP TABLE load_history")
    with bench.warehouse.open_read_only() as opened:
        table = opened.table(NOTES)
        assert not list(table.read_history())
        assert len(table.read_ledger().rows) == 1
    with bench.open_table(NOTES) as table:
        table.trim_history(datetime.now(UTC))
    assert load_numbers(bench, "a.csv", 2, 3) == RowChanges(1, 1, 1, is_reload=True)
    assert len(history(bench)) == 1


@pytest.mark.parametrize(("days", "kept"), [(0, 2), (30, 1), (90, 2)])
def test_reconciling_removes_what_is_older_than_so_many_days_of_all_feeds(
    bench: Workbench, days: int, kept: int
) -> None:
    load_numbers(bench, "a.csv", 1)
    load_numbers(bench, "b.csv", 1)
    with bench.connect() as duck:
        old = datetime.now(UTC) - timedelta(days=60)
        where = "source_file = 'a.csv'"
        duck.execute(f"UPDATE load_history SET changed_at = ?, feed = 'gone' WHERE {where}", [old])
    listing = bench.landing.list_files(NOTES)
    with bench.open_table(NOTES) as table:
        reconcile_table(table, bench.landing, listing, history_days=days)
    assert bench.query("SELECT count(*) FROM load_history") == [(kept,)]


@pytest.mark.parametrize("moment", failpoints.ALL)
def test_after_a_kill_table_and_history_agree(
    bench: Workbench, start_child: Callable[[str], Child], moment: str
) -> None:
    load_numbers(bench, "a.csv", 1, 2)
    land_numbers(bench, "a", 2, 3, 4)
    child = start_child(f"""
failpoints.listener = lambda name: name == {moment!r} and pause(name)
bench.sync(NOTES)
""")
    child.wait_for(moment)
    child.kill()
    is_loaded = moment == failpoints.AFTER_COMMIT
    assert latest(bench)[:4] == (("reload", 2, 1, 1) if is_loaded else ("first load", 2, 0, 0))
    bench.assert_history(NOTES)
    bench.sync(NOTES)
    assert latest(bench)[:4] == ("reload", 2, 1, 1)
    bench.assert_history(NOTES)


def test_no_feed_has_the_table_of_the_history() -> None:
    with pytest.raises(FeedDefinitionError, match="one of this package's own"):
        change_feed(NOTES, table="Load_History")
