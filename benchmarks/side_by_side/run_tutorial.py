"""What Dagster's daemon does with the tutorial's sensors, once: tick, keep the cursor, run.

In one process, without the start of a process for each run, which favours the tutorial. As in the
daemon, the cursor is kept before the runs begin, and a failed run is not repeated.
"""

import os
import sys
from pathlib import Path

import dagster as dg
from tutorial import defs


def main() -> int:
    """Tick every sensor, run what it asks for, and give 1 if a run failed."""
    failed = False
    with dg.DagsterInstance.get() as instance:
        for sensor in defs.sensors or []:
            assert isinstance(sensor, dg.SensorDefinition)
            cursor = Path(os.environ["DAGSTER_HOME"]) / f"{sensor.name}.cursor"
            before = cursor.read_text(encoding="utf-8") if cursor.exists() else None
            with dg.build_sensor_context(
                instance=instance,
                instance_ref=instance.get_ref(),
                cursor=before,
                repository_def=defs.get_repository_def(),
            ) as context:
                tick = sensor.evaluate_tick(context)
            for added in tick.dynamic_partitions_requests or []:
                assert isinstance(added, dg.AddDynamicPartitionsRequest)
                instance.add_dynamic_partitions(
                    added.partitions_def_name, list(added.partition_keys)
                )
            cursor.write_text(tick.cursor or "", encoding="utf-8")
            for request in tick.run_requests or []:
                run = defs.resolve_job_def(sensor.job_name or "").execute_in_process(
                    instance=instance, partition_key=request.partition_key, raise_on_error=False
                )
                failed |= not run.success
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
