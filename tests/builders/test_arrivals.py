"""The calendar of arrivals: one asset over all feeds."""

from pathlib import Path

import dagster as dg
import pytest

from conftest import order_rows, price_rows
from partitioned_etl.definitions import defs
from partitioned_etl.defs.customer_prices import CUSTOMER_PRICES_PIPELINE
from partitioned_etl.defs.monthly_orders import MONTHLY_ORDERS_PIPELINE

ARRIVALS = dg.AssetKey("arrivals")


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the pages."""
    folder = tmp_path / "reports"
    monkeypatch.setenv("REPORTS_DIR", str(folder))
    return folder


def test_the_asset_shows_what_came_of_every_feed(
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    reports: Path,
) -> None:
    instance.add_dynamic_partitions("customers", ["acme", "globex"])
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(1))
    (landing_dir / "customers" / "globex.csv").write_text(price_rows(-1))
    (landing_dir / "monthly" / "2018-01.csv").write_text(order_rows("2018-01", "placed"))
    for assets, key in (
        (CUSTOMER_PRICES_PIPELINE.assets, "acme"),
        (CUSTOMER_PRICES_PIPELINE.assets, "globex"),
        (MONTHLY_ORDERS_PIPELINE.assets, "2018-01-01"),
    ):
        dg.materialize(
            [assets],
            instance=instance,
            partition_key=key,
            resources=resources,
            raise_on_error=False,
        )
    result = dg.materialize([defs.get_assets_def(ARRIVALS)], instance=instance, resources=resources)

    metadata = result.asset_materializations_for_node("arrivals")[0].metadata
    counts = {name: metadata[f"{name}_files"].value for name in ("loaded", "refused")}
    assert counts == {"loaded": 2, "refused": 1}
    assert str(metadata["calendar"].value).startswith("![Calendar of arrivals](data:image/png;")
    page = (reports / "arrivals.html").read_text(encoding="utf-8")
    assert "<td>globex</td><td>refused</td><td>globex.csv: line 2, column share_price" in page
    assert [path.name for path in reports.iterdir()] == ["arrivals.html"]


def test_the_asset_depends_on_every_load_asset_and_has_no_partitions() -> None:
    node = defs.resolve_asset_graph().get(ARRIVALS)
    assert node.partitions_def is None
    assert {key.to_user_string() for key in node.parent_keys} == {
        "duckdb_partition_table",
        "duckdb_dynamic_partition_table",
        "stg_orders",
        "supplier_stock",
    }
