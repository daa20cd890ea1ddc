"""Names: which entries of a place are a feed's files, and which key each of them stands for.

Takes the names that a landing lists; returns a listing. The rules are the same in every landing;
looking at a place belongs in its module.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from partitioned_etl.engine.errors import PartitionKeyError
from partitioned_etl.engine.file_names import KEY_SEPARATOR
from partitioned_etl.engine.landing.landing import LandedFile, Listing, PassedOver

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed

_TEMPORARY_SUFFIXES = (".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".swp")


def is_hidden_or_temporary(name: str) -> bool:
    """Return whether a name marks an entry as hidden, or as not complete yet."""
    return name.startswith((".", "~")) or name.endswith((*_TEMPORARY_SUFFIXES, "~"))


def why_ignored(feed: "Feed", name: str) -> str:
    """Return why an entry does not concern a feed, by the last part of its name."""
    if name.startswith("."):
        return "hidden file"
    if is_hidden_or_temporary(name):
        return "temporary file"
    return f"the name does not match the pattern {feed.pattern!r}"


def key_of_match(feed: "Feed", match: re.Match[str]) -> str:
    """Return the partition key of a name that matches the feed's pattern.

    Raises:
        PartitionKeyError: It stands for no key that the feed accepts, or DuckDB cannot open it.
    """
    name, key = match.string, feed.file_names.key_of(match)
    feed.check_partition_key(key)
    if "\\" in name:
        raise PartitionKeyError("the name holds a backslash, which DuckDB takes for an escape")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise PartitionKeyError("the name is not UTF-8") from None
    return key


def to_printable(name: str) -> str:
    """Return a name as text that every stream can write."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def complete_listing(
    feed: "Feed",
    listing: Listing,
    found: Sequence[LandedFile],
    markers: Collection[str],
) -> Listing:
    """Add the found files to a listing, except those that stand for one key together.

    Args:
        feed: The feed.
        listing: What was skipped so far; it is modified.
        found: The files whose names match the feed's pattern.
        markers: The names of the marker files.

    Returns:
        The listing, each part in the order of keys or names.
    """
    alone = _refuse_look_alikes(feed, found, listing)
    for file in sorted(alone, key=lambda file: file.partition_key):
        lacks_marker = feed.done_suffix and file.name + feed.done_suffix not in markers
        listing.files[file.partition_key] = (
            file._replace(lacks_marker=True) if lacks_marker else file
        )
    listing.ignored.sort(key=lambda passed_over: passed_over.name)
    listing.refused.sort(key=lambda passed_over: passed_over.name)
    return listing


def _refuse_look_alikes(
    feed: "Feed", found: Sequence[LandedFile], listing: Listing
) -> list[LandedFile]:
    """Return the files that are the only one for their key and whose name has a single spelling."""
    first: dict[str, LandedFile] = {}
    together: dict[str, list[LandedFile]] = {}
    for file in found:
        key = _to_one_spelling(file.partition_key)
        other = first.setdefault(key, file)
        if other is not file:
            together.setdefault(key, [other]).append(file)
    reasons = _compare_spellings(found) if feed.file_names.is_two_dimensional else {}
    for files in together.values():
        names = sorted(file.name for file in files)
        reason = f"several files stand for one partition key: {', '.join(names)}"
        reasons |= dict.fromkeys(names, reason)
    listing.refused += [
        PassedOver(file.name, reasons[file.name], file.partition_key)
        for file in found
        if file.name in reasons
    ]
    return [file for file in found if file.name not in reasons]


def _compare_spellings(found: Iterable[LandedFile]) -> dict[str, str]:
    """Return, per file, why the name in its key stands for no single spelling."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for file in found:
        name = _name_in_key(file)
        spellings[_to_one_spelling(name)].add(name)
    reasons = {}
    for file in found:
        names = spellings[_to_one_spelling(_name_in_key(file))]
        if len(names) > 1:
            reasons[file.name] = f"several spellings of one name: {', '.join(sorted(names))}"
    return reasons


def _name_in_key(file: LandedFile) -> str:
    return file.partition_key.partition(KEY_SEPARATOR)[0]


def _to_one_spelling(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
