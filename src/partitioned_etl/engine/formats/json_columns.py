"""JSON columns: where in a record a column's value stands, and of what form it is.

Takes a contract; returns its columns as the JSON formats see them. Next: `json_records.py` reads a
record by them, and `json_sql.py` whole files.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeAlias

from pydantic import Field

from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.formats.names import ExtraColumns
from partitioned_etl.engine.formats.nested_types import NestedType, is_nested, parse_type
from partitioned_etl.engine.formats.types import Kind, is_integer_type, is_text_type, kind_of
from partitioned_etl.engine.formats.values import ValueOptions
from partitioned_etl.engine.formats.whole_lines import WholeLineFormat

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract

Step: TypeAlias = str | int
"""A part of a path: a name in an object, or an index in an array."""

_STEP = re.compile(
    r"\.(?P<name>[^\W\d][\w-]*)"
    r"|\['(?P<quoted>(?:[^'\\]|\\['\\])*)'\]"
    r"|\[(?P<index>0|[1-9][0-9]{0,8})\]"
)


class JsonKind(Enum):
    """The kinds of JSON value that a column may take, or a part of one."""

    NUMBER = "a number"
    TRUTH = "true or false"
    TEXT = "a text"
    ANY = "any value"
    OBJECT = "an object"
    ARRAY = "an array"


class JsonOptions(WholeLineFormat, frozen=True):
    """The options that all JSON formats have."""

    takes_json: ClassVar[bool] = True

    absent_is_null: Annotated[
        bool,
        Field(
            description="Whether a name that a record lacks is NULL, in all columns; for one of "
            "them, set its `optional`."
        ),
    ] = False
    extra_columns: Annotated[
        ExtraColumns,
        Field(
            description="What becomes of a record with a name that is neither a column nor the "
            "start of a column's path. Deeper names are always ignored."
        ),
    ] = ExtraColumns.REFUSE
    numbers_as_texts: Annotated[
        bool,
        Field(
            description='Whether a text such as `"1.50"` is a number in a number column, as '
            "BigQuery writes its integers, and a number a text in a text column, as it is spelled."
        ),
    ] = False


@dataclass(frozen=True)
class JsonForm:
    """The form of a JSON value that may also be `null`.

    Attributes:
        kind: Its kind.
        may_be_empty: Whether an empty text is a value.
        fields: In an object of a structure, the form of each value by its name.
        each: In an array, or an object of any names, the form of every value.
    """

    kind: JsonKind
    may_be_empty: bool = True
    fields: Mapping[str, "JsonForm"] = field(default_factory=dict)
    each: "JsonForm | None" = None

    @property
    def is_nested(self) -> bool:
        """Whether it is an object or array with values of known forms."""
        return self.each is not None or bool(self.fields)


@dataclass(frozen=True)
class JsonColumn:
    """A column as a JSON format sees it.

    Attributes:
        name: Its name.
        form: The form of its values.
        path: Where in a record its value stands; at least one step, of which the first is a name.
        may_be_absent: Whether a record may lack it.
        is_integer: Whether it takes whole numbers.
        is_spelling_needed: Whether a number's spelling may make a difference to it beyond that of
            the integer, or the nearest DOUBLE, that it stands for.
    """

    name: str
    form: JsonForm
    path: tuple[Step, ...]
    may_be_absent: bool
    is_integer: bool
    is_spelling_needed: bool

    @property
    def kind(self) -> JsonKind:
        """The kind of value that it takes, beside `null`."""
        return self.form.kind

    @property
    def start(self) -> str:
        """The name in the record with which its path starts."""
        return str(self.path[0])


def list_json_columns(contract: "Contract", options: JsonOptions) -> list[JsonColumn]:
    """Return a contract's columns as a JSON format with these options sees them.

    Raises:
        FeedDefinitionError: A column's `from` is no path, or its type is none.
    """
    forms = {
        name: _form_of(name, type_name, contract.column_values[name])
        for name, type_name in contract.column_types.items()
    }
    return [
        JsonColumn(
            name,
            forms[name],
            parse_path(name, contract.names_in_file[name]),
            may_be_absent=name in contract.optional_columns or options.absent_is_null,
            is_integer=is_integer_type(type_name),
            is_spelling_needed=_needs_spelling(contract, name, forms[name], options),
        )
        for name, type_name in contract.column_types.items()
    ]


def _needs_spelling(contract: "Contract", name: str, form: JsonForm, options: JsonOptions) -> bool:
    type_name, values = contract.column_types[name], contract.column_values[name]
    match form.kind:
        case JsonKind.NUMBER:
            is_long = "HUGE" in type_name.upper()
            is_exact = is_integer_type(type_name) or type_name.upper() == "DOUBLE"
            return is_long or not is_exact or bool(values.declared)
        case JsonKind.TEXT:
            return options.numbers_as_texts
        case kind:
            return kind is not JsonKind.TRUTH


def _form_of(column: str, type_name: str, values: ValueOptions) -> JsonForm:
    """Return the form of the values of a column of a type."""
    if is_nested(type_name):
        found = parse_type(type_name)
        if not found:
            reason = f"column {column}: no DuckDB type: {type_name}"
            raise FeedDefinitionError(reason, attribute="columns")
        return _form_of_nested(column, found)
    may_be_empty = is_text_type(type_name) or "" in values.nulls
    if type_name.upper() == "JSON":
        return JsonForm(JsonKind.ANY)
    match values.kind_in_file(kind_of(type_name)):
        case Kind.NUMBER:
            return JsonForm(JsonKind.NUMBER, may_be_empty)
        case Kind.BOOLEAN:
            return JsonForm(JsonKind.TRUTH, may_be_empty)
        case _:
            return JsonForm(JsonKind.TEXT, may_be_empty)


def _form_of_nested(column: str, found: NestedType) -> JsonForm:
    parts = {name: _form_of_nested(column, part) for name, part in found.children.items()}
    match found.name:
        case "LIST":
            return JsonForm(JsonKind.ARRAY, each=parts["element"])
        case "MAP":
            if not is_text_type(found.children["key"].name):
                reason = f"column {column}: the names in a JSON object are texts: MAP(VARCHAR, ...)"
                raise FeedDefinitionError(reason, attribute="columns")
            return JsonForm(JsonKind.OBJECT, each=parts["value"])
        case "STRUCT":
            return JsonForm(JsonKind.OBJECT, fields=parts)
        case type_name:
            return _form_of(column, type_name, ValueOptions())


def parse_path(column: str, names: Sequence[str]) -> tuple[Step, ...]:
    """Return the steps of a path such as `$.device['serial no'].parts[0]`; of a mere name, one.

    Args:
        column: The column, for a message.
        names: The path, or a name that does not begin with `$`, and no other.

    Raises:
        FeedDefinitionError: It is neither.
    """
    attribute = f"columns.{column}.from"
    if len(names) != 1:
        reason = f"{attribute}: in JSON, one name or one path such as $.device.id"
        raise FeedDefinitionError(reason, attribute=attribute)
    path = names[0]
    if path == column or not path.startswith("$"):
        return (path,)
    steps = parse_steps(path)
    if not steps or not isinstance(steps[0], str):
        reason = f"{attribute}: {path!r} is no path such as $.device.id, $['a b'] or $.parts[0]"
        raise FeedDefinitionError(reason, attribute=attribute)
    return tuple(steps)


def parse_steps(path: str) -> Sequence[Step]:
    """Return the steps of a path behind its `$`; none if it is no path."""
    steps, end = [], 1
    while found := _STEP.match(path, end):
        steps.append(_to_step(found.groupdict()))
        end = found.end()
    return steps if path.startswith("$") and end == len(path) else []


def _to_step(found: Mapping[str, str | None]) -> Step:
    if found["index"] is not None:
        return int(found["index"])
    if found["quoted"] is not None:
        return re.sub(r"\\(.)", r"\1", found["quoted"])
    return str(found["name"])


def write_path(steps: tuple[Step, ...]) -> str:
    """Return steps as a path that `parse_path` reads."""
    return "$" + "".join(map(_write_step, steps))


def _write_step(step: Step) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if _STEP.fullmatch(f".{step}"):
        return f".{step}"
    quoted = step.replace("\\", "\\\\").replace("'", "\\'")
    return f"['{quoted}']"
