"""What is made from a table follows it: one run for all that was loaded, and no endless trying."""

import time

import dagster as dg
import pytest

from location import tick_refresh
from partitioned_etl.builders.jobs import FEED_TAG
from partitioned_etl.builders.ranges import range_tags
from partitioned_etl.builders.refresh import Cursor
from partitioned_etl.definitions import defs
from partitioned_etl.defs.customer_prices import CUSTOMER_PRICES_PIPELINE

KEYS = ["a", "b", "c", "d", "e"]
MADE = dg.AssetKey("archived_file")


@pytest.fixture
def customers(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """An instance that knows five customers."""
    instance.add_dynamic_partitions("customers", KEYS)
    return instance


def report(instance: dg.DagsterInstance, asset: str, *keys: str) -> None:
    """Tell Dagster that partitions of an asset were made."""
    for key in keys:
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key))


def load(instance: dg.DagsterInstance, *keys: str) -> None:
    report(instance, "duckdb_dynamic_partition_table", *keys)


def refresh(instance: dg.DagsterInstance, *keys: str) -> None:
    report(instance, "archived_file", *keys)


def test_nothing_is_asked_for_before_the_first_load(customers: dg.DagsterInstance) -> None:
    assert tick_refresh(CUSTOMER_PRICES_PIPELINE, customers) == ([], None)


def test_all_that_was_loaded_is_one_run_and_then_nothing(customers: dg.DagsterInstance) -> None:
    load(customers, "d", "a", "c", "b", "e")
    asked, cursor = tick_refresh(CUSTOMER_PRICES_PIPELINE, customers)
    assert asked == [KEYS]
    refresh(customers, *KEYS)
    for _ in range(2):
        asked, cursor = tick_refresh(CUSTOMER_PRICES_PIPELINE, customers, cursor)
        assert asked == []
    load(customers, "c")
    assert tick_refresh(CUSTOMER_PRICES_PIPELINE, customers, cursor)[0] == [["c"]]


def test_what_was_wiped_is_refreshed_again(customers: dg.DagsterInstance) -> None:
    load(customers, *KEYS)
    refresh(customers, *KEYS)
    asked, cursor = tick_refresh(CUSTOMER_PRICES_PIPELINE, customers)
    assert asked == []
    customers.wipe_assets([MADE])
    asked, cursor = tick_refresh(CUSTOMER_PRICES_PIPELINE, customers, cursor)
    assert asked == [KEYS]
    refresh(customers, *KEYS)
    assert tick_refresh(CUSTOMER_PRICES_PIPELINE, customers, cursor)[0] == []


def test_what_a_person_refreshes_at_the_asset_is_waited_for(customers: dg.DagsterInstance) -> None:
    load(customers, *KEYS)
    run = customers.create_run_for_job(
        defs.resolve_implicit_global_asset_job_def(),
        tags=range_tags(KEYS[1:]),
        asset_selection=frozenset([MADE]),
    )
    asked, cursor = tick_refresh(CUSTOMER_PRICES_PIPELINE, customers)
    assert asked == [["a"]]
    customers.report_run_failed(run)
    refresh(customers, "a")
    assert tick_refresh(CUSTOMER_PRICES_PIPELINE, customers, cursor)[0] == [KEYS[1:]]


def test_partitions_that_a_run_is_loading_or_refreshing_are_waited_for(
    customers: dg.DagsterInstance,
) -> None:
    load(customers, *KEYS)
    runs = [
        customers.create_run_for_job(defs.resolve_job_def(job), tags={**tags, **range_tags(keys)})
        for job, tags, keys in [
            ("customer_prices_job", {FEED_TAG: "customer_prices"}, KEYS[:2]),
            ("customer_prices_archive_job", {}, KEYS[3:]),
        ]
    ]
    asked, cursor = tick_refresh(CUSTOMER_PRICES_PIPELINE, customers)
    assert asked == [["c"]]
    refresh(customers, "c")
    asked, cursor = tick_refresh(CUSTOMER_PRICES_PIPELINE, customers, cursor)
    assert asked == []
    for run in runs:
        customers.delete_run(run.run_id)
    assert tick_refresh(CUSTOMER_PRICES_PIPELINE, customers, cursor)[0] == [["a", "b"], ["d", "e"]]


def test_what_no_run_refreshes_is_asked_for_three_times_and_again_when_it_is_loaded(
    customers: dg.DagsterInstance,
) -> None:
    load(customers, "a")
    cursor, asked = None, []
    for _ in range(5):
        keys, cursor = tick_refresh(CUSTOMER_PRICES_PIPELINE, customers, cursor)
        asked += keys
    assert asked == [["a"]] * 3
    load(customers, "b")
    assert tick_refresh(CUSTOMER_PRICES_PIPELINE, customers, cursor)[0] == [["b"]]
    load(customers, "a")
    assert tick_refresh(CUSTOMER_PRICES_PIPELINE, customers, cursor)[0] == [["a", "b"]]


def test_attempts_are_counted_while_a_run_is_under_way(customers: dg.DagsterInstance) -> None:
    """A run that lasts longer than the pause between two ticks, and then fails, is no new start."""
    load(customers, "a", "b")
    cursor, asked = None, []
    for _ in range(6):
        keys, cursor = tick_refresh(CUSTOMER_PRICES_PIPELINE, customers, cursor)
        asked += keys
        job = defs.resolve_job_def("customer_prices_archive_job")
        run = customers.create_run_for_job(job, tags=range_tags(["a", "b"]))
        none, cursor = tick_refresh(CUSTOMER_PRICES_PIPELINE, customers, cursor)
        assert none == []
        customers.report_run_failed(run)
    assert asked == [["a", "b"]] * 3


def test_what_was_given_up_is_asked_for_once_an_hour_whatever_else_is_loaded(
    customers: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(customers, "a")
    cursor, asked = None, []
    for hours in (0, 0.5, 1.1, 1.5, 2.2):
        now = time.time() + hours * 3600
        with monkeypatch.context() as later:
            later.setattr(time, "time", lambda now=now: now)
            of_hour = []
            for other in ("b", "d", "e", "b", "d"):
                load(customers, other)
                keys, cursor = tick_refresh(CUSTOMER_PRICES_PIPELINE, customers, cursor)
                of_hour += [key for of_run in keys for key in of_run]
                refresh(customers, other)
        asked.append("".join(sorted(of_hour)))
    assert asked == ["aaabbdde", "bbdde", "abbdde", "bbdde", "abbdde"]
    refresh(customers, "a")
    assert tick_refresh(CUSTOMER_PRICES_PIPELINE, customers, cursor)[0] == []
    assert tick_refresh(CUSTOMER_PRICES_PIPELINE, customers, None)[0] == []


def test_runs_that_fail_one_after_another_are_no_new_start(customers: dg.DagsterInstance) -> None:
    """The archive's pool has one slot: while one run is under way, another has failed before."""
    load(customers, "a", "c")
    job = defs.resolve_job_def("customer_prices_archive_job")
    cursor, asked = None, []
    for turn in range(10):
        busy = {"dagster/partition": "ac"[turn % 2]}
        run = customers.create_run_for_job(job, tags=busy)
        keys, cursor = tick_refresh(CUSTOMER_PRICES_PIPELINE, customers, cursor)
        asked += [key for of_run in keys for key in of_run]
        customers.report_run_failed(run)
    assert sorted(asked) == ["a"] * 3 + ["c"] * 3


def test_a_key_that_dagster_does_not_know_any_more_is_not_asked_for(
    customers: dg.DagsterInstance,
) -> None:
    load(customers, "a", "gone")
    assert tick_refresh(CUSTOMER_PRICES_PIPELINE, customers)[0] == [["a"]]


@pytest.mark.parametrize(
    "text",
    [None, "", "x", "[1]", "null", '{"other": 1}', '{"until": "x", "asked": {}}'],
)
def test_a_cursor_that_cannot_be_read_is_empty(text: str | None) -> None:
    assert Cursor.parse(text) == Cursor()
