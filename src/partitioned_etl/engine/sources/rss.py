"""RSS source: the entries of an RSS or Atom document, and what each encloses or links to."""

from enum import StrEnum
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urljoin

from pydantic import Field

from partitioned_etl.engine.errors import SourceError
from partitioned_etl.engine.landing.landing import PassedOver
from partitioned_etl.engine.sources.retries import retry
from partitioned_etl.engine.sources.source import RemoteItem, RemoteListing, Sink
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


class RssSource(WebSource, frozen=True):
    """An RSS or Atom document, and what its entries enclose or link to.

    The fields of an entry are `guid`, `digest` (16 letters and digits that stand for the guid),
    `title`, `link`, `enclosure`, `published` and `updated`.
    """

    type: Literal["rss"] = "rss"
    fetch: Annotated[
        EntryPart,
        Field(description="What of an entry is fetched: its `enclosure`, or its `link`."),
    ] = EntryPart.ENCLOSURE

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
        return RssRemote(self, self.connect_client())


class RssRemote:
    """A server that has an RSS or Atom document."""

    def __init__(self, source: RssSource, client: "Client") -> None:
        self._source, self._client = source, client

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def fetch(self, item: RemoteItem, sink: Sink, known: str) -> str | None:
        """Write an item to a sink."""
        return self._client.fetch(item.address, sink, known)

    def list_items(self) -> RemoteListing:
        """List the entries."""
        import feedparser

        page = retry(lambda: self._client.get_page(self._source.url))
        # Bytes only: given a text, feedparser may take it for a URL, and get it itself.
        document: Any = feedparser.parse(BytesIO(page.body), sanitize_html=False)
        if not document.get("version"):
            raise SourceError("its list is no RSS and no Atom", may_pass=True)
        if document.get("bozo") and not _is_only_odd(document.get("bozo_exception")):
            raise SourceError("its list is cut off, or no sound XML", may_pass=True)
        found = RemoteListing()
        for number, entry in enumerate(document.entries, 1):
            try:
                found.items.append(self._to_item(page.url, entry))
            except FieldError as error:
                found.passed_over.append(PassedOver(f"entry {number}", str(error)))
        if len(found.items) > self._source.max_items:
            raise SourceError(f"lists more than {self._source.max_items:,} items")
        return found

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


def _is_only_odd(error: object) -> bool:
    """Return whether a document is whole, though its declared encoding or type is odd."""
    return type(error).__name__ in ("CharacterEncodingOverride", "NonXMLContentType")
