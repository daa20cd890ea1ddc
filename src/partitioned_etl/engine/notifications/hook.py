"""Hook: a small HTTP server to which a store, or a script, sends word of what landed.

Takes a port and a token; takes note of the body of each POST, whatever its path. Who sends rubbish,
too much or too slowly is turned away, and costs one of a few places for some seconds at most.
"""

import hmac
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from logging import getLogger
from socketserver import TCPServer
from threading import BoundedSemaphore, Timer
from typing import Any

from partitioned_etl.engine.errors import NotificationError
from partitioned_etl.engine.notification_address import HookAddress
from partitioned_etl.engine.notifications.messages import read_message
from partitioned_etl.engine.notifications.receiver import Inbox

logger = getLogger(__name__)

MAX_BODY_BYTES = 4 << 20
"""SeaweedFS names all chunks of an object."""
REQUEST_SECONDS = 10.0
"""How long a request may take, from the connection to the answer."""
_MOST_AT_ONCE = 16


class Hook:
    """A port that is listened on.

    Attributes:
        address: Host and port.
    """

    def __init__(self, address: HookAddress, token: str) -> None:
        self.address, self._token = address, token

    def receive(self, inbox: Inbox) -> None:
        """Answer requests for as long as the inbox is wanted.

        Raises:
            NotificationError: The port cannot be listened on.
        """
        host, port = self.address
        try:
            server = _Server(self.address, self._token, inbox)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise NotificationError(f"nobody can listen on {host}, port {port}: {reason}") from None
        with server:
            inbox.open(has_missed=True)
            while inbox.is_wanted:
                server.handle_request()


class _Server(ThreadingHTTPServer):
    """Answers a few requests at once, each within a bounded time."""

    daemon_threads, block_on_close = True, False
    request_queue_size = 128
    timeout = 0.5

    def __init__(self, address: HookAddress, token: str, inbox: Inbox) -> None:
        self.inbox, self._token = inbox, token
        self._places = BoundedSemaphore(_MOST_AT_ONCE)
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        super().__init__(address, _Request)

    def server_bind(self) -> None:
        """Bind the port, without asking a name server who this is."""
        TCPServer.server_bind(self)

    def accepts(self, authorization: str) -> bool:
        """Return whether a request has the token, if there is one."""
        scheme, _, given = authorization.partition(" ")
        is_same = hmac.compare_digest(given.strip().encode("latin-1"), self._token.encode())
        return not self._token or (scheme.lower() == "bearer" and is_same)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a request in a thread of its own, once there is a place for it."""
        if self._places.acquire(timeout=REQUEST_SECONDS):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a request, and end its connection when its time is over."""
        timer = Timer(REQUEST_SECONDS, _end, [request])
        timer.daemon = True
        try:
            timer.start()
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Tell what went wrong in one line: who sent it is gone, most of the time."""
        logger.debug("a notification was not received: %s", type(sys.exception()).__name__)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Request(BaseHTTPRequestHandler):
    server: _Server  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "partitioned-etl", ""
    timeout = REQUEST_SECONDS

    def do_POST(self) -> None:
        """Take note of what the body names."""
        size = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers:
            return self._answer(HTTPStatus.LENGTH_REQUIRED)
        if not (size.isascii() and size.isdigit()):
            return self._answer(HTTPStatus.BAD_REQUEST)
        if len(size) > len(str(MAX_BODY_BYTES)) or int(size) > MAX_BODY_BYTES:
            return self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        body = self.rfile.read(int(size))
        if len(body) < int(size):
            return self._answer(HTTPStatus.BAD_REQUEST)
        if not self.server.accepts(self.headers.get("Authorization", "")):
            return self._answer(HTTPStatus.UNAUTHORIZED)
        try:
            named = read_message(body)
        except ValueError:
            return self._answer(HTTPStatus.BAD_REQUEST)
        self.server.inbox.note(named)
        return self._answer(HTTPStatus.NO_CONTENT)

    def _refuse(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED)

    do_GET: Callable[..., None] = _refuse  # noqa: N815
    do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET  # noqa: N815

    def _answer(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self.request_version = self.protocol_version  # what is no HTTP would have no status line
        self.send_response(status)
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "POST")
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        if status is not HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Turn a request away that is none, without repeating it."""
        self._answer(HTTPStatus(code))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: an address or a header may hold what is secret."""
