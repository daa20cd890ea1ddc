"""`python -m partitioned_etl`, in a process and an instance of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from conftest import order_rows, price_rows

Run = Callable[..., subprocess.CompletedProcess[str]]
Query = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def run(landing_dir: Path, database: Path, tmp_path: Path) -> Run:
    """Run the command in another working directory, with its own DAGSTER_HOME."""
    home = tmp_path / "dagster_home"
    home.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def run_command(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "partitioned_etl"],
            cwd=elsewhere,
            env={**os.environ, "DAGSTER_HOME": str(home), **environment},
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
    landed: Path, run: Run, query: Query, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-c",
        "import os, signal\n"
        "from partitioned_etl.builders import assets\n"
        "def die(*_, **__):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "assets.replace_partitions = die\n"
        "from partitioned_etl.run_once import main\n"
        "main()\n",
    ]
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path / "dagster_home")}
    killed = subprocess.run(command, env=environment, check=False, capture_output=True)
    assert killed.returncode == -9
    result = run()
    assert result.returncode == 0, result.stderr
    assert "left behind" in result.stdout
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


def test_a_roll_up_that_fails_is_a_failure(landed: Path, run: Run, query: Query) -> None:
    run()
    query("ALTER TABLE monthly_orders ADD COLUMN added INT")
    (landed / "monthly" / "2018-02.csv").write_text(order_rows("2018-02", "returned"))
    result = run()
    assert result.returncode == 1
    assert "not refreshed: what is made from monthly_orders" in result.stderr
