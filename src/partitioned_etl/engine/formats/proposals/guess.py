"""Guess: what the texts of a column may be, and what that tells of its sender."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any


class Evidence(Enum):
    """What the spelling of a column tells of the others from the same sender."""

    NONE = auto()
    DAY_FIRST = auto()
    MONTH_FIRST = auto()
    COMMA = auto()
    """A comma stands before the fraction of a number."""
    POINT = auto()


@dataclass(frozen=True)
class Guess:
    """What the texts of a column may be.

    Attributes:
        type: The DuckDB type.
        options: The value options that it needs.
        evidence: What it tells of the sender.
        doubt: What to check.
        separator: What stands between the numbers of a day.
    """

    type: str
    options: Mapping[str, Any] = field(default_factory=dict)
    evidence: Evidence = Evidence.NONE
    doubt: str = ""
    separator: str = ""
