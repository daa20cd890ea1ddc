"""One Dagster step per feed: what it materializes, reports and fails."""

import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from partitioned_etl.components.assets import find_warehouse_pool
from partitioned_etl.components.checks import CHECK_NAMES
from partitioned_etl.components.ranges import range_tags
from partitioned_etl.engine.contract import Column
from partitioned_etl.engine.sync import sync_feed
from support.define import define_feed
from support.sample_location import CUSTOMER_PRICES, CUSTOMERS, DAILY_PRICES, daily_partitions, defs
from support.samples import price_rows
from support.workbench import change_feed

customer_assets = CUSTOMERS.definition
Query = Callable[..., list[tuple[Any, ...]]]
IMPORT, LOAD = CUSTOMERS.assets.import_key, CUSTOMERS.assets.load_key
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
    partitions_def = CUSTOMERS.assets.partitions.definition
    found = instance.get_status_by_partition(key, KEYS, partitions_def)
    return {partition: status.value for partition, status in (found or {}).items() if status}


def test_one_range_run_loads_every_file_in_one_transaction(
    customers: Path, resources: dict[str, object], query: Query, instance: dg.DagsterInstance
) -> None:
    result = load_all(instance, resources)
    assert result.success
    assert query(
        "SELECT partition_key, count(*) FROM raw_customer_prices GROUP BY 1 ORDER BY 1"
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
    assert values["content_hash"] == digest
    assert values["landed_at"] == pytest.approx((customers / "c.csv").stat().st_ctime, abs=1e-5)
    assert values["header"] == ["date", "share_price", "amount", "spend", "shift", "spread"]
    assert values["dagster/uri"] == (customers / "c.csv").as_uri()
    assert (imported.tags or {})["dagster/data_version"] == digest
    loaded = {
        name: value.value for name, value in materializations(result, LOAD)["c"].metadata.items()
    }
    assert loaded["dagster/partition_row_count"] == 3
    assert loaded["rejected_count"] == 0
    assert loaded["size_bytes"] == len(content)
    assert "2018-01-03" in str(loaded["preview"])
    assert {"load_seconds", "dagster/uri"} <= set(loaded)
    assert "dagster/column_schema" not in loaded  # the definition has it, once for all events
    assert [loaded[f"rows_{what}"] for what in ("added", "removed", "unchanged")] == [3, 0, 0]


def test_a_reload_says_how_many_rows_it_added_removed_and_left(
    customers: Path, resources: dict[str, object], query: Query, instance: dg.DagsterInstance
) -> None:
    load_all(instance, resources)
    first, *others = (customers / "c.csv").read_text(encoding="utf-8").splitlines()
    (customers / "c.csv").write_text("\n".join([first, *others[1:], others[1], ""]), "utf-8")
    result = load_all(instance, resources)
    changed = {
        key: [event.metadata[f"rows_{what}"].value for what in ("added", "removed", "unchanged")]
        for key, event in materializations(result, LOAD).items()
    }
    assert changed == {"a": [0, 0, 1], "b": [0, 0, 2], "c": [1, 1, 2], "d": [0, 0, 4]}
    assert query(f"SELECT count(*) FROM load_history WHERE run_id = '{result.run_id}'") == [(4,)]


def test_a_bad_file_fails_alone(
    customers: Path, resources: dict[str, object], query: Query, instance: dg.DagsterInstance
) -> None:
    load_all(instance, resources)
    for key in KEYS:
        (customers / f"{key}.csv").write_text(price_rows(10, -1) if key == "b" else price_rows(10))
    result = load_all(instance, resources)
    assert not result.success
    assert query("SELECT partition_key, share_price FROM raw_customer_prices ORDER BY ALL") == [
        ("a", 10.0),
        ("b", 1.0),
        ("b", 2.0),
        ("c", 10.0),
        ("d", 10.0),
    ]
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
    assert query("SELECT DISTINCT partition_key FROM raw_customer_prices ORDER BY 1") == [
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

    both = {CHECK_NAMES.matches_contract, "share_price_is_positive"}
    names = ("rows_add_up", "table_equals_landing", "every_file_is_matched")
    total = dict.fromkeys(names, True)
    assert passed(load_all(instance, resources)) == dict.fromkeys(both, True) | total
    (customers / "b.csv").write_text(price_rows(-1))
    (customers / "c.csv").write_text("date,share_price\n2018-01-01,1\n")
    assert passed(load_all(instance, resources)) == dict.fromkeys(both, False) | total
    (customers / "c.csv").write_text(price_rows(1))
    one = dg.materialize(
        [customer_assets], instance=instance, partition_key="c", resources=resources
    )
    # A file whose rows break a rule is refused as well, and its rule is named beside it.
    assert passed(one) == dict.fromkeys(both, False) | total
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
    columns = {
        name: Column(type=type_name, description=f"The {name} of a day.")
        for name, type_name in CUSTOMER_PRICES.column_types.items()
    }
    described = define_feed(change_feed(CUSTOMER_PRICES, columns=columns)).definition
    metadata = described.specs_by_key[LOAD].metadata
    schema = metadata["dagster/column_schema"]
    assert all(column.description for column in schema.columns)
    assert {column.name: column.type for column in schema.columns} == {
        **CUSTOMER_PRICES.column_types,
        "partition_key": "VARCHAR",
        "source_file": "VARCHAR",
    }
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
    monkeypatch.setenv("SETTLE_SECONDS", "3600")
    pauses: list[float] = []
    in_an_hour = time.time_ns() + int(3600 * 1e9)

    def write_on(seconds: float) -> None:
        pauses.append(seconds)
        (customers / "a.csv").write_text(price_rows(*range(1, 8)))
        if pauses[1:]:
            monkeypatch.setattr(time, "time_ns", lambda: in_an_hour + int(60 * 1e9))

    monkeypatch.setattr(time, "sleep", write_on)
    dg.materialize([customer_assets], instance=instance, partition_key="a", resources=resources)
    assert len(pauses) == 2
    assert query("SELECT count(*) FROM raw_customer_prices") == [(7,)]


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
    assert query("SELECT count(*) FROM raw_customer_prices") == [(10,)]


def test_the_step_declares_batching_pool_and_owners() -> None:
    owners = ["team:data-engineering"]
    daily_assets = define_feed(
        DAILY_PRICES, partitions_def=daily_partitions, owners=owners
    ).definition
    assert daily_assets.backfill_policy == dg.BackfillPolicy.single_run()
    assert daily_assets.op.pool == "duckdb"
    for spec in daily_assets.specs:
        assert spec.owners == owners
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
    assert verdicts.pop(CHECK_NAMES.matches_contract) is False
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
    assert verdicts[CHECK_NAMES.table_equals_landing] is False


@pytest.fixture
def equality(
    customers: Path, resources: dict[str, object], instance: dg.DagsterInstance
) -> Callable[..., tuple[bool, object]]:
    """Load partitions and evaluate in the same step whether table and landing are equal."""

    def load(*keys: str) -> tuple[bool, object]:
        result = dg.materialize(
            [customer_assets],
            instance=instance,
            partition_key=None if keys[1:] else keys[0],
            tags=range_tags(keys),
            resources=resources,
        )
        [found] = (
            one
            for one in result.get_asset_check_evaluations()
            if one.check_name == CHECK_NAMES.table_equals_landing
        )
        return found.passed, found.metadata["named"].value

    return load


def test_what_is_being_loaded_is_no_difference_and_all_else_is(
    customers: Path, query: Query, equality: Callable[..., tuple[bool, object]]
) -> None:
    not_loaded = [f"partition {key}: landed and not loaded" for key in "cd"]
    assert equality("a", "b") == (False, not_loaded)
    assert equality("c", "d") == (True, [])
    (customers / "a.csv").write_text(price_rows(7))
    query("DELETE FROM raw_customer_prices WHERE partition_key = 'b'")
    rows = "the table holds another number of rows than were loaded (0 instead of 2)"
    assert equality("a") == (False, [f"partition b: {rows}"])
    assert equality("b") == (True, [])


def test_what_dagster_does_not_show_is_a_difference_unless_it_is_being_loaded(
    customers: Path,
    landing_dir: Path,
    database: Path,
    equality: Callable[..., tuple[bool, object]],
) -> None:
    sync_feed(CUSTOMER_PRICES, landing_dir, database, settle_seconds=0)
    unknown = {key: f"partition {key}: loaded, and Dagster does not know it" for key in KEYS}
    assert equality("a", "b") == (False, [unknown["c"], unknown["d"]])
    assert equality("c") == (False, [unknown["d"]])
    assert equality("d") == (True, [])


def test_a_partition_that_failed_before_is_no_difference_while_it_is_loaded(
    customers: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    equality: Callable[..., tuple[bool, object]],
) -> None:
    assert equality(*KEYS) == (True, [])
    delivered = (customers / "a.csv").read_text()
    (customers / "a.csv").write_text(price_rows(-1))
    load_all(instance, resources)
    (customers / "a.csv").write_text(delivered)
    assert statuses(instance, LOAD)["a"] == "FAILED"
    assert equality("a") == (True, [])


def test_a_run_without_a_partition_is_refused(
    customers: Path, resources: dict[str, object], instance: dg.DagsterInstance
) -> None:
    result = dg.materialize(
        [customer_assets], instance=instance, resources=resources, raise_on_error=False
    )
    failure = result.get_step_failure_events()[0].step_failure_data
    assert failure.error
    assert "the run has no partition keys" in failure.error.message


@pytest.mark.parametrize("job_name", ["customer_prices_job", "copies_job"])
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


@pytest.mark.parametrize(
    ("address", "pool", "kind"),
    [
        ("", "duckdb", "duckdb"),
        ("duckdb:x.duckdb", "duckdb", "duckdb"),
        ("postgresql://db.example/prices", None, "postgres"),
    ],
    ids=["default", "DuckDB", "PostgreSQL"],
)
def test_steps_take_turns_only_where_the_warehouse_has_one_writer(
    monkeypatch: pytest.MonkeyPatch, address: str, pool: str | None, kind: str
) -> None:
    monkeypatch.setenv("WAREHOUSE", address)
    defined = define_feed(CUSTOMER_PRICES)
    assert defined.definition.op.pool == pool
    kinds = defined.definition.specs_by_key[defined.assets.load_key].kinds
    assert kinds == {kind, "table"}
    assert find_warehouse_pool() == pool
