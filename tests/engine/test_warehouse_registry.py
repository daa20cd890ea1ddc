"""Which warehouse a path or an address stands for, without a server."""

import sys
from pathlib import Path

import pytest

from partitioned_etl.engine.errors import WarehouseError
from partitioned_etl.engine.warehouse.duckdb_file import DuckDBFile
from partitioned_etl.engine.warehouse.registry import connect_warehouse, has_one_writer


@pytest.mark.parametrize(
    "database",
    [Path("/db/x.duckdb"), "/db/x.duckdb", "duckdb:/db/x.duckdb"],
    ids=["path", "text", "address"],
)
def test_a_path_is_a_duckdb_file_which_has_one_writer(database: Path | str) -> None:
    assert connect_warehouse(database, 3, "1GB") == DuckDBFile(Path("/db/x.duckdb"), 3, "1GB")
    assert has_one_writer(database)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://etl:correct%20horse@db.example/prices", "postgresql://db.example/prices"),
        ("postgres://etl:correct%20horse@db.example:6432/a", "postgresql://db.example:6432/a"),
        (
            "postgresql://db.example/a?user=etl&password=correct%20horse",
            "postgresql://db.example/a",
        ),
        (
            "postgresql://u:correct%20horse@a:1,b:2/c?options=-csearch_path%3Dx",
            "postgresql://a:1,b:2/c",
        ),
        ("postgresql:///a?host=/run/sock&password=correct%20horse", "postgresql://%2Frun%2Fsock/a"),
    ],
)
def test_an_address_is_shown_without_user_and_password(url: str, shown: str) -> None:
    warehouse = connect_warehouse(url)
    assert (warehouse.address, warehouse.name) == (shown, shown)
    assert "horse" not in repr(warehouse)
    assert not has_one_writer(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://etl:p4ss/w0rd@db.example/a",
        "postgresql://etl:x@p4ssw0rd@db.example/a",
        "postgresql://etl:x?p4ssw0rd@db.example/a",
        "postgresql://db.example:p4ss",
        "postgresql://a?password=p4ss/w0rd&nonsense=1",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_a_part_of_it(url: str) -> None:
    with pytest.raises(WarehouseError, match="none that libpq can read") as failed:
        connect_warehouse(url)
    assert "p4ss" not in str(failed.value)


def test_without_psycopg_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if ".warehouse.postgres" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(WarehouseError, match=r"pip install 'partitioned-etl\[postgres\]'"):
        connect_warehouse("postgresql://db.example/a")


def test_a_server_that_is_not_there_is_an_error_without_the_password(tmp_path: Path) -> None:
    warehouse = connect_warehouse("postgresql://etl:p4ssw0rd@127.0.0.1:1/a")
    with pytest.raises(WarehouseError, match="cannot connect to postgresql://127") as failed:
        warehouse.exists()
    assert "p4ssw0rd" not in str(failed.value)
    assert "etl" not in str(failed.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "ducklake:postgres:postgresql://etl:correct%20horse@db/a#s3://bucket/x",
            "ducklake:postgresql://db/a#s3://bucket/x/",
        ),
        (
            "ducklake:postgres:host=db dbname=a password=horse#/data/lake/",
            "ducklake:postgresql://db/a#/data/lake/",
        ),
    ],
)
def test_the_address_of_a_lake_is_shown_without_password(url: str, shown: str) -> None:
    warehouse = connect_warehouse(url)
    assert (warehouse.address, warehouse.name) == (shown, shown)
    assert "horse" not in repr(warehouse)
    assert not has_one_writer(url)


@pytest.mark.parametrize("rest", ["", "postgresql://db/a", "postgresql://db/a#data", "#/data"])
def test_the_address_of_a_lake_says_where_catalog_and_data_are(rest: str) -> None:
    with pytest.raises(WarehouseError, match="must be ducklake:postgres:CATALOG#DATA"):
        connect_warehouse(f"ducklake:postgres:{rest}")


def test_a_lake_without_its_extensions_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from partitioned_etl.engine.warehouse import ducklake_session

    monkeypatch.setattr(ducklake_session, "find_spec", lambda _: None)
    with pytest.raises(WarehouseError, match=r"pip install duckdb==1\.5\.5 duckdb-extension"):
        ducklake_session._find_extension("ducklake")
