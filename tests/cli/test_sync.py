"""`partitioned-etl sync`, in a process and an instance of its own."""

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

from conftest import order_rows, price_rows

Run = Callable[..., subprocess.CompletedProcess[str]]
Query = Callable[..., list[tuple[Any, ...]]]

MAIN = "from partitioned_etl.cli.main import commands\ncommands(['sync'])\n"
DIE = """
import os
import signal

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

"""
KILLED_AFTER_COMMIT = f"""{DIE}
from partitioned_etl.ingest import failpoints
failpoints.listener = lambda name: die() if name == failpoints.AFTER_COMMIT else None
{MAIN}"""
KILLED_BEFORE_START = f"""{DIE}
import dagster as dg
make = dg.DagsterInstance.create_run_for_job
dg.DagsterInstance.create_run_for_job = lambda *a, **named: (make(*a, **named), die())
{MAIN}"""
KILLED_BEFORE_ROLLUP = f"""{DIE}
from partitioned_etl.cli import sync
is_orders = lambda load_key: load_key.path == ["stg_orders"]
sync.list_stale_keys = lambda _, load_key, __: die() if is_orders(load_key) else dict()
{MAIN}"""
INTERRUPTED_LOAD = f"""
import os
import signal
from partitioned_etl.ingest import failpoints
failpoints.listener = lambda name: os.kill(os.getpid(), signal.SIGINT)
{MAIN}"""
FAIL = """
def fail(*_, **__):
    raise RuntimeError("the disk is full")

"""
FAILING_LOAD = f"""{FAIL}
from partitioned_etl.builders import assets
assets.replace_partitions = fail
{MAIN}"""
REMOVING = f"""
import removing_location
from partitioned_etl import definitions as location
location.pipelines = [removing_location.CUSTOMERS, removing_location.DAYS, removing_location.MONTHS]
location.defs = removing_location.define(*location.pipelines)
{MAIN}"""
TWO_DIMENSIONAL = f"""
import partitioned_location
from partitioned_etl import definitions as location
location.pipelines = [partitioned_location.PIPELINES["customer_days"]]
location.defs = partitioned_location.defs
{MAIN}"""
WAITING = f"""
from dataclasses import replace
from partitioned_etl import definitions as location
from partitioned_etl.defs.customer_prices import CUSTOMER_PRICES_PIPELINE as pipeline
feed = replace(pipeline.feed, done_suffix=".done")
location.pipelines = [replace(pipeline, feed=feed)]
{MAIN}"""
OVERTAKEN = f"""
from partitioned_etl.cli import sync
from partitioned_etl.ingest.settings import read_settings
from partitioned_etl.ingest.sync import sync_feed

def end_load(_, feed, *__):
    settings = read_settings()
    sync_feed(feed, settings.landing_dir, settings.database, settle_seconds=0)
    return set()

sync.list_keys_in_flight = end_load
{MAIN}"""
FAILING_REMOVAL = f"""{FAIL}
from partitioned_etl.builders import reconciliation
reconciliation.repair_feed = fail
{REMOVING}"""


@pytest.fixture
def run(call: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command elsewhere: in this process, or in one of its own with code or variables."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    def run_command(code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        if not code and not environment:
            done = call("sync")
            return subprocess.CompletedProcess([], done.exit_code, done.stdout, done.stderr)
        paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | environment
        return subprocess.run(
            [sys.executable, *(("-c", code) if code else ("-m", "partitioned_etl", "sync"))],
            cwd=elsewhere,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run_command


@pytest.fixture
def landed(landing_dir: Path) -> Path:
    """A landing directory with one sound file per feed."""
    (landing_dir / "daily" / "2018-01-22.csv").write_text(price_rows(1, 2))
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(3))
    (landing_dir / "monthly" / "2018-02.csv").write_text(order_rows("2018-02", "placed"))
    return landing_dir


def test_an_empty_landing_directory_is_no_error(landing_dir: Path, run: Run) -> None:
    result = run()
    assert result.returncode == 0, result.stderr
    assert f"Nothing has landed in {landing_dir}." in result.stdout


def test_everything_is_loaded_then_nothing(landed: Path, run: Run, query: Query) -> None:
    first = run()
    assert first.returncode == 0, first.stderr
    assert "Loaded 3 file(s)" in first.stdout
    for words in (
        ["daily_prices", "2018-01-22", "2018-01-22.csv", "2", "loaded"],
        ["customer_prices", "acme", "acme.csv", "1", "loaded"],
        ["monthly_orders", "2018-02-01", "2018-02.csv", "1", "loaded"],
    ):
        assert any(line.split()[:5] == words for line in first.stdout.splitlines()), words
    before = query("SELECT * FROM file_loads ORDER BY feed")
    assert query("SELECT * FROM monthly_orders") == [("2018-02", "placed", 1)]
    second = run()
    assert second.returncode == 0
    assert "Nothing to load" in second.stdout
    assert query("SELECT * FROM file_loads ORDER BY feed") == before


def test_it_leaves_keys_and_runs_in_the_instance(landed: Path, run: Run, tmp_path: Path) -> None:
    run()
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster_home")) as instance:
        assert instance.get_dynamic_partitions("customers") == ["acme"]
        jobs = {record.dagster_run.job_name for record in instance.get_run_records()}
        assert jobs == {
            "daily_prices_job",
            "customer_prices_job",
            "customer_prices_archive_job",
            "monthly_orders_job",
            "monthly_rollup_job",
        }
        loaded = instance.get_materialized_partitions(dg.AssetKey("duckdb_partition_table"))
        assert loaded == {"2018-01-22"}


def test_a_refused_file_is_named_with_its_reason_until_it_is_corrected(
    landed: Path, run: Run, query: Query
) -> None:
    bad = landed / "customers" / "bad.csv"
    bad.write_text(price_rows(1, -7777.25))
    reason = "bad.csv: line 3, column share_price: not greater than 0"
    for _ in range(2):
        result = run()
        assert result.returncode == 1
        assert reason in result.stderr
        assert "7777" not in result.stderr + result.stdout
    assert query("SELECT DISTINCT partition_key FROM raw_dynamic_partition_data") == [("acme",)]
    bad.write_text(price_rows(1, 2))
    assert run().returncode == 0


def test_a_file_that_no_partition_takes_is_refused(landed: Path, run: Run) -> None:
    (landed / "daily" / "2001-01-01.csv").write_text(price_rows(1))
    result = run()
    assert result.returncode == 1
    assert "2001-01-01.csv: partition key 2001-01-01 is outside the window" in result.stderr


def test_a_month_that_was_corrected_is_rolled_up_again(
    landed: Path, run: Run, query: Query
) -> None:
    run()
    (landed / "monthly" / "2018-02.csv").write_text(order_rows("2018-02", "returned", "returned"))
    run()
    assert query("SELECT * FROM monthly_orders") == [("2018-02", "returned", 2)]


def test_a_file_that_still_settles_is_waited_for(landed: Path, run: Run) -> None:
    result = run(SETTLE_SECONDS="1")
    assert result.returncode == 0
    assert "Loaded 3 file(s)" in result.stdout


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"LANDING_DIR": "/nowhere/at/all"}, "/nowhere/at/all does not exist"),
        ({"SETTLE_SECONDS": "soon"}, "SETTLE_SECONDS"),
        ({"DAILY_START_DATE": "22.01.2018"}, "DAILY_START_DATE"),
    ],
)
def test_what_cannot_be_tried_ends_with_two_and_one_sentence(
    environment: dict[str, str], message: str, landed: Path, run: Run
) -> None:
    result = run(**environment)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_run_that_was_left_behind_does_not_stand_in_the_way(
    landed: Path, run: Run, query: Query
) -> None:
    killed = run(
        DIE
        + "from partitioned_etl.builders import assets\nassets.replace_partitions = die\n"
        + MAIN
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    result = run()
    assert result.returncode == 0, result.stderr
    assert "left behind" in result.stdout
    assert query("SELECT count(*) FROM file_loads WHERE status = 'loaded'") == [(3,)]


def test_a_run_that_was_made_and_never_started_does_not_stand_in_the_way(
    landed: Path, run: Run, query: Query, tmp_path: Path
) -> None:
    killed = run(KILLED_BEFORE_START)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster_home")) as instance:
        [left] = instance.get_runs()
        assert left.status is dg.DagsterRunStatus.NOT_STARTED
        result = run()
        [left] = instance.get_runs(dg.RunsFilter(run_ids=[left.run_id]))
    assert result.returncode == 0, result.stderr
    assert f"run {left.run_id} was left behind" in result.stdout
    assert left.status is dg.DagsterRunStatus.FAILURE
    assert query("SELECT count(*) FROM file_loads WHERE status = 'loaded'") == [(3,)]


def test_a_feed_that_cannot_be_listed_does_not_stop_the_others(
    landed: Path, run: Run, query: Query
) -> None:
    (landed / "customers" / "acme.csv").unlink()
    (landed / "customers").rmdir()
    (landed / "customers").write_text("a file where the folder was")
    result = run()
    assert result.returncode == 2
    assert "feed customer_prices: cannot list" in result.stderr
    assert query("SELECT feed FROM file_loads ORDER BY feed") == [
        ("daily_prices",),
        ("monthly_orders",),
    ]


def test_a_busy_database_is_waited_for_once(
    landed: Path, run: Run, database: Path, monkeypatch: pytest.MonkeyPatch
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
        result = run()
        holder.stdin.close()
    assert result.returncode == 2
    assert result.stderr.count("in use by another process") == 1


def test_a_dagster_storage_that_cannot_be_opened_is_told_in_one_sentence(
    landed: Path, run: Run, tmp_path: Path
) -> None:
    run()
    [storage] = (tmp_path / "dagster_home").rglob("schedules.db")
    storage.write_bytes(b"damaged" * 1000)
    result = run()
    assert result.returncode == 2
    assert result.stderr.startswith("error: setting DAGSTER_HOME: ")
    assert "file is not a database" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_second_file_for_a_loaded_partition_is_refused_and_the_partition_stays_loaded(
    landed: Path, run: Run
) -> None:
    run()
    (landed / "customers" / "acme.csv.gz").write_bytes(gzip.compress(price_rows(3).encode()))
    result = run()
    assert result.returncode == 1
    assert "not loaded" not in result.stdout + result.stderr
    assert result.stderr.count("refused: customer_prices, partition acme") == 2
    assert ["customer_prices", "acme", "acme.csv", "1", "loaded"] in [
        line.split()[:5] for line in result.stdout.splitlines()
    ]


def test_a_file_that_only_waits_for_its_marker_is_no_failure(landed: Path, run: Run) -> None:
    run()
    (landed / "customers" / "globex.csv").write_text(price_rows(4))
    result = run(WAITING)
    assert (result.returncode, result.stderr) == (0, "")
    assert "waits for its marker" in result.stdout
    assert "Nothing to load" not in result.stdout


def test_a_call_that_refuses_all_does_not_say_that_it_had_nothing_to_do(
    landing_dir: Path, run: Run
) -> None:
    (landing_dir / "customers" / "bad.csv").write_text(price_rows(-1))
    assert "Loaded 0 file(s)" in run().stdout
    assert "Nothing to load" in run().stdout


def test_what_a_run_loads_while_it_is_asked_for_is_not_loaded_again(
    landed: Path, run: Run, query: Query
) -> None:
    result = run(OVERTAKEN)
    assert result.returncode == 0, result.stderr
    assert "prices_job" not in result.stdout
    assert query("SELECT count(*) FROM file_loads WHERE status = 'loaded'") == [(3,)]


def test_a_roll_up_that_fails_is_a_failure(landed: Path, run: Run, query: Query) -> None:
    run()
    query("ALTER TABLE monthly_orders ADD COLUMN added INT")
    (landed / "monthly" / "2018-02.csv").write_text(order_rows("2018-02", "returned"))
    result = run()
    assert result.returncode == 1
    assert "not refreshed: the assets downstream of monthly_orders" in result.stderr


@pytest.mark.slow
def test_a_roll_up_is_refreshed_after_the_load_was_killed_before_it(
    landed: Path, run: Run, query: Query
) -> None:
    assert run().returncode == 0
    (landed / "monthly" / "2018-02.csv").write_text(order_rows("2018-02", "returned", "returned"))
    killed = run(KILLED_BEFORE_ROLLUP)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert query("SELECT count(*) FROM stg_orders") == [(2,)]
    assert query("SELECT * FROM monthly_orders") == [("2018-02", "placed", 1)]
    result = run()
    assert result.returncode == 0, result.stderr
    assert "monthly_rollup_job: 2018-02-01" in result.stdout
    assert "monthly_orders_job" not in result.stdout
    assert query("SELECT * FROM monthly_orders") == [("2018-02", "returned", 2)]
    assert "monthly_rollup_job" not in run().stdout


@pytest.mark.slow
def test_a_load_that_was_killed_before_it_was_reported_is_done_again_and_rolled_up(
    landed: Path, run: Run, query: Query, tmp_path: Path
) -> None:
    assert run().returncode == 0
    (landed / "monthly" / "2018-02.csv").write_text(order_rows("2018-02", "returned", "returned"))
    killed = run(KILLED_AFTER_COMMIT)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert query("SELECT count(*) FROM stg_orders") == [(2,)]
    assert query("SELECT * FROM monthly_orders") == [("2018-02", "placed", 1)]
    result = run()
    assert result.returncode == 0, result.stderr
    assert "left behind" in result.stdout
    assert result.stdout.count("_job: ") == 2
    assert "monthly_orders_job: 2018-02-01" in result.stdout
    assert query("SELECT * FROM monthly_orders") == [("2018-02", "returned", 2)]
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster_home")) as instance:
        found = instance.fetch_materializations(dg.AssetKey("stg_orders"), limit=9).records
        events = [record.asset_materialization for record in found]
        assert [event.metadata["row_count"].value for event in events if event] == [2, 1]
    assert "_job" not in run().stdout


@pytest.mark.slow
def test_partitions_of_deleted_files_are_removed_and_rolled_up_where_that_is_the_policy(
    landed: Path, run: Run, query: Query, tmp_path: Path
) -> None:
    for folder, name in (("daily", "2018-01-23"), ("customers", "globex")):
        (landed / folder / f"{name}.csv").write_text(price_rows(4))
    (landed / "monthly" / "2018-03.csv").write_text(order_rows("2018-03", "shipped"))
    assert run(REMOVING).returncode == 0
    for name in ("daily/2018-01-22", "customers/acme", "monthly/2018-02"):
        (landed / f"{name}.csv").unlink()
    result = run(REMOVING)
    assert result.returncode == 0, result.stderr
    for table, kept in (
        ("raw_partition_data", "2018-01-23"),
        ("raw_dynamic_partition_data", "globex"),
        ("stg_orders", "2018-03-01"),
    ):
        assert query(f"SELECT partition_key FROM {table}") == [(kept,)]
    assert query("SELECT partition_key FROM file_loads ORDER BY 1") == [
        ("2018-01-23",),
        ("2018-03-01",),
        ("globex",),
    ]
    assert query("SELECT * FROM monthly_orders") == [("2018-03", "shipped", 1)]
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster_home")) as instance:
        assert instance.get_dynamic_partitions("customers") == ["globex"]
    again = run(REMOVING)
    assert again.returncode == 0
    assert "_job" not in again.stdout
    (landed / "customers" / "globex.csv").unlink()
    braked = run(REMOVING)
    assert braked.returncode == 1
    assert "customer_prices: 1 of 1 files are gone, more than half" in braked.stderr
    assert query("SELECT partition_key FROM raw_dynamic_partition_data") == [("globex",)]


def test_names_by_dates_are_loaded_in_one_run_and_what_is_outside_is_refused(
    landing_dir: Path, run: Run, query: Query, tmp_path: Path
) -> None:
    for name in ("acme/2018-01-22", "acme/2018-01-23", "globex/2018-01-22", "globex/2018-01-23"):
        path = landing_dir / "customer_days" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("number\n1\n", encoding="utf-8")
    (landing_dir / "customer_days" / "acme" / "1999-01-01.csv").write_text("number\n1\n")
    result = run(TWO_DIMENSIONAL)
    assert result.returncode == 1
    span = "acme|2018-01-22 to globex|2018-01-23, 4 partitions"
    assert f"customer_days_job: {span}" in result.stdout
    assert "acme/1999-01-01.csv: partition key acme|1999-01-01 is outside" in result.stderr
    assert query("SELECT DISTINCT source_file FROM raw_customer_days ORDER BY 1") == [
        ("acme/2018-01-22.csv",),
        ("acme/2018-01-23.csv",),
        ("globex/2018-01-22.csv",),
        ("globex/2018-01-23.csv",),
    ]
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster_home")) as instance:
        assert instance.get_dynamic_partitions("customer_days") == ["acme", "globex"]
        assert len(instance.get_run_records()) == 1


@pytest.mark.slow
def test_a_removal_that_fails_is_a_failure_and_keeps_the_rows(
    landed: Path, run: Run, query: Query
) -> None:
    (landed / "customers" / "globex.csv").write_text(price_rows(4))
    assert run(REMOVING).returncode == 0
    (landed / "customers" / "acme.csv").unlink()
    result = run(FAILING_REMOVAL)
    assert result.returncode == 1
    assert "not removed: partitions of customer_prices whose files are gone" in result.stderr
    assert query("SELECT partition_key FROM raw_dynamic_partition_data ORDER BY 1") == [
        ("acme",),
        ("globex",),
    ]
    assert run(REMOVING).returncode == 0
    assert query("SELECT partition_key FROM raw_dynamic_partition_data") == [("globex",)]


@pytest.mark.slow
def test_a_load_that_fails_is_a_failure_and_is_done_by_the_next_call(
    landed: Path, run: Run, query: Query
) -> None:
    result = run(FAILING_LOAD)
    assert result.returncode == 1
    for name in ("2018-01-22.csv", "acme.csv", "2018-02.csv"):
        assert f"{name}: RuntimeError: the disk is full" in result.stderr
    assert run().returncode == 0
    assert query("SELECT count(*) FROM file_loads WHERE status = 'loaded'") == [(3,)]


def test_json_is_all_that_is_printed_and_one_feed_is_all_that_is_loaded(
    landed: Path, run: Run, query: Query
) -> None:
    (landed / "customers" / "bad.csv").write_text(price_rows(-1))
    result = run(MAIN.replace("'sync'", "'sync', '--json', '--feed', 'customer_prices'"))
    assert result.returncode == 1
    told = json.loads(result.stdout)
    assert told["loaded"] == 1
    assert [file["status"] for file in told["files"]] == ["loaded", "refused"]
    assert [problem in result.stderr for problem in told["problems"]] == [True]
    assert "customer_prices_job: acme to bad, 2 partitions" in result.stderr
    assert query("SELECT DISTINCT feed FROM file_loads") == [("customer_prices",)]


def test_an_interrupt_ends_it_and_leaves_no_run_and_no_half_load(
    landed: Path, run: Run, query: Query, tmp_path: Path
) -> None:
    result = run(INTERRUPTED_LOAD)
    assert result.returncode == 130, result.stderr
    assert result.stderr.splitlines()[-1] == "interrupted"
    assert "Traceback" not in result.stderr
    assert result.stdout.count("_job") == 1
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster_home")) as instance:
        assert [one.status for one in instance.get_runs()] == [dg.DagsterRunStatus.FAILURE]
    assert run().returncode == 0
    assert query("SELECT count(*) FROM file_loads WHERE status = 'loaded'") == [(3,)]
