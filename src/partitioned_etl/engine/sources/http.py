"""HTTP source: a list that a server gives as JSON, page by page, and a URL for each item."""

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from pydantic import Field, FiniteFloat, model_validator

from partitioned_etl.engine.contract import Declared
from partitioned_etl.engine.errors import FeedDefinitionError, SourceError
from partitioned_etl.engine.landing.landing import PassedOver
from partitioned_etl.engine.sources.retries import retry
from partitioned_etl.engine.sources.source import RemoteItem, RemoteListing, Sink
from partitioned_etl.engine.sources.templates import FieldError, Template, find_value, to_text
from partitioned_etl.engine.sources.web import WebSource, check_path, telling

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed
    from partitioned_etl.engine.sources.http_client import Client, Page

_MOST_PAGES = 10_000


class PagingBy(StrEnum):
    """How the next page of a list is found."""

    LINK = "link"
    """By the header `Link` with `rel="next"`."""
    NEXT = "next"
    """By a URL in the document."""
    PAGE = "page"
    """By the number of the page, until one is empty."""
    OFFSET = "offset"
    """By how many items came before, until a page is empty."""
    CURSOR = "cursor"
    """By a text in the document, until there is none."""


class Paging(Declared, frozen=True):
    """How a list goes on after its first page."""

    by: Annotated[
        PagingBy,
        Field(
            description="`link` for the header `Link`, `next` for a URL in the document, `page`, "
            "`offset` or `cursor` for a parameter of the URL."
        ),
    ]
    parameter: Annotated[
        str, Field(description="The name of that parameter. Default: the word in `by`.")
    ] = ""
    first: Annotated[int, Field(description="The number of the first page.", ge=0)] = 1
    next: Annotated[
        str,
        Field(
            description="Where in the document the next URL or cursor is, such as `$.meta.next`; "
            "needed for `next` and `cursor`. Default: none."
        ),
    ] = ""
    size_parameter: Annotated[
        str, Field(description="The parameter for the length of a page. Default: none.")
    ] = ""
    size: Annotated[int, Field(description="The length that it asks for.", ge=1)] = 100

    @model_validator(mode="after")
    def _check(self) -> Self:
        is_needed = self.by in (PagingBy.NEXT, PagingBy.CURSOR)
        if is_needed != bool(self.next):
            reason = "is needed with it" if is_needed else "is only for next and cursor"
            path = "source.paging.next"
            raise FeedDefinitionError(f"{path}: paging by {self.by}: next {reason}", attribute=path)
        check_path("paging.next", self.next)
        return self


class HttpSource(WebSource, frozen=True):
    """A list of items in JSON, and a URL for each of them."""

    type: Literal["http"] = "http"
    items: Annotated[
        str, Field(description="Where in a document its items are, such as `$.data.items`.")
    ] = "$"
    item_url: Annotated[
        str,
        Field(
            description="The URL of an item, made of its fields and relative to the list's: "
            "`{download_url}`, or `/files/{id}`."
        ),
    ]
    version: Annotated[
        str,
        Field(
            description="The field that changes with an item, such as `updated_at`. Default: none; "
            "an item is then asked for again every `recheck_hours`, by its ETag or Last-Modified."
        ),
    ] = ""
    recheck_hours: Annotated[
        FiniteFloat, Field(description="After how many hours, without a `version`.", ge=0)
    ] = 24.0
    paging: Annotated[
        Paging | None, Field(description="How the list goes on. Default: it has one page.")
    ] = None

    @model_validator(mode="after")
    def _check_item(self) -> Self:
        check_path("items", self.items)
        check_path("version", self.version)
        with telling("item_url"):
            Template(self.item_url)
        return self

    @property
    def recheck_seconds(self) -> float:
        """After how long an item without a version is asked for again."""
        return self.recheck_hours * 3600

    def connect(self, feed: "Feed") -> "HttpRemote":  # noqa: ARG002
        """Return a connection."""
        return HttpRemote(self, self.connect_client())


class HttpRemote:
    """A server that lists items."""

    def __init__(self, source: HttpSource, client: "Client") -> None:
        self._source, self._client = source, client
        self._item_url = Template(source.item_url)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def fetch(self, item: RemoteItem, sink: Sink, known: str) -> str | None:
        """Write an item to a sink."""
        return self._client.fetch(item.address, sink, known)

    def list_items(self) -> RemoteListing:
        """List all items, page by page."""
        found = RemoteListing()
        for number, (page, items) in enumerate(self._read_pages(), 1):
            for place, item in enumerate(items, 1):
                try:
                    found.items.append(self._to_item(page, item))
                except FieldError as error:
                    where = f"item {place} of page {number}"
                    found.passed_over.append(PassedOver(where, str(error)))
            if len(found.items) + len(found.passed_over) > self._source.max_items:
                raise SourceError(f"lists more than {self._source.max_items:,} items")
        return found

    def _to_item(self, page: "Page", item: Any) -> RemoteItem:
        source = self._source
        version = (
            to_text(find_value(item, source.version), source.version) if source.version else ""
        )
        address = _join(page, self._item_url.to_url(item))
        return RemoteItem(source.name_template.to_name(item), version, address)

    def _read_pages(self) -> Iterator[tuple["Page", list[Any]]]:
        source, paging = self._source, self._source.paging
        offset, asked = 0, set[str]()
        url = self._first_url()
        for number in range(_MOST_PAGES):
            if url in asked:
                raise SourceError("its list leads back to a page that was read before")
            asked.add(url)
            page = retry(lambda url=url: self._client.get_page(url))
            try:
                document = json.loads(page.body)
            except (ValueError, RecursionError):
                raise SourceError("its list is no JSON", may_pass=True) from None
            items = find_value(document, source.items)
            if not isinstance(items, list):
                raise SourceError(f"its list has no array at {source.items}")
            yield page, items
            if not paging:
                return
            offset += len(items)
            match paging.by:
                case PagingBy.LINK:
                    url = page.next_url
                case PagingBy.NEXT:
                    following = find_value(document, paging.next)
                    url = self._join_next(page, following) if following else ""
                case PagingBy.CURSOR:
                    cursor = find_value(document, paging.next)
                    url = self._url_with(cursor) if cursor else ""
                case PagingBy.PAGE:
                    url = self._url_with(paging.first + number + 1) if items else ""
                case PagingBy.OFFSET:
                    url = self._url_with(offset) if items else ""
            if not url:
                return
        raise SourceError(f"its list has more than {_MOST_PAGES:,} pages")

    def _join_next(self, page: "Page", following: object) -> str:
        try:
            return _join(page, str(following))
        except FieldError:
            raise SourceError("its list leads on to what is no URL") from None

    def _first_url(self) -> str:
        paging = self._source.paging
        starts = {PagingBy.PAGE: paging.first, PagingBy.OFFSET: 0} if paging else {}
        return self._url_with(starts.get(paging.by) if paging else None)

    def _url_with(self, value: object) -> str:
        """Return the list's URL with the parameters of a page."""
        paging, parts = self._source.paging, urlsplit(self._source.url)
        given: dict[str, str] = {}
        if paging and paging.size_parameter:
            given[paging.size_parameter] = str(paging.size)
        if paging and value is not None:
            given[paging.parameter or str(paging.by)] = str(value)
        if not given:
            return self._source.url
        kept = [(name, text) for name, text in parse_qsl(parts.query, True) if name not in given]
        return parts._replace(query=urlencode([*kept, *given.items()])).geturl()


def _join(page: "Page", url: str) -> str:
    try:
        return urljoin(page.url, url)
    except ValueError:
        raise FieldError("its URL is none") from None
