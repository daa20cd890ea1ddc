"""Notification address: where word of what lands comes from, a queue or a port of this machine.

Takes the text of a setting; returns its parts. What receives there, the registry decides.
"""

import re
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

_HIGHEST_PORT = 65535


class HookAddress(NamedTuple):
    """A port that is listened on.

    Attributes:
        host: Name or address of an interface of this machine.
        port: The port.
    """

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether nobody but this machine reaches it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class QueueAddress(NamedTuple):
    """A queue of Amazon SQS, or of what speaks its protocol.

    Attributes:
        url: The queue's URL.
    """

    url: str

    @property
    def endpoint(self) -> str:
        """The address of the server that has the queue."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"


def parse_notification_address(text: str) -> HookAddress | QueueAddress:
    """Return what an address of notifications stands for.

    Raises:
        ValueError: It stands for nothing; the reason never repeats a credential.
    """
    scheme, _, rest = text.partition(":")
    if scheme == "sqs":
        return _parse_queue(rest)
    if scheme == "hook":
        return _parse_hook(rest)
    raise ValueError("must be sqs:https://… with the URL of a queue, or hook:HOST:PORT")


def _parse_queue(url: str) -> QueueAddress:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not parts.path.strip("/"):
        raise ValueError("must have the URL of a queue after sqs:, with its scheme and its path")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must have nothing but host and path in the URL of its queue")
    return QueueAddress(url)


def _parse_hook(text: str) -> HookAddress:
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):(\d{1,5})", text, re.ASCII)
    if not found:
        raise ValueError("must be hook:HOST:PORT, such as hook:127.0.0.1:8099")
    if not 1 <= int(found[2]) <= _HIGHEST_PORT:
        raise ValueError(f"must have a port from 1 to {_HIGHEST_PORT}")
    return HookAddress(found[1].strip("[]"), int(found[2]))
