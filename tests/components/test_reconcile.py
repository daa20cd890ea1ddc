"""Reconciliation: folder, ledger, table and Dagster agree, or the check says where they do not."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from partitioned_etl.components import reconcile
from partitioned_etl.components.checks import CHECK_NAMES
from partitioned_etl.components.reconcile import RECONCILE_JOB, reconcile_config
from partitioned_etl.components.resources import WarehouseResource
from partitioned_etl.engine.errors import WarehouseLockedError
from partitioned_etl.engine.plan import MAX_ATTEMPTS
from partitioned_etl.engine.reconcile import DifferenceKind
from partitioned_etl.engine.sync import sync_feed
from partitioned_etl.engine.warehouse.warehouse import OpenWarehouse
from support import removing_location, sample_location
from support.location import KilledError, Location, read_evaluation
from support.sample_location import CUSTOMER_PRICES, DAILY_PRICES
from support.samples import price_rows

Query = Callable[..., list[tuple[Any, ...]]]
DAY, NEXT_DAY, OUTSIDE = "2018-01-22", "2018-01-23", "1999-01-01"


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
    """The customers with the policy to keep, all files loaded."""
    location = Location(sample_location.defs, sample_location.CUSTOMERS, instance)
    assert location.settle() == [["a", "b", "c", "d", "e"]]
    return location


@pytest.fixture
def removed(customers: Path, instance: dg.DagsterInstance) -> Location:
    """The customers with the policy to remove, all files loaded."""
    location = Location(removing_location.defs, removing_location.CUSTOMERS, instance)
    assert location.settle() == [["a", "b", "c", "d", "e"]]
    return location


@pytest.fixture
def daily(days: Path, instance: dg.DagsterInstance) -> Location:
    """The daily files with the policy to remove, both files loaded."""
    location = Location(removing_location.defs, removing_location.DAILY, instance)
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
    return {
        event.partition: event.metadata["dagster/partition_row_count"].value for event in events
    }


def test_a_level_feed_passes(kept: Location) -> None:
    assert kept.check() == (True, [])


def test_a_load_does_not_count_the_whole_table(kept: Location) -> None:
    evaluated = {
        event.asset_check_evaluation_data.check_name
        for run in kept.instance.get_runs()
        for entry in kept.instance.all_logs(run.run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        if (event := entry.dagster_event)
    }
    assert CHECK_NAMES.matches_contract in evaluated
    assert CHECK_NAMES.table_equals_landing not in evaluated


def test_what_differs_in_folder_and_tables_is_named(
    kept: Location, customers: Path, query: Query
) -> None:
    drop(customers, "new")
    query("DELETE FROM raw_customer_prices WHERE partition_key = 'a'")
    query("INSERT INTO raw_customer_prices (partition_key) VALUES ('nobody')")
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
    location = Location(sample_location.defs, sample_location.CUSTOMERS, instance)
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

    def lock(_: WarehouseResource) -> None:
        raise WarehouseLockedError("in use")

    with monkeypatch.context() as patch:
        patch.setattr(WarehouseResource, "connect", lock)
        assert not kept.materialize("b").success
    assert kept.status("b") == "FAILED"
    assert kept.check() == (False, ["partition b: loaded, and Dagster shows it as failed"])
    assert told(kept.reconcile()) == {"b": 1}
    assert kept.status("b") == "MATERIALIZED"


def test_what_dagster_shows_and_is_gone_is_named_and_told(
    kept: Location, customers: Path, query: Query
) -> None:
    (customers / "b.csv").unlink()
    query("DELETE FROM raw_customer_prices WHERE partition_key = 'b'")
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
                        daily.load_key,
                        partition=NEXT_DAY,
                        metadata={"dagster/partition_row_count": price},
                    )
                )
    assert daily.row_counts()[DAY] == [1, 0]
    assert len(daily.row_counts()[NEXT_DAY]) == 25
    assert daily.check() == (True, [])


def test_the_job_mends_and_tells_dagster_once(kept: Location, query: Query) -> None:
    query("DELETE FROM raw_customer_prices WHERE partition_key IN ('a', 'c')")
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
    query("DELETE FROM raw_daily_prices WHERE partition_key = ?", [DAY])
    location = Location(sample_location.defs, sample_location.DAILY, instance)
    assert told(location.reconcile()) == {DAY: 1, NEXT_DAY: 1}
    passed, named = location.check()
    assert not passed
    assert [line.partition(" (")[0] for line in named] == [
        DifferenceKind.STALE,
        f"partition {OUTSIDE}: a landed file cannot be loaded",
    ]
    (days / f"{OUTSIDE}.csv").unlink()
    removing = Location(removing_location.defs, removing_location.DAILY, instance)
    result = removing.reconcile()
    assert result.success
    assert told(result) == {}
    # It was not deleted: the feed begins later, and a person decides.
    assert loaded_prices(query, "raw_daily_prices") == dict.fromkeys((OUTSIDE, DAY, NEXT_DAY), 1.0)


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
    assert loaded_prices(query, "raw_customer_prices")["a"] == 1.0
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
    query("DELETE FROM raw_customer_prices WHERE partition_key = 'a'")
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
    assert not contract[CHECK_NAMES.matches_contract]
    assert contract[CHECK_NAMES.rows_add_up]
    assert not contract["share_price_is_positive"]
    assert loaded_prices(query) == dict.fromkeys("abcde", 1.0)


def test_a_deleted_file_takes_rows_ledger_row_and_key_along(
    removed: Location, customers: Path, query: Query
) -> None:
    (customers / "b.csv").unlink()
    assert removed.tick() == []
    [request] = removed.tick_removal()
    assert request.job_name == RECONCILE_JOB
    result = removed.execute(request)
    assert told(result) == {"b": 0}
    assert read_evaluation(result) == (True, [])
    assert loaded_prices(query) == dict.fromkeys("acde", 1.0)
    assert ledger_keys(query) == list("acde")
    assert sorted(removed.instance.get_dynamic_partitions("customers")) == list("acde")
    assert removed.row_counts()["b"] == [1, 0]
    assert removed.tick() == removed.tick_removal() == []
    assert removed.check() == (True, [])


def test_a_deleted_day_keeps_its_partition_and_shows_no_rows(
    daily: Location, days: Path, query: Query
) -> None:
    (days / f"{DAY}.csv").unlink()
    [request] = daily.tick_removal()
    daily.execute(request)
    assert loaded_prices(query, "raw_daily_prices") == {NEXT_DAY: 1.0}
    assert daily.row_counts() == {DAY: [1, 0], NEXT_DAY: [1]}
    assert daily.status(DAY) == "MATERIALIZED"
    assert daily.check() == (True, [])
    drop(days, DAY, price=2.0)
    assert daily.settle() == [[DAY]]
    assert loaded_prices(query, "raw_daily_prices") == {DAY: 2.0, NEXT_DAY: 1.0}


def test_a_removal_is_asked_for_once_while_it_is_under_way(
    removed: Location, customers: Path
) -> None:
    (customers / "b.csv").unlink()
    [request] = removed.tick_removal()
    run = removed.queue(request)
    assert removed.tick_removal() == []
    (customers / "c.csv").unlink()
    assert removed.tick_removal() == []
    removed.instance.report_run_canceled(run)
    [again] = removed.tick_removal()
    assert again.job_name == RECONCILE_JOB
    assert again.run_key != request.run_key


def test_loads_are_asked_for_by_the_feeds_sensor_and_removals_by_another(
    removed: Location, customers: Path, query: Query
) -> None:
    (customers / "b.csv").unlink()
    drop(customers, "d", price=2.0)
    drop(customers, "f")
    requests = [*removed.tick(), *removed.tick_removal()]
    assert [(one.job_name, removed.keys(one)) for one in requests] == [
        ("customer_prices_job", ["d"]),
        ("customer_prices_job", ["f"]),
        (RECONCILE_JOB, []),
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
            for request in removed.tick_removal():
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
    [request] = removed.tick_removal()

    def end(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(reconcile, "compare_with_dagster", end)
        assert not removed.execute(request).success
    assert ledger_keys(query) == list("acde")
    assert removed.row_counts()["b"] == [1]
    [again] = removed.tick_removal()
    assert again.job_name == RECONCILE_JOB
    removed.execute(again)
    assert removed.row_counts()["b"] == [1, 0]
    assert "b" not in removed.instance.get_dynamic_partitions("customers")
    assert removed.tick_removal() == []


@pytest.mark.parametrize("is_told", [False, True])
def test_a_key_that_a_removal_left_behind_goes_with_the_next_one(
    is_told: bool, removed: Location, customers: Path, landing_dir: Path, database: Path
) -> None:
    (customers / "b.csv").unlink()
    sync_feed(removing_location.CUSTOMERS.feed, landing_dir, database, settle_seconds=0)
    if is_told:
        removed.instance.report_runless_asset_event(
            dg.AssetMaterialization(
                removed.load_key, partition="b", metadata={"dagster/partition_row_count": 0}
            )
        )
    removed.reconcile()
    assert removed.row_counts()["b"] == [1, 0]
    assert sorted(removed.instance.get_dynamic_partitions("customers")) == list("acde")


def test_the_brake_stops_a_removal_and_says_why_until_it_is_allowed(
    removed: Location, customers: Path, query: Query
) -> None:
    for key in "abc":
        (customers / f"{key}.csv").unlink()
    for tick in (removed.tick, removed.tick_removal):
        assert tick() == []
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
    assert removed.tick_removal() == []
    assert told(removed.reconcile()) == {}
    assert loaded_prices(query) == dict.fromkeys("abcde", 1.0)
    assert sorted(removed.instance.get_dynamic_partitions("customers")) == list("abcde")


def test_a_rename_is_a_deletion_and_a_new_file(
    removed: Location, customers: Path, query: Query
) -> None:
    (customers / "b.csv").rename(customers / "z.csv")
    assert [request.job_name for request in removed.tick()] == ["customer_prices_job"]
    assert [request.job_name for request in removed.tick_removal()] == [RECONCILE_JOB]
    removed.cursors = {}
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
    assert kept.tick_removal() == []
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
    open_at_once = WarehouseResource.open

    @contextmanager
    def wait_for_another_load(warehouse: WarehouseResource) -> Iterator[OpenWarehouse]:
        drop(customers, "f")
        sync_feed(removing_location.CUSTOMERS.feed, landing_dir, database, settle_seconds=0)
        with open_at_once(warehouse) as opened:
            yield opened

    monkeypatch.setattr(WarehouseResource, "open", wait_for_another_load)
    assert read_evaluation(removed.reconcile()) == (True, [])
    assert loaded_prices(query) == dict.fromkeys("abcdef", 1.0)


@pytest.fixture
def both(customers: Path, days: Path, instance: dg.DagsterInstance) -> Location:
    """The customers and the daily files with the policy to remove, all loaded; the customers'."""
    for defined in (removing_location.DAILY, removing_location.CUSTOMERS):
        location = Location(removing_location.defs, defined, instance)
        location.settle()
    return location


def run_reconcile(location: Location, *names: str) -> dg.ExecuteInProcessResult:
    """Execute the reconcile job for feeds, by default for all."""
    config = reconcile_config(*names).to_config_dict() if names else {}
    return location.execute(dg.RunRequest(job_name=RECONCILE_JOB, run_config=config))


def told_of(result: dg.ExecuteInProcessResult, asset: dg.AssetKey) -> dict[str | None, object]:
    """Give the row count per partition that a run told Dagster of an asset."""
    events = (event.materialization for event in result.get_asset_materialization_events())
    return {
        event.partition: event.metadata["dagster/partition_row_count"].value
        for event in events
        if event.asset_key == asset
    }


def evaluated(result: dg.ExecuteInProcessResult) -> set[str]:
    """Give the names of the assets of which a run evaluated that table and landing are equal."""
    return {
        one.asset_key.to_user_string()
        for one in result.get_asset_check_evaluations()
        if one.check_name == CHECK_NAMES.table_equals_landing
    }


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """Give the sentence that a run failed with."""
    [event] = result.get_step_failure_events()
    failure = event.step_failure_data.user_failure_data
    assert failure
    assert failure.description
    return failure.description


DAILY_KEY = removing_location.DAILY.assets.load_key
CUSTOMERS_KEY = removing_location.CUSTOMERS.assets.load_key


def test_the_job_mends_all_feeds_or_those_that_are_named(both: Location, query: Query) -> None:
    def lose_rows() -> None:
        query("DELETE FROM raw_customer_prices WHERE partition_key = 'a'")
        query("DELETE FROM raw_daily_prices WHERE partition_key = ?", [DAY])

    lose_rows()
    whole = run_reconcile(both)
    assert whole.success
    assert told_of(whole, CUSTOMERS_KEY) == {"a": 1}
    assert told_of(whole, DAILY_KEY) == {DAY: 1}
    assert evaluated(whole) == {"raw_customer_prices", "raw_daily_prices", "stg_orders"}
    lose_rows()
    named = run_reconcile(both, "daily_prices")
    assert named.success
    assert told(named) == {DAY: 1}
    assert evaluated(named) == {"raw_daily_prices"}
    assert loaded_prices(query) == dict.fromkeys("bcde", 1.0)
    assert loaded_prices(query, "raw_daily_prices") == {DAY: 1.0, NEXT_DAY: 1.0}
    two = run_reconcile(both, "daily_prices", "customer_prices")
    assert told(two) == {"a": 1}
    assert evaluated(two) == {"raw_customer_prices", "raw_daily_prices"}


def test_a_feed_that_cannot_be_listed_fails_the_run_by_name_and_stops_no_other(
    both: Location, customers: Path, days: Path, query: Query
) -> None:
    query("DELETE FROM raw_customer_prices WHERE partition_key = 'a'")
    query("DELETE FROM raw_daily_prices WHERE partition_key = ?", [DAY])
    for folder, mended, asset, name in (
        (customers, {DAY: 1}, DAILY_KEY, "customer_prices"),
        (days, {"a": 1}, CUSTOMERS_KEY, "daily_prices"),
    ):
        aside = folder.rename(folder.with_name("aside"))
        folder.write_text("no folder", encoding="utf-8")
        result = run_reconcile(both)
        assert not result.success
        sentence = failure_of(result)
        assert sentence.startswith(f"feed {name}: ")
        assert "cannot list" in sentence
        assert sentence.count("feed ") == sentence.count(f"feed {name}: ")
        assert told(result) == told_of(result, asset) == mended
        folder.unlink()
        aside.rename(folder)
    assert loaded_prices(query) == dict.fromkeys("abcde", 1.0)
    assert loaded_prices(query, "raw_daily_prices") == {DAY: 1.0, NEXT_DAY: 1.0}


def test_a_feed_that_nobody_knows_fails_the_run_by_name_and_stops_no_other(
    both: Location, query: Query
) -> None:
    query("DELETE FROM raw_daily_prices WHERE partition_key = ?", [DAY])
    result = run_reconcile(both, "weekly_prices", "daily_prices")
    assert not result.success
    assert failure_of(result) == "there is no feed 'weekly_prices'"
    assert told(result) == {DAY: 1}


def test_every_feed_whose_files_are_gone_has_a_removal_of_its_own(
    both: Location, customers: Path, days: Path, query: Query
) -> None:
    drop(days, "2018-01-21")
    Location(removing_location.defs, removing_location.DAILY, both.instance).settle()
    (customers / "b.csv").unlink()
    (days / f"{DAY}.csv").unlink()
    requests = both.tick_removal()
    assert {request.job_name for request in requests} == {RECONCILE_JOB}
    configs = [request.run_config["ops"]["reconcile"]["config"] for request in requests]
    assert sorted(tuple(config["feeds"]) for config in configs) == [
        ("customer_prices",),
        ("daily_prices",),
    ]
    assert not any(config["allow_most"] for config in configs)
    results = [both.execute(request) for request in requests]
    assert sorted(tuple(told(result)) for result in results) == [(DAY,), ("b",)]
    assert both.tick_removal() == []
    assert loaded_prices(query) == dict.fromkeys("acde", 1.0)
    assert loaded_prices(query, "raw_daily_prices") == {"2018-01-21": 1.0, NEXT_DAY: 1.0}


def test_a_brake_or_a_folder_that_cannot_be_listed_stops_no_removal_of_another_feed(
    both: Location, customers: Path, days: Path
) -> None:
    for key in (DAY, NEXT_DAY):
        (days / f"{key}.csv").unlink()
    assert both.tick_removal() == []
    assert "feed daily_prices: 2 of 2 files are gone, more than half" in both.skipped
    (customers / "b.csv").unlink()
    [request] = both.tick_removal()
    assert request.run_config["ops"]["reconcile"]["config"]["feeds"] == ["customer_prices"]
    both.execute(request)
    days.rmdir()
    days.write_text("no folder", encoding="utf-8")
    assert both.tick_removal() == []
    assert "cannot list" in both.skipped
    assert "the next tick tries again" in both.skipped
    (customers / "c.csv").unlink()
    assert len(both.tick_removal()) == 1


def test_a_removal_is_asked_for_whatever_the_cursor_and_never_by_the_same_run_key(
    removed: Location, customers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (customers / "b.csv").unlink()
    cursors = (None, "", "{", "[]", "null", '{"customer_prices": 1}')
    run_keys = set()
    for second, cursor in enumerate(cursors, 4_000_000_000):
        removed.cursors["removal_sensor"] = cursor
        monkeypatch.setattr(reconcile.time, "time", lambda second=second: float(second))
        [request] = removed.tick_removal()
        assert request.run_config["ops"]["reconcile"]["config"]["feeds"] == ["customer_prices"]
        run_keys.add(request.run_key)
    assert len(run_keys) == len(cursors)


def test_a_feed_that_keeps_what_has_no_file_is_not_looked_at_for_removals(
    kept: Location, customers: Path, database: Path
) -> None:
    for path in customers.iterdir():
        path.unlink()
    assert kept.tick_removal() == []
    assert kept.skipped == "nothing to remove"
