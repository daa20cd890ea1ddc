"""Faulty proxy: stands before an S3 server and answers some requests wrongly, or late.

A signature covers the header Host, which is passed on as it came.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from urllib.parse import urlsplit

_HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length"}
_DEADLINE_S = 60


@dataclass
class Fault:
    """What happens to some requests.

    Attributes:
        method: Their method.
        part: A text in their path with its query.
        status: The status to answer with; 0 to pass the request on.
        body: The body of that answer.
        keep: The share of the body that is passed on before the connection ends; 1 for all.
        says_less: Whether an answer that is cut also says that it is so short.
        is_slow: Whether to answer only when the proxy is stopped.
        times: How many requests it happens to.
        before: What happens before the request is passed on.
    """

    method: str
    part: str
    status: int = 0
    body: str = ""
    keep: float = 1
    says_less: bool = False
    is_slow: bool = False
    times: int = 1_000_000
    before: Callable[[], object] | None = None


@dataclass
class FaultyProxy:
    """A running proxy.

    Attributes:
        endpoint: Its address.
        faults: What it does wrong; the first that fits.
        requests: Method and path of each request that came.
    """

    endpoint: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    is_stopping: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)

    def fail(self, method: str, part: str, **what: object) -> None:
        """Do something wrong from now on."""
        self.faults.append(Fault(method, part, **what))  # type: ignore[arg-type]

    def count(self, method: str, part: str) -> int:
        """Return how many such requests came."""
        return sum(one == method and part in path for one, path in self.requests)

    def take(self, method: str, path: str) -> Fault | None:
        """Return what goes wrong with a request, which has come."""
        with self._lock:
            self.requests.append((method, path))
            for fault in self.faults:
                if fault.method == method and fault.part in path and fault.times:
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy
    upstream: str

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Print nothing."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        fault = self.proxy.take(self.command, self.path) or Fault("", "")
        if fault.before:
            fault.before()
        if fault.is_slow:
            self.proxy.is_stopping.wait(_DEADLINE_S)
            self.close_connection = True
            return
        if fault.status:
            self._send(fault.status, {"content-type": "application/xml"}, fault.body.encode())
            return
        connection = http.client.HTTPConnection(self.upstream, timeout=_DEADLINE_S)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders(body or None)
        answer = connection.getresponse()
        content = answer.read()
        headers = {
            name: value for name, value in answer.getheaders() if name.lower() not in _HOP_HEADERS
        }
        length = answer.getheader("content-length")
        connection.close()
        self._send(answer.status, headers, content, fault, length)

    def _send(
        self,
        status: int,
        headers: dict[str, str],
        content: bytes,
        fault: Fault | None = None,
        length: str | None = None,
    ) -> None:
        kept = content[: int(len(content) * fault.keep)] if fault else content
        is_cut = len(kept) < len(content)
        says = len(kept) if fault and fault.says_less else len(content)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        is_head = self.command == "HEAD" and length is not None
        self.send_header("Content-Length", str(length) if is_head else str(says))
        if is_cut:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(kept)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _answer  # noqa: N815


@contextmanager
def run_proxy(endpoint: str) -> Iterator[FaultyProxy]:
    """Run a proxy before a server, as long as the context lasts."""
    handler = type("Handler", (_Handler,), {"upstream": urlsplit(endpoint).netloc})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        proxy = FaultyProxy(f"http://127.0.0.1:{server.server_address[1]}")
        handler.proxy = proxy  # type: ignore[attr-defined]
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.is_stopping.set()
            server.shutdown()
            thread.join()
