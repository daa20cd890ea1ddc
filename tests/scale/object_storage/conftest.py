"""What the tests of object storage share: a bucket's prefix for each of them."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from support.bucket_bench import BucketBench
from support.faulty_proxy import FaultyProxy, run_proxy
from support.s3_server import BUCKET, S3Server, environment_of
from support.workbench import Workbench

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is below this folder: it belongs to `make test-scale`."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.scale)


@pytest.fixture
def _reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own environment says how a store is reached."""
    for name in os.environ:
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("STAGING_DIR", str(tmp_path / "staging"))


@pytest.fixture
def bucket(
    s3_server: S3Server, bench: Workbench, _reached: None, monkeypatch: pytest.MonkeyPatch
) -> BucketBench:
    """A prefix that nobody else uses, which this process reaches by its environment."""
    for name, value in environment_of(s3_server.endpoint).items():
        monkeypatch.setenv(name, value)
    prefix = f"in/{uuid4().hex}"
    return BucketBench(bench, s3_server.endpoint, BUCKET, prefix, bench.root / "staging")


@pytest.fixture
def proxy(bucket: BucketBench, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A proxy through which this process reaches the bucket."""
    with run_proxy(bucket.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy
