"""Watch: what concerns all feeds: the nightly reconcile job, late files, alerts, the calendar."""

from collections.abc import Sequence

import dagster as dg

from partitioned_etl.components.alerts import build_failure_sensor, build_late_file_sensor
from partitioned_etl.components.archive import find_copies
from partitioned_etl.components.assets import find_feeds
from partitioned_etl.components.calendar import build_calendar
from partitioned_etl.components.downstream import find_downstream
from partitioned_etl.components.forget import build_forget_job
from partitioned_etl.components.isolation import Mistake, show_mistakes
from partitioned_etl.components.reconcile import (
    build_reconcile_job,
    build_reconcile_schedule,
    build_removal_sensor,
)
from partitioned_etl.components.wakes import read_tick_interval
from partitioned_etl.engine.settings import Settings


def watch(found: dg.Definitions, mistakes: Sequence[Mistake]) -> dg.Definitions:
    """Build what concerns all feeds.

    Args:
        found: The definitions of all feeds.
        mistakes: What could not be loaded.
    """
    feeds = find_feeds(found)
    copies = {one.assets.feed.name: one.remove_others for one in find_copies(found)}
    reconcile_job = build_reconcile_job(feeds, copies)
    forget_job = build_forget_job(feeds, copies)
    sensors = [
        build_removal_sensor(feeds, reconcile_job, interval_seconds=read_tick_interval()),
        build_late_file_sensor(feeds),
    ]
    if Settings().alert_urls:
        sensors.append(build_failure_sensor(feeds, find_downstream(found)))
    watching = dg.Definitions(
        jobs=[reconcile_job, forget_job],
        schedules=[build_reconcile_schedule(reconcile_job)],
        sensors=sensors,
    )
    return dg.Definitions.merge(watching, build_calendar(feeds), show_mistakes(mistakes))
