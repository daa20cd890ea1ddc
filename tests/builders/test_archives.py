"""The third asset of the customers: a Parquet copy of each partition."""

from pathlib import Path

import dagster as dg
import duckdb
import pytest

from conftest import price_rows
from partitioned_etl.builders.ranges import range_tags
from partitioned_etl.definitions import defs
from partitioned_etl.defs.customer_prices import CUSTOMER_PRICES_PIPELINE

ASSETS = [CUSTOMER_PRICES_PIPELINE.assets, *CUSTOMER_PRICES_PIPELINE.rollups]
ARCHIVED = dg.AssetKey("archived_file")


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the copies of the customers lie."""
    monkeypatch.setenv("ARCHIVE_DIR", str(tmp_path / "archive"))
    return tmp_path / "archive" / "customers"


def read_prices(path: Path) -> list[float]:
    """Read the share prices of a copy."""
    rows = duckdb.read_parquet(str(path)).project("share_price").order("ALL")
    return [price for (price,) in rows.fetchall()]


def test_a_load_is_copied_and_a_correction_is_copied_again(
    landing_dir: Path, resources: dict[str, object], instance: dg.DagsterInstance, archive: Path
) -> None:
    instance.add_dynamic_partitions("customers", ["acme", "globex"])
    for prices in ([1.0, 2.0], [3.0]):
        (landing_dir / "customers" / "acme.csv").write_text(price_rows(*prices))
        (landing_dir / "customers" / "globex.csv").write_text(price_rows(9))
        result = dg.materialize(
            ASSETS, instance=instance, tags=range_tags(["acme", "globex"]), resources=resources
        )
        assert read_prices(archive / "acme.parquet") == prices
        events = result.asset_materializations_for_node("archived_file")
        told = {event.partition: event.metadata for event in events}
        assert told["acme"]["dagster/partition_row_count"].value == len(prices)
        assert told["acme"]["path"].value == str(archive / "acme.parquet")
    assert {path.name for path in archive.iterdir()} == {"acme.parquet", "globex.parquet"}


def test_a_key_that_was_never_loaded_fails_alone_and_writes_nothing(
    landing_dir: Path, resources: dict[str, object], instance: dg.DagsterInstance, archive: Path
) -> None:
    hostile = "../../evil"
    instance.add_dynamic_partitions("customers", ["acme", hostile])
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(1))
    dg.materialize(ASSETS[:1], instance=instance, partition_key="acme", resources=resources)
    result = dg.materialize(
        ASSETS,
        selection=[ARCHIVED],
        instance=instance,
        tags=range_tags(["acme", hostile]),
        resources=resources,
        raise_on_error=False,
    )
    assert not result.success
    assert instance.get_materialized_partitions(ARCHIVED) == {"acme"}
    assert list(archive.parent.rglob("*.parquet")) == [archive / "acme.parquet"]
    assert not list(archive.parent.parent.glob("evil*"))


def test_the_sensor_asks_for_the_copy_of_what_was_loaded_again(
    landing_dir: Path, resources: dict[str, object], instance: dg.DagsterInstance, archive: Path
) -> None:
    keys = ["acme", "globex", "initech"]
    instance.add_dynamic_partitions("customers", keys)
    for key in keys:
        (landing_dir / "customers" / f"{key}.csv").write_text(price_rows(1))
    dg.materialize(ASSETS, instance=instance, tags=range_tags(keys), resources=resources)
    first = dg.evaluate_automation_conditions(defs, instance=instance)
    dg.materialize(ASSETS[:1], instance=instance, partition_key="globex", resources=resources)
    second = dg.evaluate_automation_conditions(defs, instance=instance, cursor=first.cursor)
    assert second.get_requested_partitions(ARCHIVED) == {"globex"}
