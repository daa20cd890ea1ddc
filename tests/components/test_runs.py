"""Runs whose worker is gone are failed; those whose worker lives are left alone."""

import os
import socket
import subprocess
import sys

import dagster as dg
import pytest

from partitioned_etl.components import orphans
from partitioned_etl.components.events import FEED_TAG
from partitioned_etl.components.orphans import PROCESS_TAG, fail_runs_without_worker
from partitioned_etl.components.runs import list_keys_in_flight
from support.sample_location import CUSTOMERS, DAILY, defs


@pytest.fixture
def instance(instance_on_disk: dg.DagsterInstance) -> dg.DagsterInstance:
    """An instance with the default launcher, on disk."""
    assert isinstance(instance_on_disk.run_launcher, dg.DefaultRunLauncher)
    return instance_on_disk


def make_run(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **tags: str
) -> dg.DagsterRun:
    """Make a run of the customers' feed in a status."""
    return instance.create_run_for_job(
        defs.resolve_job_def("customer_prices_job"),
        tags={FEED_TAG: CUSTOMERS.feed.name, **tags},
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
    monkeypatch.setattr(orphans, "_CLOCK_TOLERANCE_SECONDS", -1e9)
    run = start_run(instance, os.getpid())
    assert fail_runs_without_worker(instance) == [run.run_id]


def test_a_run_that_has_not_begun_is_left_to_dagster(instance: dg.DagsterInstance) -> None:
    run = start_run(instance, None)
    assert fail_runs_without_worker(instance) == []
    assert status(instance, run) is dg.DagsterRunStatus.STARTED


def test_a_run_that_nobody_put_into_the_queue_is_failed_after_a_while(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(instance, dg.DagsterRunStatus.NOT_STARTED, **{"dagster/partition": "acme"})
    assert fail_runs_without_worker(instance) == []
    assert list_keys_in_flight(instance, CUSTOMERS.assets, ["acme"]) == {"acme"}
    monkeypatch.setattr(orphans, "_LAUNCH_SECONDS", -1.0)
    assert fail_runs_without_worker(instance) == [run.run_id]
    assert list_keys_in_flight(instance, CUSTOMERS.assets, ["acme"]) == set()


def test_what_a_person_loads_at_the_asset_is_in_flight(instance: dg.DagsterInstance) -> None:
    """Such a run has no tag of the feed; one that only imports loads nothing."""
    imported, loaded = CUSTOMERS.assets.import_key, CUSTOMERS.assets.load_key
    copied = dg.AssetKey("customer_copies")
    for key, selection in {
        "a": [imported],
        "b": [loaded],
        "c": [imported, loaded, copied],
        "d": [copied],
        "2018-01-22": [DAILY.assets.load_key],
    }.items():
        instance.create_run_for_job(
            defs.resolve_implicit_global_asset_job_def(),
            tags={"dagster/partition": key},
            asset_selection=frozenset(selection),
        )
    assert list_keys_in_flight(instance, CUSTOMERS.assets, list("abcd")) == {"b", "c"}


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_a_run_is_failed_at_once_if_the_process_that_made_it_to_execute_it_is_gone(
    status: dg.DagsterRunStatus, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = make_run(instance, status, **{PROCESS_TAG: str(finished_process_id())})
    make_run(instance, status, **{PROCESS_TAG: str(os.getpid())})
    assert fail_runs_without_worker(instance) == [gone.run_id]
    monkeypatch.setattr(orphans, "_LAUNCH_SECONDS", -1.0)
    assert fail_runs_without_worker(instance) == []


def test_another_feeds_run_is_left_to_its_sensor(instance: dg.DagsterInstance) -> None:
    run = start_run(instance, finished_process_id())
    assert fail_runs_without_worker(instance, feed_name=DAILY.feed.name) == []
    assert fail_runs_without_worker(instance, feed_name=CUSTOMERS.feed.name) == [run.run_id]


def test_a_command_of_another_machine_is_left_alone(instance: dg.DagsterInstance) -> None:
    started = dg.DagsterRunStatus.STARTED
    elsewhere = f"{finished_process_id()}@{socket.gethostname()}.elsewhere"
    make_run(instance, started, **{PROCESS_TAG: elsewhere})
    here = make_run(
        instance, started, **{PROCESS_TAG: f"{finished_process_id()}@{socket.gethostname()}"}
    )
    assert fail_runs_without_worker(instance) == [here.run_id]


@pytest.mark.parametrize("is_shared", [True, False])
def test_a_command_leaves_a_code_server_alone_that_may_be_elsewhere(
    is_shared: bool, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster._core.events import EngineEventData
    from dagster._core.remote_origin import (
        RegisteredCodeLocationOrigin,
        RemoteJobOrigin,
        RemoteRepositoryOrigin,
    )

    server = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("etl"), "__repository__")
    run = instance.create_run_for_job(
        defs.resolve_job_def("customer_prices_job"),
        status=dg.DagsterRunStatus.STARTED,
        remote_job_origin=RemoteJobOrigin(server, "customer_prices_job"),
    )
    worker = EngineEventData.in_process(finished_process_id())
    instance.report_engine_event("started", run, worker)
    if is_shared:
        monkeypatch.setattr(orphans, "_is_shared", lambda _: True)
    assert fail_runs_without_worker(instance) == ([] if is_shared else [run.run_id])
    in_sensor = fail_runs_without_worker(instance, location_name="etl")
    assert in_sensor == ([run.run_id] if is_shared else [])
