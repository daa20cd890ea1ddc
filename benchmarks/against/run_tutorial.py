"""What Dagster's daemon does with the tutorial's sensors, once: retry, tick, keep the cursor, run.

In one process, without the start of a process for each run, which favours the tutorial. A run that
a crash left behind runs again, as with Dagster's run monitoring and run retries, which the tutorial
does not switch on.
"""

import os
import sys
from pathlib import Path

import dagster as dg

from tutorial import defs


def retry_crashed(instance: dg.DagsterInstance) -> bool:
    """Run again what a crash left unfinished, and say whether all of it succeeded."""
    unfinished = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
    succeeded = True
    for record in instance.get_run_records(unfinished):
        crashed = record.dagster_run
        instance.report_run_failed(crashed, "its process is gone")
        succeeded &= execute(instance, crashed.job_name, crashed.tags["dagster/partition"])
    return succeeded


def tick(instance: dg.DagsterInstance, sensor: dg.SensorDefinition) -> bool:
    """Let a sensor tick, run what it requests, and say whether all of it succeeded."""
    cursor = Path(os.environ["DAGSTER_HOME"]) / f"{sensor.name}.cursor"
    before = cursor.read_text(encoding="utf-8") if cursor.exists() else None
    with dg.build_sensor_context(
        instance=instance,
        instance_ref=instance.get_ref(),
        cursor=before,
        repository_def=defs.get_repository_def(),
    ) as context:
        ticked = sensor.evaluate_tick(context)
    for added in ticked.dynamic_partitions_requests or []:
        assert isinstance(added, dg.AddDynamicPartitionsRequest)
        instance.add_dynamic_partitions(added.partitions_def_name, list(added.partition_keys))
    cursor.write_text(ticked.cursor or "", encoding="utf-8")
    succeeded = True
    for request in ticked.run_requests or []:
        assert request.partition_key is not None
        succeeded &= execute(instance, sensor.job_name or "", request.partition_key)
    return succeeded


def execute(instance: dg.DagsterInstance, job: str, partition_key: str) -> bool:
    """Run a job for one partition, and say whether it succeeded."""
    return (
        defs.resolve_job_def(job)
        .execute_in_process(instance=instance, partition_key=partition_key, raise_on_error=False)
        .success
    )


def main() -> int:
    """Do what there is to do, and give 1 if a run failed."""
    with dg.DagsterInstance.get() as instance:
        succeeded = retry_crashed(instance)
        for sensor in defs.sensors or []:
            assert isinstance(sensor, dg.SensorDefinition)
            succeeded &= tick(instance, sensor)
    return int(not succeeded)


if __name__ == "__main__":
    sys.exit(main())
