"""Reconcile: what differs between landing, ledger and table is named, and mended if it can be."""

import shutil
from collections.abc import Sequence

import duckdb
import pytest

from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.feed import Feed, OnMissing
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.outcomes import OutcomeStatus
from partitioned_etl.engine.reconcile import (
    Comparison,
    DifferenceKind,
    Reconciled,
    compare_table,
    reconcile_table,
)
from partitioned_etl.engine.warehouse.ledger import LoadStatus
from support.workbench import (
    NOTES,
    PRICES,
    Workbench,
    change_feed,
    land_numbers,
    loaded_numbers,
)

REMOVING = change_feed(NOTES, on_missing=OnMissing.REMOVE)
QUARANTINING = change_feed(
    PRICES, folder="quarantined", bad_rows=BadRows.QUARANTINE, max_rejected_percent=100
)
DAY = "2018-01-22"
FIVE = {"a": [1], "b": [1, 2], "c": [3], "d": [4], "e": [5]}


def examine(bench: Workbench, feed: Feed = NOTES, settle_seconds: float = 0) -> Comparison:
    with bench.open_table(feed) as table:
        listing = bench.landing.list_files(feed)
        return compare_table(table, listing, settle_seconds=settle_seconds)


def differences(bench: Workbench, feed: Feed = NOTES) -> list[tuple[str, DifferenceKind]]:
    return [(one.partition_key, one.kind) for one in examine(bench, feed).differences]


def reconcile(
    bench: Workbench,
    feed: Feed = NOTES,
    *,
    allow_most: bool = False,
    settle_seconds: float = 0,
) -> Reconciled:
    landing = LocalLanding(bench.landing_dir, settle_seconds)
    with bench.open_table(feed) as table:
        return reconcile_table(table, landing, landing.list_files(feed), allow_most=allow_most)


def loaded_keys(done: Reconciled) -> list[str]:
    return [one.file.partition_key for one in done.outcomes if one.status is OutcomeStatus.LOADED]


def execute(bench: Workbench, sql: str, values: Sequence[object] = ()) -> None:
    with duckdb.connect(str(bench.database)) as connection:
        connection.execute(sql, list(values))


def forget_ledger_row(bench: Workbench, key: str) -> None:
    execute(bench, "DELETE FROM file_loads WHERE partition_key = ?", [key])


@pytest.fixture
def level(bench: Workbench) -> Workbench:
    """A workbench with five partitions of the notes feed, as level as can be."""
    for key, numbers in FIVE.items():
        land_numbers(bench, key, *numbers)
    bench.sync(NOTES)
    return bench


@pytest.fixture
def quarantined(bench: Workbench) -> Workbench:
    """A workbench with one partition of one good and two bad rows."""
    bench.land(QUARANTINING, f"{DAY}.csv", f"day,price\n{DAY},1\n{DAY},-1\n{DAY},-2\n")
    bench.sync(QUARANTINING)
    return bench


def test_a_level_feed_has_no_difference_and_to_reconcile_it_does_nothing(level: Workbench) -> None:
    before = level.query("SELECT * FROM file_loads ORDER BY ALL")
    assert differences(level) == []
    done = reconcile(level)
    assert (done.outcomes, done.removed, done.left.differences) == ([], [], [])
    assert level.query("SELECT * FROM file_loads ORDER BY ALL") == before


def test_a_level_feed_with_quarantined_rows_has_no_difference(quarantined: Workbench) -> None:
    assert quarantined.query("SELECT count(*) FROM rejected_rows") == [(2,)]
    assert differences(quarantined, QUARANTINING) == []


def test_an_empty_database_and_folder_are_level(bench: Workbench) -> None:
    bench.landing_dir.mkdir()
    assert differences(bench) == []


def test_landed_and_not_loaded_is_named_and_loaded(level: Workbench) -> None:
    land_numbers(level, "b", 20)
    land_numbers(level, "f", 6)
    assert differences(level) == [
        ("b", DifferenceKind.NOT_LOADED),
        ("f", DifferenceKind.NOT_LOADED),
    ]
    done = reconcile(level)
    assert loaded_keys(done) == ["b", "f"]
    assert done.left.differences == []
    assert loaded_numbers(level) == FIVE | {"b": [20], "f": [6]}


def test_a_file_that_still_settles_is_no_difference_and_is_not_loaded(level: Workbench) -> None:
    land_numbers(level, "f", 6)
    assert examine(level, settle_seconds=3600).differences == []
    assert reconcile(level, settle_seconds=3600).outcomes == []
    assert loaded_numbers(level) == FIVE


@pytest.mark.parametrize(
    ("sql", "detail"),
    [
        ("DELETE FROM raw_notes WHERE partition_key = 'b' AND id = 1", "1 instead of 2"),
        ("DELETE FROM raw_notes WHERE partition_key = 'b'", "0 instead of 2"),
        (
            "INSERT INTO raw_notes SELECT * FROM raw_notes WHERE partition_key = 'b'",
            "4 instead of 2",
        ),
    ],
)
def test_rows_that_changed_behind_the_ledger_are_named_and_mended(
    level: Workbench, sql: str, detail: str
) -> None:
    execute(level, sql)
    [difference] = examine(level).differences
    assert (difference.partition_key, difference.kind) == ("b", DifferenceKind.ROWS)
    assert str(difference) == f"partition b: {DifferenceKind.ROWS} ({detail})"
    assert loaded_keys(reconcile(level)) == ["b"]
    assert loaded_numbers(level) == FIVE
    assert reconcile(level).outcomes == []


def test_lost_rejected_rows_are_named_and_mended(quarantined: Workbench) -> None:
    execute(quarantined, "DELETE FROM rejected_rows WHERE line = 3")
    [difference] = examine(quarantined, QUARANTINING).differences
    assert difference.kind is DifferenceKind.REJECTED_ROWS
    assert difference.detail == "1 instead of 2"
    assert reconcile(quarantined, QUARANTINING).left.differences == []
    assert quarantined.query("SELECT line FROM rejected_rows ORDER BY 1") == [(3,), (4,)]
    assert quarantined.query("SELECT price FROM raw_prices") == [(1.0,)]


def test_a_dropped_table_of_rejected_rows_is_named_and_filled_again(
    quarantined: Workbench,
) -> None:
    execute(quarantined, "DROP TABLE rejected_rows")
    assert differences(quarantined, QUARANTINING) == [(DAY, DifferenceKind.REJECTED_ROWS)]
    assert reconcile(quarantined, QUARANTINING).left.differences == []
    assert quarantined.query("SELECT count(*) FROM rejected_rows") == [(2,)]


def test_rejected_rows_of_another_feed_are_not_counted(quarantined: Workbench) -> None:
    execute(
        quarantined,
        "INSERT INTO rejected_rows SELECT * REPLACE ('other' AS feed) FROM rejected_rows",
    )
    assert differences(quarantined, QUARANTINING) == []


def test_a_ledger_whose_sums_do_not_add_up_is_named_and_mended(level: Workbench) -> None:
    execute(level, "UPDATE file_loads SET file_row_count = 9 WHERE partition_key = 'b'")
    assert differences(level) == [("b", DifferenceKind.SUM)]
    assert reconcile(level).left.differences == []
    assert level.ledger(NOTES).rows["b.csv"].file_row_count == 2


def test_rows_of_a_key_that_the_ledger_does_not_know_are_named_and_left(level: Workbench) -> None:
    execute(level, "INSERT INTO raw_notes VALUES (7, 'x', 'nobody', 'nobody.csv')")
    expected = [("nobody", DifferenceKind.UNKNOWN)]
    assert differences(level) == expected
    done = reconcile(level)
    assert done.outcomes == []
    assert [(one.partition_key, one.kind) for one in done.left.differences] == expected
    assert loaded_numbers(level) == FIVE | {"nobody": [7]}


def test_rows_without_a_partition_key_are_named_and_left(level: Workbench) -> None:
    execute(level, "INSERT INTO raw_notes VALUES (7, 'x', NULL, NULL), (8, 'x', '', '')")
    [difference] = examine(level).differences
    assert (difference.partition_key, difference.kind) == ("", DifferenceKind.UNKNOWN)
    assert difference.detail == "2 rows"
    assert reconcile(level).left.differences == [difference]
    assert level.query("SELECT id FROM raw_notes WHERE coalesce(partition_key, '') = ''") == [
        (7,),
        (8,),
    ]


def test_a_deleted_ledger_row_is_named_and_its_partition_is_loaded_again(level: Workbench) -> None:
    forget_ledger_row(level, "b")
    assert differences(level) == [("b", DifferenceKind.NOT_LOADED), ("b", DifferenceKind.UNKNOWN)]
    assert loaded_keys(reconcile(level)) == ["b"]
    assert loaded_numbers(level) == FIVE
    level.assert_level(NOTES)


def test_a_deleted_ledger_row_of_a_file_that_is_gone_is_named_and_left(level: Workbench) -> None:
    forget_ledger_row(level, "b")
    level.path(NOTES, "b.csv").unlink()
    done = reconcile(level, REMOVING)
    assert done.removed == []
    assert [one.kind for one in done.left.differences] == [DifferenceKind.UNKNOWN]
    assert loaded_numbers(level) == FIVE


@pytest.mark.parametrize("table", ["raw_notes", "file_loads"])
def test_a_dropped_table_or_ledger_is_filled_again(level: Workbench, table: str) -> None:
    execute(level, f"DROP TABLE {table}")
    assert {key for key, kind in differences(level) if kind is DifferenceKind.NOT_LOADED} == {*FIVE}
    done = reconcile(level)
    assert loaded_keys(done) == list(FIVE)
    assert done.left.differences == []
    assert loaded_numbers(level) == FIVE
    level.assert_level(NOTES)


def test_a_database_from_an_older_copy_is_brought_up_to_date(level: Workbench) -> None:
    copy = level.root / "copy.duckdb"
    shutil.copy(level.database, copy)
    land_numbers(level, "b", 20)
    land_numbers(level, "f", 6)
    level.path(NOTES, "c.csv").unlink()
    level.sync(REMOVING)
    level.database.unlink()
    shutil.copy(copy, level.database)
    assert differences(level, REMOVING) == [
        ("b", DifferenceKind.NOT_LOADED),
        ("f", DifferenceKind.NOT_LOADED),
        ("c", DifferenceKind.GONE),
    ]
    done = reconcile(level, REMOVING)
    assert (loaded_keys(done), done.removed) == (["b", "f"], ["c"])
    assert loaded_numbers(level) == {"a": [1], "b": [20], "d": [4], "e": [5], "f": [6]}
    level.assert_level(NOTES)


def test_a_file_that_is_gone_is_no_difference_where_rows_are_kept(level: Workbench) -> None:
    level.path(NOTES, "b.csv").unlink()
    assert differences(level) == []
    assert reconcile(level).removed == []
    assert loaded_numbers(level) == FIVE


def test_kept_rows_that_were_lost_are_named_because_no_file_can_mend_them(
    level: Workbench,
) -> None:
    level.path(NOTES, "b.csv").unlink()
    execute(level, "DELETE FROM raw_notes WHERE partition_key = 'b'")
    done = reconcile(level)
    assert done.outcomes == []
    assert [str(one) for one in done.left.differences] == [
        f"partition b: {DifferenceKind.ROWS} (0 instead of 2)"
    ]


def test_a_file_that_is_gone_is_named_and_removed_where_that_is_the_policy(
    level: Workbench,
) -> None:
    level.path(NOTES, "b.csv").unlink()
    assert differences(level, REMOVING) == [("b", DifferenceKind.GONE)]
    done = reconcile(level, REMOVING)
    assert done.removed == ["b"]
    assert done.left.differences == []
    assert "b.csv" not in level.ledger(NOTES).rows
    assert loaded_numbers(level) == {key: FIVE[key] for key in FIVE if key != "b"}
    assert reconcile(level, REMOVING).removed == []


def test_removal_takes_rejected_rows_along(quarantined: Workbench) -> None:
    feed = change_feed(QUARANTINING, on_missing=OnMissing.REMOVE)
    quarantined.land(feed, "2018-01-23.csv", "day,price\n2018-01-23,1\n2018-01-23,-3\n")
    quarantined.sync(feed)
    quarantined.path(feed, f"{DAY}.csv").unlink()
    assert reconcile(quarantined, feed).removed == [DAY]
    assert quarantined.query("SELECT partition_key, line FROM rejected_rows") == [("2018-01-23", 3)]


def test_removal_works_in_a_database_that_has_no_rejected_rows_yet(level: Workbench) -> None:
    execute(level, "DROP TABLE rejected_rows")
    level.path(NOTES, "b.csv").unlink()
    assert reconcile(level, REMOVING).removed == ["b"]
    assert "b" not in loaded_numbers(level)


@pytest.mark.parametrize(("gone", "is_braked"), [("ab", False), ("abc", True), ("abcde", True)])
def test_more_than_half_is_removed_only_if_somebody_allows_it(
    level: Workbench, gone: str, is_braked: bool
) -> None:
    for key in gone:
        level.path(NOTES, f"{key}.csv").unlink()
    assert differences(level, REMOVING) == [(key, DifferenceKind.GONE) for key in gone]
    done = reconcile(level, REMOVING)
    kept = {key: numbers for key, numbers in FIVE.items() if key not in gone}
    if is_braked:
        assert done.removed == []
        assert f"{len(gone)} of 5 files are gone" in done.left.brake
        assert loaded_numbers(level) == FIVE
        done = reconcile(level, REMOVING, allow_most=True)
    assert done.removed == list(gone)
    assert done.left.brake == ""
    assert loaded_numbers(level) == kept


def test_what_landed_is_loaded_although_too_much_is_gone(level: Workbench) -> None:
    for key in "abc":
        level.path(NOTES, f"{key}.csv").unlink()
    land_numbers(level, "d", 40)
    done = reconcile(level, REMOVING)
    assert (loaded_keys(done), done.removed) == (["d"], [])
    assert loaded_numbers(level) == FIVE | {"d": [40]}


@pytest.mark.parametrize("twin", ["A.csv", "a.csv.gz"])
def test_files_that_collide_are_not_gone(level: Workbench, twin: str) -> None:
    level.land(NOTES, twin, "id,note\n9,x\n")
    assert {kind for _, kind in differences(level, REMOVING)} == {DifferenceKind.UNUSABLE}
    assert reconcile(level, REMOVING).removed == []
    assert loaded_numbers(level) == FIVE


def test_a_refused_file_is_named_once_and_its_old_rows_stay(bench: Workbench) -> None:
    bench.land(PRICES, f"{DAY}.csv", f"day,price\n{DAY},1\n")
    bench.sync(PRICES)
    bench.land(PRICES, f"{DAY}.csv", f"day,price\n{DAY},-1\n")
    done = reconcile(bench, PRICES)
    [outcome] = done.outcomes
    assert outcome.status is OutcomeStatus.REFUSED
    assert "not above 0" in outcome.reason
    assert done.left.differences == []
    assert bench.rows(PRICES)[0][1] == 1.0
    assert bench.ledger(PRICES).rows[f"{DAY}.csv"].status == LoadStatus.REFUSED
    assert reconcile(bench, PRICES).outcomes == []


def test_lost_rows_of_a_refused_file_are_named_and_stay_lost(bench: Workbench) -> None:
    bench.land(PRICES, f"{DAY}.csv", f"day,price\n{DAY},1\n")
    bench.sync(PRICES)
    bench.land(PRICES, f"{DAY}.csv", f"day,price\n{DAY},-1\n")
    bench.sync(PRICES)
    execute(bench, "DELETE FROM raw_prices")
    for _ in range(2):
        done = reconcile(bench, PRICES)
        assert [one.status for one in done.outcomes] == [OutcomeStatus.REFUSED]
        assert [one.kind for one in done.left.differences] == [DifferenceKind.ROWS]
        assert bench.rows(PRICES) == []


def test_what_can_be_mended_is_mended_beside_what_cannot(level: Workbench) -> None:
    execute(level, "INSERT INTO raw_notes VALUES (7, 'x', 'nobody', 'nobody.csv')")
    execute(level, "DELETE FROM raw_notes WHERE partition_key IN ('a', 'b')")
    level.path(NOTES, "a.csv").unlink()
    forget_ledger_row(level, "c")
    done = reconcile(level)
    assert loaded_keys(done) == ["b", "c"]
    assert done.left.keys == {"a", "nobody"}
    assert loaded_numbers(level) == {key: FIVE[key] for key in "bcde"} | {"nobody": [7]}
    again = reconcile(level)
    assert again.outcomes == []
    assert again.left.differences == done.left.differences


@pytest.fixture
def with_refused_successor(level: Workbench) -> Workbench:
    """A workbench whose `b.csv` gave way to `b.csv.gz`, which is refused."""
    level.path(NOTES, "b.csv").unlink()
    level.land(NOTES, "b.csv.gz", "bad")
    level.sync(NOTES)
    return level


def test_rows_of_a_file_whose_successor_is_refused_are_no_difference(
    with_refused_successor: Workbench,
) -> None:
    assert differences(with_refused_successor, REMOVING) == []
    done = reconcile(with_refused_successor, REMOVING)
    assert (done.outcomes, done.removed) == ([], [])
    assert loaded_numbers(with_refused_successor) == FIVE


def test_lost_rows_of_a_file_whose_successor_is_refused_are_named(
    with_refused_successor: Workbench,
) -> None:
    execute(with_refused_successor, "DELETE FROM raw_notes WHERE partition_key = 'b'")
    assert differences(with_refused_successor) == [("b", DifferenceKind.ROWS)]


def test_a_partition_whose_files_are_all_gone_is_named_and_removed_once(
    with_refused_successor: Workbench,
) -> None:
    with_refused_successor.path(NOTES, "b.csv.gz").unlink()
    assert differences(with_refused_successor, REMOVING) == [("b", DifferenceKind.GONE)]
    done = reconcile(with_refused_successor, REMOVING)
    assert done.removed == ["b"]
    assert done.left.differences == []
    assert loaded_numbers(with_refused_successor) == {key: FIVE[key] for key in FIVE if key != "b"}
