"""A code location in the test's own process: sensors tick and jobs run when the test says so."""

from functools import cached_property
from pathlib import Path

import dagster as dg
from dagster._core.instance import InstanceRef

from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.components.checks import CHECK_NAMES
from partitioned_etl.components.location import DEFAULT_RESOURCES
from partitioned_etl.components.ranges import keys_of_run
from partitioned_etl.components.reconcile import RECONCILE_JOB, reconcile_config
from partitioned_etl.engine import failpoints
from support.define import DefinedFeed

_SOME_INSTANCE = InstanceRef.from_dir(str(Path(__file__).parent))
"""Without one, Dagster knows no dynamic partitions; beside an instance it is not followed."""


class KilledError(BaseException):
    """Ends a run where it is, past every `except Exception` of the load."""


class Location:
    """One feed's sensors and jobs on one instance.

    Attributes:
        defs: The definitions that sensors and jobs are taken from.
        defined: The feed's own definitions.
        instance: The Dagster instance.
        cursors: The cursor of each sensor that was evaluated, by its name.
        skipped: Why the last tick asked for nothing; empty if it did.
    """

    def __init__(
        self, defs: dg.Definitions, defined: DefinedFeed, instance: dg.DagsterInstance
    ) -> None:
        self.defs, self.defined, self.instance = defs, defined, instance
        self.cursors: dict[str, str | None] = {}
        self.skipped = ""

    @property
    def assets(self) -> FeedAssets:
        """The feed's assets."""
        return self.defined.assets

    @property
    def load_key(self) -> dg.AssetKey:
        """The feed's load asset."""
        return self.assets.load_key

    @property
    def cursor(self) -> str | None:
        """The landing sensor's cursor."""
        return self.cursors.get(self.defined.sensor.name)

    @cursor.setter
    def cursor(self, cursor: str | None) -> None:
        self.cursors[self.defined.sensor.name] = cursor

    def tick(self) -> list[dg.RunRequest]:
        """Evaluate the landing sensor, as the daemon does; register new keys."""
        return self._tick(self.defined.sensor)

    def tick_fetch(self) -> list[dg.RunRequest]:
        """Evaluate the sensor that requests a fetch from the feed's source."""
        return self._tick(self.defs.resolve_sensor_def(f"{self.assets.feed.name}_fetch_sensor"))

    def tick_removal(self) -> list[dg.RunRequest]:
        """Evaluate the sensor that requests the removal of what has no file any more."""
        return self._tick(self.defs.resolve_sensor_def("removal_sensor"))

    def _tick(self, sensor: dg.SensorDefinition) -> list[dg.RunRequest]:
        with dg.build_sensor_context(
            instance=self.instance,
            instance_ref=_SOME_INSTANCE,
            cursor=self.cursors.get(sensor.name),
            repository_def=self.defs.get_repository_def(),
            resources=DEFAULT_RESOURCES,
        ) as context:
            answer = sensor.evaluate_tick(context)
        # After a tick that only skips, the daemon keeps the cursor that it has.
        self.cursors[sensor.name] = answer.cursor or self.cursors.get(sensor.name)
        for request in answer.dynamic_partitions_requests or []:
            assert isinstance(request, dg.AddDynamicPartitionsRequest)
            self.instance.add_dynamic_partitions(
                request.partitions_def_name, list(request.partition_keys)
            )
        self.skipped = answer.skip_message or ""
        # A request of a sensor that has one job does not say which it is.
        requests = answer.run_requests or []
        return [request.with_replaced_attrs(job_name=sensor.job.name) for request in requests]

    def queue(self, request: dg.RunRequest) -> dg.DagsterRun:
        """Make the run that was asked for, and do not start it."""
        return self.instance.create_run_for_job(
            self.defs.resolve_job_def(request.job_name or ""),
            tags=request.tags,
            status=dg.DagsterRunStatus.NOT_STARTED,
        )

    def execute(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Execute what was asked for; by default, of the feed's own job."""
        job_name = request.job_name or self.assets.job_name
        return self.defs.resolve_job_def(job_name).execute_in_process(
            instance=self.instance,
            partition_key=request.partition_key,
            tags=request.tags,
            run_config=request.run_config,
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
        """Execute the reconcile job for the feed, as a person does in the web UI."""
        config = reconcile_config(self.assets.feed.name, allow_most=allow_most)
        return self.execute(
            dg.RunRequest(job_name=RECONCILE_JOB, run_config=config.to_config_dict())
        )

    def settle(self) -> list[list[str]]:
        """Tick and execute until nothing is asked for; give the keys of each run, in order."""
        asked: list[list[str]] = []
        for _ in range(10):
            requests = [*self.tick(), *self.tick_removal()]
            if not requests:
                return asked
            for request in requests:
                asked.append(self.keys(request))
                self.execute(request)
        raise AssertionError(f"there is still something to do after {asked}")

    def keys(self, request: dg.RunRequest) -> list[str]:
        """Give the partition keys that a run request covers."""
        if request.partition_key:
            return [request.partition_key]
        known = self.assets.partitions.list_keys(self.instance)
        return keys_of_run(request.tags, known)

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
            self.load_key, [key], self.assets.partitions.definition
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
            count = event.metadata["dagster/partition_row_count"].value
            assert isinstance(count, int)
            told.setdefault(event.partition, []).append(count)
        return told

    def check(self) -> tuple[bool, list[str]]:
        """Run the check that table and folder are equal; give its verdict and what it names."""
        result = self._check_job.execute_in_process(instance=self.instance)
        return read_evaluation(result)

    @cached_property
    def _check_job(self) -> dg.JobDefinition:
        key = dg.AssetCheckKey(self.load_key, CHECK_NAMES.table_equals_landing)
        job = dg.define_asset_job("check_job", selection=dg.AssetSelection.checks(key))
        location = dg.Definitions.merge(self.defs, dg.Definitions(jobs=[job]))
        return location.resolve_job_def("check_job")


def read_evaluation(result: dg.ExecuteInProcessResult) -> tuple[bool, list[str]]:
    """Give verdict and differences of the check that table and landing are equal."""
    evaluations = result.get_asset_check_evaluations()
    [evaluation] = [
        one for one in evaluations if one.check_name == CHECK_NAMES.table_equals_landing
    ]
    named = evaluation.metadata["named"].value
    assert isinstance(named, list)
    assert evaluation.metadata["differences"].value == len(named)
    return evaluation.passed, [str(sentence) for sentence in named]


def tick_downstream(
    sensor: dg.SensorDefinition,
    defined: DefinedFeed,
    instance: dg.DagsterInstance,
    cursor: str | None = None,
) -> tuple[list[list[str]], str | None]:
    """Evaluate a feed's downstream sensor; give the keys of each run asked for, and its cursor."""
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        answer = sensor(context)
    if isinstance(answer, dg.SkipReason):
        return [], cursor
    assert isinstance(answer, dg.SensorResult)
    known = defined.assets.partitions.list_keys(instance)
    asked = [
        [request.partition_key] if request.partition_key else keys_of_run(request.tags, known)
        for request in answer.run_requests or []
    ]
    return asked, answer.cursor
