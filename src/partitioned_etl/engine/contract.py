"""Contract: what a feed's file must look like: format, columns, types and row rules.

A file that breaks it is refused or, where the policy allows it, loaded without its bad rows. Names
of files and tables belong in `feed.py`.
"""

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, SerializeAsAny

from partitioned_etl.engine.formats.csv import CsvFormat
from partitioned_etl.engine.formats.registry import AnyFormat
from partitioned_etl.engine.formats.types import spell_type
from partitioned_etl.engine.formats.values import OneOrMore, ValueOptions, concerns


class BadRows(StrEnum):
    """What happens to a file with rows that break the contract."""

    FAIL = "fail"
    """The file is refused; the partition's rows stay as they were."""
    QUARANTINE = "quarantine"
    """Good rows are loaded; bad ones go to table `rejected_rows`, up to the contract's limits."""


class Declared(BaseModel, frozen=True, extra="forbid"):
    """A part of a declaration: it never changes, and takes no attribute that it does not have."""


_WHERE_FOUND = {"from_", "optional", "since", "start", "length"}
"""Where in a file a column is."""


def _to_date_text(value: Any) -> Any:
    """Return what YAML takes for a day or a number, such as 2026-03-01 and 2026, as a text."""
    return str(value) if type(value) in (date, int) else value


class Column(ValueOptions, frozen=True, validate_by_name=True, validate_by_alias=True):
    """A column of a file, and of the table that it is loaded into.

    Its value options take the place of those of the feed.
    """

    type: Annotated[str, Field(description="Its DuckDB type.")]
    description: Annotated[str, Field(description="What it holds, in plain words.")] = ""
    from_: Annotated[
        OneOrMore,
        Field(
            alias="from",
            description="Its name in the file, or several of which a file has one. Default: the "
            "column's own.",
        ),
    ] = ()
    optional: Annotated[bool, Field(description="Whether a file may lack it; it is then NULL.")] = (
        False
    )
    since: Annotated[
        str,
        BeforeValidator(_to_date_text),
        Field(
            description="The first partition whose file must have it, such as `2026-03`; an "
            "earlier file may lack it. Default: all must have it."
        ),
    ] = ""
    start: Annotated[
        int | None,
        Field(description="In a line of fixed width, its first character, from 1 on.", ge=1),
    ] = None
    length: Annotated[
        int | None, Field(description="In such a line, how many characters it has.", ge=1)
    ] = None


class RowRule(Declared, frozen=True):
    """A condition for every row of a file, beyond its columns' types."""

    name: Annotated[
        str,
        Field(description="States what holds when the rule is kept, such as `amount_is_positive`."),
    ]
    column: Annotated[str, Field(description="The column for which a broken rule is reported.")]
    expression: Annotated[
        str,
        Field(
            description="A DuckDB condition over the feed's columns, `partition_key` and "
            "`source_file`. A row for which it is false or NULL breaks the rule. Its time zone is "
            "UTC."
        ),
    ]
    reason: Annotated[
        str, Field(description="The explanation for the sender of a row that breaks it.")
    ]


class Contract(Declared, frozen=True):
    """What a file must look like, and what happens to rows that do not."""

    columns: Annotated[
        Mapping[str, str | Column],
        Field(
            description="Column name to DuckDB type, in the order of the file; or to `type`, "
            "`description` and [value options](#values)."
        ),
    ]
    format: Annotated[
        SerializeAsAny[AnyFormat],
        Field(
            description="What the files are: the name of a [format](#formats), or its `type` and "
            'options, as in `{type: csv, delimiter: ";"}`. Default: csv.'
        ),
    ] = CsvFormat()
    values: Annotated[
        ValueOptions,
        Field(
            description="How values are spelled: [value options](#values) for all columns that "
            "they concern. Default: as DuckDB spells them."
        ),
    ] = ValueOptions()
    row_rules: Annotated[
        tuple[RowRule, ...],
        Field(
            description="What must hold for every row, each an asset check: `name`, `column` it is "
            "reported under, `expression` (a DuckDB condition), `reason` for the sender."
        ),
    ] = ()
    bad_rows: Annotated[
        BadRows,
        Field(
            description="`fail` refuses a file with bad rows; `quarantine` loads the good ones and "
            "puts the others into `rejected_rows`."
        ),
    ] = BadRows.FAIL
    max_rejected_rows: Annotated[
        int,
        Field(description="With quarantine: a file with more bad rows than this is refused.", ge=0),
    ] = 10_000
    max_rejected_percent: Annotated[
        float,
        Field(
            description="With quarantine: so is one with a larger share of bad rows, 0 to 100.",
            ge=0,
            le=100,
        ),
    ] = 10.0
    allow_empty: Annotated[
        bool,
        Field(description="Whether a file with a header and no rows is an empty partition."),
    ] = True
    non_finite_columns: Annotated[
        tuple[str, ...],
        Field(
            description="DOUBLE and FLOAT columns in which NaN and infinity are values, as is a "
            "number too large for the type, which becomes infinity."
        ),
    ] = ()
    max_uncompressed_bytes: Annotated[
        int,
        Field(description="How large a compressed file may be when decompressed, in bytes.", ge=1),
    ] = 10 << 30

    @cached_property
    def contract_fingerprint(self) -> str:
        """A short digest of everything that determines whether a file is refused.

        A file that was refused under another contract is checked again.
        """
        # A rule may look at the partition key, which comes from the file name.
        names = {*Contract.model_fields, "pattern", "partitioning"} - {"columns", "values"}
        # What is at its default says nothing: an attribute that is new in a later version, neither.
        declared = self.model_dump(mode="json", include=names, exclude_defaults=True)
        told: tuple[object, ...] = (
            list(self.column_types.items()),
            self.format.type,
            sorted(declared.items()),
        )
        spelled = {
            name: options.model_dump(mode="json", exclude_defaults=True)
            for name, options in self.column_values.items()
        }
        found = {
            name: column.model_dump(mode="json", include=_WHERE_FOUND, exclude_defaults=True)
            for name, column in self.columns.items()
            if isinstance(column, Column)
        }
        told += tuple(one for one in (spelled, found) if any(one.values()))
        return sha256(repr(told).encode()).hexdigest()[:16]

    @cached_property
    def column_types(self) -> dict[str, str]:
        """DuckDB type of each column, in the order of the file."""
        return {
            name: spell_type(column.type if isinstance(column, Column) else column)
            for name, column in self.columns.items()
        }

    @cached_property
    def names_in_file(self) -> dict[str, tuple[str, ...]]:
        """The names that each column may have in a file."""
        return {
            name: (isinstance(column, Column) and column.from_) or (name,)
            for name, column in self.columns.items()
        }

    @cached_property
    def column_places(self) -> dict[str, tuple[int | None, int | None]]:
        """Start and length of each column in a line of fixed width, where they are declared."""
        return {
            name: (column.start, column.length) if isinstance(column, Column) else (None, None)
            for name, column in self.columns.items()
        }

    @cached_property
    def optional_columns(self) -> frozenset[str]:
        """The columns that a file may lack."""
        return frozenset(
            name
            for name, column in self.columns.items()
            if isinstance(column, Column) and column.optional
        )

    @cached_property
    def first_dates(self) -> dict[str, str]:
        """The date from which on a file must have a column, for those that have come later."""
        return {
            name: column.since
            for name, column in self.columns.items()
            if isinstance(column, Column) and column.since
        }

    def without_need_of(self, names: frozenset[str]) -> "Contract":
        """Return the contract of files that may also lack some columns."""
        columns = {
            name: column.model_copy(update={"optional": True})
            if name in names and isinstance(column, Column)
            else column
            for name, column in self.columns.items()
        }
        attributes = {name: getattr(self, name) for name in Contract.model_fields}
        return Contract.model_construct(**{**attributes, "columns": columns})

    @cached_property
    def declared_values(self) -> dict[str, dict[str, Any]]:
        """The value options of each column that declares some itself."""
        return {
            name: column.declared
            for name, column in self.columns.items()
            if isinstance(column, Column) and column.declared
        }

    @cached_property
    def column_values(self) -> dict[str, ValueOptions]:
        """The value options of each column: its own, then those of the feed that concern it."""
        found = {}
        for name, type_name in self.column_types.items():
            options = {**self.values.declared, **self.declared_values.get(name, {})}
            concerned = {key: options[key] for key in options if concerns(key, type_name)}
            found[name] = ValueOptions.model_construct(**concerned)
        return found

    @cached_property
    def column_descriptions(self) -> dict[str, str]:
        """Description of each column that has one."""
        return {
            name: column.description
            for name, column in self.columns.items()
            if isinstance(column, Column) and column.description
        }
