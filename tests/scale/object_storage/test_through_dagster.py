"""Files that land in a bucket, through Dagster and the command line, by the settings alone."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from partitioned_etl.components.ranges import range_tags
from partitioned_etl.components.resources import LandingResource, WarehouseResource
from support.bucket_bench import BucketBench
from support.define import define_feed
from support.s3_server import WRITER
from support.sample_location import CUSTOMERS, DAILY_PRICES
from support.samples import price_rows
from support.workbench import Workbench, change_feed

CUSTOMER_PRICES = CUSTOMERS.feed


@pytest.fixture
def bucket_resources(
    bucket: BucketBench, database: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The shipped resources, which take bucket and database from the settings."""
    monkeypatch.setenv("LANDING_DIR", bucket.url)
    landing = LandingResource()
    return {"landing": landing, "warehouse": WarehouseResource(landing=landing)}


def materialize(
    instance: dg.DagsterInstance, resources: dict[str, Any], keys: list[str]
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [CUSTOMERS.definition],
        instance=instance,
        tags=range_tags(keys),
        resources=resources,
        raise_on_error=False,
    )


def test_a_run_loads_objects_and_shows_where_they_are(
    bucket: BucketBench, bucket_resources: dict[str, Any], instance: dg.DagsterInstance, query: Any
) -> None:
    instance.add_dynamic_partitions("customers", ["a", "b"])
    bucket.put(CUSTOMER_PRICES, "a.csv", price_rows(1, 2))
    bucket.put(CUSTOMER_PRICES, "b.csv", price_rows(1, -1))
    result = materialize(instance, bucket_resources, ["a", "b"])
    assert not result.success
    imported = {
        str(event.materialization.partition): event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key == CUSTOMERS.assets.import_key
    }
    assert imported["a"]["dagster/uri"].value == f"{bucket.url}/customers/a.csv"
    assert "path" not in imported["a"]
    table = CUSTOMER_PRICES.table
    assert query(f"SELECT partition_key, count(*) FROM {table} GROUP BY ALL") == [("a", 2)]
    ((error,),) = query("SELECT error FROM file_loads WHERE status = 'refused'")
    assert "b.csv" in error
    assert bucket.staged() == []


def test_a_run_of_the_import_alone_reads_objects(
    bucket: BucketBench, bucket_resources: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions("customers", ["a"])
    bucket.put(CUSTOMER_PRICES, "a.csv", price_rows(1, 2))
    result = dg.materialize(
        [CUSTOMERS.definition],
        selection=[CUSTOMERS.assets.import_key],
        instance=instance,
        partition_key="a",
        resources=bucket_resources,
    )
    assert result.success
    assert bucket.staged() == []


def test_a_tick_asks_for_what_has_landed_and_says_what_fails(
    bucket: BucketBench,
    bucket_resources: dict[str, Any],
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket.put(CUSTOMER_PRICES, "a.csv", price_rows(1, 2))

    def tick() -> Any:
        with dg.build_sensor_context(instance=instance, resources=bucket_resources) as context:
            return CUSTOMERS.sensor(context)

    result = tick()
    assert len(result.run_requests) == 1
    [added] = result.dynamic_partitions_requests
    assert added.partition_keys == ["a"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    told = tick()
    assert "the store denies access (403 SignatureDoesNotMatch)" in str(told.skip_message)
    assert WRITER[1] not in str(told.skip_message)


def test_feeds_of_one_location_land_in_different_places(
    bucket: BucketBench,
    bench: Workbench,
    landing_dir: Path,
    database: Path,
    instance: dg.DagsterInstance,
    query: Any,
) -> None:
    far = define_feed(
        change_feed(DAILY_PRICES, name="far", table="far", landing=bucket.url, start="2018-01-21")
    )
    near = define_feed(change_feed(DAILY_PRICES, name="near", table="near", start="2018-01-21"))
    bucket.put(far.feed, "2018-01-22.csv", price_rows(1, 2, 3))
    (landing_dir / "daily" / "2018-01-22.csv").write_text(price_rows(1))
    landing = LandingResource()
    for one in (far, near):
        result = dg.materialize(
            [one.definition],
            instance=instance,
            partition_key="2018-01-22",
            resources={"landing": landing, "warehouse": WarehouseResource(landing=landing)},
        )
        assert result.success
    assert query("SELECT count(*) FROM far") == [(3,)]
    assert query("SELECT count(*) FROM near") == [(1,)]


def call(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "partitioned_etl", *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | variables,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )


def test_the_command_line_works_on_a_bucket(
    bucket: BucketBench, database: Path, dagster_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (dagster_home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    for name, value in {
        "LANDING_DIR": bucket.url,
        "DUCKDB_DATABASE": str(database),
        "DAGSTER_HOME": str(dagster_home),
        "DEFINITIONS_MODULE": "support.sample_location",
    }.items():
        monkeypatch.setenv(name, value)
    nothing = call("plan").stdout
    assert f"{bucket.url}/customers/" in nothing
    assert "no object lies there" in nothing
    bucket.put(CUSTOMER_PRICES, "acme.csv", price_rows(1, 2))
    bucket.put(CUSTOMER_PRICES, "README.md", "what is this")
    planned = call("plan", "--json")
    files = json.loads(planned.stdout)["files"]
    assert [file["file"] for file in files if file["next"] == "load"] == ["acme.csv"]
    synced = call("sync")
    assert synced.returncode == 0, synced.stderr
    assert "Loaded 1 file(s)" in synced.stdout
    assert "README.md" in synced.stderr
    again = call("sync")
    assert "Nothing to load" in again.stdout
    assert call("status").returncode == 0
    assert call("migrate", CUSTOMER_PRICES.name).returncode == 0
    wrong = call("status", AWS_SECRET_ACCESS_KEY="wrong")
    assert wrong.returncode == 2
    assert "the store denies access (403 SignatureDoesNotMatch)" in wrong.stderr
    assert bucket.staged() == []
