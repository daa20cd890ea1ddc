"""Files that are fetched: what is new, changed and gone at a source, and what is asked for it."""

import sys
from pathlib import Path
from typing import Any

import pytest

from partitioned_etl.engine.errors import FeedDefinitionError, SourceError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sources import retries
from partitioned_etl.engine.sources.mirror import Fetched, look_at_source, mirror_source
from partitioned_etl.engine.sources.source import Source
from support.remote_server import PAGE, RemoteServer, give, start_remote_server
from support.workbench import NOTES, Workbench, change_feed

PAGINGS: dict[str, dict[str, Any]] = {
    "/link": {"by": "link"},
    "/next": {"by": "next", "next": "$.meta.next"},
    "/page": {"by": "page"},
    "/offset": {"by": "offset"},
    "/cursor": {"by": "cursor", "next": "$.meta.next"},
}

DAYS = Feed(
    name="days",
    pattern="{key}/{date:%Y-%m-%d}.csv",
    columns={"id": "BIGINT", "note": "VARCHAR"},
)


pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.fixture
def landing(bench: Workbench) -> Path:
    bench.landing_dir.mkdir()
    return bench.landing_dir


def landed(landing: Path, feed: Feed = NOTES) -> dict[str, bytes]:
    """Give what lies in a feed's folder, and make sure that nothing is on its way."""
    state = landing / ".sources" / feed.name
    assert {path.name for path in state.iterdir()} <= {"lock", "manifest.jsonl", "troubles.json"}
    folder = landing / feed.folder
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def expected(remote: RemoteServer) -> dict[str, bytes]:
    return {f"{key}.csv": content for key, content in sorted(remote.items.items())}


def failures(fetched: Fetched) -> dict[str, str]:
    return {one.name: one.reason for one in fetched.failed}


def test_a_thousand_items_are_fetched_once_then_what_is_new_or_changed(
    remote: RemoteServer, bench: Workbench, landing: Path
) -> None:
    feed = remote.feed("/list", parallel=8)
    remote.put(*(f"k{number}" for number in range(1000)))
    assert bench.sync(feed).to_frame()["what"].value_counts().to_dict() == {"loaded": 1000}
    assert len(remote.list_fetched()) == 1000
    assert landed(landing) == expected(remote)

    assert len(bench.sync(feed).unchanged) == 1000
    assert remote.list_fetched() == []

    remote.put("k1", "k2", note="changed")
    remote.put("new")
    del remote.items["k3"]
    assert {one.partition_key for one in bench.sync(feed).loaded} == {"k1", "k2", "new"}
    assert remote.list_fetched() == ["k1", "k2", "new"]
    assert "k3.csv" in landed(landing)
    bench.assert_level(feed)


@pytest.mark.parametrize("path", PAGINGS)
@pytest.mark.parametrize("count", [0, 1, PAGE, 3 * PAGE, 3 * PAGE + 1])
def test_a_list_is_read_to_its_last_page(
    remote: RemoteServer, landing: Path, path: str, count: int
) -> None:
    remote.put(*(f"k{number}" for number in range(count)))
    feed = remote.feed(path, paging=PAGINGS[path])
    assert len(mirror_source(feed, landing).landed) == count
    assert (landed(landing) if count else {}) == expected(remote)
    assert mirror_source(feed, landing).difference.unchanged == count


def test_the_length_of_a_page_and_the_query_of_the_url_are_kept(
    remote: RemoteServer, landing: Path
) -> None:
    remote.put("a")
    paging = {"by": "page", "first": 0, "size_parameter": "per_page", "size": 50}
    remote.answers["/things"] = lambda handler: give(handler, b"[]")
    feed = remote.feed("/things?state=done&page=9", items="$", paging=paging)
    mirror_source(feed, landing)
    assert remote.asked[0].query == {"state": "done", "page": "0", "per_page": "50"}


def test_a_list_that_leads_back_is_refused_and_so_is_one_that_is_too_long(
    remote: RemoteServer, landing: Path
) -> None:
    body = b'{"data": {"items": []}, "meta": {"next": "/round?x=1"}}'
    remote.answers["/round"] = lambda handler: give(handler, body)
    with pytest.raises(SourceError, match="leads back"):
        mirror_source(remote.feed("/round", paging=PAGINGS["/next"]), landing)
    remote.put("a", "b", "c")
    with pytest.raises(SourceError, match="feed notes: its source: lists more than 2 items"):
        mirror_source(remote.feed(max_items=2), landing)


@pytest.mark.parametrize("has_etags", [True, False])
def test_an_item_without_a_version_is_asked_for_again_by_what_the_server_said(
    remote: RemoteServer, landing: Path, has_etags: bool
) -> None:
    remote.has_etags = has_etags
    remote.put("a", "b")
    feed = remote.feed(version="", recheck_hours=0)
    assert len(mirror_source(feed, landing).landed) == 2
    remote.put("b", note="changed")
    fetched = mirror_source(feed, landing)
    assert (fetched.unmodified, fetched.landed) == (1, ["b.csv"])
    assert landed(landing) == expected(remote)
    remote.list_fetched()
    patient = remote.feed(version="")
    assert mirror_source(patient, landing).difference.unchanged == 2
    assert remote.list_fetched() == []


def test_a_page_that_is_unchanged_is_not_sent_again(remote: RemoteServer, landing: Path) -> None:
    remote.put("a")
    feed = remote.feed()
    assert isinstance(feed.source, Source)
    connection = feed.source.connect(feed)
    first = connection.list_items()
    assert connection.list_items() == first
    connection.close()
    assert [one.headers["If-None-Match"] is None for one in remote.asked] == [True, False]


def test_what_is_gone_is_removed_only_if_the_feed_says_so_and_most_is_there(
    remote: RemoteServer, bench: Workbench, landing: Path
) -> None:
    feed = change_feed(remote.feed(), on_missing="remove")
    remote.put("a", "b", "c", "d")
    bench.sync(feed)
    del remote.items["a"]
    assert [one.partition_key for one in bench.sync(feed).removed] == ["a"]
    assert [*landed(landing)] == ["b.csv", "c.csv", "d.csv"]

    remote.items.clear()
    fetched = mirror_source(feed, landing)
    assert fetched.difference.brake == (
        "3 of 3 fetched files are gone at the source, more than half: nothing is removed. If that "
        "is as it should be, delete them in the landing"
    )
    remote.answers["/list"] = lambda handler: give(handler, b"", 500)
    with pytest.raises(SourceError, match="the server answers 500"):
        mirror_source(feed, landing)
    assert len(landed(landing)) == 3


def test_a_file_that_somebody_else_put_there_is_not_removed(
    remote: RemoteServer, landing: Path
) -> None:
    feed = change_feed(remote.feed(), on_missing="remove")
    remote.put("a", "b", "c")
    mirror_source(feed, landing)
    (landing / "notes" / "a.csv").write_text("mine\n", encoding="utf-8")
    (landing / "notes" / "z.csv").write_text("mine\n", encoding="utf-8")
    del remote.items["a"]
    assert mirror_source(feed, landing).removed == []
    assert [*landed(landing)] == ["a.csv", "b.csv", "c.csv", "z.csv"]


def test_a_file_that_was_deleted_or_changed_here_is_fetched_again(
    remote: RemoteServer, landing: Path
) -> None:
    feed = remote.feed()
    remote.put("a", "b", "c")
    mirror_source(feed, landing)
    (landing / "notes" / "a.csv").unlink()
    (landing / "notes" / "b.csv").write_bytes(b"")
    assert sorted(mirror_source(feed, landing).landed) == ["a.csv", "b.csv"]
    assert landed(landing) == expected(remote)


@pytest.mark.parametrize("damage", ["lost", "cut off", "no JSON"])
def test_without_its_manifest_all_is_fetched_again_and_nothing_is_loaded_again(
    remote: RemoteServer, bench: Workbench, landing: Path, damage: str
) -> None:
    feed = remote.feed()
    remote.put("a", "b")
    bench.sync(feed)
    before = {path: path.stat() for path in (landing / "notes").iterdir()}
    manifest = landing / ".sources" / "notes" / "manifest.jsonl"
    text = manifest.read_text(encoding="utf-8")
    if damage == "lost":
        manifest.unlink()
    else:
        manifest.write_text(text[:-9] if damage == "cut off" else "{]\n", encoding="utf-8")
    report = bench.sync(feed)
    assert (report.loaded, len(report.unchanged)) == ([], 2)
    assert {path: path.stat() for path in (landing / "notes").iterdir()} == before
    remote.list_fetched()
    bench.sync(feed)
    assert remote.list_fetched() == []


def test_one_item_that_fails_stops_no_other(
    remote: RemoteServer, bench: Workbench, landing: Path
) -> None:
    remote.put("a", "b", "c")
    tries: list[str] = []

    def fail(handler: Any) -> None:
        tries.append(handler.path)
        give(handler, b"", 503 if handler.path.endswith("b") else 404)

    remote.answers |= {"/item/b": fail, "/item/c": fail}
    report = bench.sync(remote.feed())
    assert [one.partition_key for one in report.loaded] == ["a"]
    assert {one.source_file: one.reason for one in report.refused} == {
        "b.csv": "not fetched: the server answers 503",
        "c.csv": "not fetched: the server answers 404",
    }
    assert (tries.count("/item/b"), tries.count("/item/c")) == (retries.MOST_TRIES, 1)
    remote.answers.clear()
    assert {one.partition_key for one in bench.sync(remote.feed()).loaded} == {"b", "c"}


def test_a_server_that_is_busy_is_left_alone_for_as_long_as_it_says(
    remote: RemoteServer, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.put("a")
    slept: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", slept.append)

    def answer_once(handler: Any) -> None:
        del remote.answers["/item/a"]
        give(handler, b"", 429, {"Retry-After": "7"})

    remote.answers["/item/a"] = answer_once
    assert mirror_source(remote.feed(), landing).landed == ["a.csv"]
    assert slept == [7.0]
    remote.put("a", note="changed")
    remote.answers["/item/a"] = lambda handler: give(handler, b"", 503, {"Retry-After": "3600"})
    assert failures(mirror_source(remote.feed(), landing)) == {"a.csv": "the server answers 503"}
    assert slept == [7.0]


def test_when_everything_fails_the_rest_is_left_to_a_later_look(
    remote: RemoteServer, landing: Path
) -> None:
    remote.put(*(f"k{number}" for number in range(100)))
    feed = remote.feed()
    for key in remote.items:
        remote.answers[f"/item/{key}"] = lambda handler: give(handler, b"", 500)
    fetched = mirror_source(feed, landing)
    assert len(fetched.failed) == 100
    assert len(remote.list_fetched()) < 30 * retries.MOST_TRIES


def test_names_are_made_of_fields_and_what_makes_none_is_passed_over(
    remote: RemoteServer, landing: Path
) -> None:
    remote.answers["/list"] = lambda handler: give(
        handler,
        b"""[
            {"id": 1, "day": "2026-11-03T23:30:00-05:00", "shop": {"name": "bonn"}},
            {"id": 2, "day": "Wed, 04 Nov 2026 10:00:00 GMT", "shop": {"name": "k\\u00f6ln"}},
            {"id": 3, "day": 1762300800, "shop": {"name": "ulm"}},
            {"id": 4, "day": "soon", "shop": {"name": "trier"}},
            {"id": 5, "day": "2026-11-05", "shop": {}},
            {"id": 6, "day": "2026-11-05", "shop": {"name": "../../etc"}},
            {"id": 7, "day": "2026-11-05", "shop": {"name": ".."}},
            {"id": 8, "day": "2026-11-05", "shop": {"name": ".hidden"}},
            {"id": 9, "day": "2026-11-05", "shop": {"name": "bad\\nname"}},
            {"id": 10, "day": "2026-11-05", "shop": {"name": "twice"}},
            {"id": 11, "day": "2026-11-05", "shop": {"name": "twice"}}
        ]""",
    )
    remote.put("1", "2", "3")
    feed = remote.feed(
        feed=change_feed(DAYS, name="notes", key_pattern=r"\w+"),
        items="$",
        name="{shop.name}/{day:%Y-%m-%d}.csv",
        item_url="/item/{id}",
        version="",
    )
    fetched = mirror_source(feed, landing)
    assert [*landed(landing)] == [
        "bonn/2026-11-03.csv",
        "köln/2026-11-04.csv",
        "ulm/2025-11-05.csv",
    ]
    assert {one.name: one.reason for one in fetched.difference.passed_over} == {
        "item 4 of page 1": "its field day is no date",
        "item 5 of page 1": "its field shop.name is no text and no number",
        "item 6 of page 1": "its field shop.name cannot be part of a file's name",
        "item 7 of page 1": "its field shop.name cannot be part of a file's name",
        ".hidden/2026-11-05.csv": "the landing takes it for a hidden or temporary file",
        "bad\nname/2026-11-05.csv": "it cannot be the name of a file",
        "twice/2026-11-05.csv": "several items would land under this name: none does",
    }


def test_a_folder_of_the_landing_that_is_a_link_is_not_followed_out_of_it(
    remote: RemoteServer, landing: Path, tmp_path: Path
) -> None:
    remote.put("1")
    (tmp_path / "elsewhere").mkdir()
    (landing / "notes").mkdir()
    (landing / "notes" / "a").symlink_to(tmp_path / "elsewhere")
    feed = remote.feed(
        feed=change_feed(NOTES, pattern="a/{key}.csv"), name="a/{id}.csv", version=""
    )
    assert failures(mirror_source(feed, landing)) == {
        "a/1.csv": "would land outside of the feed's folder, through a link"
    }
    assert not [*(tmp_path / "elsewhere").iterdir()]


def test_a_feeds_folder_that_is_linked_out_of_the_landing_is_not_fetched_to(
    remote: RemoteServer, landing: Path, tmp_path: Path
) -> None:
    remote.put("a")
    (tmp_path / "elsewhere").mkdir()
    (landing / "notes").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match="is linked out of"):
        mirror_source(remote.feed(), landing)
    assert not [*(tmp_path / "elsewhere").iterdir()]


@pytest.mark.parametrize(
    ("declared", "module", "extra"),
    [
        ({}, "partitioned_etl.engine.sources.http_client", "http"),
        ({"type": "rss", "name": "{title}.csv"}, "feedparser", "rss"),
        ({"type": "remote_folder", "url": "memory://x"}, "fsspec", "remote-folders"),
        ({"type": "remote_folder", "url": "sftp://h/x"}, "paramiko", "remote-folders"),
    ],
)
def test_what_is_not_installed_is_named_with_what_installs_it(
    landing: Path,
    monkeypatch: pytest.MonkeyPatch,
    declared: dict[str, Any],
    module: str,
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    source = declared or {"type": "http", "name": "{id}.csv", "item_url": "{url}"}
    feed = change_feed(NOTES, source={"url": "http://127.0.0.1/", **source})
    with pytest.raises(SourceError, match=rf"pip install 'partitioned-etl\[{extra}\]'"):
        mirror_source(feed, landing)


def test_a_look_changes_nothing(remote: RemoteServer, landing: Path) -> None:
    remote.put("a")
    feed = remote.feed()
    assert isinstance(feed.source, Source)
    connection = feed.source.connect(feed)
    assert [one.name for one in look_at_source(feed, landing, connection).wanted] == ["a.csv"]
    connection.close()
    assert not [*landing.iterdir()]


def test_what_has_no_partition_is_not_fetched(remote: RemoteServer, landing: Path) -> None:
    remote.put("a", "b")
    fetched = mirror_source(remote.feed(), landing, lambda key: "no" if key == "a" else "")
    assert (fetched.landed, fetched.difference.outside) == (["b.csv"], 1)


def test_a_remote_folder_is_mirrored_by_the_pattern(bench: Workbench, landing: Path) -> None:
    there = bench.root / "there"
    for name in ("bonn/2026-11-01.csv", "bonn/2026-11-02.csv", "ulm/2026-11-01.csv"):
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text("id,note\n1,x\n", encoding="utf-8")
    for name in ("readme.txt", "bonn/.2026-11-03.csv", "bonn/2026-11-04.csv.part", "bonn/x.csv"):
        (there / name).write_text("no", encoding="utf-8")
    feed = change_feed(
        DAYS,
        source={"type": "remote_folder", "url": f"file://{there}", "unchanged_seconds": 0.05},
        on_missing="remove",
    )
    assert len(bench.sync(feed).loaded) == 3
    assert len(landed(landing, feed)) == 3
    (there / "ulm/2026-11-01.csv").unlink()
    (there / "bonn/2026-11-01.csv").write_text("id,note\n1,x\n2,y\n", encoding="utf-8")
    report = bench.sync(feed)
    assert [one.partition_key for one in report.loaded] == ["bonn|2026-11-01"]
    assert [one.partition_key for one in report.removed] == ["ulm|2026-11-01"]
    assert mirror_source(feed, landing).difference.unchanged == 2


def test_a_remote_file_that_is_still_being_written_waits(
    bench: Workbench, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = bench.root / "there"
    there.mkdir()
    for name in ("a.csv", "b.csv"):
        (there / name).write_text("id,note\n", encoding="utf-8")
    source = {"type": "remote_folder", "url": f"file://{there}", "unchanged_seconds": 0.05}
    feed = change_feed(NOTES, source=source)

    def write_on(_: float) -> None:
        with (there / "a.csv").open("a", encoding="utf-8") as file:
            file.write("1,x\n")

    monkeypatch.setattr("partitioned_etl.engine.sources.mirror.time.sleep", write_on)
    fetched = mirror_source(feed, landing)
    assert (fetched.waiting, fetched.landed) == (["a.csv"], ["b.csv"])


def test_a_landing_that_is_not_there_or_cannot_be_written_to_is_told(
    remote: RemoteServer, landing: Path, tmp_path: Path
) -> None:
    remote.put("a")
    with pytest.raises(SourceError, match="does not exist"):
        mirror_source(remote.feed(), tmp_path / "nowhere")
    (landing / ".sources").write_bytes(b"")
    with pytest.raises(SourceError, match="cannot be written to: "):
        mirror_source(remote.feed(), landing)


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "gopher"}, "source", "needs a type, one of http, rss, remote_folder"),
    ({"bearer": "s3cr3t!"}, "source.bearer", "must be the name of an environment variable"),
    (
        {"headers": {"X-Key": "s3cr3t!"}},
        "source.headers.X-Key",
        "must be the name of an environment variable",
    ),
    ({"basic": "s3cr3t!"}, "source.basic", ""),
    ({"token": "s3cr3t!"}, "source.token", "there is no such attribute"),
    ({"url": "http://me:s3cr3t!@h/"}, "source.url", "must not hold a user or a password"),
    ({"url": "file:///etc/s3cr3t!"}, "source.url", "must begin with https:// or http://"),
    ({"name": "x.csv"}, "source.name", "needs fields of an item in braces"),
    ({"name": "{id}.json"}, "source.name", "does not match"),
    ({"item_url": "{id"}, "source.item_url", "needs fields"),
    ({"items": "$..x"}, "source.items", "is no path"),
    ({"paging": {"by": "cursor"}}, "source.paging.next", "is needed with it"),
    ({"hosts": ["https://x/"]}, "source.hosts", "a host is a name"),
    ({"parallel": 0}, "source.parallel", ""),
]


@pytest.mark.parametrize(
    ("change", "attribute", "reason"), WRONG, ids=[str(one[0]) for one in WRONG]
)
def test_a_source_that_cannot_work_is_refused_without_its_values(
    change: dict[str, Any], attribute: str, reason: str
) -> None:
    with pytest.raises(FeedDefinitionError) as caught:
        RemoteServer(1).feed(**change)
    assert caught.value.attribute == attribute
    assert reason in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert str(caught.value).startswith("feed notes: ")


FOLDERS = [
    ({"url": "sftp://me:s3cr3t!@host/x"}, "must not hold a user"),
    ({"url": "https://host/x"}, "use type http"),
    ({"url": "/x"}, "must be one URL with a protocol"),
    ({"url": "sftp://host/x", "options": {"password": "s3cr3t!"}}, "belongs to secrets"),
    ({"url": "simplecache::sftp://host/x"}, "must be one URL"),
]


@pytest.mark.parametrize(("declared", "reason"), FOLDERS, ids=[str(one[1]) for one in FOLDERS])
def test_a_remote_folder_that_cannot_work_is_refused(declared: Any, reason: str) -> None:
    with pytest.raises(FeedDefinitionError) as caught:
        change_feed(NOTES, source={"type": "remote_folder", **declared})
    assert reason in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_secrets_are_sent_where_the_list_is_and_their_absence_is_told(
    remote: RemoteServer, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = remote.feed(bearer="API_TOKEN", headers={"X-Key": "API_KEY"})
    with pytest.raises(SourceError, match="environment variable API_KEY is not set"):
        mirror_source(feed, landing)
    monkeypatch.setenv("API_TOKEN", "t0ken")
    monkeypatch.setenv("API_KEY", "k3y")
    remote.put("a")
    with start_remote_server() as other:
        other.put("a")
        remote.answers["/item/a"] = lambda handler: give(
            handler, b"", 302, {"Location": f"{other.url}/item/a"}
        )
        allowed = remote.feed(
            bearer="API_TOKEN", headers={"X-Key": "API_KEY"}, hosts=[f"127.0.0.1:{other.port}"]
        )
        assert mirror_source(allowed, landing).landed == ["a.csv"]
        assert {one.headers["X-Key"] for one in remote.asked} == {"k3y"}
        assert {one.headers["Authorization"] for one in remote.asked} == {"Bearer t0ken"}
        assert [one.headers["X-Key"] or one.headers["Authorization"] for one in other.asked] == [
            None
        ]
    assert b"t0ken" not in b"".join(
        path.read_bytes() for path in landing.rglob("*") if path.is_file()
    )
    assert oct((landing / ".sources" / "notes").stat().st_mode)[-3:] == "700"
