"""Values: how a sender spells numbers, times, truth values and missing values.

Declares the value options of a feed and of a column, and refuses those that contradict one another
or concern no column. What they do to a text belongs in `value_steps.py`.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from partitioned_etl.engine.date_letters import has_letters, to_directives
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.formats.date_formats import (
    DateFormat,
    find_fault,
    parse_date_format,
)
from partitioned_etl.engine.formats.format import hint_at_quotes
from partitioned_etl.engine.formats.types import Kind, add_article, kind_of
from partitioned_etl.engine.formats.value_steps import SPECIAL_FORMATS, list_steps

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract

_FORMATS = ("date_format", "time_format", "timestamp_format")
_NUMBERS, _BOOLEANS = frozenset({Kind.NUMBER}), frozenset({Kind.BOOLEAN})
_CONCERNED = {
    "decimal": _NUMBERS,
    "thousands": _NUMBERS,
    "strip": _NUMBERS,
    "trailing_minus": _NUMBERS,
    "nulls": frozenset(Kind),
    "trim": frozenset(Kind),
    "date_format": frozenset({Kind.DATE}),
    "time_format": frozenset({Kind.TIME}),
    "timestamp_format": frozenset({Kind.TIMESTAMP, Kind.ZONED}),
    "true_texts": _BOOLEANS,
    "false_texts": _BOOLEANS,
}
"""The kinds of column that an option concerns."""


def _to_list(value: object) -> object:
    return (value,) if isinstance(value, str) else value


OneOrMore = Annotated[
    tuple[str, ...], BeforeValidator(_to_list, json_schema_input_type=str | tuple[str, ...])
]
"""A text, or a list of texts."""


class ValueOptions(BaseModel, frozen=True, extra="forbid"):
    """How values are spelled in a file, where that is not as DuckDB spells them."""

    decimal: Annotated[
        Literal[".", ","], Field(description="What stands before the fraction of a number.")
    ] = "."
    thousands: Annotated[
        str,
        Field(
            description="One character that parts the digits of a number in threes. It may be "
            "left out of a number as a whole, and stands nowhere else. Default: none."
        ),
    ] = ""
    strip: Annotated[
        OneOrMore,
        Field(
            description='Signs that may stand before or after a number, such as `["€", "%"]`, with '
            "white space between. Only the sign is taken off: `5 %` is 5."
        ),
    ] = ()
    trailing_minus: Annotated[
        bool, Field(description="Whether a number may have its minus at the end: `12.50-`.")
    ] = False
    nulls: Annotated[
        OneOrMore,
        Field(description="Texts that mean NULL, in columns of all types, quoted or not."),
    ] = ()
    trim: Annotated[
        bool,
        Field(
            description="Whether white space around a value is taken off. If nothing is left, the "
            "value is NULL."
        ),
    ] = False
    date_format: Annotated[
        OneOrMore,
        Field(
            description="How a DATE is spelled, such as `%d.%m.%Y`, or a list of formats. If there "
            "is a time in it, it must be midnight. `excel` is the serial number of a day."
        ),
    ] = ()
    time_format: Annotated[
        OneOrMore, Field(description="How a TIME is spelled, such as `%I:%M %p`.")
    ] = ()
    timestamp_format: Annotated[
        OneOrMore,
        Field(
            description="How a TIMESTAMP or, with `%z`, a TIMESTAMPTZ is spelled. Without a time, "
            "it is midnight. `epoch` and `epoch_ms` count from 1970 in UTC, `excel` is a serial "
            "number, taken to the nearest millisecond."
        ),
    ] = ()
    true_texts: Annotated[
        OneOrMore,
        Field(description="The only texts that are true, exactly so spelled."),
    ] = ()
    false_texts: Annotated[
        OneOrMore, Field(description="The only texts that are false, likewise.")
    ] = ()

    @cached_property
    def declared(self) -> dict[str, object]:
        """The options that were declared, also those at their default."""
        return {
            name: getattr(self, name)
            for name in ValueOptions.model_fields
            if name in self.model_fields_set
        }

    @property
    def formats(self) -> Sequence[str]:
        """The formats of days and times, of which a column's type leaves one option."""
        return self.date_format or self.time_format or self.timestamp_format

    def steps(self, kind: Kind, column: str) -> tuple[str, ...]:
        """Return SQL that turns a column's text into the one that is validated, step by step.

        Args:
            kind: The column's kind.
            column: Its quoted name, by which each step refers to what the one before it gives.
        """
        return tuple(list_steps(self, kind, column))

    def kind_in_file(self, kind: Kind) -> Kind:
        """Return whether values are numbers, truth values or texts in a file that tells them apart.

        Args:
            kind: The column's kind.
        """
        is_own = self.decimal == "," or self.thousands or self.strip or self.trailing_minus
        if is_own or self.true_texts or self.false_texts:
            return Kind.TEXT
        if any(text in SPECIAL_FORMATS for text in self.formats):
            return Kind.NUMBER
        return kind if kind in (Kind.NUMBER, Kind.BOOLEAN) else Kind.TEXT

    def describe(self, *, has_fraction: bool) -> str:
        """Return what is said of a value that is refused, after its type; empty if nothing is."""
        if self.formats:
            forms = (SPECIAL_FORMATS.get(one, f"of the form {one}") for one in self.formats)
            return f" {' or '.join(forms)}"
        if self.true_texts or self.false_texts:
            return " by its true_texts and false_texts"
        names = {",": "comma", ".": "point", " ": "space"}
        marks = ["decimal comma"] if self.decimal == "," and has_fraction else []
        if self.thousands:
            marks.append(f"thousands {names.get(self.thousands, self.thousands)}")
        return f" with {' and '.join(marks)}" if marks else ""

    def find_fault(self, type_name: str) -> tuple[str, str]:
        """Return the option that contradicts itself or another for a column, and why; or nothing.

        Args:
            type_name: The column's type.
        """
        kind = kind_of(type_name)
        if self.thousands:
            if len(self.thousands) != 1 or self.thousands.isalnum() or self.thousands in "+-()":
                reason = "one character that is no letter, digit or sign is needed"
                return "thousands", f"{reason}{hint_at_quotes(self.thousands)}"
            if self.thousands == self.decimal:
                return "thousands", f"{self.thousands!r} is the decimal separator, too"
        for text in self.strip:
            if not text.strip() or text != text.strip() or re.search(r"[0-9+\-.,]", text):
                return "strip", f"{text!r} may be part of a number, or begins or ends with a space"
        texts = [*self.true_texts, *self.false_texts, *self.nulls]
        if kind is Kind.BOOLEAN and len(set(texts)) < len(texts):
            option = "true_texts" if self.true_texts else "false_texts"
            return option, "a text stands for one value, and is there once"
        if self.formats:
            option = next(name for name in _FORMATS if getattr(self, name))
            return option, _find_format_fault(self.formats, kind, type_name)
        return "", ""


def _find_format_fault(formats: Sequence[str], kind: Kind, type_name: str) -> str:
    special = [text for text in formats if text in SPECIAL_FORMATS]
    if special:
        allowed = {Kind.DATE: ("excel",), Kind.TIME: (), Kind.ZONED: ("epoch", "epoch_ms")}
        if special[0] not in allowed.get(kind, tuple(SPECIAL_FORMATS)):
            return f"{special[0]} is nothing that a {type_name} can be made of"
        return "" if len(formats) == 1 else f"{special[0]} stands alone"
    for text in formats:
        meant = to_directives(text)
        is_certain = not (has_letters(meant) or _find_form_fault([meant], kind, type_name))
        if has_letters(text) or ("%" not in text and is_certain):
            guess = f": {meant}?" if is_certain else ", such as %d.%m.%Y or %H:%M"
            return f"{text!r} is no form of strptime{guess}"
    return _find_form_fault(formats, kind, type_name)


def _find_form_fault(formats: Sequence[str], kind: Kind, type_name: str) -> str:
    parsed: list[DateFormat] = []
    for text in formats:
        try:
            parsed.append(parse_date_format(text))
        except ValueError as error:
            return f"{text!r}: {error}"
    return find_fault(
        parsed, has_day=kind is not Kind.TIME, has_offset=kind is Kind.ZONED, what=type_name
    )


def check_values(contract: "Contract") -> None:
    """Refuse value options that contradict one another, or concern no column where they stand.

    Raises:
        FeedDefinitionError: They do; it names the option by its path.
    """
    types = contract.column_types
    own = contract.declared_values
    paths = {
        "values": contract.values.declared,
        **{f"columns.{name}": options for name, options in own.items()},
    }
    if not contract.format.has_texts and (path := next((p for p, o in paths.items() if o), "")):
        reason = f"a {contract.format.type} file holds values and no texts; no option changes them"
        raise FeedDefinitionError(f"{path}: {reason}", attribute=path)
    kinds = {name: kind_of(type_name) for name, type_name in types.items()}
    for option in contract.values.declared:
        if not _CONCERNED[option] & {*kinds.values()}:
            raise _wrong(f"values.{option}", "no column has a type that it concerns")
    for name, options in own.items():
        for option in options:
            if kinds[name] not in _CONCERNED[option]:
                raise _wrong(
                    f"columns.{name}.{option}", f"it does not concern {add_article(types[name])}"
                )
    for name, type_name in types.items():
        option, reason = contract.column_values[name].find_fault(type_name)
        if reason:
            path = f"columns.{name}.{option}" if option in own.get(name, {}) else f"values.{option}"
            about = "" if path.startswith("columns") else f"column {name}: "
            raise _wrong(path, about + reason)


def concerns(option: str, type_name: str) -> bool:
    """Return whether a value option concerns columns of a type."""
    return kind_of(type_name) in _CONCERNED[option]


def _wrong(path: str, reason: str) -> FeedDefinitionError:
    return FeedDefinitionError(f"{path}: {reason}", attribute=path)
