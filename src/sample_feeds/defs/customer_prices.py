"""Customer prices: one file per customer, `customers/acme.csv`, any name at any time."""

from collections.abc import Iterator

import dagster as dg

from partitioned_etl import (
    Feed,
    FeedEvent,
    LandingResource,
    WarehouseResource,
    archive_asset,
    downstream_job,
    downstream_sensor,
    feed_assets,
    feed_job,
    landing_sensor,
)
from sample_feeds.defs.daily_prices import PRICE_COLUMNS, SHARE_PRICE_IS_POSITIVE
from sample_feeds.defs.partitions import customer_partitions

CUSTOMER_PRICES = Feed(
    name="customer_prices",
    description="Share prices, one file a customer.",
    folder="customers",
    pattern="{key}.csv",
    columns=PRICE_COLUMNS,
    table="raw_dynamic_partition_data",
    row_rules=(SHARE_PRICE_IS_POSITIVE,),
)


@feed_assets(
    CUSTOMER_PRICES,
    partitions_def=customer_partitions,
    import_asset="import_dynamic_partition_file",
    load_asset="duckdb_dynamic_partition_table",
    owners=["team:data-engineering"],
)
def customer_prices(
    context: dg.AssetExecutionContext, landing: LandingResource, warehouse: WarehouseResource
) -> Iterator[FeedEvent]:
    """Find the file of each customer; in one transaction, delete its rows and insert them."""
    files = landing.find(context)
    yield from warehouse.load(context, files)


customer_prices_job = feed_job(customer_prices)
customer_prices_sensor = landing_sensor(customer_prices, customer_prices_job)

archived_file = archive_asset(
    customer_prices, name="archived_file", folder="customers", owners=["team:data-engineering"]
)
customer_prices_archive_job = downstream_job(
    archived_file, name="customer_prices_archive_job", feed=customer_prices
)
customer_prices_archive_sensor = downstream_sensor(
    archived_file,
    customer_prices_archive_job,
    name="customer_prices_archive_sensor",
    feed=customer_prices,
)
