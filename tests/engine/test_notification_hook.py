"""The hook, over HTTP: what it takes note of, and whom it turns away."""

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import pytest

from partitioned_etl.engine.notification_address import HookAddress
from partitioned_etl.engine.notifications import hook
from partitioned_etl.engine.notifications.hook import MAX_BODY_BYTES, Hook
from partitioned_etl.engine.notifications.places import place_of
from partitioned_etl.engine.notifications.receiver import Receiver
from support.dev_server import find_free_port
from support.notifications import name_in_s3

DEADLINE_S = 60
DAILY = place_of("s3://landing/in", "daily")
TOKEN = "tökén-that-nobody-may-see"


class Listening:
    """A hook on a free port, and one feed that it may wake."""

    def __init__(self, token: str) -> None:
        self.port = find_free_port()
        self.receiver = Receiver(Hook(HookAddress("127.0.0.1", self.port), token))
        self.mark = self.receiver.watch("daily", DAILY)
        assert not self.receiver.trouble

    @property
    def is_woken(self) -> bool:
        """Whether something woke the feed since the last time."""
        before, self.mark = self.mark, self.receiver.watch("daily", DAILY)
        return before != self.mark

    def ask(
        self,
        body: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> int:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            connection.request(method, "/any/path?x", body, dict(headers or {}))
            answer = connection.getresponse()
            assert answer.read() == b""
            return answer.status
        finally:
            connection.close()

    def send(self, sent: bytes) -> bytes:
        """Send bytes as they are, and give all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), DEADLINE_S) as connection:
            connection.sendall(sent)
            received = b""
            while chunk := connection.recv(4096):
                received += chunk
            return received


@pytest.fixture
def listen() -> Iterator[Callable[..., Listening]]:
    """Start hooks; all are ended."""
    started: list[Listening] = []

    def start(token: str = "") -> Listening:
        started.append(Listening(token))
        return started[-1]

    yield start
    for one in started:
        one.receiver.close()


def test_what_a_body_names_wakes_its_feed_and_no_other(listen: Callable[..., Listening]) -> None:
    listening = listen()
    assert listening.ask(json.dumps(name_in_s3("landing", "in/daily/ä b.csv"))) == 204
    assert listening.is_woken
    assert listening.ask(json.dumps(name_in_s3("landing", "in/monthly/a.csv"))) == 204
    assert not listening.is_woken
    for unknown in ("", None, "{}", "[1, 2]"):
        assert listening.ask(unknown) == 204
        assert listening.is_woken


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_only_what_is_posted_counts(listen: Callable[..., Listening], method: str) -> None:
    listening = listen()
    assert listening.ask(method=method) == 405
    assert not listening.is_woken


RUBBISH = {
    "no JSON": (b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n{", 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    "no length": (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n{}", 400),
    "a negative length": (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n{}", 400),
    "chunks": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 411),
    "too large": (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
    "far too large": (b"POST / HTTP/1.1\r\nContent-Length: %s\r\n\r\n" % (b"9" * 5000), 413),
    "a long address": (b"POST /%s HTTP/1.1\r\n\r\n" % (b"a" * 70_000), 414),
    "a long header": (b"POST / HTTP/1.1\r\nX: %s\r\n\r\n" % (b"a" * 70_000), 431),
    "many headers": (b"POST / HTTP/1.1\r\n%s\r\n" % (b"X: y\r\n" * 200), 431),
    "another method": (b"BREW / HTTP/1.1\r\n\r\n", 501),
    "another version": (b"POST / HTTP/3.0\r\n\r\n", 505),
}


@pytest.mark.parametrize(("sent", "status"), RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_turned_away_and_told_to_nobody(
    listen: Callable[..., Listening],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    sent: bytes,
    status: int,
) -> None:
    listening = listen()
    with caplog.at_level(logging.INFO):
        answer = listening.send(sent)
    assert answer.split()[1] == str(status).encode()
    assert b"aaaa" not in answer
    assert not listening.is_woken
    assert listening.ask() == 204
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_who_has_not_the_token_is_turned_away_and_nothing_tells_it(
    listen: Callable[..., Listening],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    listening = listen(TOKEN)
    right = TOKEN.encode().decode("latin-1")
    with caplog.at_level(logging.DEBUG):
        for wrong in ("", "Bearer", "Bearer x", f"Basic {right}", right, f"Bearer {right}x"):
            assert listening.ask("{}", {"Authorization": wrong}) == 401
        assert listening.ask("{}") == 401
        assert not listening.is_woken
        for scheme in ("Bearer", "bearer", "BEARER"):
            assert listening.ask("{}", {"Authorization": f"{scheme} {right}"}) == 204
            assert listening.is_woken
    told = caplog.text + "".join(capfd.readouterr())
    assert TOKEN not in told
    assert right not in told


def test_who_is_too_slow_is_cut_off_and_keeps_nobody_waiting(
    listen: Callable[..., Listening],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(hook, "REQUEST_SECONDS", 1.0)
    listening = listen()
    slow = []
    for start in (b"", b"POST / HTTP", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n{"):
        connection = socket.create_connection(("127.0.0.1", listening.port), DEADLINE_S)
        connection.sendall(start)
        slow.append(connection)
    assert listening.ask() == 204
    assert listening.is_woken
    for connection in slow:
        while connection.recv(4096):  # until it is cut off
            pass
        connection.close()
    assert not listening.is_woken
    assert capfd.readouterr() == ("", "")


def test_who_sends_byte_by_byte_is_cut_off_too(
    listen: Callable[..., Listening], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "REQUEST_SECONDS", 0.5)
    listening = listen()
    with socket.create_connection(("127.0.0.1", listening.port), DEADLINE_S) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\n")
        with pytest.raises(OSError, match=r".+"):
            drip(connection)


def drip(connection: socket.socket) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        connection.sendall(b"X")
        time.sleep(0.05)


def test_many_at_once_are_all_heard(listen: Callable[..., Listening]) -> None:
    listening = listen()
    with ThreadPoolExecutor(40) as pool:
        statuses = list(
            pool.map(lambda number: listening.ask(f'{{"path": "{number}"}}'), range(200))
        )
    assert statuses == [204] * 200
    assert not listening.is_woken
    with ThreadPoolExecutor(8) as pool:
        assert {*pool.map(lambda _: listening.ask('{"path": "daily/x"}'), range(8))} == {204}
    assert listening.is_woken


def test_a_port_that_is_taken_is_told_and_nobody_waits_for_it(
    listen: Callable[..., Listening],
) -> None:
    first = listen()
    second = Receiver(Hook(HookAddress("127.0.0.1", first.port), ""))
    second.watch("daily", DAILY)
    second.close()
    assert second.trouble == (
        f"nobody can listen on 127.0.0.1, port {first.port}: Address already in use"
    )
    assert first.ask() == 204


def test_a_name_that_is_none_of_this_machine_is_told() -> None:
    receiver = Receiver(Hook(HookAddress("192.0.2.1", find_free_port()), TOKEN))
    receiver.watch("daily", DAILY)
    receiver.close()
    assert "Cannot assign requested address" in receiver.trouble
    assert TOKEN not in receiver.trouble
