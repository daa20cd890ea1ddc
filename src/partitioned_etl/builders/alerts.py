"""Alerts: what people should be notified of without looking at the web UI.

Takes all feeds' pipelines; returns a sensor for failed runs and one for files that are due and have
not arrived. Neither exists unless the settings name a recipient. Sending belongs in
`reports/alerts.py`.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from partitioned_etl.builders.jobs import FEED_TAG
from partitioned_etl.builders.partitions import list_partition_keys
from partitioned_etl.builders.pipelines import FeedPipeline
from partitioned_etl.builders.ranges import RANGE_END_TAG, RANGE_START_TAG, keys_of_run
from partitioned_etl.builders.reconciliation import REPAIR_TAG
from partitioned_etl.builders.resources import LandingDirectory
from partitioned_etl.builders.runs import describe_failure
from partitioned_etl.ingest.arrivals import list_unpunctual
from partitioned_etl.ingest.errors import LandedFileError
from partitioned_etl.ingest.landing import list_landed_files
from partitioned_etl.ingest.settings import read_settings
from partitioned_etl.reports.alerts import Alert, is_alerting, send_alert

LATE_CHECK_SECONDS = 300
_MOST_TRIES = 12
"""How often an alert about one file is tried: for an hour."""


def build_alerts(pipelines: Sequence[FeedPipeline]) -> dg.Definitions:
    """Build the alert sensors, if the settings name a recipient.

    Args:
        pipelines: The pipelines of all feeds.
    """
    if not is_alerting(read_settings()):
        return dg.Definitions()
    return dg.Definitions(
        sensors=[_build_failure_sensor(pipelines), _build_late_file_sensor(pipelines)]
    )


def _build_failure_sensor(pipelines: Sequence[FeedPipeline]) -> dg.SensorDefinition:
    @dg.run_failure_sensor(
        name="failure_alert_sensor",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends an alert for each failed run: feed, partitions, reason and address.",
    )
    def failure_alert_sensor(context: dg.RunFailureSensorContext) -> None:
        run, known = context.dagster_run, list[str]()
        pipeline = _find_pipeline(run, pipelines)
        if pipeline:
            known = list_partition_keys(pipeline.partitions_def, context.instance)
        keys = keys_of_run(run.tags, known) or _name_range(run)
        settings = read_settings()
        url = f"{settings.web_ui_url.rstrip('/')}/runs/{run.run_id}"
        reason = describe_failure(context.get_step_failure_events())
        reason = reason or context.failure_event.message or "the run failed"
        name = pipeline.feed.name if pipeline else ""
        send_alert(Alert(name, keys, reason, url), settings, context.log)

    return failure_alert_sensor


def _find_pipeline(run: dg.DagsterRun, pipelines: Sequence[FeedPipeline]) -> FeedPipeline | None:
    """Return the pipeline that a run is of, by its tags, its job or the assets that it is for."""
    name = run.tags.get(FEED_TAG) or run.tags.get(REPAIR_TAG)
    checked = {check.asset_key for check in run.asset_check_selection or ()}
    selected = checked | (run.asset_selection or set())
    for pipeline in pipelines:
        keys, jobs = set(pipeline.assets.keys), set[str]()
        if made := pipeline.refresh:
            keys.add(made.asset.key)
            jobs.add(made.job.name)
        if pipeline.feed.name == name or run.job_name in jobs or keys & selected:
            return pipeline
    return None


def _name_range(run: dg.DagsterRun) -> list[str]:
    """Name the range that a run takes by its ends, where it is not known what lies between."""
    first, last = (run.tags.get(tag) for tag in (RANGE_START_TAG, RANGE_END_TAG))
    return [f"{first} to {last}"] if first and last else []


def _build_late_file_sensor(pipelines: Sequence[FeedPipeline]) -> dg.SensorDefinition:
    with_time = [pipeline for pipeline in pipelines if pipeline.feed.due_after is not None]

    @dg.sensor(
        name="late_file_alert_sensor",
        minimum_interval_seconds=LATE_CHECK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Sends one alert for each due file that is missing, lacks its marker, or shares its "
            "partition with another file; what could not be delivered is sent again by the next "
            f"ticks, {_MOST_TRIES} times in all."
        ),
    )
    def late_file_alert_sensor(
        context: dg.SensorEvaluationContext, landing: LandingDirectory
    ) -> dg.SensorResult:
        tries = _read_tries(context.cursor)
        now, said, are_heard = datetime.now(UTC), 0, True
        for pipeline in with_time:
            feed = pipeline.feed
            try:
                listing = list_landed_files(feed, landing.directory)
            except LandedFileError as error:
                context.log.error(f"feed {feed.name}: {error}")
                continue
            known = list_partition_keys(pipeline.partitions_def, context.instance)
            missing = list_unpunctual(feed, {}, listing, known, now)
            loaded = context.instance.get_materialized_partitions(pipeline.reconciliation.load_key)
            missing = {key: why for key, why in missing.items() if key not in loaded}
            before = tries.get(feed.name, {})
            tries[feed.name] = of_feed = {key: before.get(key, 0) for key in sorted(missing)}
            for key in [key for key, count in of_feed.items() if count < _MOST_TRIES]:
                # Wait only once for a hanging server: a tick's time is limited.
                if not are_heard:
                    break
                alert = Alert(feed.name, [key], missing[key])
                are_heard = send_alert(alert, read_settings(), context.log)
                of_feed[key] = _MOST_TRIES if are_heard else of_feed[key] + 1
                said += are_heard
        message = f"{said} file(s) found missing that nobody was told of"
        return dg.SensorResult(skip_reason=message, cursor=json.dumps(tries))

    return late_file_alert_sensor


def _read_tries(cursor: str | None) -> dict[str, dict[str, int]]:
    """Return how often an alert was tried for each missing file, per feed and partition key.

    A cursor that is not such a mapping counts as empty: alerts are then sent once more.
    """
    try:
        tries = json.loads(cursor or "{}")
        return {feed: dict(of_feed) for feed, of_feed in tries.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
