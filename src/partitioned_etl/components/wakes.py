"""Wakes: whether a tick looks at its feed, or rests.

Without notifications every tick looks. With them Dagster evaluates the sensor as often as it can,
and a tick looks when a message was about its feed, when its time has come all the same, and soon
again while something remains to be done. What it goes by is in the cursor: a tick whose result is
lost is as if it had not been.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import dagster as dg

from partitioned_etl.components.agenda import Agenda
from partitioned_etl.components.resources import LandingResource
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.notifications.places import place_of
from partitioned_etl.engine.notifications.receiver import Receiver
from partitioned_etl.engine.notifications.registry import connect_receiver
from partitioned_etl.engine.settings import Settings

UNFINISHED_SECONDS = 10
"""How soon a feed is looked at again while something remains to be done, if not sooner."""
_AT_EVERY_CHECK = 1

_receivers: dict[tuple[str, str], Receiver] = {}
_lock = Lock()


def read_tick_interval() -> int:
    """Return the minimum number of seconds between two ticks, as declared to Dagster.

    Dagster's daemon checks every five seconds whether a tick is due. Given the exact setting, it
    would defer a tick to its next check because the previous tick began a moment after its own.
    """
    return _less_a_moment(Settings().sensor_interval_seconds)


def read_wake_interval(feed: Feed) -> int:
    """Return the same for ticks that rest until a notification wakes them, if there are any."""
    return _AT_EVERY_CHECK if _is_woken(feed, Settings()) else read_tick_interval()


def _is_woken(feed: Feed, settings: Settings) -> bool:
    """Return whether notifications wake a feed: nobody sends one of a key that a person adds."""
    return bool(settings.landing_notifications) and not feed.is_computed


def read_follow_interval() -> int:
    """Return the same for ticks that look at no landing, and follow those that are woken."""
    settings = Settings()
    seconds = settings.sensor_interval_seconds
    is_woken = settings.landing_notifications
    return _less_a_moment(min(seconds, UNFINISHED_SECONDS) if is_woken else seconds)


@dataclass(frozen=True)
class Rest:
    """For how long a landing sensor rests, as its latest look left it.

    Attributes:
        due_at: When the next look is due in any case, in seconds since 1970.
        mark: The mark under which the landing was looked at; another one wakes the feed.
        is_listing: Whether that look goes on, for a later tick to take what it finds.
    """

    due_at: float = 0.0
    mark: str = ""
    is_listing: bool = False

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Rest":
        """Read it from a cursor's JSON.

        Raises:
            ValueError, TypeError, KeyError: It cannot be read.
        """
        return cls(float(values["due_at"]), str(values["mark"]), bool(values["is_listing"]))


@dataclass(frozen=True)
class Wake:
    """What a tick knows of notifications when it begins.

    Attributes:
        is_on: Whether there are any for this tick.
        rest: What the latest look left.
        mark: The feed's mark, taken before the look: a message that comes meanwhile changes it.
        trouble: Why none can be received now, with what follows from it; empty if they can.
        interval_seconds: How long a feed rests for which no message comes.
        began_at: When the tick began, in seconds since 1970.
    """

    is_on: bool = False
    rest: Rest = field(default_factory=Rest)
    mark: str = ""
    trouble: str = ""
    interval_seconds: int = 0
    began_at: float = 0.0

    @property
    def is_resting(self) -> bool:
        """Whether there is nothing to look for."""
        if not self.is_on or self.mark != self.rest.mark:
            return False
        # A time further ahead comes from a longer interval, or from a clock that was set back.
        return 0 < self.rest.due_at - self.began_at <= self.interval_seconds

    def describe_rest(self) -> str:
        """Return why the tick does not look."""
        seconds = self.rest.due_at - self.began_at
        return (
            f"no notification since the last look; the next is due in {seconds:.0f} s"
            + self.addition
        )

    @property
    def addition(self) -> str:
        """What is to be added to a message of the tick."""
        return f"; {self.trouble}" if self.trouble else ""

    def rest_after(self, agenda: Agenda) -> Rest:
        """Return for how long the sensor rests after a look that came to its end."""
        return self._rest(is_finished=_is_finished(agenda))

    def rest_after_error(self, *, is_listing: bool) -> Rest:
        """Return for how long the sensor rests after a look that did not."""
        return self._rest(is_finished=False, is_listing=is_listing)

    def _rest(self, *, is_finished: bool, is_listing: bool = False) -> Rest:
        if not self.is_on:
            return Rest()
        soon = min(_less_a_moment(UNFINISHED_SECONDS), self.interval_seconds)
        seconds = self.interval_seconds if is_finished else soon
        # What is found was looked for under the mark of the tick that began to.
        mark = self.rest.mark if self.rest.is_listing else self.mark
        return Rest(self.began_at + seconds, mark, is_listing)


def find_wake(
    context: dg.SensorEvaluationContext, landing: LandingResource, feed: Feed, rest: Rest
) -> Wake:
    """Find out whether a tick looks at its feed, and listen for its notifications from now on.

    Only where Dagster's daemon evaluates a sensor, something listens: a person who tries one out in
    the web UI may do so in another process, which must not take the messages of this one.

    Args:
        context: What the tick is evaluated with.
        landing: The landing.
        feed: The feed.
        rest: What the latest look left.

    Raises:
        SettingError: The landing's address makes no sense.
    """
    settings = Settings()
    if not _is_woken(feed, settings) or context.last_sensor_start_time is None:
        return Wake()
    began_at, receiver = time.time(), _find_receiver(settings)
    place = place_of(landing.address_of(feed, settings), feed.folder)
    mark, interval_seconds = receiver.watch(feed.name, place), settings.sensor_interval_seconds
    trouble = (
        f"notifications cannot be received: {receiver.trouble}; ticks look every "
        f"{interval_seconds} s"
        if receiver.trouble
        else ""
    )
    return Wake(True, rest, mark, trouble, _less_a_moment(interval_seconds), began_at)


def _find_receiver(settings: Settings) -> Receiver:
    key = settings.landing_notifications, settings.landing_notifications_token
    with _lock:
        if key not in _receivers:
            _receivers[key] = connect_receiver(*key)
        return _receivers[key]


def _is_finished(agenda: Agenda) -> bool:
    """Return whether a look left nothing to be done, other than what waits for a file."""
    choice = agenda.choice
    pending = (choice.wanted, choice.in_flight, choice.later, agenda.pausing)
    return not (any(pending) or agenda.plan.is_settling)


def _less_a_moment(seconds: int) -> int:
    return max(1, seconds - 1)
