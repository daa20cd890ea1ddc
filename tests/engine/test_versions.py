"""Versions: of several files of a partition the highest is loaded, and the others wait."""

from pathlib import Path

import pytest

from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.file_names import FileNamePattern
from partitioned_etl.engine.plan import Action, compare
from partitioned_etl.engine.warehouse.ledger import Ledger, LoadStatus
from support.workbench import Workbench, change_feed

ORDERS = Feed.model_validate(
    {
        "name": "orders",
        "pattern": "orders_{date:%Y%m%d}{version}.csv",
        "columns": {"number": "BIGINT"},
        "start": "2024-02-01",
    }
)
BY_LANDING = change_feed(ORDERS, version_order="landed")


def land(bench: Workbench, name: str, *numbers: int, feed: Feed = ORDERS) -> Path:
    rows = "".join(f"{number}\n" for number in numbers)
    return bench.land(feed, name, f"number\n{rows}")


def loaded(bench: Workbench, feed: Feed = ORDERS) -> dict[str, list[int]]:
    """The numbers in the table by the file that they came from."""
    found: dict[str, list[int]] = {}
    for number, _, name in bench.rows(feed):
        found.setdefault(name, []).append(number)
    return found


def statuses(bench: Workbench, feed: Feed = ORDERS) -> dict[str, str]:
    return {row.source_file: str(row.status) for row in bench.ledger(feed)}


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("", "_v2"),
        ("_v2", "_v10"),
        ("_v2", "_V3"),
        ("-1", "-2"),
        (" (1)", " (2)"),
        ("", " (1)"),
        ("_053012", "_153012"),
        ("_v2_9", "_v2_10"),
        ("_2a", "_2b"),
        ("_a", "_b"),
        ("_v002", "_v3"),
        ("_1", "_a"),
    ],
)
def test_versions_are_in_their_natural_order(low: str, high: str) -> None:
    names = FileNamePattern(ORDERS.pattern)
    ranks = [names.rank_of(f"orders_20240201{version}.csv") for version in (low, high)]
    assert ranks[0] < ranks[1]


def test_the_highest_version_is_loaded_whatever_the_order_of_landing(bench: Workbench) -> None:
    land(bench, "orders_20240201_v10.csv", 10)
    bench.sync(ORDERS)
    land(bench, "orders_20240201.csv", 1)
    land(bench, "orders_20240201_v2.csv", 2)
    land(bench, "orders_20240202.csv", 7)
    bench.sync(ORDERS)
    assert loaded(bench) == {"orders_20240201_v10.csv": [10], "orders_20240202.csv": [7]}
    assert statuses(bench) == {
        "orders_20240201.csv": "superseded",
        "orders_20240201_v10.csv": "loaded",
        "orders_20240201_v2.csv": "superseded",
        "orders_20240202.csv": "loaded",
    }
    rows = bench.ledger(ORDERS).rows
    assert rows["orders_20240201_v2.csv"].error == "superseded by orders_20240201_v10.csv"
    bench.assert_level(ORDERS)


def test_a_higher_version_takes_the_place_of_a_loaded_one(bench: Workbench) -> None:
    land(bench, "orders_20240201.csv", 1, 2)
    bench.sync(ORDERS)
    land(bench, "orders_20240201_v2.csv", 3)
    report = bench.sync(ORDERS)
    assert loaded(bench) == {"orders_20240201_v2.csv": [3]}
    row = bench.ledger(ORDERS).rows["orders_20240201.csv"]
    assert (row.status, row.row_count, row.loaded_at) == (LoadStatus.SUPERSEDED, 0, None)
    assert row.error == "superseded by orders_20240201_v2.csv"
    assert [record.source_file for record in report.loaded] == ["orders_20240201_v2.csv"]
    assert [record.reason for record in report.ignored] == [row.error]
    assert bench.sync(ORDERS).loaded == []


def test_when_the_highest_goes_the_next_is_loaded(bench: Workbench) -> None:
    land(bench, "orders_20240201.csv", 1)
    second = land(bench, "orders_20240201_v2.csv", 2)
    third = land(bench, "orders_20240201_v3.csv", 3)
    bench.sync(ORDERS)
    third.unlink()
    bench.sync(ORDERS)
    assert loaded(bench) == {"orders_20240201_v2.csv": [2]}
    second.unlink()
    bench.sync(ORDERS)
    assert loaded(bench) == {"orders_20240201.csv": [1]}
    assert statuses(bench) == {"orders_20240201.csv": "loaded"}
    bench.assert_level(ORDERS)


def test_a_refused_version_keeps_the_rows_of_the_one_before(bench: Workbench) -> None:
    land(bench, "orders_20240201.csv", 1)
    bench.sync(ORDERS)
    bad = bench.land(ORDERS, "orders_20240201_v2.csv", "number\nx\n")
    [refused] = bench.sync(ORDERS).refused
    assert refused.source_file == "orders_20240201_v2.csv"
    assert loaded(bench) == {"orders_20240201.csv": [1]}
    assert statuses(bench) == {
        "orders_20240201.csv": "loaded",
        "orders_20240201_v2.csv": "refused",
    }
    bad.unlink()
    assert bench.sync(ORDERS).loaded == []
    assert loaded(bench) == {"orders_20240201.csv": [1]}


def test_a_lower_version_is_not_loaded_instead_of_a_refused_one(bench: Workbench) -> None:
    land(bench, "orders_20240201.csv", 1)
    bench.land(ORDERS, "orders_20240201_v2.csv", "number\nx\n")
    bench.sync(ORDERS)
    assert loaded(bench) == {}
    land(bench, "orders_20240201_v2.csv", 2)
    bench.sync(ORDERS)
    assert loaded(bench) == {"orders_20240201_v2.csv": [2]}


def test_versions_that_nothing_tells_apart_are_refused(bench: Workbench) -> None:
    names = ["orders_20240201_v2.csv", "orders_20240201_v2.csv.gz", "orders_20240201_V2.csv"]
    land(bench, "orders_20240201.csv", 1)
    for name in names:
        bench.land(ORDERS, name, "number\n2\n")
    report = bench.sync(ORDERS)
    assert sorted(record.source_file for record in report.refused) == sorted(names)
    assert "several files stand for one partition key" in report.refused[0].reason
    [left] = report.ignored
    assert left.reason == "superseded by files that cannot be told apart"
    assert bench.tables() == []


def test_a_version_is_a_file_that_may_be_replaced(bench: Workbench) -> None:
    land(bench, "orders_20240201.csv", 1)
    land(bench, "orders_20240201_v2.csv", 2)
    bench.sync(ORDERS)
    land(bench, "orders_20240201.csv", 8)
    assert bench.sync(ORDERS).loaded == []
    land(bench, "orders_20240201_v2.csv", 9)
    bench.sync(ORDERS)
    assert loaded(bench) == {"orders_20240201_v2.csv": [9]}


def test_the_version_that_landed_last_may_be_the_highest(bench: Workbench) -> None:
    land(bench, "orders_20240201_v2.csv", 2, feed=BY_LANDING)
    bench.sync(BY_LANDING)
    first = land(bench, "orders_20240201.csv", 1, feed=BY_LANDING)
    bench.sync(BY_LANDING)
    assert loaded(bench, BY_LANDING) == {"orders_20240201.csv": [1]}
    assert statuses(bench, BY_LANDING)["orders_20240201_v2.csv"] == "superseded"
    first.unlink()
    bench.sync(BY_LANDING)
    assert loaded(bench, BY_LANDING) == {"orders_20240201_v2.csv": [2]}


def test_a_feed_that_removes_rows_keeps_those_of_the_next_version(bench: Workbench) -> None:
    feed = change_feed(ORDERS, on_missing="remove")
    for day in (1, 2, 3):
        land(bench, f"orders_2024020{day}.csv", day)
    second = land(bench, "orders_20240201_v2.csv", 2)
    bench.sync(feed)
    second.unlink()
    bench.sync(feed)
    assert loaded(bench)["orders_20240201.csv"] == [1]
    Path(bench.path(feed, "orders_20240201.csv")).unlink()
    report = bench.sync(feed)
    assert [record.partition_key for record in report.removed] == ["2024-02-01"]
    assert sorted(statuses(bench)) == ["orders_20240202.csv", "orders_20240203.csv"]


def test_the_plan_names_what_is_superseded(bench: Workbench) -> None:
    land(bench, "orders_20240201.csv", 1)
    land(bench, "orders_20240201_v2.csv", 2)
    plan = compare(ORDERS, bench.landing.list_files(ORDERS), Ledger())
    assert {step.name: step.action for step in plan.steps.values()} == {
        "orders_20240201_v2.csv": Action.NEW,
        "orders_20240201.csv": Action.SUPERSEDED,
    }


def test_an_order_of_versions_needs_versions() -> None:
    with pytest.raises(FeedDefinitionError, match="version_order: only a pattern"):
        change_feed(BY_LANDING, pattern="{date:%Y%m%d}.csv")


@pytest.mark.parametrize("is_there", [True, False])
def test_what_were_parts_are_one_file_once_the_feed_says_so(
    bench: Workbench, is_there: bool
) -> None:
    parts = change_feed(ORDERS, pattern="orders_{date:%Y%m%d}_{part}.csv")
    first = land(bench, "orders_20240201_1.csv", 1, feed=parts)
    land(bench, "orders_20240201_2.csv", 2, feed=parts)
    bench.sync(parts)
    if not is_there:
        first.unlink()
    bench.sync(ORDERS)
    assert loaded(bench) == {"orders_20240201_2.csv": [2]}
    assert bench.sync(ORDERS).loaded == []
    bench.assert_level(ORDERS)


@pytest.mark.parametrize("is_touched", [True, False])
def test_the_plan_says_at_once_what_must_take_the_place_of_a_part(
    bench: Workbench, is_touched: bool
) -> None:
    parts = change_feed(ORDERS, pattern="orders_{date:%Y%m%d}_{part}.csv")
    for part in (1, 2):
        land(bench, f"orders_20240201_{part}.csv", part, feed=parts)
    bench.sync(parts)
    if is_touched:
        land(bench, "orders_20240201_2.csv", 2)
    assert bench.plan(ORDERS).steps["orders_20240201_2.csv"].action is Action.CHANGED
    assert [record.rows for record in bench.sync(ORDERS).loaded] == [1]
    assert loaded(bench) == {"orders_20240201_2.csv": [2]}
