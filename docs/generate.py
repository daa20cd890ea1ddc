"""Writes what the pages say of attributes, settings, options and the public API, from the code.

Run it by `make docs`. Between two marks, such as `<!-- begin attributes -->` and
`<!-- end attributes -->`, a page is generated; so are `.env.example` and the JSON schema of a
`defs.yaml`, for editors. A test fails while one of them is stale.
"""

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import partitioned_etl
from partitioned_etl.cli.main import commands
from partitioned_etl.components import FileFeed
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.format import Format
from partitioned_etl.engine.formats.json_columns import JsonOptions
from partitioned_etl.engine.formats.names import NamedColumns
from partitioned_etl.engine.formats.registry import FORMATS, name_of
from partitioned_etl.engine.formats.text import TextFormat
from partitioned_etl.engine.formats.values import ValueOptions
from partitioned_etl.engine.settings import Settings
from partitioned_etl.engine.settings_example import render_env_example
from partitioned_etl.engine.sources.http import Paging
from partitioned_etl.engine.sources.registry import SOURCES, name_of_source
from partitioned_etl.engine.sources.source import Source
from partitioned_etl.engine.sources.web import BasicSecrets, WebSource
from sample_feeds.defs.partitions import Windows

PROJECT = Path(__file__).parents[1]
COMPONENT = f"{partitioned_etl.__name__}.FileFeed"
SCHEMA = PROJECT / "docs" / "defs.schema.json"
EXAMPLE = PROJECT / ".env.example"
SHARED: tuple[type[Format], ...] = (NamedColumns, JsonOptions, TextFormat)
"""What formats have in common."""
_FIRST = ("name", "pattern", "columns")


def render_attributes() -> str:
    """Return the table of a feed's attributes."""
    fields = FileFeed.model_fields
    names = [*_FIRST, *(name for name in Feed.model_fields if name not in _FIRST)]
    names += [name for name in fields if name not in names]
    rows = [f"| `{name}` | {_describe(fields[name])} |" for name in names]
    return "\n".join(["| attribute | meaning and default |", "| --- | --- |", *rows])


def render_values() -> str:
    """Return the table of value options."""
    return _render_options(ValueOptions.model_fields)


def render_formats() -> str:
    """Return the formats, each with its options; options of several formats once, with these."""
    parts = []
    for format_class in FORMATS:
        own = {
            name: field
            for name, field in format_class.model_fields.items()
            if name != "type" and _is_declared_by(format_class, name)
        }
        changed = [name for name in own if not own[name].description]
        parts.append(f"**`{name_of(format_class)}`**: {_summary(format_class)}")
        if changed:
            defaults = ", ".join(f"`{name}` is {_show(own[name].default)}" for name in changed)
            parts[-1] += f" Its options are those of `csv`; by default {defaults}."
        elif own:
            parts.append(_render_options(own))
    for base in SHARED:
        names = [name_of(one) for one in FORMATS if issubclass(one, base)]
        fields = {name: base.model_fields[name] for name in base.model_fields if name != "type"}
        own = {name: fields[name] for name in fields if _is_declared_by(base, name)}
        without = [one for one in FORMATS if issubclass(one, base) and one.no_options & {*own}]
        parts.append(f"Options of {_list(names)}{''.join(map(_say_which, without))}:")
        parts.append(_render_options(own))
    return "\n\n".join(parts)


def _render_options(fields: Mapping[str, FieldInfo]) -> str:
    rows = [f"| `{name}` | {_describe(field)} |" for name, field in fields.items()]
    return "\n".join(["| option | meaning and default |", "| --- | --- |", *rows])


def _say_which(format_class: type[Format]) -> str:
    has = [name for name in TextFormat.model_fields if name not in format_class.no_options]
    return f" (`{name_of(format_class)}` has only {_list([one for one in has if one != 'type'])})"


def _list(names: Sequence[str]) -> str:
    *others, last = [f"`{name}`" for name in names]
    return f"{', '.join(others)} and {last}" if others else last


def _is_declared_by(format_class: type, name: str) -> bool:
    return name in format_class.__annotations__


def render_odd_inputs() -> str:
    """Return the tables of odd inputs, from those that are tested."""
    path = PROJECT / "tests" / "support" / "reported_cases.py"
    spec = spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    reported = sys.modules[path.stem] = module_from_spec(spec)
    spec.loader.exec_module(reported)
    parts = []
    for heading, cases in reported.CASES.items():
        rows = [(case.kind, f"`{case.declared}`", case.outcome) for case in cases]
        parts.append(f"## {heading}\n\n{_table('input | declared how | what happens', rows)}")
    rows = [(sample.kind, sample.outcome) for sample in reported.SAMPLES]
    parts.append(f"## Samples of `infer`\n\n{_table('sample | what is proposed', rows)}")
    return "\n\n".join(parts)


def _table(head: str, rows: Sequence[Sequence[str]]) -> str:
    lines = [head, *(" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows)]
    lines.insert(1, " | ".join("---" for _ in head.split(" | ")))
    return "\n".join(f"| {line} |".replace(" `` ", " nothing ") for line in lines)


def render_sources() -> str:
    """Return the kinds of sources, each with its options; options of several kinds once."""
    headings = {
        **{one: f"**`{name_of_source(one)}`**: {_summary(one)}" for one in SOURCES},
        Paging: "Options of `paging`:",
        BasicSecrets: "Options of `basic`:",
        WebSource: "Options of `http` and `rss`:",
        Source: "Options of all that are fetched from:",
    }
    parts = []
    for model, heading in headings.items():
        fields = {name: field for name, field in model.model_fields.items() if name != "type"}
        own = {name: fields[name] for name in fields if _is_declared_by(model, name)}
        parts += [heading, _render_options(own)] if own else [f"{heading} It has no options."]
    return "\n\n".join(parts)


def _summary(model: type) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def render_settings() -> str:
    """Return the table of settings."""
    return _render_settings(Settings)


def _render_settings(of: type[Settings], without: type[Settings] | None = None) -> str:
    rows = [
        f"| `{name.upper()}` | {_show(field.default) or 'none'} | {field.description} |"
        for name, field in of.model_fields.items()
        if not without or name not in without.model_fields
    ]
    return "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows])


def render_options() -> str:
    """Return the table of the options of all commands, from what `--help` prints of them."""
    rows: dict[tuple[str, str], list[str]] = {}
    for name, command in {"": commands, **commands.commands}.items():
        context = click.Context(command, info_name=name)
        for parameter in command.params:
            record = parameter.get_help_record(context)
            if isinstance(parameter, click.Option) and record:
                rows.setdefault(record, []).append(f"`{name}`" if name else "")
    return _table(
        "option | of | meaning",
        [(f"`{option}`", ", ".join(of), meaning) for (option, meaning), of in rows.items()],
    )


def render_windows() -> str:
    """Return the table of the settings that the feeds of this checkout add."""
    return _render_settings(Windows, without=Settings)


def render_example() -> str:
    """Return `.env.example`."""
    return render_env_example(Windows)


def render_schema() -> str:
    """Return the JSON schema of a `defs.yaml` with a feed."""
    attributes = FileFeed.model_json_schema()
    definitions = attributes.pop("$defs", {})
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A feed",
        "type": "object",
        "properties": {"type": {"const": COMPONENT}, "attributes": attributes},
        "required": ["type", "attributes"],
        "$defs": definitions,
    }
    return json.dumps(schema, indent=2) + "\n"


API: dict[str, tuple[str, ...]] = {
    "Declare a feed": (
        *("Feed", "Column", "RowRule", "BadRows", "OnMissing", "OnUnmatched", "Parameters", "Rows"),
    ),
    "Make it Dagster's": (
        *("feed_assets", "FeedEvent", "feed_job", "landing_sensor", "build_partitions_def"),
        *("reload_schedule", "ReloadSchedule", "fetch_job", "fetch_sensor", "FileFeed"),
    ),
    "What is computed from its table": (
        *("downstream_job", "downstream_sensor", "archive_asset", "find_warehouse_pool"),
    ),
    "The project": ("load_location", "Location", "LandingResource", "WarehouseResource"),
    "Without Dagster": (
        *("sync_feed", "SyncReport", "SyncRecord", "connect_warehouse", "Warehouse"),
        *("OpenWarehouse", "FeedTable", "land_rows", "Settings"),
    ),
    "Errors": (
        *("PartitionedEtlError", "FeedDefinitionError", "SettingError", "LandedFileError"),
        *("PartitionKeyError", "ContractError", "SourceError", "WarehouseError"),
    ),
}
"""The public names, in the order in which a page tells of them."""
MEMBERS: dict[str, tuple[str, ...]] = {
    "FileFeed": ("execute", "compute", "get_metadata"),
    "LandingResource": ("find", "compute"),
    "WarehouseResource": ("load", "open", "transaction", "get_connection"),
    "SyncReport": ("to_frame",),
    "Warehouse": ("open", "open_read_only"),
    "OpenWarehouse": ("duck", "table", "transaction", "query"),
    "FeedTable": ("exists", "read_ledger", "read_history", "read_partition"),
    "Settings": ("database",),
}
"""The members of public classes that are public, too."""
ALIASES = {
    "FeedEvent": "What the function of a feed yields: what `warehouse.load` does.",
    "Rows": "What computes an [ad-hoc key](sources.md#ad-hoc-keys) returns or yields: a mapping of "
    "column names to values for each row, a single one, or a pandas DataFrame.",
}
ELSEWHERE = {
    "Feed": "Its attributes: [feeds](feeds.md#attributes), up to `key_pattern`.",
    "FileFeed": "Its attributes: [feeds](feeds.md#attributes).",
    "Parameters": "It has no options: [ad-hoc keys](sources.md#ad-hoc-keys).",
    "Settings": "Its attributes: [settings](settings.md).",
}
"""Models whose attributes another page tells of."""
LINE_LENGTH = 100


def list_signatures() -> Iterator[str]:
    """Yield a line for each public function, class and member, as a caller sees it."""
    for name in (name for names in API.values() for name in names):
        public = getattr(partitioned_etl, name)
        yield f"{name}{_sign(public) or _list_fields(public)}"
        for member in MEMBERS.get(name, ()):
            yield f"{name}.{member}{_sign(inspect.getattr_static(public, member))}"


def _list_fields(public: Any) -> str:
    """Return the fields of a class, with their defaults, or the values of an enumeration."""
    if not isinstance(public, type):
        return ""
    if issubclass(public, Enum):
        return f"({' | '.join(str(one.value) for one in public)})"
    if issubclass(public, BaseModel):
        given = [
            name
            if field.is_required()
            else f"{name} = {field.get_default(call_default_factory=True)!r}"
            for name, field in public.model_fields.items()
            if field.description
        ]
        return f"({', '.join(given)})"
    names = getattr(public, "_fields", None) or getattr(public, "__dataclass_fields__", {})
    return f"({', '.join(names)})" if names else ""


def _sign(public: Any, separator: str = ", ", around: str = "") -> str:
    """Return the arguments and the result of a function, as its source has them.

    Args:
        public: The function, method or property; of anything else, nothing is returned.
        separator: What stands between two arguments.
        around: What stands before the first and after the last one.
    """
    function = public.fget if isinstance(public, property) else inspect.unwrap(public)
    if not inspect.isfunction(function):
        return ""
    [node] = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    if not isinstance(node, ast.FunctionDef) or not node.returns:
        raise TypeError(f"{public} is no function, or does not say what it returns")
    result = f" -> {ast.unparse(node.returns).strip(chr(39))}"
    if isinstance(public, property):
        return result
    arguments = [one for one in _list_arguments(node.args) if one not in {"self", "cls", "/"}]
    return f"({around}{separator.join(arguments)}{around and f',{around[0]}'}){result}"


def _list_arguments(given: ast.arguments) -> Iterator[str]:
    positional = [*given.posonlyargs, *given.args]
    none: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults))
    for argument, default in zip(positional, [*none, *given.defaults], strict=True):
        yield _spell(argument, default)
    if given.kwonlyargs:
        yield "*"
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _spell(argument, default)


def _spell(argument: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(argument) + (f" = {ast.unparse(default)}" if default else "")


def render_api() -> str:
    """Return what is public, from the docstrings."""
    parts = []
    for heading, names in API.items():
        parts.append(f"## {heading}")
        for name in names:
            public = getattr(partitioned_etl, name)
            parts += [f"### `{name}`", *_render_public(name, public)]
            for member in MEMBERS.get(name, ()):
                found = inspect.getattr_static(public, member)
                parts += _render_public(f"{name}.{member}", found)
    return "\n\n".join(parts)


def _render_public(name: str, public: Any) -> Iterator[str]:
    signature = _sign(public)
    if len(name + signature) > LINE_LENGTH:
        signature = _sign(public, ",\n    ", "\n    ")
    if signature:
        yield f"```python\n{name}{signature}\n```"
    if name in ALIASES:
        yield ALIASES[name]
    elif isinstance(public, type) or signature:
        yield _render_docstring(inspect.getdoc(public) or "")
    if isinstance(public, type) and issubclass(public, Enum):
        yield "Values: " + ", ".join(f"`{one.value}`" for one in public) + "."
    if isinstance(public, type) and issubclass(public, BaseModel) and name not in ELSEWHERE:
        fields = public.model_fields.items()
        yield _render_options({one: field for one, field in fields if field.description})
    yield from (ELSEWHERE[name],) if name in ELSEWHERE else ()


def _render_docstring(text: str) -> str:
    """Return a docstring in Markdown: its sections are lists."""
    lines = []
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        item = re.fullmatch(r"    (\*{0,2}[\w.]+): (.*)", line)
        if re.fullmatch(r"(Args|Attributes|Raises|Returns|Yields):", line):
            lines += [f"{line}", ""]
        elif item:
            lines.append(f"- `{item[1]}`: {item[2]}")
        else:
            lines.append(f"  {line.strip()}" if indent > 4 else line.strip())
    return "\n".join(lines).strip()


def _describe(field: FieldInfo) -> str:
    text = (field.description or "").replace("|", r"\|")
    if field.is_required() or "Default:" in text or "Empty:" in text:
        return text
    default = _show(field.get_default(call_default_factory=True))
    return f"{text} Default: {default or 'none'}."


def _show(value: Any) -> str:
    """Return a default value as it would be written in YAML; empty if there is none."""
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, Enum):
        return f"`{value.value}`"
    return "`\\t`" if value == "\t" else f"`{value}`"


PARTS: dict[str, Callable[[], str]] = {
    "attributes": render_attributes,
    "values": render_values,
    "formats": render_formats,
    "odd inputs": render_odd_inputs,
    "settings": render_settings,
    "windows": render_windows,
    "public API": render_api,
    "sources": render_sources,
    "options": render_options,
}


PAGES = (
    *("command-line.md", "feeds.md", "odd-inputs.md", "reference.md", "settings.md"),
    "sources.md",
)
"""The pages of which a part is generated."""


def render_all() -> Iterator[tuple[Path, str]]:
    """Yield each generated file with the text that it should have."""
    yield EXAMPLE, render_example()
    yield SCHEMA, render_schema()
    for page in PAGES:
        path = PROJECT / "docs" / page
        text = path.read_text(encoding="utf-8")
        for name, render in PARTS.items():
            begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
            head, found, rest = text.partition(begin)
            if found:
                tail = rest.partition(end)[2]
                text = f"{head}{begin}\n{render()}\n{end}{tail}"
        yield path, text


if __name__ == "__main__":
    for file, generated in render_all():
        file.write_text(generated, encoding="utf-8")
