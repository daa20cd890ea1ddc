"""`partitioned-etl sync`: in this process, or in one of its own where it is killed."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import Result

from partitioned_etl.cli.report import FeedResult, print_report
from partitioned_etl.components import agenda, reconcile, resources
from partitioned_etl.components.isolation import Location
from partitioned_etl.engine.feed import OnMissing
from partitioned_etl.engine.landing.landing import PassedOver
from partitioned_etl.engine.plan import Plan
from partitioned_etl.engine.settings import Settings
from partitioned_etl.engine.sync import sync_feed
from support.define import define_feed
from support.dev_server import default_interrupt
from support.partitioned_location import CUSTOMER_DAYS
from support.sample_location import (
    CUSTOMER_PRICES,
    DAILY_PRICES,
    MONTHLY_ORDERS,
    define_customers,
    define_daily,
    define_monthly,
)
from support.samples import order_rows, price_rows
from support.workbench import NOTES, change_feed

Call = Callable[..., Result]
Apart = Callable[..., subprocess.CompletedProcess[str]]
Query = Callable[..., list[tuple[Any, ...]]]
UseLocation = Callable[..., Location]

DEADLINE_S = 600
DIE = """
import os
import signal

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

"""
KILLED_AT = f"""{DIE}
from partitioned_etl.engine import failpoints
failpoints.listener = lambda name: die() if name == failpoints.{{}} else None
"""
KILLED_BEFORE_START = f"""{DIE}
import dagster as dg
make = dg.DagsterInstance.create_run_for_job
dg.DagsterInstance.create_run_for_job = lambda *a, **named: (make(*a, **named), die())
"""
KILLED_BEFORE_ROLLUP = f"""{DIE}
from partitioned_etl.cli import sync
sync.list_stale_keys = die
"""
INTERRUPTED_LOAD = """
import os
import signal
from partitioned_etl.engine import failpoints
failpoints.listener = lambda name: os.kill(os.getpid(), signal.SIGINT)
"""
CALL = """
import sys
from partitioned_etl.cli.main import commands
commands(["sync", *sys.argv[1:]])
"""

DAILY = ("--feed", "daily_prices")
CUSTOMERS = ("--feed", "customer_prices")
MONTHLY = ("--feed", "monthly_orders")


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("the disk is full")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def sync(call: Call, elsewhere: Path) -> Call:
    """Call the command with options, in this process."""
    return lambda *options: call("sync", *options)


@pytest.fixture
def sync_apart(call: Call, elsewhere: Path) -> Apart:
    """Call the command with options in a process of its own, after it ran some code."""

    def run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
        with default_interrupt():
            return subprocess.run(
                [sys.executable, "-c", code + CALL, *options],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                text=True,
                check=False,
                timeout=DEADLINE_S,
            )

    return run


@pytest.fixture
def landed(landing_dir: Path) -> Path:
    """A landing directory with one sound file per feed."""
    (landing_dir / "daily" / "2018-01-22.csv").write_text(price_rows(1, 2))
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(3))
    (landing_dir / "monthly" / "2018-02.csv").write_text(order_rows("2018-02", "placed"))
    return landing_dir


def correct_month(landing_dir: Path) -> None:
    """Land other rows for the month that `landed` has."""
    text = order_rows("2018-02", "returned", "returned")
    (landing_dir / "monthly" / "2018-02.csv").write_text(text)


def test_an_empty_landing_directory_is_no_error(landing_dir: Path, sync: Call) -> None:
    result = sync()
    assert result.exit_code == 0, result.stderr
    assert f"Nothing has landed in {landing_dir}." in result.stdout


@pytest.mark.slow
def test_everything_is_loaded_and_told_to_dagster_then_nothing(
    landed: Path, sync: Call, query: Query, dagster_home: Path
) -> None:
    first = sync()
    assert first.exit_code == 0, first.stderr
    assert "Loaded 3 file(s)" in first.stdout
    for words in (
        ["daily_prices", "2018-01-22", "2018-01-22.csv", "2", "loaded"],
        ["customer_prices", "acme", "acme.csv", "1", "loaded"],
        ["monthly_orders", "2018-02-01", "2018-02.csv", "1", "loaded"],
    ):
        assert any(line.split()[:5] == words for line in first.stdout.splitlines()), words
    before = query("SELECT * FROM file_loads ORDER BY feed")
    assert query("SELECT * FROM orders_per_month") == [("2018-02", "placed", 1)]
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        assert instance.get_dynamic_partitions("customers") == ["acme"]
        jobs = [record.dagster_run.job_name for record in instance.get_run_records()]
        assert sorted(jobs) == [
            "copies_job",
            "customer_prices_job",
            "daily_prices_job",
            "monthly_orders_job",
            "rollup_job",
        ]
        loaded = instance.get_materialized_partitions(dg.AssetKey("raw_daily_prices"))
        assert loaded == {"2018-01-22"}
    second = sync()
    assert second.exit_code == 0
    assert "Nothing to load" in second.stdout
    assert query("SELECT * FROM file_loads ORDER BY feed") == before


def test_a_refused_file_is_named_with_its_reason_until_it_is_corrected(
    landed: Path, sync: Call, query: Query
) -> None:
    bad = landed / "daily" / "2018-01-23.csv"
    bad.write_text(price_rows(1, -7777.25))
    reason = "2018-01-23.csv: line 3, column share_price: not greater than 0"
    for _ in range(2):
        result = sync(*DAILY)
        assert result.exit_code == 1
        assert reason in result.stderr
        assert "7777" not in result.stderr + result.stdout
    loaded = "SELECT DISTINCT partition_key FROM raw_daily_prices ORDER BY 1"
    assert query(loaded) == [("2018-01-22",)]
    bad.write_text(price_rows(1, 2))
    assert sync(*DAILY).exit_code == 0
    assert query(loaded) == [("2018-01-22",), ("2018-01-23",)]


def test_what_is_a_file_of_no_feed_is_named(landed: Path, sync: Call, call: Call) -> None:
    (landed / "customers" / "README.md").write_text("hello")
    (landed / "customers" / ".hidden").write_text("hello")
    (landed / "daily" / "archive").mkdir()
    result = sync()
    assert result.exit_code == 0, result.stderr
    told = [line for line in result.stderr.splitlines() if line.startswith("unmatched: ")]
    reason = "the name does not match the pattern '{key}.csv'"
    assert told == [
        f"unmatched: customer_prices: README.md: {reason}",
        "unmatched: daily_prices: archive: folder",
    ]
    status = json.loads(call("status", "--json").stdout)
    assert {one["feed"]: one["unmatched"] for one in status["feeds"] if one["unmatched"]} == {
        "daily_prices": [{"partition_key": "", "file": "archive", "reason": "folder"}],
        "customer_prices": [{"partition_key": "", "file": "README.md", "reason": reason}],
    }
    assert f"unmatched: customer_prices: README.md: {reason}" in call("status").stdout


@pytest.mark.parametrize(("policy", "code"), [("warn", 0), ("fail", 1)])
def test_what_is_a_file_of_no_feed_is_a_failure_where_the_feed_says_so(
    policy: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [PassedOver(f"{number}.txt", "folder") for number in range(25)]
    result = FeedResult(change_feed(NOTES, unmatched=policy), Plan(), [], [], entries, {})
    assert print_report([result], [], [], Settings(), as_json=False) == code
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "unmatched: notes: 0.txt: folder"
    assert told[20:] == ["unmatched: notes: and 5 more"]


def test_a_loaded_file_with_the_content_of_another_is_named_once(landed: Path, sync: Call) -> None:
    sync(*DAILY)
    (landed / "daily" / "2018-01-23.csv").write_text(price_rows(1, 2))
    result = sync(*DAILY)
    assert result.exit_code == 0
    assert result.stderr == (
        "warning: daily_prices: partition 2018-01-23: "
        "2018-01-23.csv: has the same content as 2018-01-22.csv\n"
    )
    assert sync(*DAILY).stderr == ""


def test_what_is_loaded_with_a_warning_is_in_the_json(landed: Path, sync: Call) -> None:
    for key in ("globex", "initech"):
        (landed / "customers" / f"{key}.csv").write_text(price_rows(3))
    told = json.loads(sync(*CUSTOMERS, "--json").stdout)
    assert (told["loaded"], told["problems"]) == (3, [])
    assert told["warnings"] == [
        f"warning: customer_prices: partition {key}: {key}.csv: has the same content as {others}"
        for key, others in {
            "acme": "globex.csv, initech.csv",
            "globex": "acme.csv, initech.csv",
            "initech": "acme.csv, globex.csv",
        }.items()
    ]


def test_of_many_files_that_are_loaded_with_a_warning_some_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    warnings = [f"partition {number}: as another" for number in range(25)]
    result = FeedResult(NOTES, Plan(), [], [], [], {}, warnings=warnings)
    assert print_report([result], [], [], Settings(), as_json=False) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "warning: notes: partition 0: as another"
    assert told[20:] == ["warning: notes: and 5 more"]


def test_a_file_that_no_partition_takes_is_refused(landed: Path, sync: Call, query: Query) -> None:
    (landed / "daily" / "2001-01-01.csv").write_text(price_rows(1))
    result = sync(*DAILY)
    assert result.exit_code == 1
    assert "2001-01-01.csv: partition key 2001-01-01 is outside the window" in result.stderr
    assert query("SELECT DISTINCT partition_key FROM raw_daily_prices") == [("2018-01-22",)]


@pytest.mark.long
@pytest.mark.slow
def test_a_month_that_was_corrected_is_rolled_up_again(
    landed: Path, sync: Call, query: Query
) -> None:
    sync(*MONTHLY)
    assert query("SELECT * FROM orders_per_month") == [("2018-02", "placed", 1)]
    correct_month(landed)
    sync(*MONTHLY)
    assert query("SELECT * FROM orders_per_month") == [("2018-02", "returned", 2)]


def test_a_file_that_still_settles_is_waited_for(
    landed: Path, sync: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLE_SECONDS", "1")
    os.utime(landed / "daily" / "2018-01-22.csv")
    result = sync(*DAILY)
    assert result.exit_code == 0
    assert "Loaded 1 file(s)" in result.stdout


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LANDING_DIR", "/nowhere/at/all", "/nowhere/at/all does not exist"),
        ("SETTLE_SECONDS", "soon", "setting SETTLE_SECONDS: "),
    ],
)
def test_what_cannot_be_tried_ends_with_two_and_one_sentence(
    name: str, value: str, message: str, landed: Path, sync: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    result = sync(*DAILY)
    assert (result.exit_code, result.stdout.strip()) == (2, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_setting_that_is_wrong_from_the_start_is_told_without_a_traceback(
    landed: Path, sync_apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLE_SECONDS", "soon")
    result = sync_apart("")
    assert result.returncode == 2
    assert result.stderr.startswith("error: setting SETTLE_SECONDS: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.long
@pytest.mark.slow
def test_a_run_that_was_left_behind_does_not_stand_in_the_way(
    landed: Path, sync: Call, sync_apart: Apart, query: Query
) -> None:
    killed = sync_apart(KILLED_AT.format("AFTER_BEGIN"), *DAILY)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    result = sync(*DAILY)
    assert result.exit_code == 0, result.stderr
    assert "left behind" in result.stdout
    assert query("SELECT feed FROM file_loads WHERE status = 'loaded'") == [("daily_prices",)]


@pytest.mark.long
@pytest.mark.slow
def test_a_run_that_was_made_and_never_started_does_not_stand_in_the_way(
    landed: Path, sync: Call, sync_apart: Apart, query: Query, dagster_home: Path
) -> None:
    killed = sync_apart(KILLED_BEFORE_START, *DAILY)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        [left] = instance.get_runs()
        assert left.status is dg.DagsterRunStatus.NOT_STARTED
        result = sync(*DAILY)
        [left] = instance.get_runs(dg.RunsFilter(run_ids=[left.run_id]))
    assert result.exit_code == 0, result.stderr
    assert f"run {left.run_id} was left behind" in result.stdout
    assert left.status is dg.DagsterRunStatus.FAILURE
    assert query("SELECT feed FROM file_loads WHERE status = 'loaded'") == [("daily_prices",)]


def test_a_feed_that_cannot_be_listed_does_not_stop_the_others(
    landed: Path, sync: Call, query: Query
) -> None:
    (landed / "customers" / "acme.csv").unlink()
    (landed / "customers").rmdir()
    (landed / "customers").write_text("a file where the folder was")
    result = sync(*CUSTOMERS, *DAILY)
    assert result.exit_code == 2
    assert "feed customer_prices: cannot list" in result.stderr
    assert query("SELECT feed, status FROM file_loads") == [("daily_prices", "loaded")]


def test_a_busy_database_is_waited_for_once(
    landed: Path, sync: Call, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCK_WAIT_SECONDS", "0.2")
    hold = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin
        assert holder.stdout
        holder.stdout.readline()
        result = sync()
        holder.stdin.close()
    assert result.exit_code == 2
    assert result.stderr.count("in use by another process") == 1


def test_a_dagster_storage_that_cannot_be_opened_is_told_in_one_sentence(
    landed: Path, sync: Call, dagster_home: Path
) -> None:
    [storage] = dagster_home.rglob("schedules.db")
    storage.write_bytes(b"damaged" * 1000)
    result = sync()
    assert result.exit_code == 2
    assert result.stderr.startswith("error: setting DAGSTER_HOME: ")
    assert "file is not a database" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_second_file_for_a_loaded_partition_is_refused_and_the_partition_stays_loaded(
    landed: Path, database: Path, sync: Call
) -> None:
    sync_feed(CUSTOMER_PRICES, landed, database, settle_seconds=0)
    (landed / "customers" / "acme.csv.gz").write_bytes(gzip.compress(price_rows(3).encode()))
    result = sync(*CUSTOMERS)
    assert result.exit_code == 1
    assert "not loaded" not in result.stdout + result.stderr
    assert result.stderr.count("refused: customer_prices, partition acme") == 2
    assert ["customer_prices", "acme", "acme.csv", "1", "loaded"] in [
        line.split()[:5] for line in result.stdout.splitlines()
    ]


def test_a_file_that_only_waits_for_its_marker_is_no_failure(
    landed: Path, database: Path, sync: Call, use_location: UseLocation
) -> None:
    sync_feed(CUSTOMER_PRICES, landed, database, settle_seconds=0)
    (landed / "customers" / "globex.csv").write_text(price_rows(4))
    use_location(define_customers(change_feed(CUSTOMER_PRICES, done_suffix=".done")))
    result = sync()
    assert (result.exit_code, result.stderr) == (0, "")
    assert "incomplete" in result.stdout
    assert "Nothing to load" not in result.stdout


def test_a_call_that_refuses_all_does_not_say_that_it_had_nothing_to_do(
    landing_dir: Path, sync: Call
) -> None:
    (landing_dir / "customers" / "bad.csv").write_text(price_rows(-1))
    assert "Loaded 0 file(s)" in sync().stdout
    assert "Nothing to load" in sync().stdout


def test_what_a_run_loads_while_it_is_asked_for_is_not_loaded_again(
    landed: Path, sync: Call, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeds = {feed.name: feed for feed in (DAILY_PRICES, CUSTOMER_PRICES, MONTHLY_ORDERS)}

    def end_load(_: object, assets: Any, *__: object) -> set[str]:
        settings = Settings()
        sync_feed(
            feeds.pop(assets.feed.name),
            settings.landing_dir,
            settings.duckdb_database,
            settle_seconds=0,
        )
        return set()

    monkeypatch.setattr(agenda, "list_keys_in_flight", end_load)
    result = sync()
    assert result.exit_code == 0, result.stderr
    assert not feeds
    assert "_job" not in result.stdout
    assert query("SELECT count(*) FROM file_loads WHERE status = 'loaded'") == [(3,)]


def test_a_roll_up_that_fails_is_a_failure(landed: Path, sync: Call, query: Query) -> None:
    query("CREATE TABLE orders_per_month (partition_date VARCHAR, status VARCHAR)")
    result = sync(*MONTHLY)
    assert result.exit_code == 1
    assert query("SELECT count(*) FROM stg_orders") == [(1,)]
    assert "not computed: orders_per_month, downstream of monthly_orders" in result.stderr


@pytest.mark.long
@pytest.mark.slow
def test_a_roll_up_is_refreshed_after_the_load_was_killed_before_it(
    landed: Path, sync: Call, sync_apart: Apart, query: Query
) -> None:
    assert sync(*MONTHLY).exit_code == 0
    correct_month(landed)
    killed = sync_apart(KILLED_BEFORE_ROLLUP, *MONTHLY)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert query("SELECT count(*) FROM stg_orders") == [(2,)]
    assert query("SELECT * FROM orders_per_month") == [("2018-02", "placed", 1)]
    result = sync(*MONTHLY)
    assert result.exit_code == 0, result.stderr
    assert "rollup_job: 2018-02-01" in result.stdout
    assert "monthly_orders_job" not in result.stdout
    assert query("SELECT * FROM orders_per_month") == [("2018-02", "returned", 2)]
    assert "rollup_job" not in sync(*MONTHLY).stdout


@pytest.mark.long
@pytest.mark.slow
def test_a_load_that_was_killed_before_it_was_reported_is_done_again_and_rolled_up(
    landed: Path, sync: Call, sync_apart: Apart, query: Query, dagster_home: Path
) -> None:
    assert sync(*MONTHLY).exit_code == 0
    correct_month(landed)
    killed = sync_apart(KILLED_AT.format("AFTER_COMMIT"), *MONTHLY)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert query("SELECT count(*) FROM stg_orders") == [(2,)]
    assert query("SELECT * FROM orders_per_month") == [("2018-02", "placed", 1)]
    result = sync(*MONTHLY)
    assert result.exit_code == 0, result.stderr
    assert "left behind" in result.stdout
    assert result.stdout.count("_job: ") == 2
    assert "monthly_orders_job: 2018-02-01" in result.stdout
    assert query("SELECT * FROM orders_per_month") == [("2018-02", "returned", 2)]
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        found = instance.fetch_materializations(dg.AssetKey("stg_orders"), limit=9).records
        events = [record.asset_materialization for record in found]
        assert [
            event.metadata["dagster/partition_row_count"].value for event in events if event
        ] == [2, 1]
    assert "_job" not in sync(*MONTHLY).stdout


@pytest.mark.long
@pytest.mark.slow
def test_partitions_of_deleted_files_are_removed_and_rolled_up_where_that_is_the_policy(
    landed: Path,
    database: Path,
    sync: Call,
    query: Query,
    use_location: UseLocation,
    dagster_home: Path,
) -> None:
    daily = change_feed(DAILY_PRICES, on_missing=OnMissing.REMOVE)
    use_location(
        define_daily(daily),
        define_customers(change_feed(CUSTOMER_PRICES, on_missing=OnMissing.REMOVE)),
        define_monthly(change_feed(MONTHLY_ORDERS, on_missing=OnMissing.REMOVE)),
    )
    for folder, name in (("daily", "2018-01-23"), ("customers", "globex")):
        (landed / folder / f"{name}.csv").write_text(price_rows(4))
    (landed / "monthly" / "2018-03.csv").write_text(order_rows("2018-03", "shipped"))
    sync_feed(daily, landed, database, settle_seconds=0)
    assert sync().exit_code == 0
    for name in ("daily/2018-01-22", "customers/acme", "monthly/2018-02"):
        (landed / f"{name}.csv").unlink()
    result = sync()
    assert result.exit_code == 0, result.stderr
    for table, kept in (
        ("raw_daily_prices", "2018-01-23"),
        ("raw_customer_prices", "globex"),
        ("stg_orders", "2018-03-01"),
    ):
        assert query(f"SELECT partition_key FROM {table}") == [(kept,)]
    assert query("SELECT partition_key FROM file_loads ORDER BY 1") == [
        ("2018-01-23",),
        ("2018-03-01",),
        ("globex",),
    ]
    assert query("SELECT * FROM orders_per_month") == [("2018-03", "shipped", 1)]
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        assert instance.get_dynamic_partitions("customers") == ["globex"]
    again = sync()
    assert again.exit_code == 0
    assert "_job" not in again.stdout
    (landed / "customers" / "globex.csv").unlink()
    braked = sync()
    assert braked.exit_code == 1
    assert "customer_prices: 1 of 1 files are gone, more than half" in braked.stderr
    assert query("SELECT partition_key FROM raw_customer_prices") == [("globex",)]


def test_names_by_dates_are_loaded_in_one_run_and_what_is_outside_is_refused(
    landing_dir: Path, sync: Call, query: Query, use_location: UseLocation, dagster_home: Path
) -> None:
    use_location(define_feed(CUSTOMER_DAYS))
    for name in ("acme/2018-01-22", "acme/2018-01-23", "globex/2018-01-22", "globex/2018-01-23"):
        path = landing_dir / "customer_days" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("number\n1\n", encoding="utf-8")
    (landing_dir / "customer_days" / "acme" / "1999-01-01.csv").write_text("number\n1\n")
    result = sync()
    assert result.exit_code == 1
    span = "acme|2018-01-22 to globex|2018-01-23, 4 partitions"
    assert f"customer_days_job: {span}" in result.stdout
    assert "acme/1999-01-01.csv: partition key acme|1999-01-01 is outside" in result.stderr
    assert query("SELECT DISTINCT source_file FROM raw_customer_days ORDER BY 1") == [
        ("acme/2018-01-22.csv",),
        ("acme/2018-01-23.csv",),
        ("globex/2018-01-22.csv",),
        ("globex/2018-01-23.csv",),
    ]
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        assert instance.get_dynamic_partitions("customer_days") == ["acme", "globex"]
        assert len(instance.get_run_records()) == 1


def test_a_removal_that_fails_is_a_failure_and_keeps_the_rows(
    landed: Path,
    database: Path,
    sync: Call,
    query: Query,
    use_location: UseLocation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (landed / "customers" / "globex.csv").write_text(price_rows(4))
    sync_feed(CUSTOMER_PRICES, landed, database, settle_seconds=0)
    (landed / "customers" / "acme.csv").unlink()
    use_location(define_customers(change_feed(CUSTOMER_PRICES, on_missing=OnMissing.REMOVE)))
    with monkeypatch.context() as broken:
        broken.setattr(reconcile, "reconcile_table", fail)
        result = sync()
    assert result.exit_code == 1
    assert "not removed: partitions of customer_prices whose files are gone" in result.stderr
    assert query("SELECT partition_key FROM raw_customer_prices ORDER BY 1") == [
        ("acme",),
        ("globex",),
    ]
    assert sync().exit_code == 0
    assert query("SELECT partition_key FROM raw_customer_prices") == [("globex",)]


def test_a_load_that_fails_is_a_failure_and_is_done_by_the_next_call(
    landed: Path, sync: Call, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    (landed / "daily" / "2018-01-23.csv").write_text(price_rows(4))
    with monkeypatch.context() as broken:
        broken.setattr(resources, "load_surveyed", fail)
        result = sync(*DAILY)
    assert result.exit_code == 1
    for name in ("2018-01-22.csv", "2018-01-23.csv"):
        assert f"{name}: RuntimeError: the disk is full" in result.stderr
    assert sync(*DAILY).exit_code == 0
    assert query("SELECT count(*) FROM file_loads WHERE status = 'loaded'") == [(2,)]


def test_json_is_all_that_is_printed_and_one_feed_is_all_that_is_loaded(
    landed: Path, sync: Call, query: Query
) -> None:
    (landed / "customers" / "bad.csv").write_text(price_rows(-1))
    result = sync("--json", *CUSTOMERS)
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["loaded"] == 1
    assert [file["status"] for file in told["files"]] == ["loaded", "refused"]
    assert [problem in result.stderr for problem in told["problems"]] == [True]
    assert "customer_prices_job: acme to bad, 2 partitions" in result.stderr
    assert query("SELECT DISTINCT feed FROM file_loads") == [("customer_prices",)]


@pytest.mark.long
@pytest.mark.slow
def test_an_interrupt_ends_it_and_leaves_no_run_and_no_half_load(
    landed: Path, sync: Call, sync_apart: Apart, query: Query, dagster_home: Path
) -> None:
    result = sync_apart(INTERRUPTED_LOAD, *DAILY, *MONTHLY)
    assert result.returncode == 130, result.stderr
    assert result.stderr.splitlines()[-1] == "interrupted"
    assert "Traceback" not in result.stderr
    assert result.stdout.count("_job") == 1
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        assert [one.status for one in instance.get_runs()] == [dg.DagsterRunStatus.FAILURE]
    assert sync(*DAILY).exit_code == 0
    assert query("SELECT feed FROM file_loads WHERE status = 'loaded'") == [("daily_prices",)]
    assert query("SELECT count(*) FROM raw_daily_prices") == [(2,)]
