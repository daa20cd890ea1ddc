"""Options that take the place of settings: for one call, and validated as the settings are."""

import json
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import duckdb
import pytest
from click.testing import Result

from partitioned_etl.components.isolation import Location
from partitioned_etl.engine.settings import Settings
from partitioned_etl.engine.sync import sync_feed
from support.define import define_feed
from support.sample_location import CUSTOMER_PRICES
from support.samples import price_rows
from support.workbench import NOTES, change_feed

Call = Callable[..., Result]

CUSTOMERS = ("--feed", "customer_prices")


@pytest.fixture
def elsewhere(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with another landing directory, of one file, that no setting names."""
    folder = tmp_path / "elsewhere"
    (folder / "inbox" / "customers").mkdir(parents=True)
    (folder / "inbox" / "customers" / "acme.csv").write_text(price_rows(1, 2))
    monkeypatch.chdir(folder)
    return folder


def test_the_version_is_told_for_either_option(call: Call) -> None:
    assert call("-V").stdout == call("--version").stdout
    assert version("partitioned-etl") in call("-V").stdout


def test_landing_and_database_are_those_of_the_call_and_no_other(
    elsewhere: Path, database: Path, call: Call
) -> None:
    before = dict(os.environ)
    places = ("--landing-dir", "inbox", "--database", "other.duckdb")
    planned = json.loads(call("plan", *CUSTOMERS, *places, "--json").stdout)["files"]
    assert [file["next"] for file in planned] == ["load"]
    result = call("sync", *CUSTOMERS, *places)
    assert result.exit_code == 0, result.output
    assert f"Loaded 1 file(s) into {elsewhere / 'other.duckdb'}." in result.stdout
    with duckdb.connect("other.duckdb") as connection:
        assert connection.sql("SELECT count(*) FROM raw_customer_prices").fetchall() == [(2,)]
    told = json.loads(call("status", *CUSTOMERS, *places, "--json").stdout)
    assert (told["database"], told["feeds"][0]["rows"]) == (str(elsewhere / "other.duckdb"), 2)
    sql = "SELECT count(*) AS n FROM raw_customer_prices"
    assert json.loads(call("query", sql, "--database", "other.duckdb", "--json").stdout) == [
        {"n": 2}
    ]
    assert dict(os.environ) == before
    assert not database.exists()
    assert json.loads(call("plan", *CUSTOMERS, "--json").stdout)["files"] == []


def test_what_removes_and_alters_takes_them_too(elsewhere: Path, call: Call) -> None:
    sync_feed(CUSTOMER_PRICES, Path("inbox"), Path("other.duckdb"), settle_seconds=0)
    places = ("--landing-dir", "inbox", "--database", "duckdb:other.duckdb")
    migrated = call("migrate", "customer_prices", *places)
    assert (migrated.exit_code, "is as the feed declares" in migrated.stdout) == (0, True)
    forgot = call("forget", "customer_prices", "--partition", "acme", "--yes", *places)
    assert "Forgot 1 file(s), 2 rows" in forgot.stdout
    dropped = call("drop", "customer_prices", "--yes", "--database", "./other.duckdb")
    assert "Dropped what is known of 0 file(s)" in dropped.stdout, dropped.output


def test_a_database_comes_before_a_warehouse_that_is_set(
    elsewhere: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE", "duckdb:set.duckdb")
    told = json.loads(call("status", "--database", "other.duckdb", "--json").stdout)
    assert told["database"] == str(elsewhere / "other.duckdb")
    assert Settings().warehouse == "duckdb:set.duckdb"


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--landing-dir", "ftp://host/in", "error: setting LANDING_DIR: must be a folder, or"),
        ("--landing-dir", "s3://", "error: setting LANDING_DIR: must be s3://bucket/prefix"),
        ("--landing-dir", "", "--landing-dir': must not be empty"),
        ("--database", "mysql://host/db", "error: setting WAREHOUSE: must begin with postgresql:"),
        ("--database", "sqlite:file.db", "error: setting WAREHOUSE: must begin with postgresql:"),
        ("--database", " ", "--database': must not be empty"),
    ],
)
def test_what_makes_no_sense_is_refused_as_the_setting_is(
    option: str, value: str, told: str, call: Call
) -> None:
    result = call("plan", option, value)
    assert result.exit_code == 2
    assert told in result.stderr


def test_an_option_that_would_change_nothing_is_refused(
    landing_dir: Path,
    use_location: Callable[..., Location],
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    location = use_location(define_feed(change_feed(NOTES)))
    warehouse = (location.definitions.resources or {})["warehouse"]
    monkeypatch.setitem(vars(warehouse), "database", "fixed.duckdb")
    result = call("plan", "--database", "other.duckdb")
    assert result.exit_code == 2
    assert "--database would change nothing: a resource of the code location" in result.stderr
