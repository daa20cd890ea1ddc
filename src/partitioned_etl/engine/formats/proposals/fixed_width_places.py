"""Fixed width places: where in the lines of a sample each column begins and ends.

Takes rows, and the lines above them that name the columns or underline them; returns places that
cover the whole line. A column ends where all rows are blank, or where digits always meet letters.
Which lines are rows belongs in `fixed_width_proposal.py`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from partitioned_etl.engine.formats.proposals.value_proposal import COMPACT_DAY, guess_type

_BLANK, _DIGIT, _LETTER, _OTHER = 1, 2, 4, 8
_KINDS = bytes(
    _BLANK if char == " " else _DIGIT if char.isdigit() else _LETTER if char.isalpha() else _OTHER
    for char in map(chr, range(128))
).ljust(256)
_DAYS = [
    bytes([_OTHER if char == "-" else _DIGIT for char in shape])
    for shape in ("20261231", "2026-12-31", "31-12-2026")
]
"""The kinds of characters of days."""
_LIKELY_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_FILLED = re.compile(rb"[^\x01]+")
_WORD = re.compile("[^ ]+")
_ANY_DIGIT = re.compile("[0-9]")
SEEN_ROWS = 200
"""So many rows tell what the texts of a column are."""
_MANY = 8
"""So many texts that differ do not have a blank at the same place by chance."""
_WIDEST_GAP = 2
"""Blanks that part columns; more of them fill one up."""
_LONG_NUMBER = 10


@dataclass
class Place:
    """Where a column is.

    Attributes:
        start: The place of its first character, counted from 0.
        end: The place behind its last one.
        name: What a header says above it.
        name_end: The place behind that name.
        doubt: What to check.
    """

    start: int
    end: int
    name: str = ""
    name_end: int = 0
    doubt: str = ""

    def cut(self, rows: Iterable[str]) -> list[str]:
        """Return what rows have there, without those that are blank."""
        return [text for row in rows if (text := row[self.start : self.end].strip(" "))]

    def has_values(self, rows: Iterable[str]) -> bool:
        """Return whether rows have values there, and no mere texts."""
        return are_values(self.cut(rows))


def are_values(texts: Sequence[str]) -> bool:
    """Return whether all texts are of a type, or digits that begin with zeros."""
    return bool(texts) and (all(map(str.isdecimal, texts)) or bool(guess_type(texts)))


def are_codes(texts: Sequence[str]) -> bool:
    """Return whether all texts are words of one length with digits in them."""
    are_alike = len({*map(len, texts)}) == 1
    return are_alike and all(_ANY_DIGIT.search(text) and " " not in text for text in texts)


def kinds_of(line: str) -> int:
    """Return which kind of character a line has at each place, in a byte each from the lowest on.

    What is beyond ASCII is taken for a letter.
    """
    plain = line if line.isascii() else re.sub(r"[^\x00-\x7f]", "x", line)
    return int.from_bytes(plain.encode().translate(_KINDS), "little")


def breaks_kinds(line: str, kinds: bytes) -> bool:
    """Return whether a line has a letter where rows have digits, or the other way around."""
    pairs = zip(kinds_of(line).to_bytes(len(line), "little"), kinds, strict=False)
    return any(known != _BLANK and not kind & (known | _BLANK) for kind, known in pairs)


def find_places(
    rows: Sequence[str], kinds: bytes, header: str = "", ruler: str = ""
) -> list[Place]:
    """Find what columns have in a sample; `fill_gaps` lets them cover the whole line.

    Args:
        rows: Rows, of which some are enough.
        kinds: The kinds of characters that all rows have at each place, as `kinds_of` tells them.
        header: The line that names the columns, if there is one.
        ruler: The line of dashes below it, if there is one.
    """
    seen = rows[:SEEN_ROWS]
    if places := _find_ruled(kinds, ruler):
        for place in places:
            place.name = " ".join(place.cut([header])) if header else ""
        return places
    places = [Place(*found.span()) for found in _FILLED.finditer(kinds)]
    words = [word.span() for word in _WORD.finditer(header)]
    for start, end in words:
        _join(places, [place for place in places if place.start < end and start < place.end])
    is_parted = bool(words) or _are_parted(places, kinds)
    starts = {start for start, _ in words}
    places = [
        part
        for place in places
        for part in _divide(place, sorted(_find_cuts(place, kinds, seen, starts, is_parted)))
    ]
    _name_places(places, header, words)
    _join_dates(places, seen)
    _join_words(places, seen)
    if not is_parted:
        for place in places:
            if place.end - place.start >= _LONG_NUMBER and _is_of_digits(place, kinds):
                place.doubt = place.doubt or "digits side by side may be several columns"
    return places


def _find_ruled(kinds: bytes, ruler: str) -> list[Place]:
    """Return the columns that dashes underline, if no row has anything between them."""
    spans = [run.span() for run in _WORD.finditer(ruler)]
    if len(spans) < 2:
        return []
    starts = [0, *(start for start, _ in spans[1:]), max(len(kinds), spans[-1][1])]
    between = [place for (_, end), (start, _) in pairwise(spans) for place in range(end, start)]
    if any(kinds[place] != _BLANK for place in between if place < len(kinds)):
        return []
    return [Place(start, end) for start, end in pairwise(starts)]


def _are_parted(places: Sequence[Place], kinds: bytes) -> bool:
    """Return whether a blank follows where no row has one, and so fills nothing up.

    A blank between words may be there by chance.
    """
    return any(
        not kinds[one.end - 1] & _BLANK
        and not kinds[one.end - 1] & kinds[after.start] & _LETTER
        and not kinds[one.start] & kinds[after.start] & _BLANK
        and after.start - one.end <= _WIDEST_GAP
        for one, after in pairwise(places)
    )


def _find_cuts(
    place: Place, kinds: bytes, rows: Sequence[str], starts: set[int], is_parted: bool
) -> set[int]:
    """Return where columns touch: between digits and letters, and around days in eight digits.

    Args:
        place: Characters that no blank parts in all rows.
        kinds: The kinds of characters at each place.
        rows: Rows.
        starts: Where names begin in a header.
        is_parted: Whether blanks part the columns; letters and digits then make up a code.
    """
    cuts = set[int]()
    for at in range(place.start + 1, place.end):
        before, after = kinds[at - 1], kinds[at]
        if {before & ~_BLANK, after & ~_BLANK} != {_DIGIT, _LETTER}:
            continue
        is_filled_up = before & _LETTER and before & _BLANK
        if not is_parted or at in starts or is_filled_up:
            cuts.add(at)
    if is_parted:
        return cuts
    days = [day for at in range(place.start, place.end) for day in _list_days(at, kinds, rows)]
    if all(day.end <= after.start for day, after in pairwise(days)):
        cuts |= {at for day in days for at in (day.start, day.end) if place.start < at < place.end}
    return cuts


def _list_days(start: int, kinds: bytes, rows: Sequence[str]) -> Iterator[Place]:
    """Yield the place that begins there if it has a day in all rows."""
    for shape in _DAYS:
        day = Place(start, start + len(shape))
        if bytes(kind & ~_BLANK for kind in kinds[day.start : day.end]) == shape:
            texts = day.cut(rows)
            if texts and (_are_compact_days(texts) or _are_days(texts)):
                yield day


def _are_compact_days(texts: Sequence[str]) -> bool:
    return all(map(COMPACT_DAY.fullmatch, texts))


def _are_days(texts: Sequence[str]) -> bool:
    return all(map(_LIKELY_YEAR.search, texts)) and guess_type(texts) == "DATE"


def _is_of_digits(place: Place, kinds: bytes) -> bool:
    return all(kind == _DIGIT for kind in kinds[place.start : place.end])


def _divide(place: Place, cuts: Sequence[int]) -> list[Place]:
    return [Place(start, end) for start, end in pairwise([place.start, *cuts, place.end])]


def _join(places: list[Place], parts: Sequence[Place], doubt: str = "") -> None:
    """Let adjacent places be one."""
    if len(parts) < 2:
        return
    at = places.index(parts[0])
    name = " ".join(part.name for part in parts if part.name)
    doubts = [*(part.doubt for part in parts), doubt]
    joined = Place(parts[0].start, parts[-1].end, name, parts[0].name_end)
    joined.doubt = next(filter(None, doubts), "")
    places[at : at + len(parts)] = [joined]


def _name_places(places: list[Place], header: str, words: Sequence[tuple[int, int]]) -> None:
    """Name places by the words above them; those above nothing are of the next number, or alone."""
    apart = list[Place]()
    for start, end in words:
        above = [place for place in places if place.start < end and start < place.end]
        if above:
            place, name = above[0], header[start:end]
            if apart and start - apart[-1].end == 1:
                name, place.start = f"{apart[-1].name} {name}", apart.pop().start
            place.name, place.name_end = f"{place.name} {name}".strip(), end
        elif apart and start - apart[-1].end == 1:
            apart[-1].end, apart[-1].name = end, f"{apart[-1].name} {header[start:end]}"
        else:
            apart.append(Place(start, end, header[start:end]))
    for one in reversed(apart):
        after = next((place for place in places if place.start >= one.end), None)
        if after and not after.name:
            after.start, after.name = one.start, one.name
        else:
            places.append(one)
            places.sort(key=lambda place: place.start)


def _join_dates(places: list[Place], rows: Sequence[str]) -> None:
    """Let the parts of a day or of a moment be one column."""
    for count in (4, 3, 2):
        for parts in [places[at : at + count] for at in range(len(places) - count + 1)]:
            is_close = all(after.start - one.end == 1 for one, after in pairwise(parts))
            is_there = all(part in places for part in parts)
            if not (is_close and is_there) or any(part.name for part in parts[1:]):
                continue
            texts = Place(parts[0].start, parts[-1].end).cut(rows)
            has_marks = not all(text.replace(" ", "").isdecimal() for text in texts)
            if has_marks and guess_type(texts).startswith(("DATE", "TIME")):
                _join(places, parts, "one day or moment, or several columns?")


def _join_words(places: list[Place], rows: Sequence[str]) -> None:
    """Let words be one column that have a blank between them in all rows by chance."""
    for at in range(len(places) - 2, -1, -1):
        one, after = places[at : at + 2]
        if after.start - one.end != 1 or after.name:
            continue
        if one.has_values(rows) or after.has_values(rows):
            continue
        texts = {row[one.start : after.end] for row in rows}
        if not one.name and len(texts) >= _MANY:
            continue
        if len(rows) > 2 and (are_codes(one.cut(rows)) or are_codes(after.cut(rows))):
            continue
        around = ((row[one.end - 1 : one.end], row[after.start : after.end]) for row in rows)
        if all(
            not rest.strip(" ") or (left.strip(" ") and rest[0] != " ") for left, rest in around
        ):
            doubt = f"blank at {one.end + 1} in all lines: words of one text, or two columns?"
            _join(places, [one, after], doubt)


def fill_gaps(places: Sequence[Place], rows: Sequence[str], width: int) -> None:
    """Give blanks to the column before them, or to that of a number, which grows to the left.

    A text that is longer than those in the sample then makes no number, and is refused.
    """
    rows = rows[:SEEN_ROWS]
    for one, after in pairwise(places):
        if _grows_to_left(after, rows):
            after.start = max(one.end, min(one.name_end, after.start))
        one.end = after.start
    places[0].start, places[-1].end = 0, max(width, places[-1].end)


def _grows_to_left(place: Place, rows: Sequence[str]) -> bool:
    texts = [text for row in rows if (text := row[place.start : place.end]).strip(" ")]
    ends_alike = all(text[-1] != " " for text in texts) and len({*map(len, texts)}) == 1
    bare = [text.strip(" ") for text in texts]
    is_number = guess_type(bare).startswith(("BIGINT", "HUGEINT", "DOUBLE", "DECIMAL"))
    return ends_alike and is_number and not _are_compact_days(bare)
