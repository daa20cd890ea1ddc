"""Slots: which of the files that stand for the same partition, or part of one, is loaded.

Takes the files that a landing found; returns one for each slot, that of the highest version. Files
that nothing tells apart are refused, all of them.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

from partitioned_etl.engine.file_names import KEY_SEPARATOR
from partitioned_etl.engine.landing.landing import LandedFile, Listing, PassedOver

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed

_BY_NAME = itemgetter(LandedFile._fields.index("name"))
_BY_KEY = itemgetter(LandedFile._fields.index("partition_key"))


def choose_files_of_slots(
    feed: "Feed", found: Sequence[LandedFile], listing: Listing
) -> list[LandedFile]:
    """Return the file that stands for each slot, in the order of keys and names.

    Args:
        feed: The feed.
        found: The files whose names match the feed's pattern.
        listing: Superseded files, and those that nothing tells apart, are added to it.
    """
    names = feed.file_names
    reasons = _compare_spellings(feed, found) if names.has_key else {}
    what = "part of a partition" if names.has_parts else "partition key"
    left: set[str] = set()
    for files in _list_shared_slots(feed, found):
        ranks = {file.name: feed.rank_of(file.name, file.landed_ns) for file in files}
        highest = max(ranks.values())
        alike = sorted(name for name, rank in ranks.items() if rank == highest)
        left.update(name for name, rank in ranks.items() if rank != highest)
        if len(alike) > 1:
            reason = f"several files stand for one {what}: {', '.join(alike)}"
            reasons |= dict.fromkeys(alike, reason)
    # Python sorts texts three times as fast as tuples of them.
    usable = sorted(found, key=_BY_NAME)
    usable.sort(key=_BY_KEY)
    # Mostly, nothing is left out, and there are many files.
    if reasons or left:
        listing.refused += [
            PassedOver(file.name, reasons[file.name], file.partition_key)
            for file in usable
            if file.name in reasons
        ]
        usable = [file for file in usable if file.name not in reasons]
        listing.superseded = {file.name: file for file in usable if file.name in left}
        usable = [file for file in usable if file.name not in left]
    return usable


def _list_shared_slots(feed: "Feed", found: Sequence[LandedFile]) -> list[list[LandedFile]]:
    """Return the files of each slot that has several."""
    # Most slots have one file, and need no list.
    first: dict[object, LandedFile] = {}
    shared: dict[object, list[LandedFile]] = {}
    has_parts = feed.file_names.has_parts
    for file in found:
        slot: object = to_one_spelling(file.partition_key)
        if has_parts:
            slot = slot, part_of(feed, file.name)
        other = first.setdefault(slot, file)
        if other is not file:
            shared.setdefault(slot, [other]).append(file)
    return list(shared.values())


def _compare_spellings(feed: "Feed", found: Sequence[LandedFile]) -> dict[str, str]:
    """Return, per file, why the name in its key stands for no single spelling.

    Where each name is one file's, `_list_shared_slots` finds that as well.
    """
    names = feed.file_names
    if not (names.is_two_dimensional or names.has_parts or names.has_versions):
        return {}
    spellings: dict[str, set[str]] = defaultdict(set)
    for file in found:
        name = name_in_key(feed, file.partition_key)
        spellings[to_one_spelling(name)].add(name)
    reasons = {}
    for file in found:
        alike = spellings[to_one_spelling(name_in_key(feed, file.partition_key))]
        if len(alike) > 1:
            reasons[file.name] = f"several spellings of one name: {', '.join(sorted(alike))}"
    return reasons


def name_in_key(feed: "Feed", key: str) -> str:
    """Return the name in a partition key: all of it, unless it has a date, too."""
    return key.partition(KEY_SEPARATOR)[0] if feed.file_names.is_two_dimensional else key


def part_of(feed: "Feed", name: str) -> str:
    """Return which part of its partition a file is, in whatever spelling; empty without parts."""
    return to_one_spelling(feed.file_names.part_of(name))


def to_one_spelling(text: str) -> str:
    """Return a text in one spelling, whatever its case and Unicode form."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", text).casefold()
