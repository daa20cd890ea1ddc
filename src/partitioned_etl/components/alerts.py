"""Alerts: what people should be told of without looking at the web UI.

Takes all feeds; returns a sensor for failed runs, and one that evaluates the checks for late files
as time goes by, and tells of those that are late. Sending is left to apprise.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from logging import Logger

import dagster as dg

from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.components.check_results import to_evaluation
from partitioned_etl.components.checks import CHECK_NAMES, CheckedState
from partitioned_etl.components.downstream import DOWNSTREAM_TAG, Downstream
from partitioned_etl.components.events import FEED_TAG
from partitioned_etl.components.fetches import FETCHES_TAG
from partitioned_etl.components.ranges import RANGE_END_TAG, RANGE_START_TAG, keys_of_run
from partitioned_etl.components.reconcile import RECONCILES_TAG
from partitioned_etl.components.resources import LandingResource, WarehouseResource
from partitioned_etl.components.runs import describe_failure
from partitioned_etl.components.sensor import TICK_LOCK_WAIT_SECONDS
from partitioned_etl.engine.errors import (
    LandedFileError,
    WarehouseError,
    WarehouseLockedError,
)
from partitioned_etl.engine.list_since import find_first_name
from partitioned_etl.engine.settings import Settings
from partitioned_etl.engine.warehouse.ledger import Ledger

LATE_CHECK_SECONDS = 300
_MOST_NAMED = 5
_MOST_TRIES = 12
"""How often an alert about one file is tried: for an hour."""


def tell_people(subject: str, sentence: str, log: Logger) -> bool:
    """Send one sentence to everybody that the setting `ALERT_URLS` names.

    Args:
        subject: What it is about, for e-mails.
        sentence: The sentence; no key in it can break the line.
        log: Where a failure is logged.

    Returns:
        Whether anybody was told.
    """
    # Every process of the code location imports this module; few send anything.
    import apprise

    text = "".join(char if char.isprintable() else " " for char in sentence)
    is_told = False
    for number, address in enumerate(Settings().alert_urls.split(), 1):
        sender = apprise.Apprise()
        # The address may hold a password, so it is named by its place.
        if not sender.add(address):
            log.error(f"alert: address {number} of ALERT_URLS cannot be used")
        elif sender.notify(body=text, title=f"partitioned-etl: {subject}"):
            is_told = True
        else:
            log.error(f"alert not delivered to address {number} of ALERT_URLS: {text}")
    return is_told


def build_failure_sensor(
    feeds: Sequence[FeedAssets], downstream: Sequence[Downstream] = ()
) -> dg.SensorDefinition:
    """Build the sensor that tells people of each failed run.

    Args:
        feeds: All feeds.
        downstream: What is computed from their tables.
    """

    @dg.run_failure_sensor(
        name="failure_alert_sensor",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends an alert for each failed run: feed, partitions, reason and address.",
    )
    def failure_alert_sensor(context: dg.RunFailureSensorContext) -> None:
        run, known = context.dagster_run, list[str]()
        assets = _find_feed(run, feeds, downstream)
        if assets:
            known = assets.partitions.list_keys(context.instance)
        keys = keys_of_run(run.tags, known) or _name_range(run)
        reason = describe_failure(context.get_step_failure_events())
        reason = reason or context.failure_event.message or "the run failed"
        subject = f"feed {assets.feed.name}" if assets else "a run"
        named = ", ".join(keys[:_MOST_NAMED])
        more = f" and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
        about = f"{subject}, partition {named}{more}" if named else subject
        url = f"{Settings().web_ui_url.rstrip('/')}/runs/{run.run_id}"
        tell_people(subject, f"{about}: {reason} See {url}", context.log)

    return failure_alert_sensor


def _find_feed(
    run: dg.DagsterRun, feeds: Sequence[FeedAssets], downstream: Sequence[Downstream]
) -> FeedAssets | None:
    """Return the feed that a run is of, by its tags or the assets that it is for."""
    tags = (run.tags.get(tag) for tag in (FEED_TAG, RECONCILES_TAG, DOWNSTREAM_TAG, FETCHES_TAG))
    names = {name for name in tags if name}
    checked = {check.asset_key for check in run.asset_check_selection or ()}
    selected = checked | (run.asset_selection or set())
    names |= {one.feed_name for one in downstream if one.key in selected}
    for assets in feeds:
        if assets.feed.name in names or selected & {assets.import_key, assets.load_key}:
            return assets
    return None


def _name_range(run: dg.DagsterRun) -> list[str]:
    """Name the range that a run takes by its ends, where it is not known what lies between."""
    first, last = (run.tags.get(tag) for tag in (RANGE_START_TAG, RANGE_END_TAG))
    return [f"{first} to {last}"] if first and last else []


def build_late_file_sensor(feeds: Sequence[FeedAssets]) -> dg.SensorDefinition:
    """Build the sensor that evaluates the checks for late files, and tells people of new ones.

    A check is evaluated when its verdict changes with time alone: a file is due and has not come.
    What could not be delivered is sent again by the next ticks.

    Args:
        feeds: All feeds; those without a due time are left alone.
    """
    with_time = [assets for assets in feeds if assets.feed.due_after is not None]

    @dg.sensor(
        name="late_file_sensor",
        minimum_interval_seconds=LATE_CHECK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            f"Evaluates `{CHECK_NAMES.file_is_on_time}` when a due file is missing, lacks its "
            "marker, or shares its partition with another file, and sends one alert for it."
        ),
    )
    def late_file_sensor(
        context: dg.SensorEvaluationContext, landing: LandingResource, warehouse: WarehouseResource
    ) -> dg.SensorResult:
        cursor, events = _LateCursor.parse(context.cursor), list[dg.AssetCheckEvaluation]()
        for assets in with_time:
            name = assets.feed.name
            try:
                state = _look(assets, context.instance, landing, warehouse)
            except WarehouseLockedError as error:
                context.log.info(f"feed {name}: {error}; the next tick tries again")
                continue
            except (LandedFileError, WarehouseError) as error:
                context.log.error(f"feed {name}: {error}")
                continue
            late = state.list_overdue()
            if cursor.has_changed(name, sorted(late)):
                check = dg.AssetCheckKey(assets.load_key, CHECK_NAMES.file_is_on_time)
                events += [to_evaluation(result) for result in state.evaluate([check])]
            cursor.tell(name, late, context.log)
        message = f"{cursor.told} file(s) found late that nobody was told of"
        return dg.SensorResult(skip_reason=message, cursor=str(cursor), asset_events=events)

    return late_file_sensor


def _look(
    assets: FeedAssets,
    instance: dg.DagsterInstance,
    landing_resource: LandingResource,
    warehouse_resource: WarehouseResource,
) -> CheckedState:
    landing, warehouse = landing_resource.connect(assets.feed), warehouse_resource.connect()
    ledger = Ledger()
    # Whatever counts as late is later than that.
    first_name = find_first_name(assets.feed)
    listing = landing.scan(assets.feed, None, first_name).list_files()
    if warehouse.exists():
        with warehouse.open_read_only(lock_wait_seconds=TICK_LOCK_WAIT_SECONDS) as opened:
            ledger = opened.table(assets.feed).read_ledger()
    known = assets.partitions.list_keys(instance)
    return CheckedState(assets.feed, ledger, listing, known, now=datetime.now(UTC))


class _LateCursor:
    """What the sensor remembers: how often an alert was tried for each late file of a feed."""

    def __init__(self, tries: dict[str, dict[str, int]]) -> None:
        self._tries = tries
        self._is_heard = True
        self.told = 0

    def has_changed(self, name: str, late: Sequence[str]) -> bool:
        """Return whether other files of a feed are late than at the last tick."""
        return sorted(self._tries.get(name, {})) != list(late)

    def tell(self, name: str, late: dict[str, str], log: Logger) -> None:
        """Tell people of late files that nobody was told of."""
        before = self._tries.get(name, {})
        self._tries[name] = tries = {key: before.get(key, 0) for key in sorted(late)}
        if not Settings().alert_urls:
            return
        for key in [key for key, count in tries.items() if count < _MOST_TRIES]:
            # Wait only once for a server that does not answer: a tick's time is limited.
            if not self._is_heard:
                break
            subject = f"feed {name}"
            self._is_heard = tell_people(subject, f"{subject}, partition {key}: {late[key]}", log)
            tries[key] = _MOST_TRIES if self._is_heard else tries[key] + 1
            self.told += self._is_heard

    @classmethod
    def parse(cls, cursor: str | None) -> "_LateCursor":
        """Read a cursor; one that cannot be read counts as empty: alerts are sent once more."""
        try:
            tries = json.loads(cursor or "{}")
            return cls({feed: dict(of_feed) for feed, of_feed in tries.items()})
        except (ValueError, TypeError, AttributeError):
            return cls({})

    def __str__(self) -> str:
        """Return the cursor as JSON."""
        return json.dumps(self._tries)
