"""Network: connections of an HTTP client that lead to allowed addresses only, and end in time.

Takes the hosts that are allowed; gives httpx a transport. A name is looked up once, by what also
connects, so that what was checked is what is spoken with; and every read ends at the deadline of
its thread, however slowly the bytes come.
"""

import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore
import httpx

from partitioned_etl.engine.errors import SourceError
from partitioned_etl.engine.sources.hosts import AllowedHosts

SocketOptions = Iterable[Any]


class Deadline(threading.local):
    """When what this thread does must have ended, by the monotonic clock."""

    at = float("inf")

    def cap(self, seconds: float | None) -> float:
        """Return how long to wait at most.

        Raises:
            httpcore.ReadTimeout: The time is over.
        """
        left = self.at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the deadline is over")
        return min(left, left if seconds is None else seconds)


class _Stream(httpcore.NetworkStream):
    """A connection that is used until a deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.cap(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.cap(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        seconds = self._deadline.cap(timeout)
        started = self._stream.start_tls(ssl_context, server_hostname, seconds)
        return _Stream(started, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Connects with allowed addresses only."""

    def __init__(self, hosts: AllowedHosts, deadline: Deadline) -> None:
        self._hosts, self._deadline = hosts, deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise SourceError(f"the host {host!a} is not known", may_pass=True) from None
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        for address in addresses:
            self._hosts.check_address(host, address)
        for address in addresses:
            try:
                seconds = self._deadline.cap(timeout)
                stream = self._sockets.connect_tcp(
                    address, port, seconds, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if address == addresses[-1]:
                    raise
                continue
            return _Stream(stream, self._deadline)
        raise SourceError(f"the host {host!a} has no address", may_pass=True)


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._stream.close()


class Transport(httpx.BaseTransport):
    """What httpx sends requests by: connections that are guarded.

    Attributes:
        deadline: The deadline of each thread.
    """

    def __init__(self, hosts: AllowedHosts, parallel: int) -> None:
        self.deadline = Deadline()
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=parallel + 1,
            max_keepalive_connections=parallel + 1,
            network_backend=_Backend(hosts, self.deadline),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        url = request.url
        sent = httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        answer = self._pool.handle_request(sent)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer.stream),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()
