"""RSS and Atom: which entries are fetched, under which names, and what else a document may be."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from partitioned_etl.engine.errors import SourceError
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
