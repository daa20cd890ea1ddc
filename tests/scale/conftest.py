"""What these tests share: servers of their own, and a bench of each landing and each warehouse."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.benches import KINDS, make_bench
from support.bucket_bench import BucketBench
from support.postgres_server import PostgresServer, require_postgres, run_postgres
from support.s3_server import BUCKET, S3Server, environment_of, require_weed
from support.workbench import Workbench

if TYPE_CHECKING:
    from support.postgres_bench import PostgresBench


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this process's tests."""
    require_postgres()
    with run_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def durable_server() -> Iterator[PostgresServer]:
    """A server that writes as those of companies do, and may be killed."""
    require_postgres()
    with run_postgres(fsync="on") as server:
        yield server


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> str:
    """The address of a database that nobody else uses, on the durable server for who uses that."""
    is_durable = "durable_server" in request.fixturenames
    server = request.getfixturevalue("durable_server" if is_durable else "postgres_server")
    return server.make_database()


@pytest.fixture
def postgres_bench(tmp_path: Path, postgres_url: str) -> "PostgresBench":
    """A landing directory and a PostgreSQL database."""
    from support.postgres_bench import PostgresBench

    return PostgresBench(tmp_path, url=postgres_url, lock_wait_seconds=60)


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
def bucket_url(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A prefix that nobody else uses, which this process reaches by its environment alone."""
    for name in os.environ:
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            monkeypatch.delenv(name)
    for name, value in environment_of(s3_server.endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STAGING_DIR", str(tmp_path / "staging"))
    return f"s3://{BUCKET}/in/{uuid4().hex}"


@pytest.fixture
def lake_url(postgres_url: str, tmp_path: Path) -> str:
    """The address of a lake in a folder."""
    return f"ducklake:postgres:{postgres_url}#{tmp_path / 'lake'}"


ADDRESSES = {"s3": "bucket_url", "postgres": "postgres_url", "ducklake": "lake_url"}
"""The fixtures that give an address to what is not in the test's folder."""


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workbench]:
    """A bench of each landing with each warehouse; a test may ask for some of them alone."""
    landing, warehouse = (
        request.getfixturevalue(ADDRESSES[name]) if name in ADDRESSES else ""
        for name in request.param.split("-")
    )
    made = make_bench(tmp_path, landing, warehouse, lock_wait_seconds=60)
    yield made
    made.close()
    if isinstance(made.place, BucketBench):
        assert made.place.staged() == [], "a copy of an object stays behind"
