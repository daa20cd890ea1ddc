"""Reconciliation: folder, ledger, table and Dagster agree, or the check says where they do not."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from conftest import price_rows
from location import KilledError, Location, read_evaluation
from partitioned_etl.builders import reconciliation
from partitioned_etl.builders.resources import Warehouse
from partitioned_etl.definitions import defs
from partitioned_etl.defs.customer_prices import CUSTOMER_PRICES, CUSTOMER_PRICES_PIPELINE
from partitioned_etl.defs.daily_prices import DAILY_PRICES, DAILY_PRICES_PIPELINE
from partitioned_etl.ingest.errors import WarehouseLockedError
from partitioned_etl.ingest.reconcile import MAX_ATTEMPTS
from partitioned_etl.ingest.repair import DifferenceKind
from partitioned_etl.ingest.sync import sync_feed
from removing_location import CUSTOMERS, DAYS, define

Query = Callable[..., list[tuple[Any, ...]]]
RECONCILE = "customer_prices_reconcile_job"
DAY, NEXT_DAY, OUTSIDE = "2018-01-22", "2018-01-23", "1999-01-01"
REMOVING_DEFS = define(CUSTOMERS, DAYS)


@pytest.fixture
def instance(instance_on_disk: dg.DagsterInstance) -> dg.DagsterInstance:
    """As the daemon has it, a tick can be told to open the instance again."""
    return instance_on_disk


@pytest.fixture
def customers(landing_dir: Path, database: Path) -> Path:
    """The customers folder with five files."""
    folder = landing_dir / "customers"
    drop(folder, "a", "b", "c", "d", "e")
    return folder


@pytest.fixture
def days(landing_dir: Path, database: Path) -> Path:
    """The folder of daily files with two of them."""
    folder = landing_dir / "daily"
    drop(folder, DAY, NEXT_DAY)
    return folder


@pytest.fixture
def kept(customers: Path, instance: dg.DagsterInstance) -> Location:
    """The customers as they ship, all files loaded."""
    location = Location(defs, CUSTOMER_PRICES_PIPELINE, instance)
    assert location.settle() == [["a", "b", "c", "d", "e"]]
    return location


@pytest.fixture
def removed(customers: Path, instance: dg.DagsterInstance) -> Location:
    """The customers with the policy to remove, all files loaded."""
    location = Location(REMOVING_DEFS, CUSTOMERS, instance)
    assert location.settle() == [["a", "b", "c", "d", "e"]]
    return location


@pytest.fixture
def daily(days: Path, instance: dg.DagsterInstance) -> Location:
    """The daily files with the policy to remove, both files loaded."""
    location = Location(REMOVING_DEFS, DAYS, instance)
    assert location.settle() == [[DAY, NEXT_DAY]]
    return location


def drop(folder: Path, *keys: str, price: float = 1.0) -> None:
    """Let files land."""
    for key in keys:
        (folder / f"{key}.csv").write_text(price_rows(price), encoding="utf-8")


def loaded_prices(query: Query, table: str = CUSTOMER_PRICES.table) -> dict[str, float]:
    """Give the one share price of each partition in a feed's table."""
    rows = query(f"SELECT partition_key, share_price FROM {table} ORDER BY ALL")
    assert len(rows) == len(dict(rows)), rows
    return dict(rows)


def ledger_keys(query: Query) -> list[str]:
    """Give the partition keys that the ledger knows."""
    return [key for (key,) in query("SELECT partition_key FROM file_loads ORDER BY 1")]


def told(result: dg.ExecuteInProcessResult) -> dict[str | None, object]:
    """Give the row count per partition that a run told Dagster of."""
    events = (event.materialization for event in result.get_asset_materialization_events())
    return {event.partition: event.metadata["row_count"].value for event in events}


def test_a_level_feed_passes(kept: Location) -> None:
    assert kept.check() == (True, [])


def test_a_load_does_not_count_the_whole_table(kept: Location) -> None:
    evaluated = {
        event.asset_check_evaluation_data.check_name
        for run in kept.instance.get_runs()
        for entry in kept.instance.all_logs(run.run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        if (event := entry.dagster_event)
    }
    assert "customer_prices_match_contract" in evaluated
    assert "customer_prices_table_equals_directory" not in evaluated


def test_what_differs_in_folder_and_tables_is_named(
    kept: Location, customers: Path, query: Query
) -> None:
    drop(customers, "new")
    query("DELETE FROM raw_dynamic_partition_data WHERE partition_key = 'a'")
    query("INSERT INTO raw_dynamic_partition_data (partition_key) VALUES ('nobody')")
    assert kept.check() == (
        False,
        [
            f"partition new: {DifferenceKind.NOT_LOADED}",
            f"partition a: {DifferenceKind.ROWS} (0 instead of 1)",
            f"partition nobody: {DifferenceKind.UNKNOWN} (1 rows)",
        ],
    )


def test_what_was_loaded_without_dagster_is_named_and_told(
    landing_dir: Path, customers: Path, database: Path, instance: dg.DagsterInstance
) -> None:
    sync_feed(CUSTOMER_PRICES, landing_dir, database, settle_seconds=0)
    location = Location(defs, CUSTOMER_PRICES_PIPELINE, instance)
    assert location.tick() == []
    assert location.check() == (
        False,
        [f"partition {key}: loaded, and Dagster does not know it" for key in "abcde"],
    )
    assert told(location.reconcile()) == dict.fromkeys("abcde", 1)
    assert {location.status(key) for key in "abcde"} == {"MATERIALIZED"}
    assert location.check() == (True, [])
    assert location.tick() == []


def test_what_a_run_failed_to_load_and_is_level_again_is_named_and_told(
    kept: Location, customers: Path
) -> None:
    """A delivery is cut off, taken away before its run, and comes again with the bytes it had."""
    delivered = (customers / "a.csv").read_bytes()
    (customers / "a.csv").write_bytes(delivered[:-5])
    [request] = kept.tick()
    (customers / "a.csv").unlink()
    kept.execute(request)
    assert told(kept.reconcile()) == {}
    assert kept.status("a") == "FAILED"
    (customers / "a.csv").write_bytes(delivered)
    assert kept.tick() == []
    assert kept.status("a") == "FAILED"
    named = ["partition a: loaded, and Dagster shows it as failed"]
    assert kept.check() == (False, named)
    assert told(kept.reconcile()) == {"a": 1}
    assert kept.status("a") == "MATERIALIZED"
    assert kept.check() == (True, [])


def test_what_could_not_be_loaded_again_is_named_and_told(
    kept: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person materializes a loaded partition while another process has the database open."""

    def lock(_: Warehouse) -> None:
        raise WarehouseLockedError("in use")

    with monkeypatch.context() as patch:
        patch.setattr(Warehouse, "get_connection", lock)
        assert not kept.materialize("b").success
    assert kept.status("b") == "FAILED"
    assert kept.check() == (False, ["partition b: loaded, and Dagster shows it as failed"])
    assert told(kept.reconcile()) == {"b": 1}
    assert kept.status("b") == "MATERIALIZED"


def test_what_dagster_shows_and_is_gone_is_named_and_told(
    kept: Location, customers: Path, query: Query
) -> None:
    (customers / "b.csv").unlink()
    query("DELETE FROM raw_dynamic_partition_data WHERE partition_key = 'b'")
    query("DELETE FROM file_loads WHERE partition_key = 'b'")
    named = ["partition b: Dagster shows rows that are gone"]
    assert kept.check() == (False, named)
    assert told(kept.reconcile()) == {"b": 0}
    assert kept.check() == (True, [])
    # Its feed keeps what has no file, and so does Dagster.
    assert "b" in kept.instance.get_dynamic_partitions("customers")


def test_a_partition_that_was_removed_is_level_however_often_another_was_loaded(
    daily: Location, days: Path
) -> None:
    for key in (DAY, NEXT_DAY):
        (days / f"{key}.csv").unlink()
        daily.reconcile(allow_most=True)
        if key == DAY:
            for price in range(2, 25):
                daily.instance.report_runless_asset_event(
                    dg.AssetMaterialization(
                        daily.load_key, partition=NEXT_DAY, metadata={"row_count": price}
                    )
                )
    assert daily.row_counts()[DAY] == [1, 0]
    assert len(daily.row_counts()[NEXT_DAY]) == 25
    assert daily.check() == (True, [])


def test_the_job_mends_and_tells_dagster_once(kept: Location, query: Query) -> None:
    query("DELETE FROM raw_dynamic_partition_data WHERE partition_key IN ('a', 'c')")
    first = kept.reconcile()
    assert told(first) == {"a": 1, "c": 1}
    assert read_evaluation(first) == (True, [])
    assert loaded_prices(query) == dict.fromkeys("abcde", 1.0)
    before = query("SELECT * FROM file_loads ORDER BY ALL")
    second = kept.reconcile()
    assert told(second) == {}
    assert read_evaluation(second) == (True, [])
    assert query("SELECT * FROM file_loads ORDER BY ALL") == before


def test_the_job_tells_of_days_and_leaves_those_outside_the_window_alone(
    landing_dir: Path, days: Path, database: Path, query: Query, instance: dg.DagsterInstance
) -> None:
    drop(days, OUTSIDE)
    sync_feed(DAILY_PRICES, landing_dir, database, settle_seconds=0)
    query("DELETE FROM raw_partition_data WHERE partition_key = ?", [DAY])
    location = Location(defs, DAILY_PRICES_PIPELINE, instance)
    assert told(location.reconcile()) == {DAY: 1, NEXT_DAY: 1}
    passed, [named] = location.check()
    assert not passed
    assert named.startswith(f"partition {OUTSIDE}: a landed file cannot be loaded ({OUTSIDE}.csv")
    (days / f"{OUTSIDE}.csv").unlink()
    removing = Location(REMOVING_DEFS, DAYS, instance)
    result = removing.reconcile()
    assert result.success
    assert told(result) == {}
    assert loaded_prices(query, "raw_partition_data") == {DAY: 1.0, NEXT_DAY: 1.0}


def test_a_file_that_cannot_stand_for_a_partition_is_named(
    kept: Location, customers: Path, query: Query
) -> None:
    """A correction that lands as `a.csv.gz` beside `a.csv`: neither is loaded, and no run fails."""
    (customers / "a.csv.gz").write_bytes(gzip.compress(price_rows(2).encode()))
    (customers / "-b c.csv").write_text(price_rows(2))
    for _ in range(2):
        passed, named = kept.check()
        assert not passed
        assert [line.partition(" (")[0] for line in named] == [
            "a landed file cannot be loaded",
            *["partition a: a landed file cannot be loaded"] * 2,
        ]
        assert kept.reconcile().success
    assert loaded_prices(query, "raw_dynamic_partition_data")["a"] == 1.0
    (customers / "a.csv.gz").unlink()
    (customers / "-b c.csv").unlink()
    assert kept.check() == (True, [])


def test_a_key_that_is_not_registered_is_loaded_and_told_when_it_is(
    kept: Location, customers: Path, query: Query
) -> None:
    drop(customers, "new")
    result = kept.reconcile()
    assert result.success
    assert told(result) == {}
    assert loaded_prices(query)["new"] == 1.0
    assert kept.tick() == []
    assert "new" in kept.instance.get_dynamic_partitions("customers")
    assert told(kept.reconcile()) == {"new": 1}
    assert kept.check() == (True, [])


def test_a_key_that_only_dagster_knows_is_left_alone(removed: Location) -> None:
    removed.instance.add_dynamic_partitions("customers", ["expected"])
    assert removed.check() == (True, [])
    assert told(removed.reconcile()) == {}
    assert "expected" in removed.instance.get_dynamic_partitions("customers")


def test_a_refused_file_fails_the_check_and_turns_no_partition_green(
    kept: Location, customers: Path, query: Query
) -> None:
    drop(customers, "b", price=-1)
    drop(customers, "new", price=-1)
    assert kept.settle() == [["b"], ["new"]]
    query("DELETE FROM raw_dynamic_partition_data WHERE partition_key = 'a'")
    # A refused file is looked at again under another contract.
    query("UPDATE file_loads SET contract = '' WHERE partition_key IN ('b', 'new')")
    result = kept.reconcile()
    assert told(result) == {"a": 1}
    passed, named = read_evaluation(result)
    assert not passed
    assert len(named) == 2
    for sentence, key in zip(named, ("b", "new"), strict=True):
        assert sentence.startswith(f"partition {key}: {key}.csv: line 2, column share_price")
    assert {kept.status(key) for key in ("b", "new")} == {"FAILED"}
    contract = {one.check_name: one.passed for one in result.get_asset_check_evaluations()}
    assert contract["customer_prices_match_contract"]
    assert contract["customer_prices_rows_add_up"]
    assert not contract["share_price_is_positive"]
    assert loaded_prices(query) == dict.fromkeys("abcde", 1.0)


def test_a_deleted_file_takes_rows_ledger_row_and_key_along(
    removed: Location, customers: Path, query: Query
) -> None:
    (customers / "b.csv").unlink()
    [request] = removed.tick()
    assert request.job_name == RECONCILE
    result = removed.execute(request)
    assert told(result) == {"b": 0}
    assert read_evaluation(result) == (True, [])
    assert loaded_prices(query) == dict.fromkeys("acde", 1.0)
    assert ledger_keys(query) == list("acde")
    assert sorted(removed.instance.get_dynamic_partitions("customers")) == list("acde")
    assert removed.row_counts()["b"] == [1, 0]
    assert removed.tick() == []
    assert removed.check() == (True, [])


def test_a_deleted_day_keeps_its_partition_and_shows_no_rows(
    daily: Location, days: Path, query: Query
) -> None:
    (days / f"{DAY}.csv").unlink()
    [request] = daily.tick()
    daily.execute(request)
    assert loaded_prices(query, "raw_partition_data") == {NEXT_DAY: 1.0}
    assert daily.row_counts() == {DAY: [1, 0], NEXT_DAY: [1]}
    assert daily.status(DAY) == "MATERIALIZED"
    assert daily.check() == (True, [])
    drop(days, DAY, price=2.0)
    assert daily.settle() == [[DAY]]
    assert loaded_prices(query, "raw_partition_data") == {DAY: 2.0, NEXT_DAY: 1.0}


def test_a_removal_is_asked_for_once_while_it_is_under_way(
    removed: Location, customers: Path
) -> None:
    (customers / "b.csv").unlink()
    [request] = removed.tick()
    run = removed.queue(request)
    assert removed.tick() == []
    (customers / "c.csv").unlink()
    assert removed.tick() == []
    removed.instance.report_run_canceled(run)
    [again] = removed.tick()
    assert again.job_name == RECONCILE
    assert again.run_key != request.run_key


def test_loads_and_removals_are_asked_for_by_one_tick(
    removed: Location, customers: Path, query: Query
) -> None:
    (customers / "b.csv").unlink()
    drop(customers, "d", price=2.0)
    drop(customers, "f")
    requests = removed.tick()
    assert [(one.job_name, removed.keys(one)) for one in requests] == [
        ("customer_prices_job", ["d"]),
        ("customer_prices_job", ["f"]),
        (RECONCILE, []),
    ]
    for request in requests:
        removed.execute(request)
    assert loaded_prices(query) == dict.fromkeys("acef", 1.0) | {"d": 2.0}
    assert removed.settle() == []


def test_a_removal_that_fails_is_asked_for_three_times_for_the_same_files(
    removed: Location, customers: Path
) -> None:
    def fail_all() -> list[str | None]:
        run_keys = []
        for _ in range(MAX_ATTEMPTS + 2):
            for request in removed.tick():
                run_keys.append(request.run_key)
                removed.instance.report_run_failed(removed.queue(request))
        return run_keys

    (customers / "b.csv").unlink()
    first = fail_all()
    assert len(set(first)) == len(first) == MAX_ATTEMPTS
    (customers / "c.csv").unlink()
    second = fail_all()
    assert len(set(second)) == len(second) == MAX_ATTEMPTS
    assert not {*first} & {*second}


def test_a_removal_that_was_ended_before_it_told_dagster_is_asked_for_again(
    removed: Location, customers: Path, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    (customers / "b.csv").unlink()
    [request] = removed.tick()

    def end(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(reconciliation, "compare_with_dagster", end)
        assert not removed.execute(request).success
    assert ledger_keys(query) == list("acde")
    assert removed.row_counts()["b"] == [1]
    [again] = removed.tick()
    assert again.job_name == RECONCILE
    removed.execute(again)
    assert removed.row_counts()["b"] == [1, 0]
    assert "b" not in removed.instance.get_dynamic_partitions("customers")
    assert removed.tick() == []


@pytest.mark.parametrize("is_told", [False, True])
def test_a_key_that_a_removal_left_behind_goes_with_the_next_one(
    is_told: bool, removed: Location, customers: Path, landing_dir: Path, database: Path
) -> None:
    (customers / "b.csv").unlink()
    sync_feed(CUSTOMERS.feed, landing_dir, database, settle_seconds=0)
    if is_told:
        removed.instance.report_runless_asset_event(
            dg.AssetMaterialization(removed.load_key, partition="b", metadata={"row_count": 0})
        )
    removed.reconcile()
    assert removed.row_counts()["b"] == [1, 0]
    assert sorted(removed.instance.get_dynamic_partitions("customers")) == list("acde")


def test_the_brake_stops_a_removal_and_says_why_until_it_is_allowed(
    removed: Location, customers: Path, query: Query
) -> None:
    for key in "abc":
        (customers / f"{key}.csv").unlink()
    assert removed.tick() == []
    assert "3 of 5 files are gone, more than half: nothing is removed" in removed.skipped
    passed, named = removed.check()
    assert not passed
    assert named == [f"partition {key}: {DifferenceKind.GONE}" for key in "abc"]
    braked = removed.reconcile()
    assert told(braked) == {}
    assert read_evaluation(braked) == (False, named)
    brakes = [one.metadata.get("brake") for one in braked.get_asset_check_evaluations()]
    assert any("3 of 5 files are gone" in str(brake) for brake in brakes)
    assert loaded_prices(query) == dict.fromkeys("abcde", 1.0)
    allowed = removed.reconcile(allow_most=True)
    assert told(allowed) == dict.fromkeys("abc", 0)
    assert read_evaluation(allowed) == (True, [])
    assert loaded_prices(query) == dict.fromkeys("de", 1.0)
    assert sorted(removed.instance.get_dynamic_partitions("customers")) == list("de")


@pytest.mark.parametrize("twin", ["B.csv", "b.csv.gz"])
def test_files_that_collide_are_not_gone(
    twin: str, removed: Location, customers: Path, query: Query
) -> None:
    (customers / twin).write_text(price_rows(9), encoding="utf-8")
    assert removed.tick() == []
    assert "1 unusable" in removed.skipped
    assert told(removed.reconcile()) == {}
    assert loaded_prices(query) == dict.fromkeys("abcde", 1.0)
    assert sorted(removed.instance.get_dynamic_partitions("customers")) == list("abcde")


def test_a_rename_is_a_deletion_and_a_new_file(
    removed: Location, customers: Path, query: Query
) -> None:
    (customers / "b.csv").rename(customers / "z.csv")
    assert [request.job_name for request in removed.tick()] == ["customer_prices_job", RECONCILE]
    removed.cursor = None
    removed.settle()
    assert loaded_prices(query) == dict.fromkeys("acdez", 1.0)
    assert removed.row_counts()["b"] == [1, 0]
    assert removed.row_counts()["z"] == [1]
    assert sorted(removed.instance.get_dynamic_partitions("customers")) == list("acdez")


def test_a_file_that_is_gone_is_kept_and_asked_for_by_nobody_where_that_is_the_policy(
    kept: Location, customers: Path, query: Query
) -> None:
    (customers / "b.csv").unlink()
    assert kept.tick() == []
    assert "1 missing" in kept.skipped
    assert told(kept.reconcile()) == {}
    assert loaded_prices(query) == dict.fromkeys("abcde", 1.0)


def test_a_file_that_is_loaded_while_the_job_waits_for_the_database_is_not_gone(
    removed: Location,
    customers: Path,
    landing_dir: Path,
    database: Path,
    query: Query,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    get_connection = Warehouse.get_connection

    @contextmanager
    def wait_for_another_load(warehouse: Warehouse) -> Iterator[duckdb.DuckDBPyConnection]:
        drop(customers, "f")
        sync_feed(CUSTOMERS.feed, landing_dir, database, settle_seconds=0)
        with get_connection(warehouse) as connection:
            yield connection

    monkeypatch.setattr(Warehouse, "get_connection", wait_for_another_load)
    assert read_evaluation(removed.reconcile()) == (True, [])
    assert loaded_prices(query) == dict.fromkeys("abcdef", 1.0)
