"""What the ledger holds of files that the feed cannot name any more is kept, and told."""

from typing import Any

import pytest

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.plan import Action, compare, find_removable
from partitioned_etl.engine.reconcile import DifferenceKind, compare_table
from partitioned_etl.engine.stale import describe_stale, is_stale
from partitioned_etl.engine.warehouse.ledger import LedgerRow
from support.workbench import CUSTOMER_DAYS, NOTES, Workbench, change_feed

DAYS = change_feed(NOTES, name="days", table="days", pattern="{date:%Y-%m-%d}.csv")
MONTHS = change_feed(DAYS, pattern="{date:%Y-%m}.csv")


def row_of(feed: Feed, name: str, key: str) -> LedgerRow:
    return LedgerRow(feed.name, name, key, "1", 1, 1)


FEEDS: dict[str, tuple[Feed, dict[str, Any], str, str]] = {
    "another pattern": (DAYS, {"pattern": "d_{date:%Y-%m-%d}.csv"}, "2018-01-22.csv", "2018-01-22"),
    "another ending": (DAYS, {"pattern": "{date:%Y-%m-%d}.tsv"}, "2018-01-22.csv", "2018-01-22"),
    "months for days": (DAYS, {"pattern": "{date:%Y-%m}.csv"}, "2018-01-22.csv", "2018-01-22"),
    "a name for a day": (
        DAYS,
        {"pattern": "{key}.csv", "key_pattern": ".*"},
        "7.csv",
        "2018-01-22",
    ),
    "days before months": (
        DAYS,
        {"pattern": "{date:%d-%m-%Y}.csv"},
        "2018-01-22.csv",
        "2018-01-22",
    ),
    "another day for the same name": (
        DAYS,
        {"pattern": "{date:%d%m%Y}.csv"},
        "01022018.csv",
        "2018-01-02",
    ),
    "weekdays": (DAYS, {"partitioning": "weekdays"}, "2018-01-21.csv", "2018-01-21"),
    "other characters": (NOTES, {"key_pattern": "[a-z]+"}, "A1.csv", "A1"),
    "folders no more": (
        CUSTOMER_DAYS,
        {"pattern": "{key}_{date:%Y-%m-%d}.csv"},
        "acme/2018-01-22.csv",
        "acme|2018-01-22",
    ),
    "small letters": (NOTES, {"pattern": "{key}.CSV"}, "a.csv", "a"),
}


@pytest.mark.parametrize(("feed", "changes", "name", "key"), FEEDS.values(), ids=list(FEEDS))
def test_what_a_changed_feed_cannot_name_is_stale(
    feed: Feed, changes: dict[str, Any], name: str, key: str
) -> None:
    changed = change_feed(feed, **changes)
    assert is_stale(changed, row_of(changed, name, key), lambda _: True)


@pytest.mark.parametrize(
    ("feed", "name", "key"),
    [
        (DAYS, "2018-01-22.csv", "2018-01-22"),
        (DAYS, "2018-01-22.csv.gz", "2018-01-22"),
        (NOTES, "a b.csv", "a b"),
        (CUSTOMER_DAYS, "acme/2018-01-22.csv", "acme|2018-01-22"),
        (change_feed(DAYS, pattern="{any}{date:%Y%m%d}.csv"), "x_20180122.csv", "2018-01-22"),
        (change_feed(NOTES, pattern_ignores_case=True), "a.CSV", "a"),
    ],
)
def test_what_it_can_name_is_not_unless_it_has_no_such_partition(
    feed: Feed, name: str, key: str
) -> None:
    assert not is_stale(feed, row_of(feed, name, key), lambda _: True)
    assert is_stale(feed, row_of(feed, name, key), lambda asked: asked != key)


@pytest.fixture
def daily(bench: Workbench) -> Workbench:
    """A workbench with two days loaded."""
    for day in ("2024-01-01", "2024-01-02"):
        bench.land(DAYS, f"{day}.csv", f"id,note\n1,{day}\n")
    bench.sync(DAYS)
    return bench


def deliver_months(bench: Workbench, *days: str) -> None:
    """Take the days away, and let the month with all of their rows land."""
    for day in days:
        bench.path(DAYS, f"{day}.csv").unlink()
    bench.land(MONTHS, "2024-01.csv", "id,note\n1,2024-01-01\n1,2024-01-02\n")


def name_differences(bench: Workbench, feed: Feed) -> dict[DifferenceKind, str]:
    with bench.open_table(feed) as table:
        found = compare_table(table, bench.landing.list_files(feed))
    return {one.kind: str(one) for one in found.differences}


@pytest.mark.parametrize("gone", [("2024-01-01", "2024-01-02"), ()])
def test_the_days_of_a_feed_that_became_monthly_are_kept_and_told(
    daily: Workbench, gone: tuple[str, ...]
) -> None:
    deliver_months(daily, *gone)
    report = daily.sync(MONTHS)
    assert [record.source_file for record in report.loaded] == ["2024-01.csv"]
    # The month takes the place of the day that had its key.
    assert [row.source_file for row in daily.ledger(MONTHS)] == ["2024-01.csv", "2024-01-02.csv"]
    [kept] = report.unchanged
    assert (kept.source_file, kept.rows) == ("2024-01-02.csv", 1)
    assert kept.reason == "the feed cannot name it any more: forget days --stale"
    assert name_differences(daily, MONTHS) == {
        DifferenceKind.STALE: "the table holds rows of files that the feed cannot name any more "
        "(1 file(s), 2024-01-02.csv; their rows are kept until someone calls "
        "`partitioned-etl forget days --stale`)"
    }


def test_a_stale_file_is_not_removed_where_the_policy_removes_what_is_gone(
    daily: Workbench,
) -> None:
    removing = change_feed(MONTHS, on_missing="remove")
    deliver_months(daily, "2024-01-01", "2024-01-02")
    daily.land(MONTHS, "2024-02.csv", "id,note\n1,x\n")
    daily.land(MONTHS, "2024-03.csv", "id,note\n1,x\n")
    daily.sync(removing)
    daily.path(MONTHS, "2024-03.csv").unlink()
    assert [record.source_file for record in daily.sync(removing).removed] == ["2024-03.csv"]
    names = [row.source_file for row in daily.ledger(removing)]
    assert names == ["2024-01.csv", "2024-01-02.csv", "2024-02.csv"]


def test_a_file_that_lies_there_under_another_key_is_loaded_and_not_stale(
    bench: Workbench,
) -> None:
    before = change_feed(DAYS, pattern="{date:%d%m%Y}.csv")
    after = change_feed(DAYS, pattern="{date:%m%d%Y}.csv")
    bench.land(before, "01022018.csv", "id,note\n1,x\n")
    bench.sync(before)
    bench.sync(after)
    assert [row.partition_key for row in bench.ledger(after)] == ["2018-01-02"]
    assert name_differences(bench, after) == {}


def test_a_stale_file_beside_a_missing_one_of_its_partition_keeps_both(bench: Workbench) -> None:
    bench.land(DAYS, "2024-01-02.csv", "id,note\n1,x\n")
    bench.sync(DAYS)
    removing = change_feed(DAYS, pattern="d_{date:%Y-%m-%d}.csv", on_missing="remove")
    bad = bench.land(removing, "d_2024-01-02.csv", "no header\n")
    bench.path(DAYS, "2024-01-02.csv").unlink()
    bench.sync(removing)
    bad.unlink()
    plan = compare(removing, bench.landing.list_files(removing), bench.ledger(removing))
    assert {name: step.action for name, step in plan.steps.items()} == {
        "2024-01-02.csv": Action.STALE
    }
    assert find_removable(removing, plan, allow_most=True).keys == []


def test_of_many_stale_files_the_first_are_named() -> None:
    told = describe_stale("days", [f"{number}.csv" for number in range(2_000)])
    assert told.startswith("2,000 file(s), 0.csv, 1.csv, 2.csv, 3.csv, 4.csv, …; their rows are")
