"""Troubles: what the latest fetch of a feed could not fetch, for those who ask later.

Takes items with reasons; keeps them beside the manifest. They are for people alone: no fetch goes
by them.
"""

import json
from collections.abc import Sequence

from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.landing.landing import PassedOver
from partitioned_etl.engine.sources.place import FetchPlace

_NAME = "troubles.json"


def write_troubles(place: FetchPlace, entries: Sequence[PassedOver]) -> None:
    """Keep what could not be fetched, in place of what was kept before."""
    told = [[entry.name, entry.reason] for entry in entries]
    place.keep(_NAME, json.dumps(told) if told else "")


def read_troubles(place: FetchPlace) -> list[PassedOver]:
    """Return what the latest fetch of a feed could not fetch, and why."""
    try:
        told = json.loads(place.read(_NAME) or "[]")
        return [PassedOver(str(name), str(reason)) for name, reason in told]
    except (LandedFileError, ValueError, TypeError):
        return []
