"""RSS source: the entries of an RSS or Atom document, and what each encloses or links to."""

import json
import re
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

from pydantic import Field

from partitioned_etl.engine.errors import SourceError
from partitioned_etl.engine.landing.landing import PassedOver
from partitioned_etl.engine.project import project_dir
from partitioned_etl.engine.sources.retries import retry
from partitioned_etl.engine.sources.source import (
    MAX_PAGE_BYTES,
    RemoteItem,
    RemoteListing,
    Sink,
)
from partitioned_etl.engine.sources.templates import FieldError
from partitioned_etl.engine.sources.web import WebSource

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed
    from partitioned_etl.engine.sources.http_client import Client


class EntryPart(StrEnum):
    """What of an entry is fetched."""

    ENCLOSURE = "enclosure"
    """The file that it encloses; an entry without one is passed over."""
    LINK = "link"
    """What it links to."""
    ENTRY = "entry"
    """What the document says of it, as JSON."""


_LOCAL = "file:"


class RssSource(WebSource, frozen=True):
    """An RSS or Atom document, and what its entries enclose or link to.

    The fields of an entry are `guid`, `digest` (16 letters and digits that stand for the guid),
    `title`, `link`, `enclosure`, `published` and `updated`. As JSON, it also has `author`,
    `summary`, `duration` in seconds, `enclosure_type` and `enclosure_length` in bytes; times are
    ISO 8601 in UTC.
    """

    type: Literal["rss"] = "rss"
    fetch: Annotated[
        EntryPart,
        Field(
            description="What of an entry is fetched: its `enclosure`, what its `link` leads to, "
            "or the `entry` itself, as a line of JSON. Then `url` may also be a document of this "
            "machine, such as `file:data/news.xml`, relative to the project."
        ),
    ] = EntryPart.ENCLOSURE

    @property
    def local_path(self) -> Path | None:
        """The document's path, if it is one of this machine."""
        if not self.url.startswith(_LOCAL):
            return None
        return project_dir() / url2pathname(urlsplit(self.url).path)

    def check_url(self) -> None:
        """Refuse a URL that is neither of HTTP nor, if entries are fetched, a local document's."""
        if not self.local_path:
            super().check_url()
        elif urlsplit(self.url).netloc not in ("", "localhost"):
            raise ValueError("must name a file of this machine, such as file:data/news.xml")
        elif self.fetch is not EntryPart.ENTRY:
            raise ValueError("only with `fetch: entry` may it be a file of this machine")

    @property
    def extra_name(self) -> str:
        """The extra of this package that the source needs."""
        return "rss"

    def connect(self, feed: "Feed") -> "RssRemote":  # noqa: ARG002
        """Return a connection."""
        try:
            import feedparser  # noqa: F401
        except ImportError:
            raise SourceError(
                "an rss source needs more than is installed: pip install 'partitioned-etl[rss]'"
            ) from None
        return RssRemote(self, None if self.local_path else self.connect_client())


class RssRemote:
    """A place that has an RSS or Atom document."""

    def __init__(self, source: RssSource, client: "Client | None") -> None:
        self._source, self._client = source, client
        self._entries: dict[str, bytes] = {}

    def close(self) -> None:
        """Close all connections."""
        if self._client:
            self._client.close()

    def fetch(self, item: RemoteItem, sink: Sink, known: str) -> str | None:
        """Write an item to a sink."""
        if self._client and self._source.fetch is not EntryPart.ENTRY:
            return self._client.fetch(item.address, sink, known)
        sink.check_size(item.size_bytes)
        sink.write(self._entries[item.address])
        return ""

    def list_items(self) -> RemoteListing:
        """List the entries."""
        import feedparser

        base, body = self._read_document()
        self._entries = {}
        # Bytes only: given a text, feedparser may take it for a URL, and get it itself.
        document: Any = feedparser.parse(BytesIO(body), sanitize_html=False)
        if not document.get("version"):
            raise SourceError("its list is no RSS and no Atom", may_pass=True)
        if document.get("bozo") and not _is_only_odd(document.get("bozo_exception")):
            raise SourceError("its list is cut off, or no sound XML", may_pass=True)
        found = RemoteListing()
        for number, entry in enumerate(document.entries, 1):
            try:
                found.items.append(self._to_item(base, entry))
            except FieldError as error:
                found.passed_over.append(PassedOver(f"entry {number}", str(error)))
        if len(found.items) > self._source.max_items:
            raise SourceError(f"lists more than {self._source.max_items:,} items")
        return found

    def _read_document(self) -> tuple[str, bytes]:
        """Return the document's URL and its bytes.

        Raises:
            SourceError: It cannot be read.
        """
        client, path = self._client, self._source.local_path
        if client:
            page = retry(lambda: client.get_page(self._source.url))
            return page.url, page.body
        if not path or not path.is_file():
            raise SourceError(f"{path} is no file")
        try:
            with path.open("rb") as file:
                body = file.read(MAX_PAGE_BYTES + 1)
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror}") from None
        if len(body) > MAX_PAGE_BYTES:
            raise SourceError(f"{path} is longer than {MAX_PAGE_BYTES:,} bytes")
        return "", body

    def _to_item(self, base: str, entry: Any) -> RemoteItem:
        enclosures = entry.get("enclosures") or [{}]
        enclosure, link = enclosures[0].get("href", ""), entry.get("link", "")
        # By its own get, feedparser gives one in place of the other, and warns of it.
        published, updated = (dict.get(entry, name, "") for name in ("published", "updated"))
        guid = entry.get("id") or link or enclosure
        fields = {
            "guid": guid,
            "digest": sha256(guid.encode()).hexdigest()[:16] if guid else "",
            "title": entry.get("title", ""),
            "link": link,
            "enclosure": enclosure,
            "published": published or updated,
            "updated": updated or published,
        }
        name = self._source.name_template.to_name(fields)
        if self._source.fetch is EntryPart.ENTRY:
            body = _to_json(entry, fields, enclosures[0])
            digest = sha256(body).hexdigest()[:16]
            self._entries[digest] = body
            return RemoteItem(name, digest, digest, len(body))
        address = fields[str(self._source.fetch)]
        if not address:
            raise FieldError(f"it has no {self._source.fetch}")
        try:
            address = urljoin(base, address)
        except ValueError:
            raise FieldError("its URL is none") from None
        length = enclosures[0].get("length", "")
        # The length that senders declare is often wrong: it tells of a change, and no more.
        told = f"{fields['updated']} {address.partition('?')[0]} {length}"
        return RemoteItem(name, sha256(told.encode()).hexdigest()[:16], address)


def _to_json(entry: Any, fields: dict[str, str], enclosure: Any) -> bytes:
    """Return an entry as a line of JSON; what it does not have is null."""
    published, updated = (_to_iso(entry, name) for name in ("published", "updated"))
    told = {
        **fields,
        "published": published or updated or fields["published"],
        "updated": updated or published or fields["updated"],
        "author": entry.get("author"),
        "summary": entry.get("summary"),
        "duration": _to_number(entry.get("itunes_duration") or ""),
        "enclosure_type": enclosure.get("type"),
        "enclosure_length": _to_number(enclosure.get("length") or ""),
    }
    told = {name: None if value == "" else value for name, value in told.items()}
    return json.dumps(told, ensure_ascii=False).encode() + b"\n"


def _to_iso(entry: Any, name: str) -> str:
    """Return when an entry was published or updated; empty if that cannot be read."""
    found = dict.get(entry, f"{name}_parsed")
    if not found:
        return ""
    return datetime(*found[:6], tzinfo=UTC).isoformat().replace("+00:00", "Z")


def _to_number(text: str) -> int | str:
    """Return `1815` or `30:15` as a number, of seconds if it is a time; other texts as they are."""
    if not re.fullmatch(r"\d{1,18}|\d{1,4}:[0-5]\d(:[0-5]\d)?", text, re.ASCII):
        return text
    number = 0
    for part in text.split(":"):
        number = number * 60 + int(part)
    return number


def _is_only_odd(error: object) -> bool:
    """Return whether a document is whole, though its declared encoding or type is odd."""
    return type(error).__name__ in ("CharacterEncodingOverride", "NonXMLContentType")
