"""Writes what the pages say of attributes, formats, settings and options, from where these are.

Run it by `make docs`. Between two marks, such as `<!-- begin attributes -->` and
`<!-- end attributes -->`, a page is generated; so are `.env.example` and the JSON schema of a
`defs.yaml`, for editors. A test fails while one of them is stale.
"""

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
from pydantic.fields import FieldInfo

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
from partitioned_etl.engine.sources.http import Paging
from partitioned_etl.engine.sources.registry import SOURCES, name_of_source
from partitioned_etl.engine.sources.source import Source
from partitioned_etl.engine.sources.web import BasicSecrets, WebSource

PROJECT = Path(__file__).parents[1]
COMPONENT = f"{FileFeed.__module__.rpartition('.')[0]}.FileFeed"
SCHEMA = PROJECT / "docs" / "defs.schema.json"
EXAMPLE = PROJECT / ".env.example"
SHARED: tuple[type[Format], ...] = (NamedColumns, JsonOptions, TextFormat)
"""What formats have in common."""
_FIRST = ("name", "pattern", "columns")
_EXAMPLE_HEAD = """\
# Settings and their defaults. Copy this file to .env and remove the "# " from a line to change it.
# `make run` prefers environment variables to lines here, Dagster's commands prefer the lines here;
# `make dev` refuses to start if the two differ.
"""


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
        Source: "Options of all:",
    }
    parts = []
    for model, heading in headings.items():
        fields = {name: field for name, field in model.model_fields.items() if name != "type"}
        own = {name: fields[name] for name in fields if _is_declared_by(model, name)}
        parts += [heading, _render_options(own)]
    return "\n\n".join(parts)


def _summary(model: type) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def render_settings() -> str:
    """Return the table of settings."""
    rows = [
        f"| `{name.upper()}` | {_show(field.default) or 'none'} | {field.description} |"
        for name, field in Settings.model_fields.items()
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


def render_example() -> str:
    """Return `.env.example`."""
    parts = [_EXAMPLE_HEAD]
    for name, field in Settings.model_fields.items():
        text = re.sub(r"\[(\w+)\]\((\S+)\)", r"\1 (\2)", field.description or "")
        comment = textwrap.fill(text, 98, initial_indent="# ", subsequent_indent="# ")
        default = "" if field.default is None else field.default
        parts.append(f"{comment}\n# {name.upper()}={default}\n")
    return "\n".join(parts)


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
    "sources": render_sources,
    "options": render_options,
}


def render_all() -> Iterator[tuple[Path, str]]:
    """Yield each generated file with the text that it should have."""
    yield EXAMPLE, render_example()
    yield SCHEMA, render_schema()
    for page in ("command-line.md", "feeds.md", "odd-inputs.md", "settings.md", "sources.md"):
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
