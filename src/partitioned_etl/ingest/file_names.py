"""File names: a feed's pattern, and how a file name becomes a partition key.

Takes a pattern with one placeholder; gives the text that stands for the key, and the key. The
names that lie in a folder are listed in `landing.py`.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from partitioned_etl.ingest.errors import FeedDefinitionError, PartitionKeyError

COMPRESSED_SUFFIXES = (".gz", ".zst")
"""What may follow a pattern's own name; the file is then decompressed as it is read."""
_PLACEHOLDER = re.compile(r"\{(?:(?P<key>key)|date:(?P<date>[^{}]+))\}")
_DATE_DIRECTIVES = {"%Y": r"\d{4}", "%m": r"\d{2}", "%d": r"\d{2}"}


class Partitioning(StrEnum):
    """How a feed is cut into partitions; it decides what a partition key looks like."""

    DAILY = "daily"
    """One file a day, key `2018-01-22`."""
    MONTHLY = "monthly"
    """One file a month, key `2018-01-01`, the month's first day."""
    DYNAMIC = "dynamic"
    """One file a name, such as a customer; the key is that name."""


@dataclass(frozen=True)
class FileNamePattern:
    """A file name with one placeholder for the key: `{key}.csv` or `{date:%Y-%m-%d}.csv`.

    Raises:
        FeedDefinitionError: There is not just one placeholder, or its date format does not make
            keys of a day or a month.
    """

    text: str

    def __post_init__(self) -> None:
        if len(list(_PLACEHOLDER.finditer(self.text))) != 1 or "/" in self.text:
            raise FeedDefinitionError(
                f"pattern {self.text!r} needs exactly one placeholder, {{key}} or "
                "{date:%Y-%m-%d}, and no folder"
            )
        if self._date_format is not None and self._directives not in (
            ["%Y", "%d", "%m"],
            ["%Y", "%m"],
        ):
            raise FeedDefinitionError(
                f"a date in a file name is made of %Y, %m and, if daily, %d: {self._date_format!r}"
            )

    @property
    def partitioning(self) -> Partitioning:
        """The partitioning that the pattern implies."""
        if self._date_format is None:
            return Partitioning.DYNAMIC
        return Partitioning.DAILY if "%d" in self._directives else Partitioning.MONTHLY

    @property
    def key_date_format(self) -> str:
        """The `strftime` format of the partition keys, if they are dates."""
        return "%Y-%m-%d" if self.partitioning is Partitioning.DAILY else "%Y-%m-01"

    def match(self, file_name: str) -> str | None:
        """Give the text that stands for the key in a file name, or None if it does not match."""
        match = self._regex.fullmatch(file_name)
        return match[1] if match else None

    def date_key_of(self, text: str) -> str:
        """Turn the text that stands for the key into the key: a date into its own format.

        Raises:
            PartitionKeyError: It is no possible date.
        """
        if self._date_format is None:
            return text
        try:
            return datetime.strptime(text, self._date_format).strftime(self.key_date_format)
        except ValueError:
            raise PartitionKeyError(
                f"the name holds no date of the form {self._date_format}"
            ) from None

    @cached_property
    def _placeholder(self) -> re.Match[str]:
        match = _PLACEHOLDER.search(self.text)
        assert match is not None, "checked when the pattern was made"
        return match

    @property
    def _date_format(self) -> str | None:
        return self._placeholder["date"]

    @property
    def _directives(self) -> list[str]:
        return sorted(re.findall(r"%.", self._date_format or ""))

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        before, after = self.text.split(self._placeholder[0])
        middle = ".+?"
        if self._date_format:
            middle = re.escape(self._date_format)
            for directive, digits in _DATE_DIRECTIVES.items():
                middle = middle.replace(re.escape(directive), digits)
        suffix = ""
        if not self.text.endswith(COMPRESSED_SUFFIXES):
            suffix = f"(?:{'|'.join(re.escape(suffix) for suffix in COMPRESSED_SUFFIXES)})?"
        return re.compile(
            f"{re.escape(before)}({middle}){re.escape(after)}{suffix}", re.ASCII | re.DOTALL
        )
