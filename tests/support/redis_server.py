"""Redis: a server that tests start themselves, on a free port and in a folder of its own."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.dev_server import find_free_port

DEADLINE_S = 120
REDIS = shutil.which("redis-server")


def require_redis() -> None:
    """Skip a test where Redis is not installed; where nothing may be left out, fail."""
    if REDIS is None:
        reason = "redis-server is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@contextmanager
def run_redis() -> Iterator[str]:
    """Start a server, give its address with the password, and leave nothing of it behind."""
    assert REDIS
    port, password = find_free_port(), secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="partitioned_etl_redis_") as folder:
        log = Path(folder) / "log"
        process = subprocess.Popen(
            [
                *(REDIS, "--bind", "127.0.0.1", "--port", str(port), "--dir", folder),
                *("--requirepass", password, "--save", "", "--logfile", str(log)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # A Ctrl-C of the tests is not for it.
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + DEADLINE_S
            while not _answers(port, password):
                assert process.poll() is None, log.read_text(encoding="utf-8")
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield f"redis://:{password}@127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


def _answers(port: int, password: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while b"PONG" not in answer:
                if not (more := connection.recv(64)):
                    return False
                answer += more
            return True
    except OSError:
        return False
