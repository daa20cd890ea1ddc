"""A bucket's prefix for each of these tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bucket_bench import BucketBench
from support.faulty_proxy import FaultyProxy, run_proxy
from support.s3_server import S3Server
from support.workbench import Workbench

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is below this folder: it belongs to `make test-scale`."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.scale)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """A landing directory and a database that nobody else uses."""
    bench = Workbench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def bucket(s3_server: S3Server, bench: Workbench, bucket_url: str) -> BucketBench:
    """A prefix that nobody else uses, which this process reaches by its environment."""
    _, _, name, prefix = bucket_url.split("/", 3)
    return BucketBench(bench, s3_server.endpoint, name, prefix, bench.root / "staging")


@pytest.fixture
def proxy(bucket: BucketBench, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A proxy through which this process reaches the bucket."""
    with run_proxy(bucket.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy
