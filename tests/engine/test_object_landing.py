"""A bucket as a landing, as far as it needs no server: `tests/scale` has the rest."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import obstore
import pytest
from obstore.store import MemoryStore

from partitioned_etl.engine import survey
from partitioned_etl.engine.errors import FeedDefinitionError, LandedFileError, SettingError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing import bucket as bucket_module
from partitioned_etl.engine.landing import copies
from partitioned_etl.engine.landing.bucket import Bucket, connect_bucket
from partitioned_etl.engine.landing.landing import LandedFile, hash_content, list_changed
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.landing.object_store import ObjectLanding
from partitioned_etl.engine.landing.registry import connect_landing
from partitioned_etl.engine.landing.store_errors import explain
from partitioned_etl.engine.landing_address import parse_address
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.load_folder import load_folder
from partitioned_etl.engine.outcomes import Outcome, OutcomeStatus
from partitioned_etl.engine.overlap import folder_of, may_share_files
from partitioned_etl.engine.project import project_dir
from partitioned_etl.engine.replace import Candidate
from partitioned_etl.engine.settings import Settings
from support.odd_names import CASES, OddNames, content_of, make_files, tell
from support.workbench import NOTES, Child, Workbench, change_feed, loaded_numbers


class MemoryBucket:
    """A bucket in memory, and a landing in it."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self.landing = ObjectLanding(Bucket("s3://bucket", self.store), "in/", folder / "staging")

    def put(self, name: str, content: bytes = b"id,note\n1,x\n") -> None:
        obstore.put(self.store, f"in/notes/{name}", content)

    def list_files(self) -> list[LandedFile]:
        return list(self.landing.list_files(NOTES).files.values())


@pytest.fixture
def memory(tmp_path: Path) -> MemoryBucket:
    return MemoryBucket(tmp_path)


def load(bench: Workbench, memory: MemoryBucket, files: list[LandedFile]) -> dict[str, Outcome]:
    with bench.open() as opened:
        pass
    bench.close()
    with bench.warehouse.open(memory.landing.readable_dir) as opened:
        outcomes = load_files(opened.table(NOTES), memory.landing, files)
    return {outcome.file.name: outcome for outcome in outcomes}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_bucket_is_listed_as_a_folder_with_the_same_names(
    tmp_path: Path, memory: MemoryBucket, case: OddNames
) -> None:
    folder = tmp_path / "landing" / case.feed.folder
    make_files(folder, case.names)
    if len([path for path in folder.rglob("*") if path.is_file()]) < len(case.names):
        pytest.skip("this file system does not tell these names apart")
    for name in case.names:
        obstore.put(memory.store, f"in/{case.feed.folder}/{name}", content_of(name))
    told = tell(LocalLanding(tmp_path / "landing", 0), case.feed)
    assert tell(memory.landing, case.feed) == told
    assert any(told.values())


def test_objects_of_other_prefixes_are_not_listed(memory: MemoryBucket) -> None:
    memory.put("a.csv")
    for key in ("in/notes-b/b.csv", "in/notes", "in/b.csv", "other/notes/c.csv"):
        obstore.put(memory.store, key, b"id,note\n")
    assert [file.name for file in memory.list_files()] == ["a.csv"]


def test_a_bucket_without_a_prefix_is_listed(tmp_path: Path) -> None:
    store = MemoryStore()
    obstore.put(store, "notes/a.csv", b"id,note\n1,x\n")
    obstore.put(store, "b.csv", b"id,note\n1,x\n")
    landing = ObjectLanding(Bucket("s3://bucket", store), "", tmp_path)
    assert list(landing.list_files(NOTES).files) == ["a.csv"]
    assert landing.describe(NOTES) == "s3://bucket/notes/"
    assert list(landing.list_files(change_feed(NOTES, folder=".")).files) == ["b.csv"]


def test_a_folder_cannot_lead_out_of_the_landing(memory: MemoryBucket) -> None:
    for folder in ("..", "../other", "/other", "a/../../b"):
        with pytest.raises(LandedFileError, match="leads out of the landing"):
            memory.landing.list_files(change_feed(NOTES, folder=folder))


def test_a_landed_object_has_key_version_and_address(memory: MemoryBucket) -> None:
    memory.put("a.csv", b"12345")
    (file,) = memory.list_files()
    found = memory.landing.bucket.find("in/notes/a.csv")
    assert found is not None
    assert (file.partition_key, file.name, file.size_bytes) == ("a", "a.csv", 5)
    assert file.version == f"5-{found.etag}-{int(found.modified.timestamp())}"
    assert found.etag
    assert file.landed_ns == round(found.modified.timestamp() * 1e6) * 1000
    assert file.uri == "s3://bucket/in/notes/a.csv"
    assert memory.landing.settle_seconds == 0
    assert file.is_settled(0)


def test_a_prefix_without_objects_says_so(memory: MemoryBucket) -> None:
    listing = memory.landing.list_files(NOTES)
    assert [(one.name, one.reason) for one in listing.ignored] == [
        ("s3://bucket/in/notes/", "no object lies there")
    ]


def test_objects_are_loaded_exactly_and_no_copy_is_left(
    bench: Workbench, memory: MemoryBucket
) -> None:
    names = ("a.csv", "a[1].csv", f"{'long' * 100}.csv")
    for number, name in enumerate(names):
        memory.put(name, f"id,note\n{number},x\n".encode())
    outcomes = load(bench, memory, memory.list_files())
    assert {name: outcome.status for name, outcome in outcomes.items()} == dict.fromkeys(
        names, OutcomeStatus.LOADED
    )
    assert loaded_numbers(bench) == {
        name.removesuffix(".csv"): [number] for number, name in enumerate(names)
    }
    assert list(memory.landing.staging_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda memory: memory.put("b.csv", b"id,note\n7,y\n"),
            "b.csv: changed while it was read; it will be read again",
        ),
        (
            lambda memory: obstore.delete(memory.store, "in/notes/b.csv"),
            "b.csv: is gone since it was listed",
        ),
    ],
    ids=["replaced", "deleted"],
)
def test_an_object_that_is_not_as_listed_costs_itself_alone(
    bench: Workbench, memory: MemoryBucket, change: Callable[[MemoryBucket], Any], reason: str
) -> None:
    for number, name in enumerate("abc"):
        memory.put(f"{name}.csv", f"id,note\n{number},x\n".encode())
    files = memory.list_files()
    change(memory)
    outcomes = load(bench, memory, files)
    assert outcomes["b.csv"].status is OutcomeStatus.CHANGED
    assert outcomes["b.csv"].reason == reason
    assert loaded_numbers(bench) == {"a": [0], "c": [2]}


def test_changed_objects_are_found_at_once(memory: MemoryBucket) -> None:
    for name in "abcd":
        memory.put(f"{name}.csv")
    files = memory.list_files()
    memory.put("b.csv", b"id,note\n2,x\n")
    obstore.delete(memory.store, "in/notes/d.csv")
    assert [file.name for file in list_changed(files)] == ["b.csv", "d.csv"]
    assert [file.has_changed for file in files] == [False, True, False, True]


def test_the_content_of_an_object_is_hashed_only_in_its_version(memory: MemoryBucket) -> None:
    memory.put("a.csv", b"abc")
    (file,) = memory.list_files()
    assert hash_content(file) == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    memory.put("a.csv", b"abd")
    with pytest.raises(LandedFileError, match=r"a\.csv: changed since it was listed"):
        hash_content(file)
    obstore.delete(memory.store, "in/notes/a.csv")
    with pytest.raises(LandedFileError, match=r"a\.csv: is gone since it was listed"):
        hash_content(file)


def test_a_large_object_is_read_in_parts(
    memory: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * 40
    memory.put("a.csv", content)
    (file,) = memory.list_files()
    monkeypatch.setattr(bucket_module, "PART_BYTES", 1000)
    asked: list[Any] = []
    get = obstore.get
    monkeypatch.setattr(
        obstore,
        "get",
        lambda *given, **named: asked.append(named["options"]) or get(*given, **named),
    )
    with file.open() as handle:
        assert handle.read() == content
    assert [options["range"] for options in asked] == [
        (start, min(start + 1000, len(content))) for start in range(0, len(content), 1000)
    ]
    assert all(options["if_match"] for options in asked)


def test_an_object_that_is_not_staged_has_no_path(memory: MemoryBucket) -> None:
    memory.put("a.csv")
    (file,) = memory.list_files()
    with pytest.raises(LandedFileError, match="was not staged"):
        _ = file.path


def test_a_copy_has_the_path_and_the_bytes_of_its_version(memory: MemoryBucket) -> None:
    memory.put("a.csv", b"id,note\n1,x\n")
    files = memory.list_files()
    with memory.landing.stage(files) as (staged,):
        assert staged.path.is_relative_to(memory.landing.readable_dir)
        memory.put("a.csv", b"id,note\n2,y\n")
        with staged.open() as handle:
            assert handle.read() == b"id,note\n1,x\n"
        assert staged.uri == "s3://bucket/in/notes/a.csv"
        assert staged.has_changed
        path = staged.path
    assert not path.exists()


def test_a_full_disk_costs_files_and_not_the_load(
    bench: Workbench, memory: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put("a.csv")
    memory.put("b.csv")

    files, read = memory.list_files(), Bucket.read

    def fail_for_one(bucket: Bucket, key: str, *given: Any) -> Iterator[memoryview]:
        if "b.csv" in key:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return read(bucket, key, *given)

    monkeypatch.setattr(Bucket, "read", fail_for_one)
    outcomes = load(bench, memory, files)
    assert "cannot be copied" in outcomes["b.csv"].reason
    assert "No space left on device" in outcomes["b.csv"].reason
    assert loaded_numbers(bench) == {"a": [1]}


def test_a_file_is_surveyed_while_others_are_on_their_way(
    bench: Workbench, memory: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.csv", "b.csv"):
        memory.put(name)
    is_surveyed, read, survey_one = Event(), Bucket.read, survey._survey

    def read_late(bucket: Bucket, key: str, *given: Any) -> Iterator[memoryview]:
        if "b.csv" in key:
            assert is_surveyed.wait(60)
        return read(bucket, key, *given)

    def note(feed: Feed, file: LandedFile, *given: Any) -> Candidate:
        candidate = survey_one(feed, file, *given)
        is_surveyed.set()
        return candidate

    monkeypatch.setattr(Bucket, "read", read_late)
    monkeypatch.setattr(survey, "_survey", note)
    load(bench, memory, memory.list_files())
    assert loaded_numbers(bench) == {"a": [1], "b": [1]}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let each part of a copy be of a few bytes; gives how many."""
    for module in (copies, bucket_module):
        monkeypatch.setattr(module, "PART_BYTES", 7)
    return 7


def test_a_copy_can_be_read_anywhere_while_it_arrives(
    memory: MemoryBucket, monkeypatch: pytest.MonkeyPatch, small_parts: int
) -> None:
    content = bytes(range(50))
    memory.put("a.csv", content)
    (listed,) = memory.list_files()
    may_go_on, read = Event(), Bucket.read

    def read_late(
        bucket: Bucket, key: str, version: str, start: int = 0, *given: Any
    ) -> Iterator[memoryview]:
        if start:
            assert may_go_on.wait(60)
        return read(bucket, key, version, start, *given)

    monkeypatch.setattr(Bucket, "read", read_late)
    with memory.landing.stage([listed]) as (staged,):
        assert staged.missing_bytes
        with staged.open() as handle:
            assert handle.read(small_parts - 1) == content[: small_parts - 1]
            assert staged.missing_bytes
            assert handle.seek(-3, os.SEEK_END) == len(content) - 3
            may_go_on.set()
            assert handle.read() == content[-3:]
            assert handle.read(1) == b""
            assert handle.seek(5) == 5
            assert handle.read(20) == content[5:25]
            assert handle.seek(-2, os.SEEK_CUR) == handle.tell() == 23
            assert handle.read() == content[23:]
        assert staged.path.read_bytes() == content
        assert not staged.missing_bytes
        assert hash_content(staged) == hash_content(listed)


@pytest.mark.usefixtures("small_parts")
def test_an_object_that_fails_midway_is_not_read_as_a_shorter_one(
    bench: Workbench, memory: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put("a.csv", b"id,note\n1,x\n2,y\n3,z\n")
    memory.put("b.csv")
    files, read = memory.list_files(), Bucket.read

    def fail_late(bucket: Bucket, key: str, version: str, start: int, stop: int) -> Any:
        if "a.csv" in key and start == 14:
            raise LandedFileError("the store says no")
        return read(bucket, key, version, start, stop)

    monkeypatch.setattr(Bucket, "read", fail_late)
    outcomes = load(bench, memory, files)
    assert "the store says no" in outcomes["a.csv"].reason
    assert loaded_numbers(bench) == {"b": [1]}


@pytest.mark.parametrize("between", [0, 3, 100], ids=["side by side", "apart", "far apart"])
def test_many_objects_are_looked_at_by_listing_where_they_lie_close_together(
    memory: MemoryBucket, monkeypatch: pytest.MonkeyPatch, between: int
) -> None:
    names = [f"{folder}/{number:03}.csv" for folder in "ab" for number in range(40)]
    for name in names:
        memory.put(name)
        for number in range(between):
            memory.put(f"{name}-{number:03}")
    feed = change_feed(NOTES, pattern="{key}/{part}.csv")
    listed = list(memory.landing.list_files(feed).files.values())
    assert sorted(file.name for file in listed) == names
    assert list_changed(listed) == []
    looked_at, find = list[str](), Bucket.find

    def count(bucket: Bucket, key: str) -> Any:
        looked_at.append(key)
        return find(bucket, key)

    monkeypatch.setattr(Bucket, "find", count)
    memory.put("a/007.csv", b"id,note\n2,y\n")
    obstore.delete(memory.store, "in/notes/a/000.csv")
    obstore.delete(memory.store, "in/notes/b/039.csv")
    changed = {file.name for file in list_changed(listed)}
    assert changed == {"a/000.csv", "a/007.csv", "b/039.csv"}
    assert (len(looked_at) > 3) == (between == 100)


def test_folders_of_dead_loads_are_cleared_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    root = tmp_path / "staging"
    with load_folder(root) as living:
        (living / "copy").write_bytes(b"1")
        dead = root / "load-dead"
        dead.mkdir()
        (dead / "copy").write_bytes(b"2")
        (root / "of somebody else").mkdir()
        with load_folder(root) as other:
            assert sorted(root.iterdir()) == sorted([living, other, root / "of somebody else"])
        assert (living / "copy").read_bytes() == b"1"
    assert [path.name for path in root.iterdir()] == ["of somebody else"]


HOLD_A_FOLDER = """
from partitioned_etl.engine.load_folder import load_folder
with load_folder(bench.root / "staging") as folder:
    (folder / "copy").touch()
    pause("staged")
"""


def test_what_a_killed_process_staged_is_cleared_by_the_next_load(
    bench: Workbench, start_child: Callable[[str], Child]
) -> None:
    root = bench.root / "staging"
    child = start_child(HOLD_A_FOLDER)
    child.wait_for("staged")
    [left] = root.iterdir()
    with load_folder(root):
        assert (left / "copy").exists()
    child.kill()
    assert (left / "copy").exists()
    with load_folder(root):
        assert not left.exists()
    assert list(root.iterdir()) == []


def test_a_staging_folder_that_cannot_be_made_is_an_error_with_a_reason(
    tmp_path: Path, memory: MemoryBucket
) -> None:
    (tmp_path / "file").write_bytes(b"")
    memory.put("a.csv")
    landing = replace(memory.landing, staging_dir=tmp_path / "file" / "staging")
    with (
        pytest.raises(LandedFileError, match=r"nothing can be staged in .*: Not a directory"),
        landing.stage(memory.list_files()),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("data/source", Path("data/source")),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a/b c/", "s3://bucket/a/b c"),
        ("gs://bucket/a", "gs://bucket/a"),
        ("az://container/a", "az://container/a"),
    ],
)
def test_an_address_is_a_path_or_a_url(text: str, address: Path | str) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ftp://host/a", "must be a folder, or begin with one of s3://, gs://, az://"),
        ("S3://bucket", "must be a folder, or begin with one of s3://"),
        ("s3://", "has no bucket"),
        ("s3://key:hush@bucket/a", "credentials and endpoint are variables of their own"),
        ("s3://bucket/a?sig=hush", "credentials and endpoint are variables of their own"),
        ("s3://bucket/a//b", "must not have an empty part"),
        ("s3://bucket/../b", "must not have an empty part"),
        ("s3://bucket/a\\b", "a backslash"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(
    monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    monkeypatch.setenv("LANDING_DIR", text)
    for refusing in (
        Settings,
        lambda: change_feed(NOTES, landing=text),
        lambda: connect_landing(text, 0),
    ):
        with pytest.raises((SettingError, FeedDefinitionError)) as caught:
            refusing()
        assert reason in str(caught.value)
        assert "hush" not in str(caught.value)


def test_the_setting_takes_a_folder_or_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDING_DIR", "some/folder")
    assert Settings().landing_dir == project_dir() / "some/folder"
    monkeypatch.setenv("LANDING_DIR", "s3://bucket/a/")
    assert Settings().landing_dir == "s3://bucket/a"
    landing = connect_landing(Settings().landing_dir, 2)
    assert landing.describe(NOTES) == "s3://bucket/a/notes/"


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket_module._connect.cache_clear()
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(LandedFileError, match=r"pip install 'partitioned-etl\[object-storage\]'"):
        connect_landing("s3://bucket/a", 0)


def test_a_connection_is_kept_for_as_long_as_the_environment_says_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    first = connect_bucket("s3://bucket")
    assert connect_bucket("s3://bucket") is first
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "two")
    assert connect_bucket("s3://bucket") is not first


def test_a_staging_folder_that_duckdb_cannot_read_in_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGING_DIR", str(tmp_path / "a[1]"))
    with pytest.raises(SettingError, match="setting STAGING_DIR: DuckDB takes a character"):
        connect_landing("s3://bucket", 0)


def test_feeds_with_different_landings_share_no_file() -> None:
    here = change_feed(NOTES, landing="s3://bucket/a")
    assert may_share_files(NOTES, change_feed(NOTES, name="other", table="other"))
    assert not may_share_files(NOTES, here)
    assert not may_share_files(here, change_feed(NOTES, landing="s3://bucket/b"))
    assert folder_of(here) == "s3://bucket/a/notes/"
    assert here.claims["folder and pattern"] == "s3://bucket/a/notes/{key}.csv"


SECRETS = "https://host/bucket?sig=hush <AWSAccessKeyId>hush</AWSAccessKeyId> Bearer hush"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("status code: 403 Forbidden: <Code>SignatureDoesNotMatch</Code>", "403 SignatureDoes"),
        ("status code: 401 Unauthorized", "the store denies access (401)"),
        ("status code: 404 Not Found: <Code>NoSuchBucket</Code>", "there is no such bucket"),
        ("status code: 503 Slow Down: <Code>SlowDown</Code>", "the store answers 503 SlowDown"),
        ("status code: 301 Moved Permanently", "check the region"),
        ("kind: Connect", "cannot be reached"),
        ("kind: Timeout", "did not answer within 30 s"),
        ("kind: Body", "ended early"),
        ("MissingAccessKeyId", "no credentials were found"),
        ("PUT http://169.254.169.254/latest/api/token", "no credentials were found"),
        ("whatever", "the store failed (ValueError)"),
    ],
)
def test_a_stores_error_becomes_a_sentence_without_its_text(text: str, reason: str) -> None:
    told = explain(ValueError(f"{text} {SECRETS}"))
    assert reason in told
    assert "hush" not in told
    assert "\n" not in told
