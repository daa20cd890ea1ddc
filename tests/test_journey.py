"""One file through every step, in the order of the README's table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from conftest import order_rows
from location import tick_refresh
from partitioned_etl.definitions import defs
from partitioned_etl.defs.monthly_orders import (
    MONTHLY_ORDERS,
    MONTHLY_ORDERS_PIPELINE,
    monthly_rollup,
)
from partitioned_etl.ingest.contract import survey_file
from partitioned_etl.ingest.landing import list_landed_files
from partitioned_etl.ingest.reconcile import Action, reconcile


def test_one_file_goes_the_whole_way(
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    query: Callable[..., list[tuple[Any, ...]]],
) -> None:
    landed = landing_dir / "monthly" / "2018-02.csv"
    landed.write_text(order_rows("2018-02", "placed", "returned", "placed"))

    listing = list_landed_files(MONTHLY_ORDERS, landing_dir)
    file = listing.files["2018-02-01"]
    assert file.path == landed
    assert reconcile(listing, {}).keys(Action.NEW) == ["2018-02-01"]
    survey = survey_file(MONTHLY_ORDERS, file)
    assert (survey.row_count, survey.problems) == (3, [])

    def tick(cursor: str | None) -> dg.SensorResult:
        with dg.build_sensor_context(
            instance=instance, cursor=cursor, resources=resources
        ) as context:
            result = MONTHLY_ORDERS_PIPELINE.sensor(context)
        assert isinstance(result, dg.SensorResult)
        return result

    asked = tick(None)
    assert asked.run_requests
    [request] = asked.run_requests
    assert request.partition_key == "2018-02-01"

    loaded = defs.resolve_job_def("monthly_orders_job").execute_in_process(
        instance=instance, partition_key=request.partition_key, tags=request.tags
    )
    assert loaded.success
    assert all(check.passed for check in loaded.get_asset_check_evaluations())
    assert query("SELECT id, status, partition_key, source_file FROM stg_orders ORDER BY id") == [
        (1, "placed", "2018-02-01", "2018-02.csv"),
        (2, "returned", "2018-02-01", "2018-02.csv"),
        (3, "placed", "2018-02-01", "2018-02.csv"),
    ]
    assert query("SELECT partition_key, status, row_count, sha256, run_id FROM file_loads") == [
        ("2018-02-01", "loaded", 3, survey.sha256, loaded.run_id)
    ]

    refreshed, _ = tick_refresh(MONTHLY_ORDERS_PIPELINE, instance)
    assert refreshed == [["2018-02-01"]]
    assert monthly_rollup.sensor.default_status is dg.DefaultSensorStatus.RUNNING
    defs.resolve_job_def("monthly_rollup_job").execute_in_process(
        instance=instance, partition_key="2018-02-01"
    )
    assert query("SELECT * FROM monthly_orders ORDER BY ALL") == [
        ("2018-02", "placed", 2),
        ("2018-02", "returned", 1),
    ]

    rested = tick(asked.cursor)
    assert not rested.run_requests
