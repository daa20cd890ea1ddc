"""The job by which a person removes what a table holds, as it is launched in the web UI."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from partitioned_etl.components.forget import FORGET_JOB
from partitioned_etl.components.ranges import request_run
from partitioned_etl.engine.reconcile import DifferenceKind
from partitioned_etl.engine.sync import sync_feed
from support import sample_location
from support.define import define_feed, define_location
from support.location import Location
from support.samples import price_rows
from support.workbench import NOTES, change_feed

Query = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def customers(landing_dir: Path, database: Path, instance: dg.DagsterInstance) -> Location:
    """Two customers, both loaded; the file of the second is gone."""
    folder = landing_dir / "customers"
    for name in ("acme", "globex"):
        (folder / f"{name}.csv").write_text(price_rows(1), encoding="utf-8")
    location = Location(sample_location.defs, sample_location.CUSTOMERS, instance)
    location.settle()
    (folder / "globex.csv").unlink()
    return location


def launch(location: Location, **config: Any) -> dg.ExecuteInProcessResult:
    named = {"feed": location.assets.feed.name, **config}
    run_config = {"ops": {"forget": {"config": named}}}
    return location.execute(dg.RunRequest(job_name=FORGET_JOB, run_config=run_config))


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [event] = [one for one in result.all_node_events if one.is_step_success]
    [output] = [one for one in result.all_node_events if one.is_successful_output]
    assert event.step_key == "forget"
    return {name: one.value for name, one in output.step_output_data.metadata.items()}


def test_partitions_are_forgotten_and_a_name_without_a_file_is_unregistered(
    customers: Location, query: Query
) -> None:
    result = launch(customers, partitions=["acme", "globex"])
    assert result.success
    found = metadata(result)
    assert (found["files"], found["rows"], found["dropped"]) == (2, 2, "no table")
    assert [file["partition_key"] for file in found["forgotten"]] == ["acme", "globex"]
    assert query("SELECT count(*) FROM raw_customer_prices") == [(0,)]
    assert customers.instance.get_dynamic_partitions("customers") == ["acme"]
    # Both were told of: that they have no rows any more.
    assert customers.row_counts() == {"acme": [1, 0], "globex": [1, 0]}
    assert customers.settle() == [["acme"]]
    assert query("SELECT partition_key FROM raw_customer_prices") == [("acme",)]


def test_a_feed_is_dropped_and_its_names_are_unregistered(
    customers: Location, query: Query
) -> None:
    found = metadata(launch(customers, drop=True))
    assert (found["files"], found["rows"], found["dropped"]) == (2, 2, "table raw_customer_prices")
    assert query("SELECT count(*) FROM file_loads") == [(0,)]
    assert customers.instance.get_dynamic_partitions("customers") == ["acme"]
    assert customers.settle() == [["acme"]]


def test_a_configuration_that_says_no_single_thing_removes_nothing(
    customers: Location, query: Query
) -> None:
    for config in (
        {},
        {"stale": True, "drop": True},
        {"feed": "nobody", "stale": True},
        {"drop": True, "table": "stg_orders"},
        {"feed": "nobody", "drop": True, "table": "stg_orders"},
    ):
        assert not launch(customers, **config).success, config
    assert query("SELECT count(*) FROM raw_customer_prices") == [(2,)]


def test_a_backfill_and_the_night_keep_what_is_stale_until_it_is_forgotten(
    landing_dir: Path, database: Path, instance: dg.DagsterInstance, query: Query
) -> None:
    """The feed became monthly, and begins a month later: its policy would remove what is gone."""
    days = change_feed(NOTES, folder="daily", pattern="{date:%Y-%m-%d}.csv")
    for day in ("2023-12-01", "2024-01-01", "2024-01-02"):
        path = landing_dir / "daily" / f"{day}.csv"
        path.write_text("id,note\n1,x\n", encoding="utf-8")
    sync_feed(days, landing_dir, database, settle_seconds=0)
    for path in (landing_dir / "daily").iterdir():
        path.unlink()
    for month in ("2024-01", "2024-02"):
        (landing_dir / "daily" / f"{month}.csv").write_text("id,note\n1,x\n", encoding="utf-8")
    months = define_feed(
        change_feed(days, pattern="{date:%Y-%m}.csv", start="2024-01-01", on_missing="remove")
    )
    location = Location(define_location(months), months, instance)
    request = request_run(["2024-01-01", "2024-02-01"])
    assert location.execute(request.with_replaced_attrs(job_name="notes_job")).success
    assert location.reconcile(allow_most=True).success
    assert location.settle() == []
    held = "SELECT source_file FROM raw_notes ORDER BY 1"
    stale = ["2023-12-01.csv", "2024-01-02.csv"]
    loaded = ["2024-01.csv", "2024-02.csv"]
    assert [name for (name,) in query(held)] == sorted([*stale, *loaded])
    passed, [named] = location.check()
    assert not passed
    assert named.startswith(
        f"{DifferenceKind.STALE} (2 file(s), {', '.join(stale)}; their rows are"
    )
    assert metadata(launch(location, stale=True))["files"] == 2
    assert [name for (name,) in query(held)] == loaded
    assert location.check() == (True, [])
