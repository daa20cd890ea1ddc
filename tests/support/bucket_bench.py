"""Bucket bench: a workbench whose files land in a bucket of the tests' S3 server."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.store import S3Store

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import LandedFile, Landing
from partitioned_etl.engine.landing.registry import connect_landing
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.outcomes import Outcome
from partitioned_etl.engine.sync import SyncReport, sync_feed
from partitioned_etl.engine.warehouse.duckdb_file import DuckDBFile
from support.s3_server import WRITER

if TYPE_CHECKING:
    from support.workbench import Workbench


@dataclass
class BucketBench:
    """A prefix of a bucket, and a database.

    Attributes:
        bench: The workbench with the database.
        endpoint: The server that objects are put to; the landing takes its own from the
            environment.
        bucket: The bucket.
        prefix: The prefix.
        staging_dir: Where copies are made.
    """

    bench: "Workbench"
    endpoint: str
    bucket: str
    prefix: str
    staging_dir: Path

    @cached_property
    def store(self) -> S3Store:
        """The bucket; it is connected where it is first used, so that a fork has its own."""
        key, secret = WRITER
        return S3Store(
            self.bucket,
            endpoint=self.endpoint,
            access_key_id=key,
            secret_access_key=secret,
            region="us-east-1",
            client_options={"allow_http": True},
        )

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def address(self) -> str:
        return self.url

    @property
    def landing(self) -> Landing:
        return connect_landing(self.url, 2)

    def key(self, feed: Feed, name: str) -> str:
        return f"{self.prefix}/{feed.folder}/{name}"

    def put(self, feed: Feed, name: str, content: str | bytes) -> None:
        """Write an object."""
        data = content if isinstance(content, bytes) else content.encode()
        obstore.put(self.store, self.key(feed, name), data, use_multipart=False)

    def put_all(self, feed: Feed, contents: dict[str, str]) -> None:
        """Write many objects."""
        with ThreadPoolExecutor(16) as pool:
            for _ in pool.map(lambda one: self.put(feed, *one), contents.items()):
                pass

    def delete(self, feed: Feed, name: str) -> None:
        """Delete an object."""
        obstore.delete(self.store, self.key(feed, name))

    def touch(self, feed: Feed, name: str) -> None:
        """Write an object's bytes until its version is new: the store tells whole seconds."""
        content = bytes(obstore.get(self.store, self.key(feed, name)).bytes())
        before = self.landing.list_files(feed).files[name].version
        while self.landing.list_files(feed).files[name].version == before:
            self.put(feed, name, content)

    def list_files(self, feed: Feed) -> list[LandedFile]:
        return list(self.landing.list_files(feed).files.values())

    def load(self, feed: Feed, files: Sequence[LandedFile] | None = None) -> dict[str, Outcome]:
        """Load files, by default all that lie there, and give the outcome per file."""
        wanted, landing = self.list_files(feed) if files is None else files, self.landing
        with DuckDBFile(self.bench.database, 0).open(landing.readable_dir) as opened:
            outcomes = load_files(opened.table(feed), landing, wanted)
        return {outcome.file.name: outcome for outcome in outcomes}

    def sync(self, feed: Feed) -> SyncReport:
        return sync_feed(feed, self.url, self.bench.database, lock_wait_seconds=0)

    def staged(self) -> list[Path]:
        """What lies in the folder of the copies."""
        return sorted(self.staging_dir.rglob("*")) if self.staging_dir.exists() else []
