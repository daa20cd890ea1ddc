"""S3 server: object storage of one test session, on this machine only.

It is SeaweedFS, which checks signatures, rights and `If-Match` as a real store does.
"""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError

import pytest

from support.s3_signing import put_as_is

DEADLINE_S = 120
_GRPC_OFFSET = 10_000
"""Beside each of its HTTP ports it takes one for gRPC, so much higher."""
_HIGHEST_PORT = 55_000
_SOCKETS = Path("/tmp")
"""Where it puts sockets, named by its ports, and leaves them."""

WRITER = ("obj-writer", "writer-secret-5d1c0a")
READER = ("obj-reader", "reader-secret-77ef12")
"""Access key and secret of somebody who may do all, and of somebody who may only read."""


BUCKET = "landing"
"""A bucket that a server of the tests has."""


def find_weed() -> str:
    """Return the path of SeaweedFS; empty if it is not installed."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.is_file() else shutil.which("weed") or ""


def require_weed() -> None:
    """Skip a test where SeaweedFS is not installed; where nothing may be left out, fail."""
    if not find_weed():
        reason = "SeaweedFS is not installed: make test-scale installs it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def _is_free(port: int) -> bool:
    for number in (port, port + _GRPC_OFFSET):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
            try:
                taken.bind(("127.0.0.1", number))
            except OSError:
                return False
    return True


def _choose_ports(count: int) -> list[int]:
    ports = list[int]()
    while len(ports) < count:
        port = random.randrange(20_000, _HIGHEST_PORT - _GRPC_OFFSET)
        if port not in ports and _is_free(port):
            ports.append(port)
    return ports


class S3Server:
    """A running server, with its data and its log in one folder.

    Attributes:
        endpoint: Its address.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        for _ in range(3):
            self._command = self._choose_command(folder)
            if self._start():
                return
            self.stop()
        log = (folder / "weed.log").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"SeaweedFS did not start:\n{log[-3000:]}")

    def _choose_command(self, folder: Path) -> list[str]:
        identities = [
            {
                "name": name,
                "credentials": [{"accessKey": key, "secretKey": secret}],
                "actions": actions,
            }
            for name, (key, secret), actions in (
                ("writer", WRITER, ["Admin", "Read", "List", "Tagging", "Write"]),
                ("reader", READER, ["Read", "List"]),
            )
        ]
        config = folder / "s3.json"
        config.write_text(json.dumps({"identities": identities}), encoding="utf-8")
        data = folder / "data"
        data.mkdir(exist_ok=True)
        self._ports = master, volume, filer, s3 = _choose_ports(4)
        self.endpoint = f"http://127.0.0.1:{s3}"
        return [
            *(find_weed(), f"-logdir={folder}", "server", f"-dir={data}"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-master.port={master}", f"-volume.port={volume}"),
            *("-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}", f"-s3.config={config}"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
            *("-master.telemetry=false", "-volume.max=50", "-master.volumeSizeLimitMB=256"),
        ]

    def _start(self) -> bool:
        """Start it, and wait until a bucket can be made; return whether it can."""
        with (self._folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self._folder
            )
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.make_bucket("is-ready")
            except OSError:
                time.sleep(0.1)
            else:
                return True
        return False

    def make_bucket(self, name: str) -> None:
        """Make a bucket, unless it is there.

        Raises:
            OSError: The server is not ready.
        """
        try:
            put_as_is(self.endpoint, name, *WRITER)
        except HTTPError as error:
            if error.code != HTTPStatus.CONFLICT:
                raise

    def restart(self) -> None:
        """Let it crash, and start it again at the same address."""
        self.stop()
        assert self._start(), "the server did not start again"

    def stop(self) -> None:
        """End it at once: it does not heed a polite signal."""
        self._process.kill()
        self._process.wait(DEADLINE_S)
        for port in self._ports:
            for number in (port, port + _GRPC_OFFSET):
                for left in _SOCKETS.glob(f"seaweedfs-*-{number}.sock"):
                    left.unlink(missing_ok=True)


def environment_of(endpoint: str, identity: tuple[str, str] = WRITER) -> dict[str, str]:
    """Return the variables by which a process reaches the server."""
    key, secret = identity
    return {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
    }
