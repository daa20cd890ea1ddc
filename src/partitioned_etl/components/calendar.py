"""Calendar: one asset that shows the state of every feed, and by day what arrived and did not.

Takes all feeds; returns an unpartitioned asset with a table, a picture and a page, its job, and the
sensor that draws it again. Finding arrivals belongs in `engine/arrivals.py`; drawing, in
`calendar_page.py` and `feeds_table.py`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import dagster as dg

from partitioned_etl.components.ad_hoc_keys import choose_keys
from partitioned_etl.components.assets import AssetJob, FeedAssets, find_warehouse_pool
from partitioned_etl.components.attempts import Attempts
from partitioned_etl.components.calendar_page import data_uri, draw_calendar, write_page
from partitioned_etl.components.feeds_table import list_what_to_look_at, show_feeds
from partitioned_etl.components.resources import LandingResource, WarehouseResource
from partitioned_etl.components.runs import UNFINISHED
from partitioned_etl.engine.arrivals import Arrival, ArrivalStatus, list_arrivals
from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.feed_status import FeedStatus, describe_status
from partitioned_etl.engine.list_since import find_first_name
from partitioned_etl.engine.plan import Plan, compare
from partitioned_etl.engine.settings import Settings
from partitioned_etl.engine.unmatched import list_unmatched
from partitioned_etl.engine.warehouse.warehouse import OpenWarehouse

ARRIVALS_ASSET = "arrivals"
DRAWN_AFTER = "drawn_after_event"
"""Metadata of the asset: the latest event of the load assets before it was drawn."""
_EVERY_DAY_AT = time(7, 15)
_LEAST_PAUSE = timedelta(minutes=1)


def build_calendar(feeds: Sequence[FeedAssets]) -> dg.Definitions:
    """Build the asset that shows every feed's arrivals, and what draws it again.

    Args:
        feeds: All feeds.
    """
    load_keys = [assets.load_key for assets in feeds]

    @dg.asset(
        name=ARRIVALS_ASSET,
        deps=load_keys,
        pool=find_warehouse_pool(),
        kinds={"matplotlib", "html"},
        group_name=ARRIVALS_ASSET,
        description=(
            "All feeds with their state, and a calendar of them: which files came, came late, were "
            "refused or are missing. Drawn again at most once a minute after a load or a refusal, "
            "and every morning."
        ),
    )
    def arrivals(
        context: dg.AssetExecutionContext, landing: LandingResource, warehouse: WarehouseResource
    ) -> dg.MaterializeResult:
        now, newest = datetime.now(UTC), _find_newest_event(context.instance, load_keys)
        found: dict[str, list[Arrival]] = {}
        statuses: dict[str, FeedStatus | str] = {}
        with warehouse.open() as opened:
            for assets in feeds:
                name, known = assets.feed.name, assets.partitions.list_keys(context.instance)
                try:
                    found[name], statuses[name] = _look(assets, landing, opened, known, now)
                except LandedFileError as error:
                    found[name], statuses[name] = [], str(error)
                    context.log.error(f"feed {name}: {error}")
        image = draw_calendar(found, [assets.feed for assets in feeds])
        page = Settings().reports_dir / "arrivals.html"
        _replace_text(page, write_page(image, found, now))
        return dg.MaterializeResult(
            metadata={
                "feeds": show_feeds(statuses),
                "calendar": dg.MetadataValue.md(f"![Calendar of arrivals]({data_uri(image)})"),
                **list_what_to_look_at(statuses),
                "page": dg.MetadataValue.path(page),
                DRAWN_AFTER: dg.MetadataValue.text(str(newest)),
                **{f"{status}_files": _count(found, status) for status in ArrivalStatus},
            }
        )

    job = dg.define_asset_job(
        f"{ARRIVALS_ASSET}_job", selection=[arrivals], description="Draw the calendar of arrivals."
    )
    return dg.Definitions(
        assets=[arrivals], jobs=[job], sensors=[_build_sensor(job, arrivals.key, load_keys)]
    )


def _look(
    assets: FeedAssets,
    landing_resource: LandingResource,
    opened: OpenWarehouse,
    known: Sequence[str],
    now: datetime,
) -> tuple[list[Arrival], FeedStatus]:
    """Return what arrived of a feed, and its status.

    Raises:
        LandedFileError: Its landing cannot be listed.
    """
    feed, landing = assets.feed, landing_resource.connect(assets.feed)
    # Of what is not looked at, the ledger tells.
    listing = assets.list_files(landing, find_first_name(feed, now))
    ledger = opened.table(feed).read_ledger()
    plan = compare(feed, listing, ledger, settle_seconds=landing.settle_seconds)
    keys = choose_keys(assets, plan, known, Attempts(), most=0)
    status = describe_status(
        feed,
        plan,
        totals=Plan(ledger=ledger).sum_up(),
        expected=known,
        unmatched=list_unmatched(feed, listing.ignored, assets.other_feeds),
        not_fetched=landing_resource.list_not_fetched(feed),
        waiting_keys=keys.pending,
        refused_keys=keys.refused,
    )
    return list_arrivals(feed, ledger, listing, known, now), status


def _build_sensor(
    job: AssetJob, drawn_key: dg.AssetKey, load_keys: Sequence[dg.AssetKey]
) -> dg.SensorDefinition:
    """Build the sensor that redraws the calendar; after a failure, the next event redraws it."""

    @dg.sensor(
        name="arrivals_sensor",
        job=job,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Draws the calendar of arrivals again after loads, and every morning.",
    )
    def arrivals_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        instance, now = context.instance, datetime.now(UTC)
        if instance.get_runs_count(dg.RunsFilter(job_name=job.name, statuses=UNFINISHED)):
            return dg.SkipReason("the calendar is being drawn")
        newest = str(_find_newest_event(instance, load_keys))
        drawn_after, drawn_at = _find_drawn(instance, drawn_key)
        if newest == drawn_after == "0":
            return dg.SkipReason("nothing has come yet")
        morning = datetime.combine(now, _EVERY_DAY_AT, UTC)
        if drawn_at < morning <= now:
            return dg.RunRequest(run_key=f"{newest}, {morning:%Y-%m-%d}")
        if newest == drawn_after:
            return dg.SkipReason("nothing came since the calendar was drawn")
        if now - drawn_at < _LEAST_PAUSE:
            return dg.SkipReason("the calendar was drawn less than a minute ago")
        return dg.RunRequest(run_key=newest)

    return arrivals_sensor


def _find_newest_event(instance: dg.DagsterInstance, load_keys: Sequence[dg.AssetKey]) -> int:
    """Return the latest event that reported a load or a refusal; 0 if there is none."""
    told = (
        fetch(key, limit=1).records
        for fetch in (instance.fetch_materializations, instance.fetch_observations)
        for key in load_keys
    )
    return max((record.storage_id for records in told for record in records), default=0)


def _find_drawn(instance: dg.DagsterInstance, drawn_key: dg.AssetKey) -> tuple[str, datetime]:
    """Return after which event the calendar was drawn, and when; long ago if it never was."""
    for record in instance.fetch_materializations(drawn_key, limit=1).records:
        drawn = record.asset_materialization
        after = drawn.metadata.get(DRAWN_AFTER) if drawn else None
        return str(after.value) if after else "", datetime.fromtimestamp(record.timestamp, UTC)
    return "0", datetime.fromtimestamp(0, UTC)


def _count(found: dict[str, list[Arrival]], status: ArrivalStatus) -> dg.IntMetadataValue:
    return dg.MetadataValue.int(
        sum(arrival.status is status for of_feed in found.values() for arrival in of_feed)
    )


def _replace_text(path: Path, text: str) -> None:
    """Write a file atomically: a reader finds the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
