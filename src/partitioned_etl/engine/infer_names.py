"""Infer names: the pattern of which the names of samples are, and the name of their feed.

Takes file names; returns a pattern with a placeholder for a date or for a name. What is in the
files belongs in `infer.py`.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from partitioned_etl.engine.errors import PartitionKeyError
from partitioned_etl.engine.file_names import FileNamePattern, Partitioning, window_of
from partitioned_etl.engine.formats.compression import suffix_of

_DATES = {
    r"\d{4}-\d{2}-\d{2}-\d{2}": "%Y-%m-%d-%H",
    r"\d{4}-\d{2}-\d{2}_\d{2}": "%Y-%m-%d_%H",
    r"\d{4}-\d{2}-\d{2}T\d{2}": "%Y-%m-%dT%H",
    r"\d{10}": "%Y%m%d%H",
    r"\d{4}-W\d{2}": "%G-W%V",
    r"\d{4}-\d{2}-\d{2}": "%Y-%m-%d",
    r"\d{4}_\d{2}_\d{2}": "%Y_%m_%d",
    r"\d{4}\.\d{2}\.\d{2}": "%Y.%m.%d",
    r"\d{8}": "%Y%m%d",
    r"\d{2}-\d{2}-\d{4}": "%d-%m-%Y",
    r"\d{2}\.\d{2}\.\d{4}": "%d.%m.%Y",
    r"\d{4}-\d{2}": "%Y-%m",
    r"\d{4}_\d{2}": "%Y_%m",
    r"\d{6}": "%Y%m",
}
_LONG_NUMBER = re.compile(r"[0-9]{4,}")
"""Other digits in a name, which are probably a time or a count."""
_LIKELY_YEARS = range(1900, 2100)
"""Six digits may also be a day with two digits of its year: 241201 is of no year 2412."""


@dataclass
class NameProposal:
    """What the names of samples say of their feed.

    Attributes:
        name: The feed's name.
        pattern: The file name with its placeholder.
        ending: The ending of the names, without that of a compression.
        start: The first day of the earliest sample's partition; empty for a dynamic feed.
        doubts: What was guessed, per attribute.
    """

    name: str
    pattern: str
    ending: str
    start: str = ""
    doubts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Date:
    """A date in a name: where it stands, its format, what it is the date of, and its first day."""

    where: re.Match[str]
    format: str
    partitioning: Partitioning
    day: datetime


def propose_names(samples: Sequence[Path], name: str | None) -> NameProposal:
    """Propose a feed's name and pattern.

    Args:
        samples: The files, all of one folder.
        name: The feed's name, if it is known.
    """
    plain = [sample.name[: len(sample.name) - len(suffix_of(sample.name))] for sample in samples]
    ending = Path(plain[0]).suffix
    stems = [one.removesuffix(ending) for one in plain]
    dates = [_find_date(stem) for stem in stems]
    found = [date for date in dates if date]
    rest, start, said = "", "", "no date in the name: one file for each name, such as a customer's"
    pattern = f"{{key}}{ending}"
    if len(samples) > 1:
        before, after = _find_common(stems)
        pattern, rest = f"{before}{{key}}{after}{ending}", f"{before} {after}"
    if len(found) == len(stems):
        first = found[0]
        before, after = stems[0][: first.where.start()], stems[0][first.where.end() :]
        rest, numbers = f"{before} {after}", _LONG_NUMBER.findall(f"{before} {after}")
        before, after = (_LONG_NUMBER.sub("{any}", one) for one in (before, after))
        pattern = f"{before}{{date:{first.format}}}{after}{ending}"
        start = min(date.day for date in found).strftime("%Y-%m-%d")
        said = f"{first.partitioning}: one file for each, whose date is in its name"
        if numbers:
            said += f"; {' and '.join(numbers)} may be anything, also nothing: {{any}}"
            rest = _LONG_NUMBER.sub("", rest)
    elif found:
        said = "not every name has a date: one file for each name"
    feed_name = name or _to_name(rest) or _to_name(samples[0].parent.name) or "feed"
    proposal = NameProposal(feed_name, pattern, ending, start)
    if digits := re.findall(r"[0-9]+", rest):
        said += f"; {' and '.join(digits)} must be in every name"
    proposal.doubts["pattern"] = said
    if start:
        whose = "the sample's" if len(samples) == 1 else "the earliest sample's"
        proposal.doubts["start"] = f"{whose}; an earlier file is refused"
    return proposal


def _find_common(stems: Sequence[str]) -> tuple[str, str]:
    """Return what all names begin and end with, in whole words."""
    before = _find_common_start(stems)
    rests = [stem[len(before) :][::-1] for stem in stems]
    after = _find_common_start(rests)[::-1]
    return before, after if all(len(rest) > len(after) for rest in rests) else ""


def _find_common_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    same = [one == other for one, other in zip(first, last, strict=False)]
    start = first[: [*same, False].index(False)]
    return start[: max(start.rfind(mark) + 1 for mark in "_-. ")]


def _find_date(stem: str) -> _Date | None:
    """Find a possible date in a name."""
    for digits, date_format in _DATES.items():
        pattern = FileNamePattern(f"{{date:{date_format}}}")
        for where in re.finditer(rf"(?<!\d){digits}(?!\d)", stem, re.ASCII):
            if match := pattern.match(where[0]):
                with suppress(PartitionKeyError):
                    begin, _ = window_of(pattern.key_of(match), pattern.partitioning)
                    if begin.year in _LIKELY_YEARS:
                        return _Date(where, date_format, pattern.partitioning, begin)
    return None


def _to_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
