"""A code location in the test's own process: sensors tick and jobs run when the test says so."""

from functools import cached_property
from typing import Any

import dagster as dg

from partitioned_etl.builders.partitions import list_partition_keys
from partitioned_etl.builders.pipelines import FeedPipeline
from partitioned_etl.builders.ranges import keys_of_run
from partitioned_etl.builders.reconciliation import reconciliation_check_name
from partitioned_etl.defs import resources
from partitioned_etl.ingest import failpoints


class KilledError(BaseException):
    """Ends a run where it is, past every `except Exception` of the load."""


class Location:
    """One feed's sensor and jobs on one instance.

    Attributes:
        defs: The definitions that sensor and jobs are taken from.
        pipeline: The feed's pipeline.
        instance: The Dagster instance, on disk.
        cursor: The sensor's cursor.
        skipped: Why the last tick asked for nothing; empty if it did.
    """

    def __init__(
        self, defs: dg.Definitions, pipeline: FeedPipeline, instance: dg.DagsterInstance
    ) -> None:
        self.defs, self.pipeline, self.instance = defs, pipeline, instance
        self.cursor: str | None = None
        self.skipped = ""

    @property
    def load_key(self) -> dg.AssetKey:
        """The feed's load asset."""
        return self.pipeline.reconciliation.load_key

    def tick(self) -> list[dg.RunRequest]:
        """Evaluate the sensor and judge its answer as the daemon does; register new keys."""
        with dg.build_sensor_context(
            instance=self.instance,
            instance_ref=self.instance.get_ref(),
            cursor=self.cursor,
            repository_def=self.defs.get_repository_def(),
            resources={"landing": resources.landing, "warehouse": resources.warehouse},
        ) as context:
            answer = self.pipeline.sensor.evaluate_tick(context)
        # After a tick that only skips, the daemon keeps the cursor that it has.
        self.cursor = answer.cursor or self.cursor
        for request in answer.dynamic_partitions_requests or []:
            assert isinstance(request, dg.AddDynamicPartitionsRequest)
            self.instance.add_dynamic_partitions(
                request.partitions_def_name, list(request.partition_keys)
            )
        self.skipped = answer.skip_message or ""
        return list(answer.run_requests or [])

    def queue(self, request: dg.RunRequest) -> dg.DagsterRun:
        """Make the run that was asked for, and do not start it."""
        return self.instance.create_run_for_job(
            self.defs.resolve_job_def(request.job_name or ""),
            tags=request.tags,
            status=dg.DagsterRunStatus.NOT_STARTED,
        )

    def execute(
        self, request: dg.RunRequest, run_config: dict[str, Any] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Execute what was asked for."""
        assert request.job_name
        return self.defs.resolve_job_def(request.job_name).execute_in_process(
            instance=self.instance,
            partition_key=request.partition_key,
            tags=request.tags,
            run_config=run_config,
            raise_on_error=False,
        )

    def materialize(self, key: str) -> dg.ExecuteInProcessResult:
        """Load a partition as a person does at the asset in the web UI."""
        return self.defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            partition_key=key,
            asset_selection=[self.load_key],
            raise_on_error=False,
        )

    def reconcile(self, *, allow_most: bool = False) -> dg.ExecuteInProcessResult:
        """Execute the reconcile job as a person does in the web UI."""
        op = f"reconcile_{self.pipeline.feed.name}"
        return self.execute(
            dg.RunRequest(job_name=self.pipeline.reconciliation.job.name),
            {"ops": {op: {"config": {"allow_most": allow_most}}}},
        )

    def settle(self) -> list[list[str]]:
        """Tick and execute until nothing is asked for; give the keys of each run, in order."""
        asked: list[list[str]] = []
        for _ in range(10):
            requests = self.tick()
            if not requests:
                return asked
            for request in requests:
                asked.append(self.keys(request))
                self.execute(request)
        raise AssertionError(f"there is still something to do after {asked}")

    def keys(self, request: dg.RunRequest) -> list[str]:
        """Give the partition keys that a run request covers."""
        ordered = list_partition_keys(self.pipeline.partitions_def, self.instance)
        return keys_of_run(request.tags, ordered)

    def kill_at(self, moment: str, request: dg.RunRequest) -> None:
        """Execute what was asked for until a load comes to a failpoint, where its run fails."""
        reached: list[str] = []

        def end(name: str) -> None:
            if name == moment:
                reached.append(name)
                raise KilledError

        failpoints.listener = end
        try:
            result = self.execute(request)
        finally:
            failpoints.listener = None
        assert reached, f"no load came to {moment}"
        run = self.instance.get_run_by_id(result.run_id)
        assert run
        assert run.status is dg.DagsterRunStatus.FAILURE

    def status(self, key: str) -> str:
        """Give what the web UI colours a partition of the load asset by; empty for no colour."""
        found = self.instance.get_status_by_partition(
            self.load_key, [key], self.pipeline.partitions_def
        )
        status = (found or {}).get(key)
        return status.value if status else ""

    def row_counts(self) -> dict[str, list[int]]:
        """Give the row counts that Dagster was told of each partition, oldest first."""
        told: dict[str, list[int]] = {}
        found = self.instance.fetch_materializations(self.load_key, limit=1000, ascending=True)
        for record in found.records:
            event = record.asset_materialization
            assert event
            assert event.partition
            count = event.metadata["row_count"].value
            assert isinstance(count, int)
            told.setdefault(event.partition, []).append(count)
        return told

    def check(self) -> tuple[bool, list[str]]:
        """Run the check that table and folder are equal; give its verdict and what it names."""
        result = self._check_job.execute_in_process(instance=self.instance)
        return read_evaluation(result)

    @cached_property
    def _check_job(self) -> dg.JobDefinition:
        key = dg.AssetCheckKey(self.load_key, reconciliation_check_name(self.pipeline.feed))
        job = dg.define_asset_job("check_job", selection=dg.AssetSelection.checks(key))
        location = dg.Definitions.merge(self.defs, dg.Definitions(jobs=[job]))
        return location.resolve_job_def("check_job")


def read_evaluation(result: dg.ExecuteInProcessResult) -> tuple[bool, list[str]]:
    """Give the verdict and the differences of the reconciliation check that a run made."""
    evaluations = result.get_asset_check_evaluations()
    [evaluation] = [one for one in evaluations if one.check_name.endswith("_equals_directory")]
    named = evaluation.metadata["named"].value
    assert isinstance(named, list)
    assert evaluation.metadata["differences"].value == len(named)
    return evaluation.passed, [str(sentence) for sentence in named]


def tick_refresh(
    pipeline: FeedPipeline, instance: dg.DagsterInstance, cursor: str | None = None
) -> tuple[list[list[str]], str | None]:
    """Evaluate a feed's refresh sensor; give the keys of each run asked for, and its cursor."""
    assert pipeline.refresh
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        answer = pipeline.refresh.sensor(context)
    if isinstance(answer, dg.SkipReason):
        return [], cursor
    assert isinstance(answer, dg.SensorResult)
    ordered = list_partition_keys(pipeline.partitions_def, instance)
    asked = [
        [request.partition_key] if request.partition_key else keys_of_run(request.tags, ordered)
        for request in answer.run_requests or []
    ]
    return asked, answer.cursor
