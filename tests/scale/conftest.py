"""What the tests share: servers of their own, and a PostgreSQL database for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.postgres_server import PostgresServer, require_postgres, run_postgres
from support.s3_server import BUCKET, S3Server, require_weed
from support.workbench import Workbench


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this process's tests."""
    require_postgres()
    with run_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """SeaweedFS with a bucket."""
    require_weed()
    server = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        server.make_bucket(BUCKET)
        yield server
    finally:
        server.stop()


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
