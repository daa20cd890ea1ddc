"""What these tests share: servers of their own, and a bench of each landing and each warehouse."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.benches import make_bench
from support.bucket_bench import BucketBench
from support.postgres_server import PostgresServer, require_postgres, run_postgres
from support.s3_server import S3Server, environment_of, find_weed
from support.workbench import Workbench

if TYPE_CHECKING:
    from support.postgres_bench import PostgresBench

BUCKET = "landing"


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
def postgres_url(postgres_server: PostgresServer) -> str:
    """The address of a database that nobody else uses."""
    return postgres_server.make_database()


@pytest.fixture
def postgres_bench(tmp_path: Path, postgres_url: str) -> "PostgresBench":
    """A landing directory and a PostgreSQL database."""
    from support.postgres_bench import PostgresBench

    return PostgresBench(tmp_path, url=postgres_url, lock_wait_seconds=60)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """SeaweedFS with a bucket."""
    if not find_weed():
        reason = "SeaweedFS is not installed: make test-scale installs it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
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


LANDINGS: dict[str, Callable[[pytest.FixtureRequest], str]] = {
    "folder": lambda _: "",
    "s3": lambda request: request.getfixturevalue("bucket_url"),
}
WAREHOUSES: dict[str, Callable[[pytest.FixtureRequest], str]] = {
    "duckdb": lambda _: "",
    "postgres": lambda request: request.getfixturevalue("postgres_url"),
}
"""The addresses that `make_bench` takes; with another line, all tests have another warehouse."""


KINDS = [f"{landing}-{warehouse}" for landing in LANDINGS for warehouse in WAREHOUSES]


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workbench]:
    """A bench of each landing with each warehouse; a test may ask for some of them alone."""
    landing, warehouse = request.param.split("-")
    addresses = LANDINGS[landing](request), WAREHOUSES[warehouse](request)
    made = make_bench(tmp_path, *addresses, lock_wait_seconds=60)
    yield made
    made.close()
    if isinstance(made.place, BucketBench):
        assert made.place.staged() == [], "a copy of an object stays behind"
