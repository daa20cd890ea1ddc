"""RSS and Atom: which entries are fetched, under which names, and what else a document may be."""

import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from partitioned_etl.engine.errors import FeedDefinitionError, SourceError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sources.mirror import mirror_source
from support.remote_server import RemoteServer, give, start_remote_server
from support.workbench import Workbench

RSS = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0"><channel><title>Numbers</title><link>{url}/</link>
{entries}
</channel></rss>
"""
ENTRY = """<item><title>{key}</title><guid isPermaLink="false">urn:notes:{key}</guid>
<link>{url}/page/{key}</link><pubDate>Tue, 0{day} Nov 2026 23:30:00 -0500</pubDate>
<enclosure url="{url}/item/{key}" length="{length}" type="text/csv"/></item>
"""
ATOM = """<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>Numbers</title><id>urn:notes</id>
<updated>2026-11-03T00:00:00Z</updated>
<entry><id>urn:notes:a</id><title>a</title><updated>2026-11-03T00:00:00Z</updated>
<link rel="alternate" href="/page/a"/><link rel="enclosure" href="/item/a"/></entry>
</feed>
"""


pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.fixture
def landing(bench: Workbench) -> Path:
    bench.landing_dir.mkdir()
    return bench.landing_dir


def feed_of(remote: RemoteServer, **source: Any) -> Feed:
    declared = {"type": "rss", "url": f"{remote.url}/rss", "name": "{title}.csv", **source}
    values: dict[str, Any] = {
        "name": "notes",
        "pattern": "{key}.csv",
        "columns": {"id": "BIGINT", "note": "VARCHAR"},
        "source": declared,
    }
    return Feed(**values)


def publish(remote: RemoteServer, *more: str) -> None:
    """Let the document have an entry for each item, in the order of their keys."""
    entries = [
        ENTRY.format(url=remote.url, key=key, length=len(content), day=1 + number % 9)
        for number, (key, content) in enumerate(sorted(remote.items.items()))
    ]
    body = RSS.format(url=remote.url, entries="".join([*entries, *more])).encode()

    def answer(handler: Any) -> None:
        is_known = handler.headers["If-None-Match"] == str(hash(body))
        give(
            handler, b"" if is_known else body, 304 if is_known else 200, {"ETag": str(hash(body))}
        )

    remote.answers["/rss"] = answer


def list_landed(landing: Path) -> list[str]:
    return sorted(path.name for path in (landing / "notes").glob("*"))


def test_a_thousand_entries_are_fetched_once_then_what_is_new_or_changed(
    remote: RemoteServer, bench: Workbench, landing: Path
) -> None:
    feed = feed_of(remote, parallel=8)
    remote.put(*(f"k{number}" for number in range(1000)))
    publish(remote)
    assert len(bench.sync(feed).loaded) == 1000
    remote.list_fetched()
    assert len(bench.sync(feed).unchanged) == 1000
    assert remote.list_fetched() == []
    remote.put("k1", note="longer than it was")
    remote.put("new")
    publish(remote)
    assert {one.partition_key for one in bench.sync(feed).loaded} >= {"k1", "new"}
    bench.assert_level(feed)


def test_names_are_made_of_guid_digest_link_or_date(remote: RemoteServer, landing: Path) -> None:
    remote.put("a", "b")
    publish(remote)
    names: dict[str, list[str]] = {}
    for template in ("{digest}.csv", "{published:%Y-%m-%d}.csv", "{guid}.csv"):
        fetched = mirror_source(feed_of(remote, name=template), landing)
        names[template] = sorted(fetched.landed)
        assert fetched.failed == []
    assert [len(name) for name in names["{digest}.csv"]] == [20, 20]
    assert names["{published:%Y-%m-%d}.csv"] == ["2026-11-01.csv", "2026-11-02.csv"]
    # A colon is in no key, by the feed's key_pattern.
    assert names["{guid}.csv"] == []


def test_an_entry_without_enclosure_is_passed_over_and_links_can_be_fetched(
    remote: RemoteServer, landing: Path
) -> None:
    remote.put("a")
    bare = f"<item><title>bare</title><link>{remote.url}/item/a</link></item>"
    publish(remote, bare, "<item><description>nothing</description></item>")
    fetched = mirror_source(feed_of(remote), landing)
    assert fetched.landed == ["a.csv"]
    assert [one.reason for one in fetched.difference.passed_over] == [
        "it has no enclosure",
        "its field title is no text and no number",
    ]
    remote.answers["/page/a"] = lambda handler: give(handler, b"id,note\n2,page\n")
    assert sorted(mirror_source(feed_of(remote, fetch="link"), landing).landed) == [
        "a.csv",
        "bare.csv",
    ]
    assert (landing / "notes" / "a.csv").read_bytes() == b"id,note\n2,page\n"


def test_atom_and_relative_addresses_are_read(remote: RemoteServer, landing: Path) -> None:
    remote.put("a")
    remote.answers["/rss"] = lambda handler: give(handler, ATOM.encode())
    assert mirror_source(feed_of(remote, name="{updated:%Y-%m-%d}.csv"), landing).landed == [
        "2026-11-03.csv"
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>soon</body></html>",
        b"{}",
        RSS.format(url="http://x", entries="<item><title>a</title>").encode()[:-40],
        b'<!DOCTYPE x [<!ENTITY a "' + b"x" * 1000 + b'">]><rss version="2.0"><channel>&a;</rss>',
    ],
)
def test_what_is_no_whole_document_fetches_nothing(
    remote: RemoteServer, landing: Path, body: bytes
) -> None:
    remote.answers["/rss"] = lambda handler: give(handler, body)
    with pytest.raises(SourceError, match="its list is"):
        mirror_source(feed_of(remote), landing)
    assert not (landing / "notes").exists()


def test_a_document_does_not_make_its_reader_fetch_anything(
    remote: RemoteServer, landing: Path
) -> None:
    body = (
        f'<!DOCTYPE rss [<!ENTITY secret SYSTEM "{remote.url}/secret">'
        '<!ENTITY local SYSTEM "file:///etc/hostname">]>'
        '<rss version="2.0"><channel><item><title>a&secret;&local;</title>'
        f'<enclosure url="{remote.url}/item/a"/></item></channel></rss>'
    )
    remote.answers["/rss"] = lambda handler: give(handler, body.encode())
    remote.put("a")
    with suppress(SourceError):
        mirror_source(feed_of(remote), landing)
    assert "/secret" not in {one.path for one in remote.asked}
    assert set(list_landed(landing)) <= {"a.csv"} if (landing / "notes").exists() else True


def test_an_enclosure_elsewhere_needs_its_host_declared(
    remote: RemoteServer, landing: Path
) -> None:
    with start_remote_server() as other:
        other.put("a")
        entry = f'<item><title>a</title><enclosure url="{other.url}/item/a"/></item>'
        publish(remote, entry)
        [failed] = mirror_source(feed_of(remote), landing).failed
        assert "is not among the declared hosts" in failed.reason
        feed = feed_of(remote, hosts=[f"127.0.0.1:{other.port}"])
        assert mirror_source(feed, landing).landed == ["a.csv"]


EPISODES = """<rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"><channel>
<title>Talk</title>{entries}</channel></rss>"""
EPISODE = """<item><title>No. {number}</title><guid isPermaLink="false">episode-{number}</guid>
<pubDate>Mon, 05 Jan 2026 06:00:00 +0100</pubDate>{more}</item>"""


def episodes_of(url: str, **values: Any) -> Feed:
    declared = {"type": "rss", "url": url, "fetch": "entry", "name": "{guid}.jsonl"}
    columns = {"title": "VARCHAR", "published": "TIMESTAMPTZ", "duration": "BIGINT"}
    return Feed(
        **{
            "name": "episodes",
            "pattern": "{key}.jsonl",
            "format": {"type": "json_lines", "extra_columns": "ignore"},
            "columns": columns,
            "source": declared,
            **values,
        }
    )


def write_episodes(path: Path, *entries: str) -> None:
    path.write_text(EPISODES.format(entries="".join(entries)), encoding="utf-8")


def test_entries_of_a_local_document_are_rows_that_follow_it(
    bench: Workbench, landing: Path, tmp_path: Path
) -> None:
    document = tmp_path / "episodes.xml"
    feed = episodes_of(f"file:{document}", on_missing="remove")
    whole = [EPISODE.format(number=number, more="") for number in range(5)]
    timed = EPISODE.format(number=5, more="<itunes:duration>1:02:03</itunes:duration>")
    write_episodes(document, *whole, timed)
    assert len(bench.sync(feed).loaded) == 6
    rows = bench.query(
        "SELECT partition_key, title, published AT TIME ZONE 'UTC', duration FROM episodes "
        "WHERE partition_key >= 'episode-4' ORDER BY ALL"
    )
    at = datetime(2026, 1, 5, 5)  # noqa: DTZ001
    assert rows == [("episode-4", "No. 4", at, None), ("episode-5", "No. 5", at, 3723)]
    assert bench.sync(feed).loaded == []
    changed = EPISODE.format(number=0, more="<itunes:duration>90</itunes:duration>")
    write_episodes(document, changed, *whole[2:], timed)
    report = bench.sync(feed)
    assert [record.partition_key for record in report.loaded] == ["episode-0"]
    assert [record.partition_key for record in report.removed] == ["episode-1"]
    assert bench.query("SELECT count(*), sum(duration) FROM episodes") == [(5, 3813)]


def test_entries_of_a_server_are_rows_too_and_nothing_else_is_requested(
    remote: RemoteServer, bench: Workbench, landing: Path
) -> None:
    remote.put("a", "b")
    publish(remote)
    declared = {
        "type": "rss",
        "url": f"{remote.url}/rss",
        "fetch": "entry",
        "name": "{title}.jsonl",
    }
    report = bench.sync(episodes_of(remote.url, source=declared))
    assert sorted(record.partition_key for record in report.loaded) == ["a", "b"]
    assert [one.path for one in remote.asked] == ["/rss"]


def test_what_is_unreadable_in_an_entry_refuses_it_with_its_reason(
    bench: Workbench, landing: Path, tmp_path: Path
) -> None:
    document = tmp_path / "episodes.xml"
    long = "<itunes:duration>an hour</itunes:duration>"
    write_episodes(document, EPISODE.format(number=1, more=long), EPISODE.format(number=2, more=""))
    report = bench.sync(episodes_of(f"file:{document}"))
    assert [record.partition_key for record in report.loaded] == ["episode-2"]
    [refused] = report.refused
    assert "episode-1.jsonl: line 1, column duration" in refused.reason


@pytest.mark.parametrize("what", ["nothing", "a folder", "no XML"])
def test_a_local_document_that_cannot_be_read_is_named_and_removes_nothing(
    what: str, bench: Workbench, landing: Path, tmp_path: Path
) -> None:
    document = tmp_path / "episodes.xml"
    feed = episodes_of(f"file:{document}", on_missing="remove")
    write_episodes(document, EPISODE.format(number=1, more=""))
    bench.sync(feed)
    document.unlink()
    if what == "a folder":
        document.mkdir()
    if what == "no XML":
        document.write_text("{}", encoding="utf-8")
    with pytest.raises(SourceError, match="no RSS" if what == "no XML" else "is no file"):
        bench.sync(feed)
    assert bench.query("SELECT count(*) FROM episodes") == [(1,)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1815", 1815),
        ("30:15", 1815),
        ("75:00", 4500),
        ("1:02:03", 3723),
        ("1:75:99", "1:75:99"),
        ("1:5", "1:5"),
        ("an hour", "an hour"),
    ],
)
def test_a_duration_is_a_number_of_seconds_or_stays_as_it_is(
    text: str, number: object, bench: Workbench, landing: Path, tmp_path: Path
) -> None:
    write_episodes(
        tmp_path / "a b.xml",
        EPISODE.format(number=1, more=f"<itunes:duration>{text}</itunes:duration>"),
    )
    bench.sync(episodes_of(f"file://{tmp_path}/a%20b.xml"))
    landed = landing / "episodes" / "episode-1.jsonl"
    assert json.loads(landed.read_text(encoding="utf-8"))["duration"] == number


def test_a_document_of_another_machine_is_refused() -> None:
    with pytest.raises(FeedDefinitionError, match="must name a file of this machine"):
        episodes_of("file://files.example/news.xml")


@pytest.mark.parametrize("fetch", ["enclosure", "link"])
def test_a_local_document_leads_to_no_other_file(fetch: str) -> None:
    declared = {"type": "rss", "url": "file:/etc/news.xml", "fetch": fetch, "name": "{guid}.csv"}
    with pytest.raises(FeedDefinitionError, match="only with `fetch: entry`"):
        Feed(name="x", pattern="{key}.csv", columns={"a": "BIGINT"}, source=declared)  # pyright: ignore[reportArgumentType]
    with pytest.raises(FeedDefinitionError, match="must begin with https:// or http://"):
        Feed(
            name="x",
            pattern="{key}.csv",
            columns={"a": "BIGINT"},
            source={**declared, "url": "ftp://a.example/x", "fetch": "entry"},  # pyright: ignore[reportArgumentType]
        )
