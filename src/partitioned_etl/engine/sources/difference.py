"""Difference: what a source offers, held against what was fetched of it.

Takes a listing of the source, and the manifest; returns what is to be fetched, and what is gone at
the source. Looking and fetching belong in `mirror.py`.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from partitioned_etl.engine.errors import PartitionKeyError
from partitioned_etl.engine.feed import Feed, OnMissing
from partitioned_etl.engine.landing.landing import PassedOver
from partitioned_etl.engine.landing.names import (
    PATTERN_CHARACTERS,
    is_hidden_or_temporary,
    key_of_match,
    to_printable,
)
from partitioned_etl.engine.sources.manifest import Manifest, Mark, Noted
from partitioned_etl.engine.sources.source import RemoteItem, RemoteListing

_LONGEST_NAME_BYTES = 255
WhyOutside = Callable[[str], str]
"""Returns why there is no partition of a key; empty if there is one."""


@dataclass
class Difference:
    """What a source offers and the landing does not have, and the reverse.

    Attributes:
        wanted: Items to fetch: they are new or changed, or their file is not as it was fetched.
        unchanged: How many items are as they were fetched.
        outside: How many items are of no partition of the feed.
        passed_over: Items that cannot land, and why.
        gone: Fetched files that the source does not offer any more and the feed's policy removes.
        brake: Safeguard: why none of them is removed; empty otherwise.
    """

    wanted: list[RemoteItem] = field(default_factory=list)
    unchanged: int = 0
    outside: int = 0
    passed_over: list[PassedOver] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    brake: str = ""

    @property
    def is_something(self) -> bool:
        """Whether there is anything to be done."""
        return bool(self.wanted or (self.gone and not self.brake))


def compare_with_source(
    feed: Feed,
    listing: RemoteListing,
    manifest: Manifest,
    landed: Mapping[str, Mark],
    why_outside: WhyOutside,
) -> Difference:
    """Find out what is to be fetched, and what is gone at the source.

    Args:
        feed: The feed.
        listing: What its source offers.
        manifest: What was fetched of it.
        landed: The files of the manifest that lie in the feed's place.
        why_outside: Returns why there is no partition of a key; empty if there is one.
    """
    found = Difference(passed_over=[*listing.passed_over])
    counts = Counter(item.name for item in dict.fromkeys(listing.items))
    for item in dict.fromkeys(listing.items):
        if counts[item.name] > 1:
            reason = "several items would land under this name: none does"
        elif reason := why_unusable(feed, item.name):
            pass
        elif why_outside(feed.partition_key_of(item.name)):
            found.outside += 1
            continue
        if reason:
            found.passed_over.append(PassedOver(to_printable(item.name), reason))
        elif _is_wanted(feed, item, manifest.get(item.name), landed.get(item.name)):
            found.wanted.append(item)
        else:
            found.unchanged += 1
    if feed.on_missing is OnMissing.REMOVE:
        _find_gone(found, listing, manifest, counts)
    return found


def why_unusable(feed: Feed, name: str) -> str:
    """Return why no file of the feed can land under a name; empty if one can."""
    for part in name.split("/"):
        if part in ("", ".", "..") or not part.isprintable() or "\\" in part:
            return "it cannot be the name of a file"
        if len(part.encode("utf-8", "replace")) > _LONGEST_NAME_BYTES:
            return "it is too long for the name of a file"
        if is_hidden_or_temporary(part):
            return "the landing takes it for a hidden or temporary file"
    if any(character in name.rpartition("/")[0] for character in PATTERN_CHARACTERS):
        return "DuckDB takes a character of the folder's name for a pattern"
    match = feed.file_names.match(name)
    if match is None:
        return f"the name does not match the pattern {feed.pattern!r}"
    try:
        key_of_match(feed, match)
    except PartitionKeyError as error:
        return str(error)
    return ""


def _is_wanted(feed: Feed, item: RemoteItem, noted: Noted | None, mark: Mark | None) -> bool:
    if noted is None or noted.mark != mark:
        return True
    if item.version:
        return item.version != noted.version
    since = time.time() - noted.asked_at
    source = feed.fetched_from
    recheck_seconds = source.recheck_seconds if source else float("inf")
    # A time in the future comes from a clock that was set back.
    return not 0 <= since < recheck_seconds


def _find_gone(
    found: Difference, listing: RemoteListing, manifest: Manifest, counts: Counter[str]
) -> None:
    found.gone = [name for name in manifest if name not in counts]
    if not found.gone:
        return
    count = f"{len(found.gone)} of {len(manifest)} fetched files are gone at the source"
    if listing.passed_over:
        found.brake = (
            f"{count}, but {len(listing.passed_over)} listed items have no name and may be these: "
            "nothing is removed"
        )
    elif not counts or 2 * len(found.gone) > len(manifest):
        found.brake = (
            f"{count}, more than half: nothing is removed. If that is as it should be, delete them "
            "in the landing"
        )
