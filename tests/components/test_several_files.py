"""Partitions of several files, parts or versions, go the whole way: drop, tick, run, correct."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from partitioned_etl.components.checks import CHECK_NAMES
from partitioned_etl.components.ranges import RANGE_END_TAG, RANGE_START_TAG
from partitioned_etl.engine import failpoints
from partitioned_etl.engine.feed import Feed
from support.define import define_feed, define_location
from support.location import Location

PARTS = define_feed(
    Feed.model_validate(
        {
            "name": "events",
            "pattern": "{key}/part-{part}.csv",
            "columns": {"number": "BIGINT"},
            "on_missing": "remove",
        }
    )
)
VERSIONS = define_feed(
    Feed.model_validate(
        {
            "name": "orders",
            "pattern": "{date:%Y-%m-%d}{version}.csv",
            "columns": {"number": "BIGINT"},
            "start": "2024-01-01",
        }
    )
)
Query = Callable[..., list[tuple[Any, ...]]]
Drop = Callable[..., Path]


@pytest.fixture
def drop(landing_dir: Path, database: Path) -> Drop:
    """Let a file land that has one row for each number."""

    def land(name: str, *numbers: object) -> Path:
        path = landing_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("number\n" + "".join(f"{number}\n" for number in numbers))
        return path

    return land


@pytest.fixture
def parts(drop: Drop, instance: dg.DagsterInstance) -> Location:
    return Location(define_location(PARTS), PARTS, instance)


@pytest.fixture
def versions(drop: Drop, instance: dg.DagsterInstance) -> Location:
    return Location(define_location(VERSIONS), VERSIONS, instance)


def files_of(location: Location, key: str) -> list[tuple[object, ...]]:
    """What the latest load of a partition says of its files."""
    found = location.instance.fetch_materializations(location.load_key, limit=1)
    [record] = found.records
    event = record.asset_materialization
    assert event
    assert event.partition == key
    table = event.metadata["files"]
    assert isinstance(table, dg.TableMetadataValue)
    names = [column.name for column in table.schema.columns]
    return [tuple(row.data[name] for name in names) for row in table.records]


def test_parts_load_in_one_run_and_a_later_one_by_itself(
    parts: Location, drop: Drop, query: Query, capfd: pytest.CaptureFixture[str]
) -> None:
    for part in range(5):
        drop(f"events/acme/part-{part}.csv", part)
    drop("events/globex/part-0.csv", 7)
    assert parts.settle() == [["acme", "globex"]]
    assert parts.row_counts() == {"acme": [5], "globex": [1]}
    assert parts.check() == (True, [])
    capfd.readouterr()
    drop("events/acme/part-5.csv", 5)
    assert parts.settle() == [["acme"]]
    assert "loaded 1 of 1 files, 1 rows" in capfd.readouterr().err
    assert parts.row_counts() == {"acme": [5, 6], "globex": [1]}
    assert parts.check() == (True, [])
    assert query("SELECT count(DISTINCT loaded_at) FROM file_loads") == [(2,)]


def test_a_person_loads_all_parts_again(
    parts: Location, drop: Drop, capfd: pytest.CaptureFixture[str]
) -> None:
    for part in range(3):
        drop(f"events/acme/part-{part}.csv", part)
    parts.settle()
    capfd.readouterr()
    assert parts.materialize("acme").success
    assert "loaded 3 of 3 files, 3 rows" in capfd.readouterr().err
    assert parts.row_counts() == {"acme": [3, 3]}
    assert parts.settle() == []


def test_a_refused_part_is_named_with_what_stayed(
    parts: Location, drop: Drop, query: Query
) -> None:
    for part in range(5):
        drop(f"events/acme/part-{part}.csv", part)
    bad = drop("events/acme/part-3.csv", "x")
    [request] = parts.tick()
    result = parts.execute(request)
    assert not result.success
    reason = "acme/part-3.csv: line 2, column number: not a BIGINT"
    assert files_of(parts, "acme") == [
        ("acme/part-3.csv", "refused", 0, reason),
        *((f"acme/part-{part}.csv", "loaded", 1, "") for part in (0, 1, 2, 4)),
    ]
    [check] = [
        one
        for one in result.get_asset_check_evaluations()
        if one.check_name == CHECK_NAMES.matches_contract
    ]
    assert not check.passed
    assert check.metadata["reasons"].value == {"acme": reason}
    assert parts.tick() == []
    bad.write_text("number\n3\n")
    assert parts.settle() == [["acme"]]
    assert query("SELECT number FROM events ORDER BY 1") == [(0,), (1,), (2,), (3,), (4,)]
    assert parts.row_counts() == {"acme": [4, 5]}
    assert parts.check() == (True, [])


def test_every_refused_part_of_a_partition_is_named(parts: Location, drop: Drop) -> None:
    for part in range(3):
        drop(f"events/acme/part-{part}.csv", part if part == 1 else "x")
    [request] = parts.tick()
    result = parts.execute(request)
    [check] = [
        one
        for one in result.get_asset_check_evaluations()
        if one.check_name == CHECK_NAMES.matches_contract
    ]
    wrong = "acme/part-{}.csv: line 2, column number: not a BIGINT"
    assert check.metadata["reasons"].value == {"acme": f"{wrong.format(0)}; {wrong.format(2)}"}


def test_a_part_that_goes_leaves_its_partition_and_the_last_takes_it_along(
    parts: Location, drop: Drop, query: Query
) -> None:
    dropped = [drop(f"events/acme/part-{part}.csv", part) for part in range(5)]
    drop("events/globex/part-0.csv", 7)
    drop("events/globex/part-1.csv", 8)
    parts.settle()
    dropped[0].unlink()
    parts.settle()
    assert parts.instance.get_dynamic_partitions("events") == ["acme", "globex"]
    assert parts.row_counts()["acme"] == [5, 4]
    for path in dropped[1:3], dropped[3:]:
        for one in path:
            one.unlink()
        parts.settle()
    assert parts.instance.get_dynamic_partitions("events") == ["globex"]
    assert query("SELECT number FROM events ORDER BY 1") == [(7,), (8,)]
    assert parts.check() == (True, [])


def test_parts_of_a_partition_are_not_divided_among_runs(
    parts: Location, drop: Drop, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_FILES_PER_RUN", "2")
    for key in ("acme", "globex", "initech"):
        for part in range(3):
            drop(f"events/{key}/part-{part}.csv", part)
    runs = parts.settle()
    assert [key for keys in runs for key in keys] == ["acme", "globex", "initech"]
    assert query("SELECT count(*) FROM events") == [(9,)]
    assert set(map(tuple, parts.row_counts().values())) == {(3,)}


def test_a_run_that_was_killed_between_parts_and_report_is_done_again(
    parts: Location, drop: Drop, query: Query
) -> None:
    for part in range(3):
        drop(f"events/acme/part-{part}.csv", part)
    [request] = parts.tick()
    parts.kill_at(failpoints.AFTER_COMMIT, request)
    assert query("SELECT count(*) FROM events") == [(3,)]
    assert parts.settle() == [["acme"]]
    assert query("SELECT count(*) FROM events") == [(3,)]
    assert parts.row_counts() == {"acme": [3]}


def test_a_corrected_version_takes_the_place_of_the_one_before(
    versions: Location, drop: Drop, query: Query
) -> None:
    drop("orders/2024-01-01.csv", 1, 2)
    assert versions.settle() == [["2024-01-01"]]
    second = drop("orders/2024-01-01_v2.csv", 3)
    assert versions.settle() == [["2024-01-01"]]
    assert query("SELECT number, source_file FROM orders") == [(3, "2024-01-01_v2.csv")]
    assert files_of(versions, "2024-01-01") == [
        ("2024-01-01.csv", "superseded", 0, "superseded by 2024-01-01_v2.csv"),
        ("2024-01-01_v2.csv", "loaded", 1, ""),
    ]
    assert versions.check() == (True, [])
    drop("orders/2024-01-01_v1.csv", 4)
    assert versions.tick() == []
    assert "1 identical, 2 superseded" in versions.skipped
    second.unlink()
    assert versions.settle() == [["2024-01-01"]]
    assert query("SELECT number, source_file FROM orders") == [(4, "2024-01-01_v1.csv")]
    assert versions.check() == (True, [])
    assert versions.row_counts() == {"2024-01-01": [2, 1, 1]}


def test_a_version_that_was_never_loaded_is_named_with_the_one_that_was(
    versions: Location, drop: Drop
) -> None:
    drop("orders/2024-01-01.csv", 1)
    drop("orders/2024-01-01_v2.csv", 2)
    versions.settle()
    assert files_of(versions, "2024-01-01") == [
        ("2024-01-01.csv", "superseded", 0, "superseded by 2024-01-01_v2.csv"),
        ("2024-01-01_v2.csv", "loaded", 1, ""),
    ]


def test_a_load_of_a_version_that_is_killed_leaves_the_old_or_the_new_state(
    versions: Location, drop: Drop, query: Query
) -> None:
    drop("orders/2024-01-01.csv", 1)
    versions.settle()
    drop("orders/2024-01-01_v2.csv", 2)
    for moment in (failpoints.AFTER_LEDGER, failpoints.BEFORE_COMMIT):
        [request] = versions.tick()
        versions.kill_at(moment, request)
        assert query("SELECT number FROM orders") == [(1,)]
        assert query("SELECT source_file, status FROM file_loads") == [("2024-01-01.csv", "loaded")]
    versions.settle()
    assert query("SELECT number FROM orders") == [(2,)]


def backfill(location: Location, first: str, last: str) -> dg.ExecuteInProcessResult:
    """Load a range of partitions, as a backfill does."""
    tags = {RANGE_START_TAG: first, RANGE_END_TAG: last}
    return location.execute(dg.RunRequest(tags=tags))


def test_a_backfill_loads_all_parts_of_its_partitions(
    parts: Location, drop: Drop, query: Query
) -> None:
    for key in ("acme", "globex", "initech"):
        for part in range(3):
            drop(f"events/{key}/part-{part}.csv", part)
    parts.instance.add_dynamic_partitions("events", ["acme", "globex", "initech"])
    assert backfill(parts, "acme", "globex").success
    assert parts.row_counts() == {"acme": [3], "globex": [3]}
    drop("events/acme/part-1.csv", 10, 11)
    drop("events/globex/part-2.csv", "none")
    assert not backfill(parts, "acme", "initech").success
    assert query("SELECT partition_key, number FROM events ORDER BY ALL") == [
        ("acme", 0),
        ("acme", 2),
        ("acme", 10),
        ("acme", 11),
        *((key, number) for key in ("globex", "initech") for number in range(3)),
    ]
    assert files_of(parts, "initech") == [
        (f"initech/part-{part}.csv", "loaded", 1, "") for part in range(3)
    ]
    assert parts.status("globex") == "FAILED"


def test_a_backfill_loads_the_highest_version_of_each_partition(
    versions: Location, drop: Drop, query: Query
) -> None:
    for version, number in {"": 1, "_v9": 2, "_v10": 3}.items():
        drop(f"orders/2024-01-01{version}.csv", number)
    drop("orders/2024-01-02.csv", 4)
    assert backfill(versions, "2024-01-01", "2024-01-02").success
    expected = [(3, "2024-01-01_v10.csv"), (4, "2024-01-02.csv")]
    assert query("SELECT number, source_file FROM orders ORDER BY ALL") == expected
    assert versions.check() == (True, [])
    assert versions.settle() == []
    assert backfill(versions, "2024-01-01", "2024-01-02").success
    assert query("SELECT number, source_file FROM orders ORDER BY ALL") == expected
