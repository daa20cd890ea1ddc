"""SQS server: moto's, on this machine only. It takes any credentials."""

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from support.dev_server import find_free_port

DEADLINE_S = 120


def require_moto() -> None:
    """Skip a test where moto is not installed; where nothing may be left out, fail."""
    if not (find_spec("moto") and find_spec("flask") and find_spec("boto3")):
        reason = "moto is not installed: make test-scale installs it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


class SqsServer:
    """A running server with one queue.

    Attributes:
        client: A client of the server.
        url: The queue's URL.
    """

    def __init__(self, folder: Path) -> None:
        import boto3

        self._port, self._log = find_free_port(), folder / "moto.log"
        self._start()
        self.client: Any = boto3.client(
            "sqs",
            endpoint_url=f"http://127.0.0.1:{self._port}",
            region_name="us-east-1",
            aws_access_key_id="a-sender",
            aws_secret_access_key="a-senders-secret",
        )
        self.url = self._make_queue()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def _make_queue(self) -> str:
        from botocore.exceptions import BotoCoreError

        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                return self.client.create_queue(QueueName="landing")["QueueUrl"]
            except BotoCoreError:
                assert self._process.poll() is None, self._log.read_text(encoding="utf-8")
                assert time.monotonic() < deadline, self._log.read_text(encoding="utf-8")
                time.sleep(0.1)

    def send(self, body: str) -> None:
        """Put a message into the queue."""
        self.client.send_message(QueueUrl=self.url, MessageBody=body)

    def count(self) -> int:
        """Count the messages that are not deleted."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return sum(int(found["Attributes"][name]) for name in names)

    def restart(self) -> None:
        """Let it crash with its queue, and start it again at the same address."""
        self.stop()
        self._start()
        self._make_queue()

    def stop(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(DEADLINE_S)
