"""Receiver: listens for word of what lands, and keeps for which feeds some came.

Takes a source of messages; gives each feed a mark that changes when a message is about it. A feed
that was looked at under the mark that it has now needs no look. The mark is no truth: it is lost
with its process, and changes also when nothing landed.
"""

import time
from collections.abc import Iterable
from logging import getLogger
from secrets import token_hex
from threading import Event, Lock, Thread
from typing import Protocol

from partitioned_etl.engine.errors import NotificationError
from partitioned_etl.engine.notifications.messages import NamedObject
from partitioned_etl.engine.notifications.places import FeedPlace

logger = getLogger(__name__)

IDLE_SECONDS = 120.0
"""After how long a receiver that nobody asks ends: another process may have taken its place."""
_FIRST_SECONDS = 2.0
"""How long the first to ask waits until it is known whether messages can be received."""
_LONGEST_PAUSE_SECONDS = 60.0
_SAY_AGAIN_SECONDS = 3600.0


class Inbox(Protocol):
    """Where a source puts what it receives."""

    @property
    def is_wanted(self) -> bool:
        """Whether the source is to go on."""
        ...

    def open(self, *, has_missed: bool) -> None:
        """Take note that messages are received from now on.

        Args:
            has_missed: Whether those are lost that were sent before.
        """
        ...

    def note(self, named: Iterable[NamedObject]) -> None:
        """Take note of what a message names."""
        ...


class Source(Protocol):
    """Where messages come from."""

    def receive(self, inbox: Inbox) -> None:
        """Receive messages for as long as the inbox is wanted.

        Raises:
            NotificationError: None can be received now.
        """
        ...


class Receiver:
    """Receives messages in a thread of its own, from the first time that somebody asks.

    Attributes:
        trouble: Why none can be received; empty if they can.
    """

    def __init__(self, source: Source) -> None:
        self.trouble = ""
        self._source, self._lock, self._is_tried = source, Lock(), Event()
        self._process, self._count = token_hex(4), 0
        self._noted: dict[tuple[str, FeedPlace], int] = {}
        self._asked_at, self._thread = 0.0, None
        self._is_closed = Event()
        self._said: dict[str, float] = {}

    def watch(self, feed_name: str, place: FeedPlace) -> str:
        """Return a feed's mark, and listen for messages about its place from now on."""
        with self._lock:
            self._asked_at = time.monotonic()
            if self._thread is None:
                self._is_tried.clear()
                self._thread = Thread(target=self._run, name="notifications", daemon=True)
                self._thread.start()
        self._is_tried.wait(_FIRST_SECONDS)
        with self._lock:
            if (feed_name, place) not in self._noted:
                self._wake([(feed_name, place)])
            return f"{self._process}-{self._noted[feed_name, place]}"

    def close(self) -> None:
        """End it soon."""
        self._is_closed.set()

    @property
    def is_wanted(self) -> bool:
        """Whether somebody asked lately."""
        is_idle = time.monotonic() - self._asked_at > IDLE_SECONDS
        return not (is_idle or self._is_closed.is_set())

    def open(self, *, has_missed: bool) -> None:
        """Take note that messages are received; wake all feeds if some were lost."""
        with self._lock:
            self.trouble = ""
            if has_missed:
                self._wake(list(self._noted))
        self._is_tried.set()

    def note(self, named: Iterable[NamedObject]) -> None:
        """Change the marks of the feeds that a message is about."""
        objects = list(named)
        with self._lock:
            self._wake([one for one in self._noted if any(map(one[1].may_hold, objects))])

    def _wake(self, feeds: Iterable[tuple[str, FeedPlace]]) -> None:
        self._count += 1
        self._noted |= dict.fromkeys(feeds, self._count)

    def _run(self) -> None:
        pause_seconds = 1.0
        while self._goes_on():
            began = time.monotonic()
            try:
                self._source.receive(self)
            except NotificationError as error:
                self._fail(str(error))
            except Exception as error:
                self._fail(f"something unforeseen happened ({type(error).__name__})")
            else:
                continue
            if time.monotonic() - began > _LONGEST_PAUSE_SECONDS:
                pause_seconds = 1.0
            self._is_closed.wait(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _goes_on(self) -> bool:
        with self._lock:
            if not self.is_wanted:
                self._thread = None
                return False
        return True

    def _fail(self, reason: str) -> None:
        self.trouble = reason
        self._is_tried.set()
        now = time.monotonic()
        if now - self._said.get(reason, -_SAY_AGAIN_SECONDS) >= _SAY_AGAIN_SECONDS:
            self._said[reason] = now
            logger.warning("notifications cannot be received: %s", reason)
