"""What a reload changed, on each warehouse: rows added, removed and unchanged, and when."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partitioned_etl.engine.feed import Feed, OnMissing
from partitioned_etl.engine.forget import drop_feed, forget_files, list_held_files
from partitioned_etl.engine.migrate import apply_migration
from support.benches import ON_FOLDERS
from support.scale import try_examples
from support.workbench import NOTES, Workbench, change_feed, land_numbers

pytestmark = [pytest.mark.scale, pytest.mark.parametrize("bench", ON_FOLDERS, indirect=True)]

VALUES = change_feed(
    NOTES,
    columns={
        "id": "BIGINT",
        "note": "VARCHAR",
        "price": "DOUBLE",
        "amount": "DECIMAL(9,2)",
        "day": "DATE",
        "at": "TIMESTAMPTZ",
    },
    non_finite_columns=("price",),
)
CELLS = {
    "id": ("", "1", "2"),
    "note": ("", '""', "a", "A", '" a"'),
    "price": ("", "0.0", "-0.0", "NaN", "Infinity", "1.5"),
    "amount": ("", "1.50", "-1.50"),
    "day": ("", "2024-01-02"),
    "at": ("", "2024-01-02 03:04:05+00", "2024-01-02 04:04:05+01"),
}
ROWS = st.lists(st.tuples(*map(st.sampled_from, CELLS.values())), max_size=8)
COUNTED = "rows_added, rows_removed, rows_unchanged"


def write(rows: list[tuple[str, ...]]) -> str:
    lines = [",".join(CELLS), *(",".join(row) for row in rows)]
    return "".join(f"{line}\n" for line in lines)


def count_rows(bench: Workbench, feed: Feed) -> Counter[tuple[Any, ...]]:
    columns = ", ".join(f'"{name}"' for name in feed.columns)
    found = bench.query(f'SELECT {columns} FROM "{feed.table}"')
    # Of two NaN, Python says that they differ.
    return Counter(tuple("NaN" if cell != cell else cell for cell in row) for row in found)


def latest(bench: Workbench, feed: Feed) -> tuple[int | None, int | None, int | None]:
    with bench.open_table(feed) as table:
        row = table.read_history().rows[0]
    return row.rows_added, row.rows_removed, row.rows_unchanged


@settings(try_examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=ROWS, after=ROWS, kept=st.randoms())
def test_a_reload_is_told_as_rows_are_counted_before_and_after(
    bench: Workbench, before: list[tuple[str, ...]], after: list[tuple[str, ...]], kept: Any
) -> None:
    mixed = [*after, *kept.sample(before, kept.randint(0, len(before)))]
    kept.shuffle(mixed)
    # Nothing else differs if the rows are the same.
    states = []
    for rows in (before, [*mixed, ("9", "end", "", "", "", "")]):
        bench.land(VALUES, "a.csv", write(rows))
        bench.sync(VALUES)
        states.append(count_rows(bench, VALUES))
    old, new = states
    added, removed = (new - old).total(), (old - new).total()
    assert latest(bench, VALUES) == (added, removed, new.total() - added)
    bench.land(VALUES, "a.csv", write([]))
    bench.sync(VALUES)
    assert latest(bench, VALUES) == (0, new.total(), 0)


def test_first_loads_reloads_and_removals_are_told_with_the_ledgers_time(bench: Workbench) -> None:
    land_numbers(bench, "a", 1, 2, 2)
    land_numbers(bench, "b", 1)
    bench.sync(NOTES)
    land_numbers(bench, "a", 2, 3)
    bench.sync(NOTES)
    told = bench.query(f"SELECT source_file, kind, {COUNTED} FROM load_history")
    assert sorted(told) == [
        ("a.csv", "first load", 3, 0, 0),
        ("a.csv", "reload", 1, 2, 1),
        ("b.csv", "first load", 1, 0, 0),
    ]
    with bench.open_table(NOTES) as table:
        ledger, history = table.read_ledger(), table.read_history()
    assert history.rows[0].changed_at == ledger.rows["a.csv"].loaded_at
    assert history.rows[-1].changed_at == ledger.rows["b.csv"].loaded_at
    assert history.rows[0].content_hash == ledger.rows["a.csv"].content_hash


def test_json_is_compared_as_it_is_spelled(bench: Workbench) -> None:
    feed = change_feed(
        NOTES,
        pattern="{key}.jsonl",
        format="json_lines",
        columns={"id": "BIGINT", "doc": "JSON"},
    )
    bench.land(feed, "a.jsonl", '{"id": 1, "doc": {"x": 1}}\n{"id": 2, "doc": null}\n')
    bench.sync(feed)
    bench.land(feed, "a.jsonl", '{"id": 1, "doc": {"x": 2}}\n{"id": 2, "doc": null}\n')
    bench.sync(feed)
    assert latest(bench, feed) == (1, 1, 1)


def test_what_is_removed_by_policy_by_a_person_and_by_a_migration_is_told(
    bench: Workbench,
) -> None:
    feed = change_feed(NOTES, on_missing=OnMissing.REMOVE)
    for key in ("a", "b", "c"):
        land_numbers(bench, key, 1, 70_000)
    bench.sync(feed)
    bench.place.delete(feed, "c.csv")
    bench.sync(feed)
    with bench.open_table(feed) as table:
        listing = bench.landing.list_files(feed)
        forget_files(table, list_held_files(table, listing, keys=["b"]))
    bench.assert_history(feed)
    narrow = change_feed(feed, columns={"id": "SMALLINT", "note": "VARCHAR"})
    land_numbers(bench, "a", 1)
    with bench.open_table(narrow) as table:
        apply_migration(table, bench.landing.list_files(narrow))
    bench.sync(narrow)
    told = bench.query(f"SELECT source_file, kind, {COUNTED} FROM load_history")
    assert sorted(told) == [
        ("a.csv", "first load", 1, 0, 0),
        ("a.csv", "first load", 2, 0, 0),
        ("a.csv", "migrated", 0, 2, 0),
        ("b.csv", "first load", 2, 0, 0),
        ("b.csv", "forgotten", 0, 2, 0),
        ("c.csv", "first load", 2, 0, 0),
        ("c.csv", "removed", 0, 2, 0),
    ]


def test_history_is_trimmed_made_where_it_is_missing_and_dropped_with_its_feed(
    bench: Workbench,
) -> None:
    land_numbers(bench, "a", 1)
    bench.sync(NOTES)
    with bench.open_table(NOTES) as table:
        moment = table.read_ledger().rows["a.csv"].loaded_at
        assert moment
        table.trim_history(moment)
        assert len(table.read_history().rows) == 1
        table.trim_history(moment + timedelta(seconds=1))
        assert not table.read_history().rows
    with bench.open() as opened, opened.transaction("load_history") as execute:
        execute("DROP TABLE load_history", [])
    with bench.warehouse.open_read_only() as opened:
        assert not opened.table(NOTES).read_history().rows
    land_numbers(bench, "a", 1, 2)
    bench.sync(NOTES)
    assert latest(bench, NOTES) == (1, 0, 1)
    with bench.open_table(NOTES) as table:
        drop_feed(table)
        assert not table.read_history().rows
