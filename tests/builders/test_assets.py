"""One Dagster step per feed: what it materializes, reports and fails."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from conftest import price_rows
from partitioned_etl.builders.ranges import range_tags
from partitioned_etl.definitions import defs
from partitioned_etl.defs.customer_prices import CUSTOMER_PRICES_PIPELINE
from partitioned_etl.defs.daily_prices import DAILY_PRICES_PIPELINE

customer_assets = CUSTOMER_PRICES_PIPELINE.assets
daily_assets = DAILY_PRICES_PIPELINE.assets
Query = Callable[..., list[tuple[Any, ...]]]
IMPORT = dg.AssetKey("import_dynamic_partition_file")
LOAD = dg.AssetKey("duckdb_dynamic_partition_table")
KEYS = ["a", "b", "c", "d"]


@pytest.fixture
def customers(landing_dir: Path, instance: dg.DagsterInstance) -> Path:
    """The customers folder with one file per key, all of them registered."""
    instance.add_dynamic_partitions("customers", KEYS)
    folder = landing_dir / "customers"
    for number, key in enumerate(KEYS, 1):
        (folder / f"{key}.csv").write_text(price_rows(*range(1, number + 1)))
    return folder


def load_all(
    instance: dg.DagsterInstance, resources: dict[str, object], **options: Any
) -> dg.ExecuteInProcessResult:
    """Run the step for all keys as one range."""
    return dg.materialize(
        [customer_assets],
        instance=instance,
        tags=range_tags(KEYS),
        resources=resources,
        raise_on_error=False,
        **options,
    )


def materializations(
    result: dg.ExecuteInProcessResult, key: dg.AssetKey
) -> dict[str, dg.AssetMaterialization]:
    """Give the materializations of an asset by partition."""
    events = (event.materialization for event in result.get_asset_materialization_events())
    return {str(event.partition): event for event in events if event.asset_key == key}


def statuses(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, str]:
    """Give what the web UI colours a partition by: materialized, or failed in its last run."""
    found = instance.get_status_by_partition(
        key,
        KEYS,
        customer_assets.partitions_def,  # type: ignore[arg-type]
    )
    return {partition: status.value for partition, status in (found or {}).items() if status}


def test_one_range_run_loads_every_file_in_one_transaction(
    customers: Path, resources: dict[str, object], query: Query, instance: dg.DagsterInstance
) -> None:
    result = load_all(instance, resources)
    assert result.success
    assert query(
        "SELECT partition_key, count(*) FROM raw_dynamic_partition_data GROUP BY 1 ORDER BY 1"
    ) == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
    assert query("SELECT count(DISTINCT loaded_at), count(DISTINCT run_id) FROM file_loads") == [
        (1, 1)
    ]
    assert query("SELECT DISTINCT run_id FROM file_loads") == [(result.run_id,)]


def test_each_partition_reports_its_own_figures(
    customers: Path, resources: dict[str, object], instance: dg.DagsterInstance
) -> None:
    result = load_all(instance, resources)
    content = (customers / "c.csv").read_bytes()
    digest = sha256(content).hexdigest()
    imported = materializations(result, IMPORT)["c"]
    values = {name: value.value for name, value in imported.metadata.items()}
    assert values["path"] == str(customers / "c.csv")
    assert values["size_bytes"] == len(content)
    assert values["sha256"] == digest
    assert values["header"] == ["date", "share_price", "amount", "spend", "shift", "spread"]
    assert values["dagster/uri"] == (customers / "c.csv").as_uri()
    assert (imported.tags or {})["dagster/data_version"] == digest
    loaded = {
        name: value.value for name, value in materializations(result, LOAD)["c"].metadata.items()
    }
    assert loaded["row_count"] == loaded["dagster/partition_row_count"] == 3
    assert loaded["rejected_count"] == 0
    assert loaded["size_bytes"] == len(content)
    assert "2018-01-03" in str(loaded["preview"])
    assert {"load_seconds", "dagster/uri"} <= set(loaded)
    assert "dagster/column_schema" not in loaded  # the definition has it, once for all events


def test_a_bad_file_fails_alone(
    customers: Path, resources: dict[str, object], query: Query, instance: dg.DagsterInstance
) -> None:
    load_all(instance, resources)
    for key in KEYS:
        (customers / f"{key}.csv").write_text(price_rows(10, -1) if key == "b" else price_rows(10))
    result = load_all(instance, resources)
    assert not result.success
    assert query(
        "SELECT partition_key, share_price FROM raw_dynamic_partition_data ORDER BY ALL"
    ) == [("a", 10.0), ("b", 1.0), ("b", 2.0), ("c", 10.0), ("d", 10.0)]
    assert set(materializations(result, LOAD)) == {"a", "c", "d"}
    assert statuses(instance, LOAD) == {
        "a": "MATERIALIZED",
        "b": "FAILED",
        "c": "MATERIALIZED",
        "d": "MATERIALIZED",
    }
    failure = result.failure_data_for_node("load_customer_prices")
    assert failure is not None
    assert "b.csv: line 3, column share_price: not greater than 0" in str(failure.error)


def test_a_key_without_a_file_fails_alone(
    customers: Path, resources: dict[str, object], query: Query, instance: dg.DagsterInstance
) -> None:
    (customers / "b.csv").unlink()
    result = load_all(instance, resources)
    assert not result.success
    assert query("SELECT DISTINCT partition_key FROM raw_dynamic_partition_data ORDER BY 1") == [
        ("a",),
        ("c",),
        ("d",),
    ]
    assert set(materializations(result, IMPORT)) == {"a", "c", "d"}
    assert statuses(instance, IMPORT)["b"] == "FAILED"


def test_the_import_asset_alone_loads_nothing(
    customers: Path,
    database: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
) -> None:
    result = load_all(instance, resources, selection=[IMPORT])
    assert result.success
    assert set(materializations(result, IMPORT)) == set(KEYS)
    assert not materializations(result, LOAD)
    assert not database.exists()


def test_checks_fail_until_the_refused_file_is_corrected(
    customers: Path, resources: dict[str, object], instance: dg.DagsterInstance
) -> None:
    def passed(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
        evaluations = result.get_asset_check_evaluations()
        return {evaluation.check_name: evaluation.passed for evaluation in evaluations}

    both = {"customer_prices_match_contract", "share_price_is_positive"}
    total = {"customer_prices_rows_add_up": True}
    assert passed(load_all(instance, resources)) == dict.fromkeys(both, True) | total
    (customers / "b.csv").write_text(price_rows(-1))
    (customers / "c.csv").write_text("date,share_price\n2018-01-01,1\n")
    assert passed(load_all(instance, resources)) == dict.fromkeys(both, False) | total
    (customers / "c.csv").write_text(price_rows(1))
    one = dg.materialize(
        [customer_assets], instance=instance, partition_key="c", resources=resources
    )
    assert passed(one) == {
        "customer_prices_match_contract": True,
        "share_price_is_positive": False,
        **total,
    }
    (customers / "b.csv").write_text(price_rows(1))
    assert passed(load_all(instance, resources)) == dict.fromkeys(both, True) | total


def test_a_refused_partition_and_no_other_gets_an_observation_with_the_reason(
    customers: Path, resources: dict[str, object], instance: dg.DagsterInstance
) -> None:
    load_all(instance, resources)
    (customers / "b.csv").write_text(price_rows(1, -1))
    (customers / "c.csv").unlink()
    load_all(instance, resources)

    def observed(asset: dg.AssetKey) -> dict[str | None, tuple[object, object]]:
        found = instance.fetch_observations(asset, limit=10).records
        events = [record.asset_observation for record in found]
        return {
            event.partition: (event.metadata["reason"].value, event.metadata["rows_kept"].value)
            for event in events
            if event
        }

    refused = observed(LOAD)
    assert set(refused) == {"b", "c"}
    reason, rows_kept = refused["b"]
    assert "b.csv: line 3, column share_price: not greater than 0" in str(reason)
    assert rows_kept == 2
    # The file of b is there and described; it is refused by the table alone.
    assert set(observed(IMPORT)) == {"c"}


def test_each_column_of_the_table_says_what_it_holds_and_which_column_it_is_made_from() -> None:
    metadata = customer_assets.specs_by_key[LOAD].metadata
    schema = metadata["dagster/column_schema"]
    assert all(column.description for column in schema.columns)
    lineage = metadata["dagster/column_lineage"].deps_by_column
    assert lineage["amount"] == [dg.TableColumnDep(IMPORT, "amount")]
    assert set(lineage) == {column.name for column in schema.columns} - {
        "partition_key",
        "source_file",
    }


def test_a_refused_file_that_is_gone_fails_no_check(
    customers: Path, resources: dict[str, object], instance: dg.DagsterInstance
) -> None:
    (customers / "b.csv").write_text(price_rows(-1))
    load_all(instance, resources)
    (customers / "b.csv").unlink()
    one = dg.materialize(
        [customer_assets], instance=instance, partition_key="a", resources=resources
    )
    assert all(check.passed for check in one.get_asset_check_evaluations())


def test_a_run_waits_until_its_file_has_settled(
    customers: Path,
    resources: dict[str, object],
    query: Query,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import partitioned_etl.builders.assets as assets

    monkeypatch.setenv("SETTLE_SECONDS", "3600")
    pauses: list[float] = []

    def write_on(seconds: float) -> None:
        pauses.append(seconds)
        (customers / "a.csv").write_text(price_rows(*range(1, 8)))
        monkeypatch.setenv("SETTLE_SECONDS", "0")

    monkeypatch.setattr(assets.time, "sleep", write_on)
    dg.materialize([customer_assets], instance=instance, partition_key="a", resources=resources)
    assert len(pauses) == 1
    assert query("SELECT count(*) FROM raw_dynamic_partition_data") == [(7,)]


def test_a_reversed_range_is_refused(
    customers: Path, resources: dict[str, object], instance: dg.DagsterInstance
) -> None:
    result = dg.materialize(
        [customer_assets],
        instance=instance,
        tags=range_tags(["d", "a"]),
        resources=resources,
        raise_on_error=False,
    )
    assert not result.success


@pytest.mark.parametrize("key", ["../daily/x", "a'; DROP TABLE file_loads; --", "", "a\nb", "*"])
def test_a_key_that_the_feed_does_not_allow_loads_nothing(
    key: str,
    customers: Path,
    resources: dict[str, object],
    query: Query,
    instance: dg.DagsterInstance,
) -> None:
    load_all(instance, resources)
    instance.add_dynamic_partitions("customers", [key])
    result = dg.materialize(
        [customer_assets],
        instance=instance,
        partition_key=key,
        resources=resources,
        raise_on_error=False,
    )
    assert not result.success
    assert query("SELECT count(*) FROM raw_dynamic_partition_data") == [(10,)]


def test_the_step_declares_batching_pool_and_owners() -> None:
    assert daily_assets.backfill_policy == dg.BackfillPolicy.single_run()
    assert daily_assets.op.pool == "duckdb"
    for spec in daily_assets.specs:
        assert spec.owners == ["team:data-engineering"]
        assert spec.kinds
        assert spec.group_name == "daily_prices"
        assert spec.description


def test_checks_that_are_executed_by_themselves_judge_what_is_loaded(
    customers: Path, resources: dict[str, object], instance: dg.DagsterInstance
) -> None:
    """As button *Execute all* of the web UI does, which gives no partition."""
    (customers / "b.csv").write_text(price_rows(-1))
    load_all(instance, resources)
    job = dg.define_asset_job("all_checks", selection=dg.AssetSelection.checks_for_assets(LOAD))
    location = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
    result = location.resolve_job_def("all_checks").execute_in_process(instance=instance)
    assert result.success
    verdicts = {found.check_name: found.passed for found in result.get_asset_check_evaluations()}
    assert verdicts.pop("share_price_is_positive") is False
    assert len(verdicts) == 3
    assert all(verdicts.values()), verdicts


@pytest.mark.parametrize("assets", [[], [IMPORT]], ids=["alone", "with_import"])
def test_checks_without_the_load_asset_judge_what_is_loaded_and_load_nothing(
    assets: list[dg.AssetKey],
    customers: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    query: Query,
) -> None:
    """Otherwise the table would hold rows of which the load asset shows nothing."""
    (customers / "a.csv").write_text(price_rows(-1))
    load_all(instance, resources)
    (customers / "b.csv").write_text(price_rows(7))
    before = query("SELECT * FROM file_loads ORDER BY ALL")
    selection = dg.AssetSelection.assets(*assets).without_checks()
    result = load_all(
        instance,
        resources,
        selection=selection | dg.AssetSelection.checks(*customer_assets.check_keys),
    )
    assert result.success
    assert set(materializations(result, IMPORT)) == (set(KEYS) if assets else set())
    assert query("SELECT * FROM file_loads ORDER BY ALL") == before
    verdicts = {found.check_name: found.passed for found in result.get_asset_check_evaluations()}
    assert len(verdicts) == len(customer_assets.check_keys)
    assert verdicts["share_price_is_positive"] is False


def test_a_run_without_a_partition_is_refused(
    customers: Path, resources: dict[str, object], instance: dg.DagsterInstance
) -> None:
    result = dg.materialize(
        [customer_assets], instance=instance, resources=resources, raise_on_error=False
    )
    failure = result.get_step_failure_events()[0].step_failure_data
    assert failure.error
    assert "the run has no partition keys" in failure.error.message


@pytest.mark.parametrize("job_name", ["customer_prices_job", "customer_prices_archive_job"])
def test_how_often_dagster_is_asked_for_its_keys_does_not_grow_with_the_range(
    customers: Path,
    database: Path,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    job_name: str,
) -> None:
    job = defs.resolve_job_def("customer_prices_job")
    assert job.execute_in_process(instance=instance, tags=range_tags(KEYS)).success
    asked, listed = 0, dg.DagsterInstance.get_dynamic_partitions

    def count(self: dg.DagsterInstance, partitions_def_name: str) -> Sequence[str]:
        nonlocal asked
        asked += 1
        return listed(self, partitions_def_name)

    monkeypatch.setattr(dg.DagsterInstance, "get_dynamic_partitions", count)
    counts = []
    for keys in (KEYS[:2], KEYS):
        asked = 0
        result = defs.resolve_job_def(job_name).execute_in_process(
            instance=instance, tags=range_tags(keys)
        )
        assert {event.partition for event in result.get_asset_materialization_events()} == set(keys)
        counts.append(asked)
    assert counts[0] == counts[1]
