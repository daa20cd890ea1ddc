"""Notifications: bodies as stores send them, and a receiver whose messages a test sends."""

import time
from collections.abc import Callable
from threading import Event
from typing import Any
from urllib.parse import quote_plus

from partitioned_etl.engine.errors import NotificationError
from partitioned_etl.engine.notifications.messages import NamedObject
from partitioned_etl.engine.notifications.receiver import Inbox

DEADLINE_S = 120


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something is true; fail after a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def name_in_s3(bucket: str, key: str, encode: Callable[[str], str] = quote_plus) -> dict[str, Any]:
    """Give the body by which S3 tells of an object."""
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": "eu-central-1",
                "eventTime": "2018-01-22T00:00:00.000Z",
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
                    "object": {"key": encode(key), "size": 5, "eTag": "0", "sequencer": "0"},
                },
            }
        ]
    }


class TestSource:
    """A source that receives what the test sends.

    Attributes:
        trouble: Why it cannot receive; empty if it can.
        begun: How often it began to.
    """

    __test__ = False

    def __init__(self) -> None:
        self.trouble, self.begun = "", 0
        self._inbox: Inbox | None = None
        self._is_ended = Event()

    def receive(self, inbox: Inbox) -> None:
        self.begun += 1
        if self.trouble:
            raise NotificationError(self.trouble)
        self._inbox = inbox
        inbox.open(has_missed=True)
        self._is_ended.wait(0.05)
        while inbox.is_wanted and not self.trouble:
            self._is_ended.wait(0.05)
        self._inbox = None

    def send(self, *named: tuple[str, str]) -> None:
        """Let a message arrive."""
        assert self._inbox
        self._inbox.note(NamedObject(*one) for one in named)
