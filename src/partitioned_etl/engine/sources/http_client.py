"""HTTP client: gets documents and files from declared hosts, within limits.

Takes a URL; gives the bytes of a page, or writes those of a file to a sink. It follows redirects to
declared hosts alone, and sends secrets to the origin of the declared URL alone. No message holds
the path or the query of a URL that a server gave.
"""

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from hashlib import sha256
from threading import Lock
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import httpcore
import httpx

from partitioned_etl.engine.errors import SourceError
from partitioned_etl.engine.sources.hosts import AllowedHosts, Origin
from partitioned_etl.engine.sources.network import Transport
from partitioned_etl.engine.sources.source import MAX_PAGE_BYTES, Sink, Source, too_slow

_MOST_REDIRECTS = 5
_MOST_KEPT_BYTES = 1 << 24
"""How much of documents is kept for the case that they are unchanged when next asked for."""
_REDIRECTS = (301, 302, 303, 307, 308)
_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)
_AGENT = "partitioned-etl"


class Page(NamedTuple):
    """A document of a list.

    Attributes:
        url: Where it was found in the end.
        body: Its bytes.
        next_url: Where its `Link` header says that the next one is; empty if it does not.
    """

    url: str
    body: bytes
    next_url: str


class _Kept(NamedTuple):
    validator: str
    page: Page


class Client:
    """A client of one source, which several threads may use."""

    def __init__(
        self,
        source: Source,
        hosts: AllowedHosts,
        read_secrets: Callable[[], Mapping[str, str]],
    ) -> None:
        self._source, self._hosts, self._read_secrets = source, hosts, read_secrets
        self._transport = Transport(hosts, source.parallel)
        self._client = httpx.Client(
            transport=self._transport,
            trust_env=False,
            follow_redirects=False,
            headers={"User-Agent": _AGENT, "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(source.read_seconds, connect=source.connect_seconds),
        )
        self._kept: dict[str, _Kept] = {}
        self._lock = Lock()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def get_page(self, url: str) -> Page:
        """Return a document; the one that was got before, if the server says that it is the same.

        Raises:
            SourceError: It cannot be got.
        """
        kept = self._kept.get(url)
        deadline = time.monotonic() + self._source.file_seconds
        with self._send(url, _ask_if_changed(kept.validator if kept else ""), deadline) as answer:
            if kept and answer.status_code == httpx.codes.NOT_MODIFIED:
                return kept.page
            _expect(answer)
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > MAX_PAGE_BYTES:
                    raise SourceError(f"the list is longer than {MAX_PAGE_BYTES:,} bytes")
            link = answer.links.get("next", {}).get("url", "")
            try:
                next_url = join_url(str(answer.url), link) if link else ""
            except ValueError:
                raise SourceError("its list leads on to what is no URL") from None
            found = Page(str(answer.url), bytes(body), next_url)
            self._keep(url, _Kept(_validator_of(answer), found))
            return found

    def fetch(self, url: str, sink: Sink, known: str) -> str | None:
        """Write a file to a sink; see `Remote.fetch`."""
        mark = _mark_of(url)
        before, _, validator = known.partition(" ")
        asked = _ask_if_changed(validator if before == mark else "")
        with self._send(url, asked, sink.deadline) as answer:
            if asked and answer.status_code == httpx.codes.NOT_MODIFIED:
                return None
            _expect(answer)
            _check_framing(answer)
            length = answer.headers.get("Content-Length", "")
            sink.check_size(int(length) if length.isdecimal() else None)
            for chunk in answer.iter_raw():
                sink.write(chunk)
            found = _validator_of(answer)
            return f"{mark} {found}" if found else ""

    @contextmanager
    def _send(
        self, url: str, headers: Mapping[str, str], deadline: float
    ) -> Iterator[httpx.Response]:
        """Ask for a URL, and for where it leads."""
        self._transport.deadline.at = deadline
        try:
            for _ in range(_MOST_REDIRECTS + 1):
                origin = self._find_origin(url)
                own = self._read_secrets() if origin == self._hosts.own else {}
                request = self._client.build_request("GET", url, headers={**headers, **own})
                answer = self._client.send(request, stream=True)
                try:
                    if answer.status_code not in _REDIRECTS:
                        yield answer
                        return
                    url = self._follow(url, origin, answer.headers.get("Location", ""))
                finally:
                    answer.close()
            raise SourceError(f"leads on more than {_MOST_REDIRECTS} times")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise _explain(error, deadline, self._source) from None
        except (
            *(httpcore.NetworkError, httpcore.TimeoutException),
            *(httpcore.ProtocolError, httpcore.UnsupportedProtocol, ssl.SSLError),
        ) as error:
            raise _explain(error, deadline, self._source) from None
        finally:
            self._transport.deadline.at = float("inf")

    def _find_origin(self, url: str) -> Origin:
        try:
            origin = Origin.of(url)
        except ValueError as error:
            raise SourceError(f"its URL {error}") from None
        self._hosts.check(origin)
        return origin

    def _follow(self, url: str, origin: Origin, location: str) -> str:
        if not location:
            raise SourceError("is redirected to nowhere")
        try:
            there = join_url(url, location)
            target = Origin.of(there)
        except ValueError as error:
            raise SourceError(f"is redirected to where its URL {error}") from None
        if origin.scheme == "https" and target.scheme != "https":
            raise SourceError("is redirected from https to http")
        return there

    def _keep(self, url: str, kept: _Kept) -> None:
        with self._lock:
            self._kept.pop(url, None)
            if not kept.validator:
                return
            size = len(kept.page.body)
            if size + sum(len(one.page.body) for one in self._kept.values()) > _MOST_KEPT_BYTES:
                self._kept.clear()
            if size <= _MOST_KEPT_BYTES:
                self._kept[url] = kept


def join_url(base: str, url: str) -> str:
    """Return a URL that may be relative to another one.

    Raises:
        ValueError: It is none; it is not repeated.
    """
    try:
        return urljoin(base, url)
    except ValueError:
        raise ValueError("is no URL") from None


def _mark_of(url: str) -> str:
    """Return a mark of where a file is, without the query, which may be signed anew every time."""
    return sha256(urlsplit(url)._replace(query="", fragment="").geturl().encode()).hexdigest()[:16]


def _validator_of(answer: httpx.Response) -> str:
    if etag := answer.headers.get("ETag", ""):
        return f"etag {etag}"
    modified = answer.headers.get("Last-Modified", "")
    return f"modified {modified}" if modified else ""


def _ask_if_changed(validator: str) -> dict[str, str]:
    kind, _, value = validator.partition(" ")
    names = {"etag": "If-None-Match", "modified": "If-Modified-Since"}
    return {names[kind]: value} if kind in names else {}


def _expect(answer: httpx.Response) -> None:
    """Refuse any answer but the document or file."""
    status = answer.status_code
    if status == httpx.codes.OK:
        return
    said = f"the server answers {status}"
    if status in (401, 403):
        said += ": access is denied; check the secrets and what they allow"
    raise SourceError(
        said,
        may_pass=status in _MAY_PASS,
        retry_after_seconds=_read_retry_after(answer.headers.get("Retry-After", "")),
    )


def _read_retry_after(text: str) -> float:
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return 0.0


def _check_framing(answer: httpx.Response) -> None:
    """Refuse a file of which nobody can tell whether it is whole, or whose bytes are others."""
    if answer.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        raise SourceError("the server compresses it on the way although it was asked not to")
    is_chunked = "chunked" in answer.headers.get("Transfer-Encoding", "").lower()
    if not is_chunked and "Content-Length" not in answer.headers:
        raise SourceError(
            "the server does not say how long it is, so that nobody can tell whether it was cut off"
        )


def _explain(error: Exception, deadline: float, source: Source) -> SourceError:
    """Return what happened, without what the server or the URL says."""
    if time.monotonic() >= deadline:
        return too_slow(source.file_seconds)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return SourceError(f"its certificate is not valid: {cause.verify_message}")
        cause = cause.__cause__ or cause.__context__
    name = type(error).__name__
    if "ConnectTimeout" in name:
        return SourceError("cannot be reached in time", may_pass=True)
    if "Connect" in name:
        return SourceError("cannot be reached", may_pass=True)
    if "Timeout" in name:
        reason = f"sent nothing for {source.read_seconds:g} s"
        return SourceError(reason, may_pass=True)
    if name in ("RemoteProtocolError", "ReadError", "DecodingError"):
        return SourceError("was cut off, or is not what HTTP demands", may_pass=True)
    return SourceError(f"cannot be got ({name})", may_pass=name == "WriteError")
