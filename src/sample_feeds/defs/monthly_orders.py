"""Monthly orders: one file per month, `monthly/2018-01.csv`, and the order counts per status."""

from collections import Counter
from collections.abc import Iterator

import dagster as dg

from partitioned_etl import (
    Column,
    Feed,
    FeedEvent,
    LandingResource,
    RowRule,
    WarehouseResource,
    downstream_job,
    downstream_sensor,
    feed_assets,
    feed_job,
    find_warehouse_pool,
    landing_sensor,
)
from sample_feeds.defs.partitions import monthly_partitions

MONTHLY_ORDERS = Feed(
    name="monthly_orders",
    description="Orders, one file a month.",
    folder="monthly",
    pattern="{date:%Y-%m}.csv",
    columns={
        "id": Column(type="BIGINT", description="Number of the order."),
        "user_id": Column(type="BIGINT", description="Who ordered."),
        "order_date": Column(
            type="DATE", description="Day of the order, in the month of the file."
        ),
        "status": Column(
            type="VARCHAR",
            description="How far the order has come, such as `placed` or `returned`.",
        ),
    },
    table="stg_orders",
    row_rules=(
        RowRule(
            name="order_date_is_in_file_month",
            column="order_date",
            expression="strftime(order_date, '%Y-%m-01') = partition_key",
            reason="not in the month of the file's name",
        ),
    ),
)


@feed_assets(
    MONTHLY_ORDERS,
    partitions_def=monthly_partitions,
    import_asset="import_monthly_file",
    owners=["team:data-engineering"],
)
def stg_orders(
    context: dg.AssetExecutionContext, landing: LandingResource, warehouse: WarehouseResource
) -> Iterator[FeedEvent]:
    """Find the file of each month; in one transaction, delete its rows and insert them."""
    files = landing.find(context)
    yield from warehouse.load(context, files)


monthly_orders_job = feed_job(stg_orders)

monthly_orders_schedule = dg.build_schedule_from_partitioned_job(
    monthly_orders_job,
    name="monthly_orders_schedule",
    description="Loads the month's file again on day 28 at 23:30; fails if none has landed.",
    day_of_month=28,
    hour_of_day=23,
    minute_of_hour=30,
)

monthly_orders_sensor = landing_sensor(stg_orders, monthly_orders_job)


@dg.asset(
    deps=["stg_orders"],
    partitions_def=monthly_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=find_warehouse_pool(),
    kinds={"duckdb", "table"},
    group_name=MONTHLY_ORDERS.name,
    tags={"feed": MONTHLY_ORDERS.name},
    owners=["team:data-engineering"],
    metadata={
        "dagster/table_name": "monthly_orders",
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                "partition_date": [dg.TableColumnDep(dg.AssetKey("stg_orders"), "partition_key")],
                "status": [dg.TableColumnDep(dg.AssetKey("stg_orders"), "status")],
                "order_num": [dg.TableColumnDep(dg.AssetKey("stg_orders"), "id")],
            }
        ),
        "dagster/column_schema": dg.TableSchema(
            [
                dg.TableColumn("partition_date", "VARCHAR", description="The month: `2018-01`."),
                dg.TableColumn("status", "VARCHAR", description="Status of the orders."),
                dg.TableColumn("order_num", "BIGINT", description="How many orders have it."),
            ]
        ),
    },
)
def monthly_orders(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> None:
    """Number of orders per month and status, counted again whenever a month's file was loaded."""
    months = {key: key[:7] for key in context.partition_keys}
    counted = Counter[str]()
    with warehouse.open() as opened:
        # The first load makes the table.
        is_loaded = opened.table(MONTHLY_ORDERS).exists()
        with opened.transaction("monthly_orders") as execute:
            execute(
                "CREATE TABLE IF NOT EXISTS monthly_orders "
                "(partition_date VARCHAR, status VARCHAR, order_num BIGINT)",
                [],
            )
            execute(
                "DELETE FROM monthly_orders WHERE partition_date = ANY($1)",
                [list(months.values())],
            )
            if is_loaded:
                execute(
                    "INSERT INTO monthly_orders "
                    "SELECT left(partition_key, 7), status, count(*) FROM stg_orders "
                    "WHERE partition_key = ANY($1) GROUP BY 1, 2 ORDER BY 1, 2",
                    [list(months)],
                )
                inserted = execute(
                    "SELECT partition_date FROM monthly_orders WHERE partition_date = ANY($1)",
                    [list(months.values())],
                )
                counted.update(month for (month,) in inserted)
    for key, month in months.items():
        row_count = dg.MetadataValue.int(counted[month])
        context.add_asset_metadata({"dagster/partition_row_count": row_count}, partition_key=key)


monthly_rollup_job = downstream_job(monthly_orders, name="monthly_rollup_job", feed=stg_orders)
monthly_rollup_sensor = downstream_sensor(
    monthly_orders, monthly_rollup_job, name="monthly_rollup_sensor", feed=stg_orders
)
