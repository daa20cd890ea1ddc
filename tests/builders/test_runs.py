"""Runs whose worker is gone are failed; those whose worker lives are left alone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from partitioned_etl.builders.jobs import FEED_TAG
from partitioned_etl.builders.runs import (
    PROCESS_TAG,
    fail_runs_without_worker,
    list_keys_in_flight,
)
from partitioned_etl.definitions import defs
from partitioned_etl.defs.customer_prices import CUSTOMER_PRICES, CUSTOMER_PRICES_PIPELINE
from partitioned_etl.defs.daily_prices import DAILY_PRICES

LOAD_KEY = CUSTOMER_PRICES_PIPELINE.reconciliation.load_key


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with the default launcher, on disk."""
    with dg.DagsterInstance.from_config(str(tmp_path), "no-such.yaml") as found:
        assert isinstance(found.run_launcher, dg.DefaultRunLauncher)
        yield found


def make_run(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **tags: str
) -> dg.DagsterRun:
    """Make a run of the customers' feed in a status."""
    return instance.create_run_for_job(
        defs.resolve_job_def("customer_prices_job"),
        tags={FEED_TAG: CUSTOMER_PRICES.name, **tags},
        status=status,
    )


def start_run(instance: dg.DagsterInstance, process_id: int | None) -> dg.DagsterRun:
    """Make a run that looks started by a worker of that process id."""
    run = make_run(instance, dg.DagsterRunStatus.STARTED)
    if process_id is not None:
        # What a worker reports when it begins; Dagster exports no public way to make the event.
        from dagster._core.events import EngineEventData

        instance.report_engine_event("started", run, EngineEventData.in_process(process_id))
    return run


def finished_process_id() -> int:
    """Give the id of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    """Give a run's status now."""
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def test_a_run_without_its_worker_is_failed(instance: dg.DagsterInstance) -> None:
    run = start_run(instance, finished_process_id())
    assert fail_runs_without_worker(instance) == [run.run_id]
    assert status(instance, run) is dg.DagsterRunStatus.FAILURE
    assert fail_runs_without_worker(instance) == []


def test_a_run_with_its_worker_goes_on(instance: dg.DagsterInstance) -> None:
    run = start_run(instance, os.getpid())
    assert fail_runs_without_worker(instance) == []
    assert status(instance, run) is dg.DagsterRunStatus.STARTED


def test_a_process_that_got_the_same_number_later_is_not_the_worker(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    import partitioned_etl.builders.runs as runs

    monkeypatch.setattr(runs, "_CLOCK_TOLERANCE_SECONDS", -1e9)
    run = start_run(instance, os.getpid())
    assert fail_runs_without_worker(instance) == [run.run_id]


def test_a_run_that_has_not_begun_is_left_to_dagster(instance: dg.DagsterInstance) -> None:
    run = start_run(instance, None)
    assert fail_runs_without_worker(instance) == []
    assert status(instance, run) is dg.DagsterRunStatus.STARTED


def test_a_run_that_nobody_put_into_the_queue_is_failed_after_a_while(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    import partitioned_etl.builders.runs as runs

    run = make_run(instance, dg.DagsterRunStatus.NOT_STARTED, **{"dagster/partition": "acme"})
    assert fail_runs_without_worker(instance) == []
    assert list_keys_in_flight(instance, CUSTOMER_PRICES, LOAD_KEY, ["acme"]) == {"acme"}
    monkeypatch.setattr(runs, "_LAUNCH_SECONDS", -1.0)
    assert fail_runs_without_worker(instance) == [run.run_id]
    assert list_keys_in_flight(instance, CUSTOMER_PRICES, LOAD_KEY, ["acme"]) == set()


def test_what_a_person_loads_at_the_asset_is_in_flight(instance: dg.DagsterInstance) -> None:
    """Such a run has no tag of the feed; one that only imports loads nothing."""
    imported, copied = map(dg.AssetKey, ("import_dynamic_partition_file", "archived_file"))
    for key, selection in {
        "a": [imported],
        "b": [LOAD_KEY],
        "c": [imported, LOAD_KEY, copied],
        "d": [copied],
        "2018-01-22": [dg.AssetKey("duckdb_partition_table")],
    }.items():
        instance.create_run_for_job(
            defs.resolve_implicit_global_asset_job_def(),
            tags={"dagster/partition": key},
            asset_selection=frozenset(selection),
        )
    assert list_keys_in_flight(instance, CUSTOMER_PRICES, LOAD_KEY, list("abcd")) == {"b", "c"}


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_a_run_is_failed_at_once_if_the_process_that_made_it_to_execute_it_is_gone(
    status: dg.DagsterRunStatus, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    import partitioned_etl.builders.runs as runs

    gone = make_run(instance, status, **{PROCESS_TAG: str(finished_process_id())})
    make_run(instance, status, **{PROCESS_TAG: str(os.getpid())})
    assert fail_runs_without_worker(instance) == [gone.run_id]
    monkeypatch.setattr(runs, "_LAUNCH_SECONDS", -1.0)
    assert fail_runs_without_worker(instance) == []


def test_another_feeds_run_is_left_to_its_sensor(instance: dg.DagsterInstance) -> None:
    run = start_run(instance, finished_process_id())
    assert fail_runs_without_worker(instance, feed=DAILY_PRICES) == []
    assert fail_runs_without_worker(instance, feed=CUSTOMER_PRICES) == [run.run_id]
