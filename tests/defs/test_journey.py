"""One file through every step, in the order of the page on the architecture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.plan import Action, compare
from partitioned_etl.engine.warehouse.ledger import Ledger
from sample_feeds.definitions import defs
from sample_feeds.defs.monthly_orders import MONTHLY_ORDERS, stg_orders
from support.define import DefinedFeed
from support.location import tick_downstream
from support.samples import order_rows


def test_one_file_goes_the_whole_way(
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    query: Callable[..., list[tuple[Any, ...]]],
) -> None:
    landed = landing_dir / "monthly" / "2018-02.csv"
    landed.write_text(order_rows("2018-02", "placed", "returned", "placed"))

    listing = LocalLanding(landing_dir, settle_seconds=0).list_files(MONTHLY_ORDERS)
    [file] = listing.by_key["2018-02-01"]
    assert file.path == landed
    assert compare(MONTHLY_ORDERS, listing, Ledger()).keys(Action.NEW) == ["2018-02-01"]
    survey = MONTHLY_ORDERS.format.survey(MONTHLY_ORDERS, file)
    assert (survey.row_count, survey.problems) == (3, [])

    sensor = defs.resolve_sensor_def("monthly_orders_sensor")
    job = defs.resolve_job_def("monthly_orders_job")

    def tick(cursor: str | None) -> dg.SensorResult:
        with dg.build_sensor_context(
            instance=instance, cursor=cursor, resources=resources
        ) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        return result

    asked = tick(None)
    assert asked.run_requests
    [request] = asked.run_requests
    assert request.partition_key == "2018-02-01"

    loaded = job.execute_in_process(
        instance=instance, partition_key=request.partition_key, tags=request.tags
    )
    assert loaded.success
    assert all(check.passed for check in loaded.get_asset_check_evaluations())
    assert query("SELECT id, status, partition_key, source_file FROM stg_orders ORDER BY id") == [
        (1, "placed", "2018-02-01", "2018-02.csv"),
        (2, "returned", "2018-02-01", "2018-02.csv"),
        (3, "placed", "2018-02-01", "2018-02.csv"),
    ]
    ledger = "SELECT partition_key, source_file, status, row_count, content_hash, run_id FROM "
    assert query(f"{ledger} file_loads") == [
        ("2018-02-01", "2018-02.csv", "loaded", 3, survey.content_hash, loaded.run_id)
    ]

    downstream = defs.resolve_sensor_def("monthly_rollup_sensor")
    orders = DefinedFeed(stg_orders, job, sensor, dg.Definitions())
    refreshed, _ = tick_downstream(downstream, orders, instance)
    assert refreshed == [["2018-02-01"]]
    defs.resolve_job_def("monthly_rollup_job").execute_in_process(
        instance=instance, partition_key="2018-02-01"
    )
    assert query("SELECT * FROM monthly_orders ORDER BY ALL") == [
        ("2018-02", "placed", 2),
        ("2018-02", "returned", 1),
    ]

    rested = tick(asked.cursor)
    assert not rested.run_requests
