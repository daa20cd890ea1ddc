"""Registry: every format that a feed can declare. A new format is a module and a line here."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ValidationError, WithJsonSchema

from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.formats.csv import CsvFormat, TsvFormat
from partitioned_etl.engine.formats.excel import ExcelFormat
from partitioned_etl.engine.formats.fixed_width import FixedWidthFormat
from partitioned_etl.engine.formats.format import Format, explain_first
from partitioned_etl.engine.formats.json_document import JsonFormat
from partitioned_etl.engine.formats.json_lines import JsonLinesFormat
from partitioned_etl.engine.formats.parquet import ParquetFormat

FORMATS: tuple[type[Format], ...] = (
    CsvFormat,
    TsvFormat,
    FixedWidthFormat,
    JsonLinesFormat,
    JsonFormat,
    ParquetFormat,
    ExcelFormat,
)


def name_of(format_class: type[Format]) -> str:
    """Return the name of a format in a feed."""
    return format_class.model_fields["type"].default


def find_format(name: object) -> type[Format]:
    """Return the format of a name.

    Raises:
        FeedDefinitionError: There is none.
    """
    for format_class in FORMATS:
        if name == name_of(format_class):
            return format_class
    names = ", ".join(map(name_of, FORMATS))
    raise FeedDefinitionError(f"format {name!r} is not one of {names}", attribute="format")


def guess_format(ending: str) -> str:
    """Return the name of the format that the ending of a file name suggests."""
    for format_class in FORMATS:
        if ending.lower() in format_class.endings:
            return name_of(format_class)
    return name_of(CsvFormat)


def parse_format(value: object) -> Format:
    """Return the format that a feed declares: by its name, or by `type` and options.

    Raises:
        FeedDefinitionError: There is no such format, or it has no such option.
    """
    if isinstance(value, Format):
        return value
    if not isinstance(value, Mapping):
        return find_format(value)()
    options: dict[str, Any] = dict(value)
    format_class = find_format(options.get("type", name_of(CsvFormat)))
    try:
        return format_class(**options)
    except ValidationError as error:
        path, reason = explain_first(error, format_class)
        path = f"format.{path}"
        raise FeedDefinitionError(f"{path}: {reason}", attribute=path) from None


def describe_model(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a model, which may stand inside of another schema."""
    schema = model.model_json_schema()
    shared = schema.pop("$defs", {})

    def fill_in(part: Any) -> Any:
        if isinstance(part, dict):
            if name := str(part.get("$ref", "")).removeprefix("#/$defs/"):
                return {
                    **fill_in(shared[name]),
                    **{key: part[key] for key in part if key != "$ref"},
                }
            return {key: fill_in(value) for key, value in part.items()}
        return [fill_in(one) for one in part] if isinstance(part, list) else part

    return fill_in(schema)


AnyFormat: TypeAlias = Annotated[
    Format,
    BeforeValidator(parse_format),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [name_of(format_class) for format_class in FORMATS]},
                *map(describe_model, FORMATS),
            ]
        }
    ),
]
"""A format, as a field of a model."""
