"""Remote folders on servers of SFTP and FTP: fetched by several connections, and nothing else."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.errors import SourceError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sources.mirror import Fetched, mirror_source
from support.file_servers import PASSWORD, USER, FileServer, start_ftp_server, start_sftp_server

pytestmark = pytest.mark.scale
SERVERS: dict[str, Callable[[Path], AbstractContextManager[FileServer]]] = {
    "sftp": start_sftp_server,
    "ftp": start_ftp_server,
}
CONTENT = "id,note\n" + "".join(f"{row},x\n" for row in range(50_000))


@pytest.fixture
def landing(tmp_path: Path, no_pauses: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REMOTE_USER", USER)
    monkeypatch.setenv("REMOTE_PASSWORD", PASSWORD)
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FileServer]:
    folder = tmp_path / "there"
    (folder / "out").mkdir(parents=True)
    with SERVERS[request.param](folder) as server:
        yield server


def feed_of(server: FileServer, tmp_path: Path, **source: Any) -> Feed:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"{server.known_hosts}\n", encoding="utf-8")
    declared = {
        "type": "remote_folder",
        "url": f"{server.url}/out",
        "secrets": {"username": "REMOTE_USER", "password": "REMOTE_PASSWORD"},
        "known_hosts": str(known_hosts),
        "unchanged_seconds": 0.1,
        **source,
    }
    values: dict[str, Any] = {
        "name": "days",
        "pattern": "{key}/{date:%Y-%m-%d}.csv",
        "columns": {"id": "BIGINT", "note": "VARCHAR"},
        "on_missing": "remove",
        "key_pattern": r"[\w ]+",
        "source": declared,
    }
    return Feed(**values)


def put(server: FileServer, name: str, content: str = "id,note\n1,x\n") -> None:
    path = server.folder / "out" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def read_all(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*.csv") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def reasons(fetched: Fetched) -> set[str]:
    return {one.reason for one in fetched.failed}


def test_what_is_new_changed_and_gone_follows(
    server: FileServer, landing: Path, tmp_path: Path
) -> None:
    feed = feed_of(server, tmp_path)
    for shop in ("bonn", "köln", "ulm und um ulm"):
        for day in range(1, 21):
            put(server, f"{shop}/2026-11-{day:02}.csv")
    put(server, "bonn/2026-11-21.csv", CONTENT)
    there = read_all(server.folder / "out")
    put(server, "readme.txt")
    put(server, "bonn/2026-11-22.csv.part")
    fetched = mirror_source(feed, landing)
    assert (fetched.failed, len(fetched.landed)) == ([], 61)
    assert read_all(landing / "days") == there
    assert mirror_source(feed, landing).difference.unchanged == 61

    put(server, "bonn/2026-11-01.csv", "id,note\n1,x\n2,changed\n")
    (server.folder / "out" / "bonn" / "2026-11-02.csv").unlink()
    fetched = mirror_source(feed, landing)
    assert fetched.landed == ["bonn/2026-11-01.csv"]
    assert fetched.removed == ["bonn/2026-11-02.csv"]
    assert read_all(landing / "days").keys() == read_all(server.folder / "out").keys()


def test_a_file_of_the_same_length_that_changed_is_fetched_again(
    server: FileServer, landing: Path, tmp_path: Path
) -> None:
    feed = feed_of(server, tmp_path)
    put(server, "bonn/2026-11-01.csv")
    mirror_source(feed, landing)
    put(server, "bonn/2026-11-01.csv", "id,note\n1,y\n")
    later = time.time() + 10
    os.utime(server.folder / "out" / "bonn" / "2026-11-01.csv", (later, later))
    assert mirror_source(feed, landing).landed == ["bonn/2026-11-01.csv"]


def test_a_wrong_password_is_told_without_it(
    server: FileServer, landing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMOTE_PASSWORD", "wr0ng")
    with pytest.raises(SourceError, match="check the secrets") as caught:
        mirror_source(feed_of(server, tmp_path), landing)
    assert "wr0ng" not in str(caught.value)


def test_a_folder_that_is_not_there_removes_nothing(
    server: FileServer, landing: Path, tmp_path: Path
) -> None:
    put(server, "bonn/2026-11-01.csv")
    feed = feed_of(server, tmp_path)
    mirror_source(feed, landing)
    (server.folder / "out").rename(server.folder / "away")
    with pytest.raises(SourceError):
        mirror_source(feed, landing)
    assert [*read_all(landing / "days")] == ["bonn/2026-11-01.csv"]


def test_a_file_that_is_too_long_or_a_link_does_not_land(
    server: FileServer, landing: Path, tmp_path: Path
) -> None:
    put(server, "bonn/2026-11-01.csv", CONTENT)
    put(server, "bonn/2026-11-02.csv")
    (server.folder / "out" / "bonn" / "2026-11-03.csv").symlink_to("/etc/hostname")
    fetched = mirror_source(feed_of(server, tmp_path, max_file_bytes=1000), landing)
    assert "bonn/2026-11-02.csv" in fetched.landed
    assert "is longer than 1,000 bytes: raise max_file_bytes if it may be" in reasons(fetched)
    assert "bonn/2026-11-03.csv" not in read_all(landing / "days")


def test_a_file_that_changes_while_it_is_read_does_not_land_half(
    server: FileServer, landing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(server, "bonn/2026-11-01.csv", CONTENT)

    def write_on(name: str) -> None:
        if name == failpoints.MID_FETCH:
            put(server, "bonn/2026-11-01.csv", f"{CONTENT}1,more\n")

    monkeypatch.setattr(failpoints, "listener", write_on)
    fetched = mirror_source(feed_of(server, tmp_path), landing)
    assert reasons(fetched) == {"changed since it was listed: a later look fetches it"}
    assert read_all(landing) == {}
    monkeypatch.setattr(failpoints, "listener", None)
    mirror_source(feed_of(server, tmp_path), landing)
    assert read_all(landing / "days") == read_all(server.folder / "out")


def test_a_host_of_sftp_that_is_not_known_gets_no_password(landing: Path, tmp_path: Path) -> None:
    (tmp_path / "there" / "out").mkdir(parents=True)
    with start_sftp_server(tmp_path / "there") as server:
        feed = feed_of(server._replace(known_hosts=""), tmp_path)
        with pytest.raises(SourceError, match="the key of host"):
            mirror_source(feed, landing)
        with start_sftp_server(tmp_path / "there") as other:
            key = other.known_hosts.partition(" ")[2]
            name = server.known_hosts.partition(" ")[0]
            feed = feed_of(server._replace(known_hosts=f"{name} {key}"), tmp_path)
            with pytest.raises(SourceError, match="the key of host"):
                mirror_source(feed, landing)
