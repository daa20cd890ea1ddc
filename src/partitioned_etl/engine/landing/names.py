"""Names: which entries of a place are a feed's files, and which key each of them stands for.

Takes the names that a landing lists; returns a listing. The rules are the same in every landing;
looking at a place belongs in its module.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from partitioned_etl.engine.collection import no_garbage_collection
from partitioned_etl.engine.errors import PartitionKeyError
from partitioned_etl.engine.landing.found import FoundFiles
from partitioned_etl.engine.landing.landing import (
    LandedFile,
    Listing,
    PassedOver,
    Place,
    group_by_key,
)
from partitioned_etl.engine.landing.slots import choose_files_of_slots, to_one_spelling

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed

PATTERN_CHARACTERS = "*?[\\"
"""Characters in a folder's name that DuckDB reads as a pattern, however they are escaped."""
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


def key_of_match(feed: "Feed", match: re.Match[str], accepted: str = "") -> str:
    """Return the partition key of a name that matches the feed's pattern.

    Args:
        feed: The feed.
        match: The match.
        accepted: A key that the feed is known to accept; empty for none.

    Raises:
        PartitionKeyError: It stands for no key that the feed accepts, or DuckDB cannot open it.
    """
    name, key = match.string, feed.file_names.key_of(match)
    if key != accepted:
        feed.check_partition_key(key)
    if "\\" in name:
        raise PartitionKeyError("the name holds a backslash, which DuckDB takes for an escape")
    try:
        if not name.isascii():
            name.encode("utf-8")
    except UnicodeEncodeError:
        raise PartitionKeyError("the name is not UTF-8") from None
    return key


def to_printable(name: str) -> str:
    """Return a name as text that every stream can write."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True)
class Bounds:
    """What decides, beside its name, whether a feed takes a file.

    Attributes:
        why_outside: Returns why there is no partition of a key; empty if there is one.
        why_shared: Returns why a file is left to nobody, by its name, because another feed takes
            it, too; empty if none does. None if no other feed is near.
    """

    why_outside: Callable[[str], str]
    why_shared: Callable[[str], str] | None = None


class Scan:
    """One look at a feed's place, entry by entry: what is found in it, and what is skipped.

    Attributes:
        feed: The feed.
        place: Its place.
        ignored: Entries that do not concern the feed.
        refused: Entries that are named like a file of the feed but cannot be loaded.
        found: The files whose names match the feed's pattern.
        markers: The names of the marker files.
        first_name: Names that sort before it are not looked at; empty if all are.
    """

    def __init__(
        self, feed: "Feed", place: Place, bounds: Bounds | None = None, first_name: str = ""
    ) -> None:
        self.feed, self.place, self._bounds = feed, place, bounds
        self.first_name = first_name
        self.ignored: list[PassedOver] = []
        self.refused: list[PassedOver] = []
        self.found = FoundFiles(place)
        self.markers: set[str] = set()
        self._has_markers = bool(feed.done_suffix or feed.done_names)
        self._has_parts = feed.file_names.has_parts
        self._accepted = ""
        self._outside: dict[str, str] = {}
        self._shared: dict[str, str] = {}

    def take_marker(self, name: str) -> bool:
        """Take an entry for a marker, if it is named as one; return whether it is."""
        if not self._has_markers or not self.feed.is_marker(name):
            return False
        self.markers.add(name)
        return True

    def take_folder(self, name: str) -> bool:
        """Return whether a folder may hold files; any other is ignored, or refused for its name."""
        last = name.rpartition("/")[2]
        if not self.feed.file_names.matches_folder(name) or is_hidden_or_temporary(last):
            self.ignore(name, "folder")
            return False
        if any(character in last for character in PATTERN_CHARACTERS):
            reason = "DuckDB takes a character of the folder's name for a pattern: one of "
            self.refuse(name, reason + " ".join(PATTERN_CHARACTERS))
            return False
        return True

    def add(self, match: re.Match[str], version: str, size_bytes: int, landed_ns: int) -> None:
        """Add a file whose name matches the feed's pattern, or refuse it for its name."""
        name = match.string
        try:
            key = key_of_match(self.feed, match, self._accepted)
            self._accepted = key  # the next name is likely to be of the same partition
        except PartitionKeyError as error:
            self.refuse(name, str(error))
            return
        if self._bounds:
            self._check_bounds(self._bounds, name, key)
        part = to_one_spelling(match["part"]) if self._has_parts else ""
        self.found.add(LandedFile(key, name, version, size_bytes, landed_ns, self.place), part)

    def _check_bounds(self, bounds: Bounds, name: str, key: str) -> None:
        """Note why a file will be refused; until then, it stands beside those that it concerns."""
        reason, of_names = bounds.why_outside(key), self._outside
        if not reason and bounds.why_shared:
            reason, of_names = bounds.why_shared(name), self._shared
        if reason:
            of_names[name] = reason
            self.found.concern(key)

    def ignore(self, name: str, what: str = "") -> None:
        """Ignore an entry, with what it is if it is no file."""
        last = name.rpartition("/")[2]
        is_unmatched = not is_hidden_or_temporary(last)
        reason = (what if is_unmatched else "") or why_ignored(self.feed, last)
        passed_over = PassedOver(to_printable(name), reason, is_unmatched=is_unmatched)
        self.ignored.append(passed_over)

    def refuse(self, name: str, reason: str) -> None:
        """Refuse an entry that is named like a file of the feed."""
        self.refused.append(PassedOver(to_printable(name), reason))

    @no_garbage_collection()
    def list_files(self, files: Iterable[LandedFile] | None = None) -> Listing:
        """Return what was found and skipped, without files that stand for one thing together.

        Args:
            files: Only these of the files found, and all others that they may concern are among
                them; by default all.

        Returns:
            The listing, each part in the order of keys or names.
        """
        feed, found = self.feed, list(self.found if files is None else files)
        listing = Listing({}, {}, [*self.ignored], [*self.refused], first_name=self.first_name)
        if bounds := self._bounds:
            listing.has_partition = lambda key: not bounds.why_outside(key)
        chosen = choose_files_of_slots(feed, found, listing)
        if feed.part_count or feed.done_suffix or feed.done_names:
            chosen = list(_find_what_lacks(feed, chosen, listing, self.markers))
        listing.files = {file.name: file for file in chosen}
        for name, reason in self._shared.items():
            if file := listing.files.pop(name, None):
                listing.refused.append(PassedOver(name, reason, file.partition_key))
        for name, reason in self._outside.items():
            if file := listing.files.pop(name, None) or listing.superseded.pop(name, None):
                listing.refused.append(PassedOver(name, reason, file.partition_key))
        listing.ignored.sort(key=lambda passed_over: passed_over.name)
        listing.refused.sort(key=lambda passed_over: passed_over.name)
        return listing


def _find_what_lacks(
    feed: "Feed", files: Iterable[LandedFile], listing: Listing, markers: Collection[str]
) -> Iterator[LandedFile]:
    """Yield files with what they lack; those of a partition with too many parts are refused."""
    done_keys = set(_list_done_keys(feed, markers))
    for key, of_key in group_by_key(files).items():
        if feed.part_count and len(of_key) > feed.part_count:
            reason = (
                f"{len(of_key)} parts have landed, and a partition of the feed has "
                f"{feed.part_count}"
            )
            listing.refused += [PassedOver(file.name, reason, key) for file in of_key]
            continue
        for file in of_key:
            lacks = ""
            if len(of_key) < feed.part_count:
                lacks = f"{len(of_key)} of {feed.part_count} parts have landed"
            elif feed.done_names and key not in done_keys:
                lacks = "the partition's marker file has not landed"
            elif feed.done_suffix and file.name + feed.done_suffix not in markers:
                lacks = "its marker file has not landed"
            yield file._replace(lacks=lacks) if lacks else file


def _list_done_keys(feed: "Feed", markers: Collection[str]) -> Iterator[str]:
    """Yield the keys whose partitions have a marker of their own."""
    for name in markers if feed.done_names else ():
        if feed.done_names and (match := feed.done_names.match(name)):
            with suppress(PartitionKeyError):
                yield feed.done_names.key_of(match)
