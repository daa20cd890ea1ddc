"""Hostile sources: what a server sends or asks for that must never land, nor be followed.

Every fetch fails with one sentence that names the item and holds no secret; no byte of it lies in
the feed's folder, and what is sound beside it lands.
"""

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from partitioned_etl.engine.errors import SourceError
from partitioned_etl.engine.sources import retries
from partitioned_etl.engine.sources.mirror import mirror_source
from support.remote_server import RemoteServer, give
from support.workbench import Workbench, change_feed

SECRET = "t0p-s3cret"
ENDLESS_S = 120
Answer = Callable[[Any], object]


@pytest.fixture
def landing(bench: Workbench, no_pauses: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("API_TOKEN", SECRET)
    bench.landing_dir.mkdir()
    return bench.landing_dir


@pytest.fixture
def remote(remote: RemoteServer) -> RemoteServer:
    remote.put("sound", "hostile")
    return remote


def fetch_hostile(
    remote: RemoteServer, landing: Path, answer: Answer | None = None, **source: Any
) -> str:
    """Fetch an item that a server answers in a hostile way, and a sound one; give the reason."""
    if answer:
        remote.answers["/item/hostile"] = answer
    given = {"bearer": "API_TOKEN", "read_seconds": 20, "max_file_bytes": 100_000, **source}
    fetched = mirror_source(remote.feed(**given), landing)
    assert fetched.landed == ["sound.csv"]
    assert [path.name for path in (landing / "notes").iterdir()] == ["sound.csv"]
    state = landing / ".sources" / "notes"
    assert {path.name for path in state.iterdir()} == {
        "lock",
        "manifest.jsonl",
        "troubles.json",
    }
    [failed] = fetched.failed
    assert failed.name == "hostile.csv"
    assert SECRET not in failed.reason
    assert "\n" not in failed.reason
    return failed.reason


def head(handler: Any, *lines: str) -> None:
    handler.wfile.write("\r\n".join(("HTTP/1.1 200 OK", *lines, "", "")).encode())
    handler.wfile.flush()
    handler.close_connection = True


def redirect(where: str) -> Answer:
    return lambda handler: give(handler, b"", 302, {"Location": where})


def send_without_end(handler: Any) -> None:
    head(handler, "Transfer-Encoding: chunked")
    deadline = time.monotonic() + ENDLESS_S
    while time.monotonic() < deadline:
        handler.wfile.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")


def drip_body(handler: Any) -> None:
    head(handler, "Content-Length: 100000")
    drip(handler, b"x")


def drip_head(handler: Any) -> None:
    handler.close_connection = True
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    drip(handler, b"x")


def drip(handler: Any, piece: bytes) -> None:
    deadline = time.monotonic() + ENDLESS_S
    while time.monotonic() < deadline:
        handler.wfile.write(piece)
        handler.wfile.flush()
        time.sleep(0.02)


def test_a_body_without_end_is_cut_at_the_longest_size(remote: RemoteServer, landing: Path) -> None:
    reason = fetch_hostile(remote, landing, send_without_end)
    assert reason == "is longer than 100,000 bytes: raise max_file_bytes if it may be"


def test_a_body_that_says_it_is_too_long_is_not_even_begun(
    remote: RemoteServer, landing: Path
) -> None:
    reason = fetch_hostile(remote, landing, lambda handler: head(handler, "Content-Length: 100001"))
    assert reason == "is longer than 100,000 bytes: raise max_file_bytes if it may be"


@pytest.mark.parametrize("answer", [drip_body, drip_head])
def test_a_slow_drip_ends_at_the_time_for_a_file(
    remote: RemoteServer, landing: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "MOST_TRIES", 1)
    began = time.monotonic()
    assert fetch_hostile(remote, landing, answer, file_seconds=1) == "took longer than 1 s"
    assert time.monotonic() - began < ENDLESS_S / 4


def test_a_server_that_says_nothing_is_left_after_a_while(
    remote: RemoteServer, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "MOST_TRIES", 1)
    go_on = Event()
    reason = fetch_hostile(remote, landing, lambda _: go_on.wait(ENDLESS_S), read_seconds=0.5)
    go_on.set()
    assert reason == "sent nothing for 0.5 s"


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (["Content-Length: 900"], b"id,note\n1,x\n"),
        (["Transfer-Encoding: chunked"], b"c\r\nid,note\n1,x\n"),
        (["Transfer-Encoding: chunked"], b"99\r\nid,note\n1,x\n"),
    ],
    ids=["shorter than it says", "without its last chunk", "within a chunk"],
)
def test_a_body_that_ends_too_early_never_lands(
    remote: RemoteServer, landing: Path, lines: list[str], body: bytes
) -> None:
    def answer(handler: Any) -> None:
        head(handler, *lines)
        handler.wfile.write(body)

    assert fetch_hostile(remote, landing, answer) == "was cut off, or is not what HTTP demands"
    assert len(remote.list_fetched()) == 1 + retries.MOST_TRIES


def test_a_body_longer_than_it_says_lands_as_long_as_it_says(
    remote: RemoteServer, landing: Path
) -> None:
    def answer(handler: Any) -> None:
        head(handler, "Content-Length: 12")
        handler.wfile.write(b"id,note\n1,x\nand more\n")

    remote.answers["/item/hostile"] = answer
    mirror_source(remote.feed(), landing)
    assert (landing / "notes" / "hostile.csv").read_bytes() == b"id,note\n1,x\n"


def test_a_body_of_which_nobody_knows_whether_it_is_whole_never_lands(
    remote: RemoteServer, landing: Path
) -> None:
    def answer(handler: Any) -> None:
        head(handler, "Connection: close")
        handler.wfile.write(b"id,note\n1,x\n")

    reason = fetch_hostile(remote, landing, answer)
    assert reason.startswith("the server does not say how long it is")


def test_a_body_that_is_compressed_on_the_way_never_lands(
    remote: RemoteServer, landing: Path
) -> None:
    def answer(handler: Any) -> None:
        give(handler, b"\x1f\x8b", 200, {"Content-Encoding": "gzip"})

    reason = fetch_hostile(remote, landing, answer)
    assert reason == "the server compresses it on the way although it was asked not to"


@pytest.mark.parametrize("status", [201, 204, 206, 300, 404, 418])
def test_no_other_answer_is_taken_for_a_file(
    remote: RemoteServer, landing: Path, status: int
) -> None:
    reason = fetch_hostile(remote, landing, lambda handler: give(handler, b"id,note\n", status))
    assert reason == f"the server answers {status}"


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        (
            "file:///etc/passwd",
            "is redirected to where its URL must begin with https:// or http://",
        ),
        ("ftp://127.0.0.1/x", "is redirected to where its URL must begin with https:// or http://"),
        (
            "http://169.254.169.254/latest/meta-data?token=abc",
            "leads to '169.254.169.254', which is not among the declared hosts",
        ),
        ("//evil.example/x", "leads to 'evil.example', which is not among the declared hosts"),
        (
            "http://127.0.0.1@evil.example/",
            "is redirected to where its URL must not hold a user or a password",
        ),
        (
            "http://127.0.0.1:1/",
            "leads to '127.0.0.1, port 1', which is not among the declared hosts",
        ),
        ("http://localhost/", "leads to 'localhost', which is not among the declared hosts"),
        ("http://[::1]/", "leads to '::1', which is not among the declared hosts"),
        ("http://2130706433/", "leads to '2130706433', which is not among the declared hosts"),
        ("http://[", "is redirected to where its URL is no URL"),
        ("", "is redirected to nowhere"),
        ("/item/hostile", "leads on more than 5 times"),
    ],
)
def test_a_redirect_to_elsewhere_is_not_followed(
    remote: RemoteServer, landing: Path, where: str, reason: str
) -> None:
    assert fetch_hostile(remote, landing, redirect(where)) == reason


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://169.254.169.254/", "//evil.example/", "http://[::1]/"]
)
def test_an_item_that_is_elsewhere_is_not_fetched(
    remote: RemoteServer, landing: Path, url: str
) -> None:
    content = (
        f'{{"data": {{"items": [{{"id": "hostile", "version": 1, "url": "{url}"}},'
        '{"id": "sound", "version": 1, "url": "/item/sound"}]}}'
    )
    remote.answers["/list"] = lambda handler: give(handler, content.encode())
    fetch_hostile(remote, landing)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "0.0.0.0"])
def test_a_name_that_stands_for_an_address_of_this_machine_or_its_link_is_refused(
    remote: RemoteServer, landing: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it did not when somebody looked it up before."""
    look_up = socket.getaddrinfo
    asked: list[str] = []

    def answer(host: str, port: int, *given: Any, **named: Any) -> Any:
        asked.append(host)
        return look_up(address if host == "harmless.example" else host, port, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    feed = remote.feed(url=f"http://harmless.example:{remote.port}/list")
    with pytest.raises(SourceError, match=r"harmless\.example stands for "):
        mirror_source(feed, landing)
    assert asked == ["harmless.example"]
    assert not remote.asked


def test_an_address_that_is_declared_is_spoken_with(
    remote: RemoteServer, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda _, *given, **named: look_up("127.0.0.1", *given, **named)
    )
    feed = remote.feed(url=f"http://inside.example:{remote.port}/list", hosts=["127.0.0.1"])
    assert len(mirror_source(feed, landing).landed) == 2
    assert {one.headers["Host"] for one in remote.asked} == {f"inside.example:{remote.port}"}


def make_certificate(folder: Path) -> Path:
    """Make a certificate that only its own key vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = folder / "self_signed.pem"
    private = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(key.private_bytes(*private) + made.public_bytes(Encoding.PEM))
    return pem


def test_a_server_with_a_certificate_that_nobody_vouches_for_is_not_spoken_with(
    remote: RemoteServer, landing: Path, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make_certificate(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:
                    return
                with suppress(OSError), context.wrap_socket(plain, server_side=True) as secure:
                    secure.recv(1000)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        feed = remote.feed(url=f"https://127.0.0.1:{listening.getsockname()[1]}/list")
        with pytest.raises(SourceError, match="its certificate is not valid: self-signed"):
            mirror_source(feed, landing)
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(60)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>not found</html>",
        b'{"data": {"items": {}}}',
        b'{"data": {"items": [1, null, "x", {"id": {}}, []]}}',
        b'{"data": {"items": [{"id": "x", "version": 1, "url": "http://["}]}}',
        b"[" * 100_000,
        b'{"data": {"items": [',
        b"\xff\xfe\x00",
    ],
)
def test_a_list_that_is_none_fetches_nothing_and_removes_nothing(
    remote: RemoteServer, landing: Path, body: bytes
) -> None:
    feed = change_feed(remote.feed(), on_missing="remove")
    mirror_source(feed, landing)
    before = sorted(path.name for path in (landing / "notes").iterdir())
    remote.answers["/list"] = lambda handler: give(handler, body)
    with suppress(SourceError):
        assert mirror_source(feed, landing).landed == []
    assert sorted(path.name for path in (landing / "notes").iterdir()) == before


def test_a_list_without_end_is_refused(remote: RemoteServer, landing: Path) -> None:
    remote.answers["/list"] = send_without_end
    with pytest.raises(SourceError, match="the list is longer than"):
        mirror_source(remote.feed(), landing)


def test_a_list_whose_pages_never_end_is_refused(remote: RemoteServer, landing: Path) -> None:
    content = b'{"data": {"items": [{"id": 1, "version": 1, "url": "/item/sound"}]}}'
    remote.answers["/endless"] = lambda handler: give(handler, content)
    feed = remote.feed("/endless", paging={"by": "page"}, max_items=300)
    with pytest.raises(SourceError, match="lists more than 300 items"):
        mirror_source(feed, landing)


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "/etc/passwd",
        "..",
        ".",
        ".hidden",
        "a\\b",
        "a/b",
        "x\0y",
        "x\ny",
        "é" * 200,
        "~x",
    ],
)
def test_a_name_with_a_path_in_it_lands_nowhere(
    remote: RemoteServer, landing: Path, name: str
) -> None:
    import json

    item = {"id": name, "version": 1, "url": "/item/sound"}
    sound = {"id": "sound", "version": 1, "url": "/item/sound"}
    content = json.dumps({"data": {"items": [item, sound]}}).encode()
    remote.answers["/list"] = lambda handler: give(handler, content)
    feed = remote.feed()
    fetched = mirror_source(feed, landing)
    assert len(fetched.difference.passed_over) == 1
    files = [path for path in landing.parent.rglob("*") if path.is_file()]
    assert {path.relative_to(landing).as_posix() for path in files} == {
        "notes/sound.csv",
        ".sources/notes/lock",
        ".sources/notes/manifest.jsonl",
        ".sources/notes/troubles.json",
    }


def test_no_secret_is_told_when_everything_fails(
    remote: RemoteServer, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = remote.feed(f"/list?key={SECRET}", bearer="API_TOKEN")
    remote.answers["/list"] = redirect(f"http://evil.example/?key={SECRET}")
    with pytest.raises(SourceError) as caught:
        mirror_source(feed, landing)
    assert SECRET not in repr(caught.value)
    monkeypatch.setenv("API_TOKEN", f"{SECRET}\nX-More: 1")
    with pytest.raises(SourceError, match="a secret holds what no header can") as caught:
        mirror_source(feed, landing)
    assert SECRET not in repr(caught.value)
