"""The commands and the shipped feeds with a warehouse in PostgreSQL."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from partitioned_etl.components.ranges import range_tags
from partitioned_etl.components.resources import WarehouseResource
from partitioned_etl.engine.errors import WarehouseError
from partitioned_etl.engine.project import project_dir
from sample_feeds.defs.customer_prices import archived_file, customer_prices
from sample_feeds.defs.daily_prices import daily_prices
from sample_feeds.defs.monthly_orders import monthly_orders, stg_orders
from support.samples import price_rows

pytestmark = [pytest.mark.scale, pytest.mark.slow]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def fetch(postgres_url: str) -> Iterator[Callable[[str], list[tuple[object, ...]]]]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:

        def run_statements(sql: str) -> list[tuple[object, ...]]:
            found = connection.execute(sql.encode())
            return found.fetchall() if found.description else []

        yield run_statements


@pytest.fixture
def run(tmp_path: Path, dagster_home: Path, postgres_url: str) -> Run:
    """Run a command on the shipped feeds and files, with the database as the warehouse."""
    shutil.copytree(project_dir() / "data" / "source", tmp_path / "landing")
    (dagster_home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    settings = {
        "LANDING_DIR": str(tmp_path / "landing"),
        "WAREHOUSE": postgres_url,
        "DUCKDB_DATABASE": str(tmp_path / "never.duckdb"),
        "DAGSTER_HOME": str(dagster_home),
        "SETTLE_SECONDS": "0",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }

    def call(*arguments: str, **others: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "partitioned_etl", *arguments],
            capture_output=True,
            text=True,
            env=os.environ | settings | others,
            check=False,
            timeout=600,
        )

    return call


def test_the_commands_work_and_show_no_password(
    run: Run, postgres_url: str, tmp_path: Path, fetch: Callable[[str], list[tuple[object, ...]]]
) -> None:
    told = conninfo_to_dict(postgres_url)
    password, database = str(told["password"]), str(told["dbname"])
    shown = f"postgresql://127.0.0.1:{told['port']}/{database}"

    def succeed(*arguments: str) -> str:
        done = run(*arguments)
        assert done.returncode == 0, done.stderr
        assert password not in done.stdout + done.stderr
        return done.stdout

    assert f"There is no database yet: {shown}" in succeed("status")
    assert "load" in succeed("plan")
    assert f"Loaded 15 file(s) into {shown}." in succeed("sync")
    assert "Nothing to load" in succeed("sync")
    status = json.loads(succeed("status", "--json"))
    assert (status["database"], status["exists"]) == (shown, True)
    assert sum(feed["partitions"] for feed in status["feeds"]) == 15
    counted = "SELECT count(*) AS n FROM stg_orders"
    assert json.loads(succeed("query", "--json", counted)) == [{"n": fetch(counted)[0][0]}]
    assert fetch("SELECT sum(order_num) FROM monthly_orders") == fetch(counted)
    refused = run("query", "DELETE FROM stg_orders")
    assert refused.returncode == 1
    assert "query only reads" in refused.stderr
    assert not (tmp_path / "never.duckdb").exists()
    events = (fetch("SELECT string_agg(file_loads::text, '') FROM file_loads"))[0][0]
    assert password not in str(events)


def test_a_wrong_password_is_an_error_that_does_not_show_it(run: Run, postgres_url: str) -> None:
    right = str(conninfo_to_dict(postgres_url)["password"])
    done = run("status", WAREHOUSE=postgres_url.replace(right, "n0t-the-pw"))
    assert done.returncode == 2
    assert "password authentication failed" in done.stderr
    assert "n0t-the-pw" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_password_may_come_from_the_environment(run: Run, postgres_url: str) -> None:
    right = str(conninfo_to_dict(postgres_url)["password"])
    done = run("plan", WAREHOUSE=postgres_url.replace(f":{right}@", "@"), PGPASSWORD=right)
    assert done.returncode == 0, done.stderr


def test_a_schema_of_ones_own_holds_all_tables(
    run: Run, postgres_url: str, fetch: Callable[[str], list[tuple[object, ...]]]
) -> None:
    fetch("CREATE SCHEMA etl; CREATE TABLE public.stg_orders (mine text)")
    done = run("sync", WAREHOUSE=f"{postgres_url}?options=-csearch_path%3Detl,public")
    assert done.returncode == 0, done.stderr
    tables = fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'etl'")
    assert {"stg_orders", "file_loads", "rejected_rows"} <= {name for (name,) in tables}
    assert fetch("SELECT count(*) FROM public.stg_orders") == [(0,)]


def test_a_reader_who_may_only_read_can_query(
    run: Run, postgres_url: str, fetch: Callable[[str], list[tuple[object, ...]]]
) -> None:
    assert run("sync").returncode == 0
    script = (project_dir() / "docs" / "postgresql-reader.sql").read_text(encoding="utf-8")
    password = "of the reader"
    script = script.replace(":'password'", f"'{password}'").replace(
        ':"DBNAME"', f'"{conninfo_to_dict(postgres_url)["dbname"]}"'
    )
    fetch(script)
    told = conninfo_to_dict(postgres_url)
    url = postgres_url.replace(
        f"postgres:{told['password']}@", "partitioned_etl_reader:of%20the%20reader@"
    )
    done = run("query", "--csv", "SELECT count(*) FROM file_loads", WAREHOUSE=url)
    assert (done.returncode, done.stdout) == (0, "count\n15\n"), done.stderr
    with psycopg.connect(url, autocommit=True) as reader:
        reader.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("DELETE FROM file_loads")
    fetch("DROP OWNED BY partitioned_etl_reader; DROP ROLE partitioned_etl_reader")


def test_a_role_that_may_make_no_temporary_table_loads_and_does_not_compare(
    run: Run, postgres_url: str, tmp_path: Path, fetch: Callable[[str], list[tuple[object, ...]]]
) -> None:
    told = conninfo_to_dict(postgres_url)
    fetch("CREATE ROLE loader LOGIN PASSWORD 'of the loader'")
    fetch("GRANT CREATE ON SCHEMA public TO loader")
    fetch(f'REVOKE TEMPORARY ON DATABASE "{told["dbname"]}" FROM PUBLIC')
    url = postgres_url.replace(f"postgres:{told['password']}@", "loader:of%20the%20loader@")
    path = tmp_path / "landing" / "daily" / "2018-01-22.csv"
    for prices in ((1.5,), (2.5,)):
        path.write_text(price_rows(*prices), encoding="utf-8")
        done = run("sync", WAREHOUSE=url)
        assert done.returncode == 0, done.stderr
    found = fetch("SELECT not_compared, rows_added FROM load_history WHERE kind = 'reload'")
    assert found == [("the warehouse lets this role make no temporary table", None)]
    fetch("DROP OWNED BY loader; DROP ROLE loader")


def test_the_shipped_assets_materialize(
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    fetch: Callable[[str], list[tuple[object, ...]]],
) -> None:
    monkeypatch.setenv("WAREHOUSE", postgres_url)
    instance.add_dynamic_partitions("customers", ["acme", "globex"])
    (landing_dir / "daily" / "2018-01-22.csv").write_text(price_rows(1.5, 2.5), encoding="utf-8")
    for key, price in (("acme", 1), ("globex", 3)):
        path = landing_dir / "customers" / f"{key}.csv"
        path.write_text(price_rows(price), encoding="utf-8")
    monthly = project_dir() / "data" / "source" / "monthly" / "2018-01.csv"
    shutil.copy(monthly, landing_dir / "monthly")
    told: list[str] = []
    for _ in range(2):
        for assets, key, tags in (
            ([daily_prices], "2018-01-22", {}),
            ([customer_prices, archived_file], None, range_tags(["acme", "globex"])),
            ([stg_orders, monthly_orders], "2018-01-01", {}),
        ):
            result = dg.materialize(
                assets, instance=instance, resources=resources, partition_key=key, tags=tags
            )
            assert result.success
            events = instance.all_logs(result.run_id)
            told += [str(event.to_json()) for event in events]
    password = str(conninfo_to_dict(postgres_url)["password"])
    assert not [text for text in told if password in text]
    assert any("postgresql://127.0.0.1" in text for text in told)
    assert fetch("SELECT share_price FROM raw_partition_data ORDER BY 1") == [(1.5,), (2.5,)]
    assert fetch("SELECT count(*) FROM file_loads") == [(4,)]
    counted = "SELECT status, count(*) FROM stg_orders GROUP BY 1 ORDER BY 1"
    assert fetch("SELECT status, order_num FROM monthly_orders ORDER BY 1") == fetch(counted)


def test_get_connection_says_what_to_use_instead(
    resources: dict[str, object], postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE", postgres_url)
    warehouse = resources["warehouse"]
    assert isinstance(warehouse, WarehouseResource)
    reason = r"^postgresql://127\.0\.0\.1.* use warehouse\.transaction$"
    with pytest.raises(WarehouseError, match=reason), warehouse.get_connection():
        pass
    with warehouse.transaction("t") as execute:
        assert execute("SELECT $1::int + 1", [1]) == [(2,)]
