"""A feed in YAML is the feed in Python: the same objects, and the same rows."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pytest

from partitioned_etl.components import FileFeed
from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.components.location import DEFAULT_RESOURCES
from partitioned_etl.engine.feed import Feed
from sample_feeds.defs import customer_prices, daily_prices, monthly_orders
from support.samples import price_rows

DECLARATION = "partitioned_etl/feed"
Query = Callable[..., list[tuple[Any, ...]]]

PRICES = """
columns:
  date: {type: DATE, description: "Day of the quotation; it need not be the day of the file."}
  share_price: {type: DOUBLE, description: "Price of one share; more than 0."}
  amount: {type: DOUBLE, description: "Number of shares that changed hands."}
  spend: {type: DOUBLE, description: "What was paid for them, in thousands."}
  shift: {type: DOUBLE, description: "Change of the price since the quotation before."}
  spread: {type: DOUBLE, description: "Difference between the prices asked and offered."}
row_rules:
  - name: share_price_is_positive
    column: share_price
    expression: share_price > 0
    reason: not greater than 0
owners: ["team:data-engineering"]
"""
DAILY = f"""
name: daily_prices
description: Share prices, one file a day.
folder: daily
pattern: "{{date:%Y-%m-%d}}.csv"
table: raw_partition_data
start: 2018-01-21
end: 2018-01-24
due_after_hours: 7
import_asset: import_partition_file
load_asset: duckdb_partition_table
{PRICES}"""
CUSTOMERS = f"""
name: customer_prices
description: Share prices, one file a customer.
folder: customers
pattern: "{{key}}.csv"
table: raw_dynamic_partition_data
dynamic_name: customers
import_asset: import_dynamic_partition_file
load_asset: duckdb_dynamic_partition_table
{PRICES}"""
MONTHLY = """
name: monthly_orders
description: Orders, one file a month.
folder: monthly
pattern: "{date:%Y-%m}.csv"
columns:
  id: {type: BIGINT, description: Number of the order.}
  user_id: {type: BIGINT, description: Who ordered.}
  order_date: {type: DATE, description: "Day of the order, in the month of the file."}
  status:
    type: VARCHAR
    description: How far the order has come, such as `placed` or `returned`.
table: stg_orders
start: 2018-01-01
end: 2018-04-01
row_rules:
  - name: order_date_is_in_file_month
    column: order_date
    expression: strftime(order_date, '%Y-%m-01') = partition_key
    reason: not in the month of the file's name
import_asset: import_monthly_file
owners: ["team:data-engineering"]
"""


def build(text: str) -> dg.Definitions:
    """Give the definitions of a feed in YAML."""
    return FileFeed.resolve_from_yaml(text).build_defs(dg.ComponentTree.for_test().load_context)


def collect(module: ModuleType, assets: str, *others: str) -> dg.Definitions:
    """Give what a module defines of a feed alone."""
    own = [getattr(module, name) for name in others]
    return dg.Definitions(
        assets=[getattr(module, assets)],
        jobs=[one for one in own if type(one).__name__.endswith("JobDefinition")],
        sensors=[one for one in own if isinstance(one, dg.SensorDefinition)],
        schedules=[one for one in own if type(one).__name__.endswith("ScheduleDefinition")],
    )


def without_declaration(spec: dg.AssetSpec) -> dg.AssetSpec:
    """Give a spec without the declaration's text, which names only what was written."""
    metadata = {name: value for name, value in spec.metadata.items() if name != DECLARATION}
    return spec.replace_attributes(metadata=metadata)


def describe(definitions: dg.Definitions) -> dict[str, object]:
    """Give all that Dagster is told of a feed, in values that can be compared."""
    [definition] = list(definitions.assets or ())
    assert isinstance(definition, dg.AssetsDefinition)
    assets = FeedAssets.of(definition)
    whole = dg.Definitions.merge(definitions, dg.Definitions(resources=DEFAULT_RESOURCES))
    graph = whole.resolve_asset_graph()
    jobs = [whole.resolve_job_def(job.name) for job in definitions.jobs or ()]
    schedules = [whole.resolve_schedule_def(one.name) for one in definitions.schedules or ()]
    return {
        # In Python the partitions are given, from which the window follows.
        "feed": assets.feed.model_dump(include={*Feed.model_fields} - {"start", "end"}),
        "partitions": assets.partitions.definition,
        "specs": {spec.key: without_declaration(spec) for spec in definition.specs},
        "checks": {key: graph.get_check_spec(key) for key in graph.asset_check_keys},
        "step": (definition.op.pool, definition.can_subset, definition.backfill_policy),
        "jobs": [
            (job.name, job.description, job.tags, job.asset_layer.selected_asset_keys)
            for job in jobs
        ],
        "sensors": [
            (
                *(sensor.name, sensor.description, sensor.default_status),
                *(sensor.minimum_interval_seconds, [target.job_name for target in sensor.targets]),
            )
            for sensor in definitions.sensors or ()
        ],
        "schedules": [
            (one.name, one.description, one.cron_schedule, one.execution_timezone, one.job_name)
            for one in schedules
        ],
    }


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (
            DAILY,
            collect(
                daily_prices,
                "daily_prices",
                "daily_prices_job",
                "daily_prices_sensor",
                "daily_prices_schedule",
            ),
        ),
        (
            CUSTOMERS,
            collect(
                customer_prices,
                "customer_prices",
                "customer_prices_job",
                "customer_prices_sensor",
            ),
        ),
        (
            MONTHLY,
            collect(
                monthly_orders,
                "stg_orders",
                "monthly_orders_job",
                "monthly_orders_sensor",
                "monthly_orders_schedule",
            ),
        ),
    ],
    ids=["daily", "dynamic", "monthly"],
)
def test_a_feed_in_yaml_is_the_feed_in_python(text: str, written: dg.Definitions) -> None:
    assert describe(build(text)) == describe(written)


def test_both_load_the_same_rows(
    landing_dir: Path, resources: dict[str, object], query: Query
) -> None:
    (landing_dir / "daily" / "2018-01-22.csv").write_text(price_rows(1.5, 2.5))
    tables = []
    for definitions in (build(DAILY), dg.Definitions(assets=[daily_prices.daily_prices])):
        [definition] = list(definitions.assets or ())
        assert isinstance(definition, dg.AssetsDefinition)
        result = dg.materialize([definition], partition_key="2018-01-22", resources=resources)
        assert result.success
        tables.append(query("FROM raw_partition_data"))
        assert query("SELECT count(*) FROM file_loads") == [(1,)]
        query("DROP TABLE raw_partition_data")
        query("DROP TABLE file_loads")
    assert len(tables[0]) == 2
    assert tables[0] == tables[1]
