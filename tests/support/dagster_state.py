"""What Dagster says of a dev server: its runs and their workers, ticks and partition statuses."""

from typing import Any

import psutil

from support.dev_server import LOCATION, DevServer

FINISHED_STATUSES = ("SUCCESS", "FAILURE", "CANCELED")
_RUN_FIELDS = "runId jobName status creationTime tags { key value }"


def list_runs(server: DevServer, job_name: str | None = None) -> list[dict[str, Any]]:
    """Give the runs, or those of one job, newest first, each with its tags as a mapping."""
    runs = server.ask(
        "query ($filter: RunsFilter) { runsOrError(filter: $filter) { ... on Runs "
        f"{{ results {{ {_RUN_FIELDS} }} }} }} }}",
        filter={"pipelineName": job_name} if job_name else {},
    )["runsOrError"]["results"]
    return [run | {"tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in runs]


def wait_for_run(server: DevServer, run_id: str) -> dict[str, Any]:
    """Wait until a run is finished, and return it."""

    def finished() -> dict[str, Any] | None:
        (run,) = (run for run in list_runs(server) if run["runId"] == run_id)
        return run if run["status"] in FINISHED_STATUSES else None

    return server.wait_until(f"run {run_id} is finished", finished)


def find_worker(server: DevServer, run_id: str) -> psutil.Process | None:
    """Give the process that a run says it is executed by, once it says so."""
    events = server.ask(
        "query ($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events { "
        "... on EngineEvent { metadataEntries { label ... on TextMetadataEntry { text } } } "
        "} } } }",
        run=run_id,
    )["logsForRun"]["events"]
    for event in events:
        for entry in event.get("metadataEntries", []):
            if entry["label"] == "pid":
                return psutil.Process(int(entry["text"]))
    return None


def count_ticks(server: DevServer, sensor: str, since: float) -> int:
    """Count a sensor's finished ticks that began at a time or later."""
    state = server.ask(
        "query ($sensor: SensorSelector!, $since: Float!) { "
        "sensorOrError(sensorSelector: $sensor) { ... on Sensor { sensorState { "
        "ticks(afterTimestamp: $since, statuses: [SKIPPED, SUCCESS]) { timestamp } } } } }",
        sensor=_select_sensor(sensor),
        since=since,
    )["sensorOrError"]["sensorState"]
    return len(state["ticks"])


def read_skip_reason(server: DevServer, sensor: str) -> str:
    """Give why a sensor's latest tick asked for nothing; empty if it did, or there was none."""
    state = server.ask(
        "query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) "
        "{ ... on Sensor { sensorState { ticks(limit: 1) { skipReason } } } } }",
        sensor=_select_sensor(sensor),
    )["sensorOrError"]["sensorState"]
    return next((tick["skipReason"] or "" for tick in state["ticks"]), "")


def read_sensor_status(server: DevServer, sensor: str) -> str:
    """Tell whether a sensor is `RUNNING` or `STOPPED`."""
    return server.ask(
        "query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) "
        "{ ... on Sensor { sensorState { status } } } }",
        sensor=_select_sensor(sensor),
    )["sensorOrError"]["sensorState"]["status"]


def _select_sensor(name: str) -> dict[str, str]:
    return {
        "repositoryLocationName": LOCATION,
        "repositoryName": "__repository__",
        "sensorName": name,
    }


def count_materialized_partitions(server: DevServer, asset: str) -> int:
    """Count the partitions of an asset that Dagster holds for materialized."""
    return server.ask(
        "query ($asset: AssetKeyInput!) { assetNodeOrError(assetKey: $asset) { "
        "... on AssetNode { partitionStats { numMaterialized } } } }",
        asset={"path": [asset]},
    )["assetNodeOrError"]["partitionStats"]["numMaterialized"]


def read_partition_statuses(server: DevServer, asset: str) -> dict[str, str]:
    """Give the status of each dynamic partition of an asset, such as `MATERIALIZED`."""
    statuses = server.ask(
        "query ($asset: AssetKeyInput!) { assetNodeOrError(assetKey: $asset) { "
        "... on AssetNode { assetPartitionStatuses { ... on DefaultPartitionStatuses "
        "{ materializedPartitions failedPartitions materializingPartitions } } } } }",
        asset={"path": [asset]},
    )["assetNodeOrError"]["assetPartitionStatuses"]
    return {
        key: name.removesuffix("Partitions").upper()
        for name, keys in statuses.items()
        for key in keys
    }
