"""`sync --partition` and `--reload`, and `plan --partition`: what they are about, and no more."""

import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from click.testing import Result

from partitioned_etl.components import resources
from partitioned_etl.components.isolation import Location
from partitioned_etl.engine.feed import OnMissing
from partitioned_etl.engine.landing import found
from support.define import define_feed
from support.partitioned_location import CUSTOMER_DAYS
from support.sample_location import CUSTOMER_PRICES, define_customers
from support.samples import price_rows
from support.workbench import NOTES, change_feed

Call = Callable[..., Result]
Query = Callable[..., list[tuple[object, ...]]]
UseLocation = Callable[..., Location]

CUSTOMERS = ("--feed", "customer_prices")
RUNS = "SELECT partition_key, run_id FROM file_loads ORDER BY partition_key"


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("the disk is full")


def run_of(query: Query) -> dict[object, object]:
    return dict(query(RUNS))  # type: ignore[arg-type]


@pytest.fixture
def landed(landing_dir: Path) -> Path:
    """Three sound files of customers."""
    for name, price in {"acme": 1, "globex": 2, "initech": 3}.items():
        (landing_dir / "customers" / f"{name}.csv").write_text(price_rows(price))
    return landing_dir / "customers"


def test_only_the_named_partitions_are_loaded_and_told_of(
    landed: Path, call: Call, query: Query, dagster_home: Path
) -> None:
    (landed / "bad.csv").write_text(price_rows(-1))
    (landed / "README.md").write_text("hello")
    named = ("--partition", "globex", "--partition", "acme")
    result = call("sync", *CUSTOMERS, *named)
    assert (result.exit_code, result.stderr) == (0, ""), result.stderr
    assert "Loaded 2 file(s)" in result.stdout
    assert "initech" not in result.stdout
    assert list(run_of(query)) == ["acme", "globex"]
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        assert instance.get_dynamic_partitions("customers") == ["acme", "globex"]
        copies = instance.get_materialized_partitions(dg.AssetKey("customer_copies"))
        assert copies == {"acme", "globex"}
    again = call("sync", *CUSTOMERS, *named)
    assert (again.exit_code, "Nothing to load" in again.stdout) == (0, True)
    bad = call("sync", *CUSTOMERS, "--partition", "bad", "--json")
    assert bad.exit_code == 1
    told = json.loads(bad.stdout)
    assert [file["file"] for file in told["files"]] == ["bad.csv"]
    assert [line.split(":")[0] for line in told["problems"]] == ["refused"]


def test_a_plan_of_partitions_shows_them_and_no_others(landed: Path, call: Call) -> None:
    result = call("plan", *CUSTOMERS, "--partition", "initech", "--json")
    assert result.exit_code == 0
    files = json.loads(result.stdout)["files"]
    assert [(file["partition_key"], file["next"]) for file in files] == [("initech", "load")]


@pytest.mark.parametrize("command", ["plan", "sync"])
@pytest.mark.parametrize(
    ("feed", "key", "told"),
    [
        ("customer_prices", "nobody", "nothing has landed of partition 'nobody', and nothing of"),
        ("customer_prices", "../acme", "partition key '../acme'"),
        ("daily_prices", "yesterday", "partition key 'yesterday' is not a daily key"),
        ("daily_prices", "2018-01-21", "nothing has landed of partition '2018-01-21'"),
    ],
)
def test_a_key_of_which_nothing_is_known_is_refused(
    command: str, feed: str, key: str, told: str, landed: Path, call: Call, database: Path
) -> None:
    result = call(command, "--feed", feed, "--partition", key)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert told in result.stderr
    assert not database.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--partition", "acme"),
        ("sync", "--partition", "acme"),
        ("sync", "--reload"),
        ("sync", "--reload", *CUSTOMERS, "--feed", "daily_prices"),
    ],
)
def test_one_feed_must_be_named(arguments: tuple[str, ...], landed: Path, call: Call) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert "is about one feed: name it, by one --feed NAME" in result.stderr


def test_a_reload_replaces_what_is_unchanged_once_and_tells_dagster(
    landed: Path, call: Call, query: Query, dagster_home: Path
) -> None:
    (landed / "bad.csv").write_text(price_rows(-1))
    assert call("sync", *CUSTOMERS).exit_code == 1
    before = run_of(query)
    query("DELETE FROM raw_customer_prices WHERE partition_key = 'acme'")
    result = call("sync", *CUSTOMERS, "--reload")
    assert result.exit_code == 1
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["refused"]
    assert "Loaded 3 file(s)" in result.stdout
    after = run_of(query)
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    assert query("SELECT count(*) FROM raw_customer_prices") == [(3,)]
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        records = instance.fetch_materializations(dg.AssetKey("raw_customer_prices"), limit=9)
        assert len(records.records) == 6


def test_a_reload_of_a_partition_leaves_the_others(landed: Path, call: Call, query: Query) -> None:
    call("sync", *CUSTOMERS)
    before = run_of(query)
    (landed / "globex.csv").write_text(price_rows(7, 8))
    result = call("sync", *CUSTOMERS, "--reload", "--partition", "acme")
    assert result.exit_code == 0, result.stderr
    after = run_of(query)
    assert {key for key in after if after[key] != before[key]} == {"acme"}


def test_all_parts_of_a_partition_are_loaded_again(
    landing_dir: Path, use_location: UseLocation, call: Call, query: Query
) -> None:
    use_location(define_feed(change_feed(NOTES, pattern="{key}_{part}.csv")))
    folder = landing_dir / NOTES.folder
    folder.mkdir(exist_ok=True)
    for part in ("1", "2"):
        (folder / f"a_{part}.csv").write_text(f"id,note\n{part},x\n", encoding="utf-8")
    assert call("sync").exit_code == 0
    before = {run for _, run in query("SELECT source_file, run_id FROM file_loads")}
    (folder / "a_2.csv").write_text("id,note\n2,y\n2,z\n", encoding="utf-8")
    assert call("sync", "--feed", "notes", "--reload").exit_code == 0
    after = {run for _, run in query("SELECT source_file, run_id FROM file_loads")}
    assert not before & after
    assert query(f"SELECT count(*) FROM {NOTES.table}") == [(3,)]


def test_many_files_that_are_set_aside_are_loaded_again(
    landed: Path, call: Call, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("sync", *CUSTOMERS)
    before = run_of(query)
    monkeypatch.setattr(found, "MOST_OBJECTS", 2)
    assert call("sync", *CUSTOMERS, "--reload", "--partition", "acme").exit_code == 0
    assert sum(run_of(query)[key] != before[key] for key in before) == 1
    assert call("sync", *CUSTOMERS, "--reload").exit_code == 0
    assert not set(run_of(query).values()) & set(before.values())


def test_what_cannot_be_loaded_again_is_named_and_its_rows_stay(
    landed: Path, call: Call, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("sync", *CUSTOMERS)
    (landed / "acme.csv").unlink()
    gone = call("sync", *CUSTOMERS, "--reload", "--partition", "acme")
    assert gone.exit_code == 1
    assert "not loaded again: customer_prices, partition acme: no file is there" in gone.stderr
    monkeypatch.setattr(resources, "load_surveyed", fail)
    failed = call("sync", *CUSTOMERS, "--reload", "--partition", "globex")
    assert failed.exit_code == 1
    assert "not loaded again: customer_prices, partition globex: " in failed.stderr
    assert "the disk is full" in failed.stderr
    assert query("SELECT count(*) FROM raw_customer_prices") == [(3,)]


def test_a_call_for_partitions_removes_no_others(
    landed: Path, use_location: UseLocation, call: Call, query: Query
) -> None:
    use_location(define_customers(change_feed(CUSTOMER_PRICES, on_missing=OnMissing.REMOVE)))
    call("sync", *CUSTOMERS)
    (landed / "acme.csv").unlink()
    assert call("sync", *CUSTOMERS, "--partition", "globex").exit_code == 0
    assert len(query(RUNS)) == 3
    assert call("sync", *CUSTOMERS).exit_code == 0
    assert len(query(RUNS)) == 2


def test_a_key_of_two_dimensions_is_one_key(
    landing_dir: Path, call: Call, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFINITIONS_MODULE", "support.partitioned_location")
    folder = landing_dir / CUSTOMER_DAYS.folder
    folder.mkdir(exist_ok=True)
    assert CUSTOMER_DAYS.file_names.is_two_dimensional
    result = call("plan", "--feed", CUSTOMER_DAYS.name, "--partition", "acme|2018-01-22")
    assert result.exit_code == 2
    assert "nothing has landed of partition 'acme|2018-01-22'" in result.stderr
