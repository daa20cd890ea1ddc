"""Troubles: what the latest fetch of a feed could not fetch, for those who ask later.

Takes items with reasons; keeps them beside the manifest. They are for people alone: no fetch goes
by them.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import PassedOver
from partitioned_etl.engine.sources.difference import MirrorPlace

_NAME = "troubles.json"


def write_troubles(place: MirrorPlace, entries: Sequence[PassedOver]) -> None:
    """Keep what could not be fetched, in place of what was kept before."""
    path = place.state / _NAME
    if not entries:
        path.unlink(missing_ok=True)
        return
    aside = path.with_suffix(".new")
    told = [[entry.name, entry.reason] for entry in entries]
    aside.write_text(json.dumps(told), encoding="utf-8")
    aside.replace(path)


def read_troubles(feed: Feed, landing_dir: Path) -> list[PassedOver]:
    """Return what the latest fetch of a feed could not fetch, and why."""
    path = MirrorPlace.of(feed, landing_dir).state / _NAME
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return [PassedOver(str(name), str(reason)) for name, reason in told]
    except (OSError, ValueError, TypeError):
        return []
