"""Arrivals: one asset that shows, for every feed and day, what came and what did not.

Takes all feeds' pipelines; gives an unpartitioned asset with a picture and a page, and the sensor
that draws them again. Judging is in `ingest/arrivals.py`, drawing in `reports/arrivals.py`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from partitioned_etl.builders.assets import DUCKDB_POOL
from partitioned_etl.builders.partitions import list_files_in_window, list_partition_keys
from partitioned_etl.builders.pipelines import FeedPipeline
from partitioned_etl.builders.resources import LandingDirectory, Warehouse
from partitioned_etl.ingest.arrivals import Arrival, ArrivalStatus, list_arrivals
from partitioned_etl.ingest.ledger import read_ledger
from partitioned_etl.ingest.settings import read_settings
from partitioned_etl.reports.arrivals import data_uri, draw_calendar, write_page

ARRIVALS_ASSET = "arrivals"
EVERY_MINUTE = "* * * * *"
ONCE_A_DAY = "15 7 * * *"


def build_arrivals(pipelines: Sequence[FeedPipeline]) -> dg.Definitions:
    """Build the asset that shows what came of every feed, and what draws it again.

    Args:
        pipelines: The pipelines of all feeds.
    """
    updated = dg.AutomationCondition.any_deps_updated().since_last_handled()
    condition = dg.AutomationCondition.cron_tick_passed(EVERY_MINUTE) & updated
    condition |= dg.AutomationCondition.cron_tick_passed(ONCE_A_DAY)

    @dg.asset(
        name=ARRIVALS_ASSET,
        deps=[pipeline.reconciliation.load_key for pipeline in pipelines],
        automation_condition=condition & ~dg.AutomationCondition.in_progress(),
        pool=DUCKDB_POOL,
        kinds={"matplotlib", "html"},
        group_name=ARRIVALS_ASSET,
        description=(
            "A calendar of all feeds: which files came, came late, were refused or are missing. "
            "Drawn again at most once a minute after a load, and every morning."
        ),
    )
    def arrivals(
        context: dg.AssetExecutionContext, landing: LandingDirectory, warehouse: Warehouse
    ) -> dg.MaterializeResult:
        now = datetime.now(UTC)
        found: dict[str, list[Arrival]] = {}
        with warehouse.get_connection() as connection:
            for pipeline in pipelines:
                feed, partitions_def = pipeline.feed, pipeline.partitions_def
                known = list_partition_keys(partitions_def, context.instance)
                listing = list_files_in_window(feed, landing.directory, partitions_def)
                ledger = read_ledger(connection, feed)
                found[feed.name] = list_arrivals(feed, ledger, listing, known, now)
        image = draw_calendar(found, [pipeline.feed for pipeline in pipelines])
        page = read_settings().reports_dir / "arrivals.html"
        _replace_text(page, write_page(image, found, now))
        return dg.MaterializeResult(
            metadata={
                "calendar": dg.MetadataValue.md(f"![Calendar of arrivals]({data_uri(image)})"),
                "page": dg.MetadataValue.path(page),
                **{f"{status}_files": _count(found, status) for status in ArrivalStatus},
            }
        )

    sensor = dg.AutomationConditionSensorDefinition(
        "arrivals_sensor",
        target=[arrivals],
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Draws the calendar of arrivals again after loads, and every morning.",
    )
    return dg.Definitions(assets=[arrivals], sensors=[sensor])


def _count(found: dict[str, list[Arrival]], status: ArrivalStatus) -> dg.IntMetadataValue:
    return dg.MetadataValue.int(
        sum(arrival.status is status for of_feed in found.values() for arrival in of_feed)
    )


def _replace_text(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old text or the new one, and never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
