"""Names: which column of a file is which column of a feed.

Takes the names that a file gives its columns, in a header or in its schema; returns the feed's
column for each, or how they differ from the feed's. Where the names stand belongs in the formats.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from partitioned_etl.engine.formats.format import Format, wrong_option
from partitioned_etl.engine.sql import INTERNAL_PREFIX

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract

_IGNORED = INTERNAL_PREFIX + "ignored column "


class ExtraColumns(StrEnum):
    """What happens to columns of a file that the feed does not have."""

    REFUSE = "refuse"
    """The file is refused."""
    IGNORE = "ignore"
    """They are not loaded, and their values may be anything."""


class NamedColumns(Format, frozen=True):
    """A format whose files name their columns."""

    any_column_order: Annotated[
        bool,
        Field(
            description="Whether a file may have its columns in another order than the feed; "
            "values then go to columns by name."
        ),
    ] = False
    header_ignores_case: Annotated[
        bool,
        Field(
            description="Whether names may differ from the feed's in small and capital letters, "
            "and have white space around them."
        ),
    ] = False
    extra_columns: Annotated[
        ExtraColumns,
        Field(
            description="`refuse` a file with columns that the feed does not have, or `ignore` "
            "these."
        ),
    ] = ExtraColumns.REFUSE

    def refuse_options_of_header(self, **others: bool) -> None:
        """Refuse options that need a header, in a format that is declared to have none.

        Args:
            others: Whether each of the format's own such options is set.

        Raises:
            FeedDefinitionError: One is.
        """
        options = {
            "any_column_order": self.any_column_order,
            "header_ignores_case": self.header_ignores_case,
            "extra_columns": self.extra_columns is ExtraColumns.IGNORE,
            **others,
        }
        for name, is_set in options.items():
            if is_set:
                raise wrong_option(name, f"{name} needs a header, which names the columns")

    def match_names(self, contract: "Contract", given: Sequence[str]) -> "NameMatch":
        """Find the feed's column for each name in a file.

        Args:
            contract: The contract.
            given: The names, in the order of the file.
        """
        accepted = {
            self._fold(name): column
            for column, names in contract.names_in_file.items()
            for name in names
        }
        columns = [accepted.get(self._fold(name), "") for name in given]
        reasons = [
            f"column {column} is there more than once"
            for column in contract.columns
            if columns.count(column) > 1
        ]
        missing = [
            names[0]
            for column, names in contract.names_in_file.items()
            if column not in columns and column not in contract.optional_columns
        ]
        extra = [name for name, column in zip(given, columns, strict=True) if not column]
        for name in missing:
            near = next((each for each in extra if _simplify(each) == _simplify(name)), None)
            if near is not None:
                extra.remove(near)
            reasons.append(f"column {name} is missing{_say_difference(name, near)}")
        if extra and self.extra_columns is ExtraColumns.REFUSE:
            reasons.append(f"{len(extra)} column name(s) that the feed does not have")
        found = [column for column in columns if column]
        expected = [column for column in contract.columns if column in found]
        if not reasons and found != expected and not self.any_column_order:
            reasons = [f"the columns are not in the order {', '.join(expected)}"]
        return NameMatch(
            [column or f"{_IGNORED}{number}" for number, column in enumerate(columns, 1)], reasons
        )

    def _fold(self, name: str) -> str:
        return name.strip().casefold() if self.header_ignores_case else name


@dataclass(frozen=True)
class NameMatch:
    """How the names in a file match the feed's columns.

    Attributes:
        columns: The feed's column for each name, in the order of the file; an internal name for a
            column that is not loaded.
        reasons: How the names differ from the feed's; empty if the file can be loaded.
    """

    columns: list[str]
    reasons: list[str]


def _simplify(name: str) -> str:
    """Return what a reader sees of a name, and takes for it."""
    visible = "".join(character for character in name if not _is_unseen(character))
    return unicodedata.normalize("NFKC", visible).casefold()


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character)[0] in "CZ"


def _is_path(name: str) -> bool:
    return name.startswith(("$.", "$["))


def _say_difference(name: str, near: str | None) -> str:
    """Return how the name nearest to one that is missing differs from it."""
    if near is None:
        return ": it looks like a path, which only JSON formats know" if _is_path(name) else ""
    unseen = dict.fromkeys(each for each in near if _is_unseen(each) and each not in name)
    if unseen:
        names = ", ".join(
            f"U+{ord(each):04X} {unicodedata.name(each, '')}".rstrip() for each in unseen
        )
        return f": one has {names} in its name"
    if "".join(near.split()).casefold() == "".join(name.split()).casefold():
        return ": one differs in white space or in small and capital letters"
    return ": one looks the same and is spelled with other characters"
