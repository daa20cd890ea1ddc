"""Remote server: an HTTP server of one test that lists items, in pages of any kind, and gives them.

It remembers what it was asked. A test may let it answer a path in a way of its own.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from partitioned_etl.engine.feed import Feed

PAGE = 7


class Asked(NamedTuple):
    """A request."""

    path: str
    query: dict[str, str]
    headers: Message


Answer = Callable[[BaseHTTPRequestHandler], object]


@dataclass
class RemoteServer:
    """A server with items.

    Attributes:
        items: The content of each item, by its id.
        asked: The requests that it got.
        answers: What it does instead for a path.
        has_etags: Whether it tells an ETag; otherwise a Last-Modified.
    """

    port: int
    items: dict[str, bytes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    has_etags: bool = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, *keys: str, note: str = "x") -> None:
        """Offer items with one row each."""
        for key in keys:
            self.items[key] = f"id,note\n1,{note}\n".encode()

    def list_fetched(self) -> list[str]:
        """The ids of the items that were asked for, and forget all requests."""
        found = [one.path.rpartition("/")[2] for one in self.asked if one.path.startswith("/item/")]
        self.asked.clear()
        return sorted(found)

    def list_page(self, path: str, query: dict[str, str]) -> tuple[dict[str, str], Any]:
        """Give headers and document of a page."""
        listed = [
            {"id": key, "version": sha256(content).hexdigest(), "url": f"/item/{key}"}
            for key, content in sorted(self.items.items())
        ]
        start = {
            "/page": (int(query.get("page", 1)) - 1) * PAGE,
            "/offset": int(query.get("offset", 0)),
            "/cursor": int(query.get("cursor", "c0")[1:]),
        }.get(path, int(query.get("from", 0)))
        if path == "/list":
            return {}, {"data": {"items": listed}}
        more = start + PAGE if start + PAGE < len(listed) else None
        document: dict[str, Any] = {"data": {"items": listed[start : start + PAGE]}}
        headers: dict[str, str] = {}
        if path == "/cursor":
            document["meta"] = {"next": f"c{more}" if more else None}
        if path == "/next":
            document["meta"] = {"next": f"/next?from={more}" if more else None}
        if path == "/link" and more:
            headers["Link"] = f'</link?from={more}>; rel="next", </link>; rel="first"'
        return headers, document

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append(Asked(parts.path, query, handler.headers))
        if parts.path in self.answers:
            self.answers[parts.path](handler)
            return
        if parts.path.startswith("/item/"):
            content = self.items.get(parts.path.removeprefix("/item/"))
            if content is None:
                give(handler, b"", 404)
                return
            headers = {"ETag": f'"{sha256(content).hexdigest()}"'}
            if not self.has_etags:
                headers = {"Last-Modified": f"version {sha256(content).hexdigest()}"}
        else:
            headers, document = self.list_page(parts.path, query)
            content = json.dumps(document).encode()
            headers["ETag"] = f'"{sha256(content).hexdigest()}"'
        asked = (handler.headers["If-None-Match"], handler.headers["If-Modified-Since"])
        if set(asked) & {headers.get("ETag", 0), headers.get("Last-Modified", 0)}:
            give(handler, b"", 304)
        else:
            give(handler, content, 200, headers)

    def feed(self, path: str = "/list", *, feed: Feed | None = None, **source: Any) -> Feed:
        """Give a feed that fetches the items."""
        changes = feed.model_dump(exclude_unset=True) if feed else {}
        declared: dict[str, Any] = {
            "type": "http",
            "url": f"{self.url}{path}",
            "items": "$.data.items",
            "name": "{id}.csv",
            "item_url": "{url}",
            "version": "version",
            **source,
        }
        return Feed(
            **{
                "name": "notes",
                "pattern": "{key}.csv",
                "columns": {"id": "BIGINT", "note": "VARCHAR"},
                "table": "raw_notes",
                **changes,
                "source": declared,
            }
        )


def give(
    handler: BaseHTTPRequestHandler,
    content: bytes,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> None:
    """Answer a request."""
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content)


@contextmanager
def start_remote_server() -> Iterator[RemoteServer]:
    """Start a server on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            try:
                remote.answer(self)
                self.wfile.flush()
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:  # type: ignore[override]
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of clients that went away."""

    server = Server(("127.0.0.1", 0), Handler)
    remote = RemoteServer(server.server_port)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield remote
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
