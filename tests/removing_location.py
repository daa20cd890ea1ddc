"""A code location like the shipped one, in which a customer or a day goes with its file.

Every name in it is the shipped one's, and so is the other feed.
"""

from dataclasses import replace

import dagster as dg

from partitioned_etl.builders.assets import build_feed_assets
from partitioned_etl.builders.jobs import build_feed_job
from partitioned_etl.builders.pipelines import FeedPipeline
from partitioned_etl.builders.reconciliation import build_reconciliation
from partitioned_etl.builders.sensors import build_landing_sensor
from partitioned_etl.definitions import pipelines
from partitioned_etl.defs import resources
from partitioned_etl.defs.customer_prices import CUSTOMER_PRICES_PIPELINE
from partitioned_etl.defs.daily_prices import DAILY_PRICES_PIPELINE
from partitioned_etl.defs.monthly_orders import MONTHLY_ORDERS_PIPELINE
from partitioned_etl.ingest.feed import OnMissing


def removing(shipped: FeedPipeline, import_asset: str, load_asset: str) -> FeedPipeline:
    """Give a shipped pipeline again, for the same feed with the policy to remove."""
    feed = replace(shipped.feed, on_missing=OnMissing.REMOVE)
    partitions_def = shipped.partitions_def
    assets = build_feed_assets(
        feed, import_asset=import_asset, load_asset=load_asset, partitions_def=partitions_def
    )
    job = build_feed_job(feed, assets, load_asset)
    reconciliation = build_reconciliation(
        feed, load_asset=load_asset, partitions_def=partitions_def
    )
    sensor = build_landing_sensor(
        feed, job, partitions_def, reconciliation, name=shipped.sensor.name
    )
    return replace(
        shipped, feed=feed, assets=assets, job=job, sensor=sensor, reconciliation=reconciliation
    )


def define(*changed: FeedPipeline) -> dg.Definitions:
    """Put the shipped pipelines together, with these in the place of those of the same name."""
    by_name = {pipeline.feed.name: pipeline for pipeline in (*pipelines, *changed)}
    return dg.Definitions.merge(
        dg.Definitions(
            resources={"landing": resources.landing, "warehouse": resources.warehouse},
            executor=dg.in_process_executor,
        ),
        *(pipeline.to_definitions() for pipeline in by_name.values()),
    )


CUSTOMERS = removing(
    CUSTOMER_PRICES_PIPELINE, "import_dynamic_partition_file", "duckdb_dynamic_partition_table"
)
DAYS = removing(DAILY_PRICES_PIPELINE, "import_partition_file", "duckdb_partition_table")
MONTHS = removing(MONTHLY_ORDERS_PIPELINE, "import_monthly_file", "stg_orders")

defs = define(CUSTOMERS, DAYS)
