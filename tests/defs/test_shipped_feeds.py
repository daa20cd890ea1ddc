"""The feeds that ship, through `materialize()`, on temporary databases."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from partitioned_etl.components.ranges import range_tags
from sample_feeds.defs.customer_prices import customer_prices
from sample_feeds.defs.daily_prices import daily_prices
from sample_feeds.defs.monthly_orders import monthly_orders, stg_orders
from support.samples import order_rows, price_rows

Query = Callable[..., list[tuple[Any, ...]]]


def test_a_daily_key_loads_its_file_once(
    landing_dir: Path, resources: dict[str, object], query: Query, instance: dg.DagsterInstance
) -> None:
    (landing_dir / "daily" / "2018-01-22.csv").write_text(price_rows(1.5, 2.5))
    for _ in range(3):
        result = dg.materialize(
            [daily_prices], instance=instance, partition_key="2018-01-22", resources=resources
        )
        assert result.success
    assert query("SELECT share_price, partition_key, source_file FROM raw_partition_data") == [
        (1.5, "2018-01-22", "2018-01-22.csv"),
        (2.5, "2018-01-22", "2018-01-22.csv"),
    ]


def test_a_daily_file_may_hold_any_dates(
    landing_dir: Path, resources: dict[str, object], query: Query, instance: dg.DagsterInstance
) -> None:
    text = price_rows(1).replace("2018-01-01", "1999/12/31")
    (landing_dir / "daily" / "2018-01-22.csv").write_text(text)
    for _ in range(2):
        dg.materialize(
            [daily_prices], instance=instance, partition_key="2018-01-22", resources=resources
        )
    assert query("SELECT date::VARCHAR, partition_key FROM raw_partition_data") == [
        ("1999-12-31", "2018-01-22")
    ]


def test_a_dynamic_key_replaces_only_its_own_partition(
    landing_dir: Path, resources: dict[str, object], query: Query, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions("customers", ["acme", "globex"])
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(1, 2))
    (landing_dir / "customers" / "globex.csv").write_text(price_rows(3))
    dg.materialize(
        [customer_prices],
        instance=instance,
        tags=range_tags(["acme", "globex"]),
        resources=resources,
    )
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(9))
    dg.materialize([customer_prices], instance=instance, partition_key="acme", resources=resources)
    assert query(
        "SELECT partition_key, share_price FROM raw_dynamic_partition_data ORDER BY ALL"
    ) == [("acme", 9.0), ("globex", 3.0)]


def test_a_month_is_rolled_up_by_status(
    landing_dir: Path, resources: dict[str, object], query: Query, instance: dg.DagsterInstance
) -> None:
    monthly = landing_dir / "monthly"
    (monthly / "2018-01.csv").write_text(order_rows("2018-01", "placed", "placed", "returned"))
    (monthly / "2018-02.csv").write_text(order_rows("2018-02", "shipped"))
    for _ in range(2):
        result = dg.materialize(
            [stg_orders, monthly_orders],
            instance=instance,
            tags=range_tags(["2018-01-01", "2018-02-01"]),
            resources=resources,
        )
        assert result.success
    assert query("SELECT * FROM monthly_orders ORDER BY ALL") == [
        ("2018-01", "placed", 2),
        ("2018-01", "returned", 1),
        ("2018-02", "shipped", 1),
    ]


def test_months_are_counted_as_none_before_the_first_load_and_by_themselves_after_it(
    landing_dir: Path, resources: dict[str, object], query: Query, instance: dg.DagsterInstance
) -> None:
    months = ["2018-01-01", "2018-02-01"]

    def count(*keys: str) -> dict[str | None, object]:
        result = dg.materialize(
            [monthly_orders],
            instance=instance,
            partition_key=None if keys[1:] else keys[0],
            tags=range_tags(keys),
            resources=resources,
        )
        events = result.asset_materializations_for_node("monthly_orders")
        return {
            event.partition: event.metadata["dagster/partition_row_count"].value for event in events
        }

    assert count(*months) == dict.fromkeys(months, 0)
    assert query("SELECT * FROM monthly_orders") == []
    for month in ("2018-01", "2018-02"):
        (landing_dir / "monthly" / f"{month}.csv").write_text(order_rows(month, "placed", "back"))
    dg.materialize([stg_orders], instance=instance, tags=range_tags(months), resources=resources)
    assert count(months[1]) == {months[1]: 2}
    assert count(*months) == dict.fromkeys(months, 2)
    assert len(query("SELECT * FROM monthly_orders")) == 4


def test_an_order_of_another_month_refuses_the_file(
    landing_dir: Path, resources: dict[str, object], query: Query, instance: dg.DagsterInstance
) -> None:
    (landing_dir / "monthly" / "2018-01.csv").write_text(order_rows("2018-02", "placed"))
    result = dg.materialize(
        [stg_orders],
        instance=instance,
        partition_key="2018-01-01",
        resources=resources,
        raise_on_error=False,
    )
    assert not result.success
    assert query("SELECT count(*) FROM stg_orders") == [(0,)]
    [(error,)] = query("SELECT error FROM file_loads")
    assert "line 2, column order_date" in error
    assert "order_date_is_in_file_month" in error


@pytest.mark.parametrize(
    ("asset_key", "partition"),
    [("import_partition_file", "2018-01-22"), ("duckdb_partition_table", "2018-01-22")],
)
def test_a_key_without_a_file_fails_and_says_where_it_looked(
    asset_key: str,
    partition: str,
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
) -> None:
    with pytest.raises(dg.Failure) as failure:
        dg.materialize(
            [daily_prices],
            selection=[asset_key],
            instance=instance,
            partition_key=partition,
            resources=resources,
        )
    for part in ("daily_prices", partition, str(landing_dir / "daily"), "{date:%Y-%m-%d}.csv"):
        assert part in str(failure.value)
