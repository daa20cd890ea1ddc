"""What the tests of PostgreSQL share: a server of their own, and a database for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.postgres_server import PostgresServer, require_postgres, run_postgres
from support.workbench import Workbench


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this process's tests."""
    require_postgres()
    with run_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The address of a database that nobody else uses."""
    return postgres_server.make_database()


@pytest.fixture
def postgres_bench(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A landing directory and a PostgreSQL database; so is the bench of the processes it starts."""
    from support.postgres_bench import PostgresBench

    monkeypatch.setenv("BENCH_URL", postgres_url)
    return PostgresBench(tmp_path, url=postgres_url)


@pytest.fixture
def ducklake_bench(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A landing directory and a lake in a folder; so is the bench of the processes it starts."""
    from support.ducklake_bench import DuckLakeBench

    url = f"ducklake:postgres:{postgres_url}#{tmp_path / 'lake'}"
    monkeypatch.setenv("BENCH_URL", url)
    return DuckLakeBench(tmp_path, url=url)
