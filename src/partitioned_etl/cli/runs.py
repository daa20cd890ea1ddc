"""Runs: a job that a command executes in its own process, on the instance of `dagster dev`.

Takes the instance and a job's name; returns the run's result. The web UI shows the run like others,
by its `origin.py`.
"""

from collections.abc import Mapping
from uuid import uuid4

import dagster as dg

from partitioned_etl.cli.interrupts import watch_interrupts
from partitioned_etl.cli.origin import RunOrigin
from partitioned_etl.components.orphans import PROCESS_TAG, name_this_process

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Runs report through their events; what a person needs to know, the command prints."""


def execute_job(
    instance: dg.DagsterInstance,
    definitions: dg.Definitions,
    job_name: str,
    *,
    partition_key: str | None = None,
    tags: Mapping[str, str] | None = None,
    config: dg.RunConfig | None = None,
) -> dg.ExecuteInProcessResult:
    """Execute a job; a failure is in the result.

    Args:
        instance: The Dagster instance.
        definitions: The definitions of the whole code location.
        job_name: The job.
        partition_key: Its partition, if it has one.
        tags: Tags of the run.
        config: Its configuration.

    Raises:
        KeyboardInterrupt: Ctrl-C came; the run has failed.
    """
    run_id, job = str(uuid4()), definitions.resolve_job_def(job_name)
    origin = RunOrigin(instance, job_name)
    try:
        with watch_interrupts() as raise_interrupt:
            result = job.execute_in_process(
                instance=instance,
                partition_key=partition_key,
                tags={**(tags or {}), **origin.tags, PROCESS_TAG: name_this_process()},
                run_config={**(config.to_config_dict() if config else {}), **_QUIET},
                raise_on_error=False,
                run_id=run_id,
            )
            raise_interrupt()
    except KeyboardInterrupt:
        # A run that was created but never started would keep its partitions from all others.
        run = instance.get_run_by_id(run_id)
        if run and not run.is_finished:
            instance.report_run_failed(run, "The run was interrupted on the command line.")
        raise
    finally:
        origin.complete(run_id)
    return result
