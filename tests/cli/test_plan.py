"""`partitioned-etl plan` and `status`: they tell what is and what would be, and change nothing."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from partitioned_etl.cli.location import open_instance
from partitioned_etl.components.agenda import mark_of
from partitioned_etl.components.events import FEED_TAG
from partitioned_etl.components.isolation import Location
from partitioned_etl.components.sensor import LandingCursor
from partitioned_etl.engine.feed import OnMissing
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.plan import MAX_ATTEMPTS
from partitioned_etl.engine.sync import sync_feed
from support.define import define_feed
from support.sample_location import CUSTOMER_PRICES, CUSTOMERS, define_customers, defs
from support.samples import price_rows
from support.workbench import NOTES, change_feed

Call = Callable[..., Result]
Query = Callable[..., list[tuple[object, ...]]]
UseLocation = Callable[..., Location]


def read_plan(result: Result) -> dict[str, tuple[str, str, str]]:
    """Give state, next step and reason per file of a plan."""
    assert result.exit_code == 0, result.output
    return {
        file["file"]: (file["state"], file["next"], file["reason"])
        for file in json.loads(result.stdout)["files"]
    }


@pytest.fixture
def customers(landing_dir: Path, database: Path) -> Path:
    """The customers' folder with two loaded files, one refused file and what came after them."""
    folder = landing_dir / "customers"
    for name in ("same", "touched", "changed", "gone"):
        (folder / f"{name}.csv").write_text(price_rows(1, 2))
    (folder / "bad.csv").write_text(price_rows(1, -7))
    sync_feed(CUSTOMER_PRICES, landing_dir, database, settle_seconds=0)
    os.utime(folder / "touched.csv", ns=(1, 1))
    (folder / "changed.csv").write_text(price_rows(3))
    (folder / "gone.csv").unlink()
    (folder / "new.csv").write_text(price_rows(4))
    for name in ("Twice.csv", "twice.csv"):
        (folder / name).write_text(price_rows(5))
    (folder / "half.csv.part").write_text(price_rows(6))
    return folder


def test_a_file_that_two_feeds_take_is_told_with_the_other_feed(
    landing_dir: Path, call: Call, use_location: UseLocation
) -> None:
    first = change_feed(NOTES, folder="customers", pattern="a_{key}.csv")
    second = change_feed(first, name="others", table="others", pattern="{key}_b.csv")
    use_location(define_feed(first), define_feed(second))
    (landing_dir / "customers" / "a_x_b.csv").write_text("id,note\n1,x\n", encoding="utf-8")
    planned = json.loads(call("plan", "--json").stdout)["files"]
    told = {file["feed"]: file["reason"] for file in planned}
    assert told == {
        "notes": "feed others takes this file, too: neither loads it",
        "others": "feed notes takes this file, too: neither loads it",
    }
    assert call("sync").exit_code == 1


def test_every_file_is_told_with_what_happens_to_it_and_why(
    customers: Path, landing_dir: Path, call: Call
) -> None:
    (landing_dir / "daily" / "2001-01-01.csv").write_text(price_rows(1))
    told = read_plan(call("plan", "--json"))
    collision = "several files stand for one partition key: Twice.csv, twice.csv"
    assert told.pop("2001-01-01.csv")[2].startswith("partition key 2001-01-01 is outside the win")
    assert told == {
        "same.csv": ("identical", "nothing", ""),
        "touched.csv": ("identical, touched", "nothing", ""),
        "changed.csv": ("changed", "load", ""),
        "new.csv": ("new", "load", ""),
        "gone.csv": ("missing", "keep", "the file is gone; rows are kept"),
        "bad.csv": (
            "refused",
            "nothing",
            "bad.csv: line 3, column share_price: not greater than 0 (share_price_is_positive)",
        ),
        "Twice.csv": ("refused", "refuse", collision),
        "twice.csv": ("refused", "refuse", collision),
        "half.csv.part": ("ignored", "nothing", "temporary file"),
    }


def test_a_plan_changes_nothing(customers: Path, call: Call, query: Query) -> None:
    before = query("SELECT * FROM file_loads ORDER BY partition_key")
    assert "2 file(s) to load in 1 run(s); nothing was changed." in call("plan").output
    assert query("SELECT * FROM file_loads ORDER BY partition_key") == before


def test_neither_plan_nor_status_makes_a_database(
    landing_dir: Path, database: Path, call: Call
) -> None:
    assert "Nothing has landed" in call("plan").stdout
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(1))
    assert read_plan(call("plan", "--json")) == {"acme.csv": ("new", "load", "")}
    assert f"There is no database yet: {database}" in call("status").stdout
    assert not database.exists()


def test_what_one_run_does_not_take_is_for_later(
    landing_dir: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (landing_dir / "customers" / f"{name}.csv").write_text(price_rows(1))
    monkeypatch.setenv("MAX_FILES_PER_RUN", "2")
    told = read_plan(call("plan", "--feed", "customer_prices", "--json"))
    assert [told[f"{name}.csv"][1] for name in "abc"] == ["load", "load", "load later"]


def test_a_file_that_is_being_written_is_waited_for(
    landing_dir: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(1))
    monkeypatch.setenv("SETTLE_SECONDS", "600")
    told = read_plan(call("plan", "--json"))
    assert told == {"acme.csv": ("unsettled", "wait", "it is still being written")}


def test_status_tells_what_is_loaded_what_waits_and_what_was_refused(
    customers: Path, call: Call
) -> None:
    result = call("status", "--feed", "customer_prices", "--json")
    [status] = json.loads(result.stdout)["feeds"]
    assert (status["partitions"], status["rows"], status["waiting"]) == (4, 8, 2)
    assert status["last_load"].endswith("+00:00")
    assert 0 <= status["oldest_waiting_seconds"] < 600
    assert [refusal["file"] for refusal in status["refused"]] == [
        "bad.csv",
        "Twice.csv",
        "twice.csv",
    ]
    sentence = "refused: customer_prices, partition bad: bad.csv: line 3, column share_price"
    assert sentence in call("status").stdout


@pytest.mark.parametrize("command", ["plan", "sync", "status"])
def test_an_unknown_feed_and_a_missing_directory_end_with_two_and_one_line(
    command: str, landing_dir: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = call(command, "--feed", "nope")
    assert (unknown.exit_code, unknown.stderr.count("\n")) == (2, 1)
    assert "there is no feed 'nope'; there are customer_prices" in unknown.stderr
    monkeypatch.setenv("LANDING_DIR", "/nowhere/at/all")
    missing = call(command, "--feed", "daily_prices")
    assert (missing.exit_code, missing.stderr.count("\n")) == (2, 1)
    assert "error: the landing directory /nowhere/at/all does not exist" in missing.stderr


@pytest.fixture
def cursor(landing_dir: Path, monkeypatch: pytest.MonkeyPatch) -> LandingCursor:
    """The cursor of the customers' sensor, which has requested the one landed file."""
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(1))
    landing = LocalLanding(landing_dir, settle_seconds=0)
    files = landing.list_files(CUSTOMER_PRICES).files.values()
    cursor = LandingCursor()
    cursor.attempts.note("acme", mark_of(files))
    cursors = {CUSTOMERS.sensor.name: cursor}
    monkeypatch.setattr(
        "partitioned_etl.cli.plan._read_cursor",
        lambda _, name: cursors.get(name, LandingCursor()),
    )
    return cursor


def test_a_file_that_was_tried_in_vain_is_told_as_given_up(
    cursor: LandingCursor, call: Call
) -> None:
    assert read_plan(call("plan", "--json"))["acme.csv"] == ("new", "load", "")
    while cursor.attempts.of_key["acme"].times < MAX_ATTEMPTS:
        cursor.attempts.note("acme", cursor.attempts.of_key["acme"].mark)
    state, step, reason = read_plan(call("plan", "--json"))["acme.csv"]
    assert (state, step) == ("new", "nothing")
    assert "acme.csv was requested 3 times" in reason
    assert reason.endswith("sync tries it again.")


def test_a_file_whose_run_could_not_start_is_waited_for(cursor: LandingCursor, call: Call) -> None:
    cursor.attempts.take_back(["acme"])
    told = read_plan(call("plan", "--json"))["acme.csv"]
    assert told == ("new", "wait", "its latest run could not start")


def test_a_file_that_a_run_is_loading_is_waited_for(landing_dir: Path, call: Call) -> None:
    for name in ("acme", "globex"):
        (landing_dir / "customers" / f"{name}.csv").write_text(price_rows(1))
    with open_instance() as instance:
        instance.add_dynamic_partitions("customers", ["acme"])
        instance.create_run_for_job(
            defs.resolve_job_def(CUSTOMERS.assets.job_name),
            tags={FEED_TAG: CUSTOMER_PRICES.name, "dagster/partition": "acme"},
        )
    assert read_plan(call("plan", "--json")) == {
        "acme.csv": ("new", "wait", "a run is loading it"),
        "globex.csv": ("new", "load", ""),
    }


def test_a_file_without_its_marker_is_waited_for(
    landing_dir: Path, call: Call, use_location: UseLocation
) -> None:
    use_location(define_customers(change_feed(CUSTOMER_PRICES, done_suffix=".done")))
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(1))
    told = read_plan(call("plan", "--json"))
    assert told == {"acme.csv": ("unsettled", "wait", "its marker file has not landed")}


def test_what_the_policy_removes_is_told_and_what_the_brake_keeps(
    landing_dir: Path, database: Path, call: Call, use_location: UseLocation
) -> None:
    feed = change_feed(CUSTOMER_PRICES, on_missing=OnMissing.REMOVE)
    use_location(define_customers(feed))
    folder = landing_dir / "customers"
    for name in "abc":
        (folder / f"{name}.csv").write_text(price_rows(1))
    sync_feed(feed, landing_dir, database, settle_seconds=0)
    (folder / "a.csv").unlink()
    told = read_plan(call("plan", "--json"))
    assert told["a.csv"] == ("missing", "remove", "the file is gone")
    (folder / "b.csv").unlink()
    told = read_plan(call("plan", "--json"))
    for name in ("a.csv", "b.csv"):
        state, step, reason = told[name]
        assert (state, step) == ("missing", "keep")
        assert "2 of 3 files are gone, more than half" in reason


@pytest.mark.parametrize("command", ["plan", "status"])
def test_a_feed_that_cannot_be_listed_does_not_hide_the_others(
    command: str, landing_dir: Path, call: Call
) -> None:
    (landing_dir / "customers").rmdir()
    (landing_dir / "customers").write_text("a file where the folder was")
    (landing_dir / "daily" / "2018-01-22.csv").write_text(price_rows(1))
    result = call(command)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "error: feed customer_prices: cannot list" in result.stderr
    assert "daily_prices" in result.stdout
    assert call(command, "--feed", "daily_prices").exit_code == 0


def test_what_a_declaration_changes_is_told_before_it_happens_and_as_it_does(
    landing_dir: Path, database: Path, call: Call, query: Query
) -> None:
    columns = {**CUSTOMER_PRICES.columns, "note": "VARCHAR"}
    del columns["spread"]
    (landing_dir / "customers" / "a.csv").write_text(
        "date,share_price,amount,spend,shift,note\n2018-01-22,1,1,1,1,x\n"
    )
    before = change_feed(CUSTOMER_PRICES, columns=columns)
    sync_feed(before, landing_dir, database, settle_seconds=0)
    (landing_dir / "customers" / "b.csv").write_text(price_rows(2))
    described = query("DESCRIBE raw_customer_prices")
    told = json.loads(call("plan", "--feed", "customer_prices", "--json").stdout)
    added = "column spread DOUBLE is added: NULL in 1 loaded partition(s)"
    gone = "column note is no longer declared: kept, NULL in new loads"
    assert told["changes"] == [
        {"feed": "customer_prices", "change": added},
        {"feed": "customer_prices", "change": gone},
    ]
    assert f"at the next load: customer_prices: {added}\n" in call("plan").stdout
    assert query("DESCRIBE raw_customer_prices") == described
    assert f"customer_prices: {added}\n" in call("sync", "--feed", "customer_prices").stdout
    found = query("SELECT partition_key, note, spread FROM raw_customer_prices ORDER BY ALL")
    assert [row[:2] for row in found] == [("a", "x"), ("b", None)]
    assert found[0][2] is None


def test_a_file_that_another_declaration_loaded_is_told_with_what_it_lacks(
    landing_dir: Path, database: Path, call: Call
) -> None:
    columns = dict(CUSTOMER_PRICES.columns)
    sync_feed(CUSTOMER_PRICES, landing_dir, database, settle_seconds=0)
    (landing_dir / "customers" / "a.csv").write_text(price_rows(1))
    sync_feed(CUSTOMER_PRICES, landing_dir, database, settle_seconds=0)
    del columns["spread"]
    (landing_dir / "customers" / "b.csv").write_text(price_rows(2))
    ignoring = {"type": "csv", "extra_columns": "ignore"}
    older = change_feed(CUSTOMER_PRICES, columns=columns, format=ignoring)
    sync_feed(older, landing_dir, database, settle_seconds=0)
    told = read_plan(call("plan", "--feed", "customer_prices", "--json"))
    assert told == {
        "a.csv": ("identical", "nothing", ""),
        "b.csv": ("changed", "load", "another declaration loaded it without spread"),
    }


def test_what_no_load_does_is_refused_told_and_done_by_migrate(
    landing_dir: Path, database: Path, call: Call, query: Query
) -> None:
    (landing_dir / "customers" / "a.csv").write_text(price_rows(1))
    before = change_feed(CUSTOMER_PRICES, columns={**CUSTOMER_PRICES.columns, "amount": "VARCHAR"})
    sync_feed(before, landing_dir, database, settle_seconds=0)
    (landing_dir / "customers" / "b.csv").write_text(price_rows(2))
    refused = (
        "refused: column amount is VARCHAR in the table and DOUBLE in the feed: run "
        "`partitioned-etl migrate customer_prices`"
    )
    planned = call("plan", "--feed", "customer_prices", "--json")
    told = json.loads(planned.stdout)
    assert [change["change"] for change in told["changes"]] == [refused]
    assert read_plan(planned)["b.csv"][1] == "refuse"
    synced = call("sync", "--feed", "customer_prices")
    assert synced.exit_code == 1
    assert refused in synced.stderr
    shown = call("migrate", "customer_prices")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines() == [
        "customer_prices: column amount becomes DOUBLE from VARCHAR: "
        "1 value(s) in 1 partition(s) do not fit",
        "customer_prices: load again from their landed files: a",
        "Nothing was changed; --apply does it.",
    ]
    assert query("SELECT typeof(amount) FROM raw_customer_prices") == [("VARCHAR",)]
    done = json.loads(call("migrate", "customer_prices", "--apply", "--json").stdout)
    assert (done["applied"], done["reloaded"], done["stuck"]) == (True, ["a"], [])
    sync_feed(CUSTOMER_PRICES, landing_dir, database, settle_seconds=0)
    assert query("SELECT partition_key, typeof(amount) FROM raw_customer_prices ORDER BY ALL") == [
        ("a", "DOUBLE"),
        ("b", "DOUBLE"),
    ]
    assert (
        "raw_customer_prices is as the feed declares it"
        in call("migrate", "customer_prices", "--apply").stdout
    )


def test_a_migration_without_a_landed_file_is_refused_with_one(
    landing_dir: Path, database: Path, call: Call, query: Query
) -> None:
    file = landing_dir / "customers" / "a.csv"
    file.write_text(price_rows(1))
    before = change_feed(CUSTOMER_PRICES, columns={**CUSTOMER_PRICES.columns, "amount": "VARCHAR"})
    sync_feed(before, landing_dir, database, settle_seconds=0)
    file.unlink()
    result = call("migrate", "customer_prices", "--apply")
    assert result.exit_code == 1
    assert "there is no landed file to load again, in a\nNothing was changed.\n" in result.stdout
    assert query("SELECT typeof(amount) FROM raw_customer_prices") == [("VARCHAR",)]


def test_a_migration_without_a_database_or_feed_ends_with_two_and_one_line(
    landing_dir: Path, database: Path, call: Call
) -> None:
    for name in ("customer_prices", "nope"):
        result = call("migrate", name, "--apply")
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert not database.exists()
