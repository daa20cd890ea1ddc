"""Infer: the `defs.yaml` of a component, proposed from a sample file.

Takes the proposal of `engine/infer.py`; prints it as YAML whose comments explain what was
guessed and what to check.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from partitioned_etl.cli.output import print_json, show
from partitioned_etl.cli.project import find_definitions_module, find_file
from partitioned_etl.engine.errors import FeedDefinitionError, SettingError
from partitioned_etl.engine.file_names import FileNamePattern
from partitioned_etl.engine.formats.compression import COMPRESSED_SUFFIXES
from partitioned_etl.engine.infer import Proposal, infer_feed
from partitioned_etl.engine.infer_names import propose_names
from partitioned_etl.engine.settings import Settings

COMPONENT = "partitioned_etl.FileFeed"
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\(\d+(, ?\d+)?\))?( [A-Za-z]+)*")
_NAME = re.compile(r"[A-Za-z0-9_]+")
_LONGEST_KEY = 1000
_NO_TEXT_IN_YAML = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def propose_feed(
    samples: Sequence[Path],
    name: str | None,
    format_name: str,
    *,
    write: bool,
    as_json: bool,
) -> int:
    """Print the component that samples suggest, or write it to its place.

    Args:
        samples: The files.
        name: The feed's name; None to guess it.
        format_name: The format; empty to guess it.
        write: Whether to write the component's `defs.yaml`.
        as_json: Whether to print JSON, with the comments separate, instead of YAML.

    Returns:
        The exit code.

    Raises:
        LandedFileError: A file cannot be read as the format that its name implies.
        SettingError: There is no folder to write to.
    """
    if name is not None and not _NAME.fullmatch(name):
        raise click.BadParameter(
            f"{name!a} is no word of letters, digits and _", param_hint="--name"
        )
    first, *others = samples
    name = name or _name_of_own_folder(samples)
    try:
        proposal = infer_feed(first, *others, name=name, format_name=format_name)
    except FeedDefinitionError as error:
        raise click.BadParameter(str(error), param_hint="--format") from None
    text = _to_yaml(samples, proposal)
    place = _write(proposal.name, text) if write else None
    if as_json:
        print_json(
            {
                "type": COMPONENT,
                "attributes": list_attributes(first, proposal),
                "verdict": proposal.verdict,
                "doubts": proposal.doubts,
                **({"written": str(place)} if place else {}),
            }
        )
    elif place:
        click.echo(f"Wrote {show(str(place))}: check every line. As it stands, {proposal.verdict}.")
    else:
        click.echo(text, nl=False)
    return 0


def _name_of_own_folder(samples: Sequence[Path]) -> str | None:
    """Return the name of the samples' folder, if it can be that of their feed.

    It is one of the landing directory, and no file in it seems to be another feed's.
    """
    folder = _find_folder(samples[0])
    is_own = folder is not None and len(folder.parts) == 1
    if not (folder and is_own and _NAME.fullmatch(folder.name) and not folder.name[0].isdigit()):
        return None
    resolved = [sample.resolve() for sample in samples]
    names = propose_names(resolved, folder.name)
    try:
        pattern = FileNamePattern(names.pattern)
        beside = [entry.name for entry in resolved[0].parent.iterdir()]
    except (FeedDefinitionError, OSError):
        return None
    endings = tuple(f"{names.ending}{suffix}".lower() for suffix in ("", *COMPRESSED_SUFFIXES))
    alike = (name for name in beside if name.lower().endswith(endings) and not name.startswith("."))
    return folder.name if all(map(pattern.match, alike)) else None


def _find_folder(sample: Path) -> Path | None:
    """Return a sample's folder below the landing directory; None if it is elsewhere."""
    folder, landing_dir = sample.resolve().parent, Settings().landing_dir
    if not isinstance(landing_dir, Path):
        return None  # a sample on disk tells nothing of a folder in a bucket
    landing_dir = landing_dir.resolve()
    return folder.relative_to(landing_dir) if folder.is_relative_to(landing_dir) else None


def _write(name: str, text: str) -> Path:
    """Write a component to its place below `defs/`; return the path.

    Raises:
        SettingError: There is no `defs/`, or the feed is there already.
    """
    module, named_by = find_definitions_module()
    file = find_file(module)
    if not file:
        raise SettingError(f"{named_by}: no module {module!a}")
    folder = file.parent / "defs"
    if not folder.is_dir():
        raise SettingError(f"{named_by}: there is no folder {folder} to write to")
    place = folder / name / "defs.yaml"
    if place.parent.exists():
        raise SettingError(f"{place.parent} is there already: choose another --name")
    place.parent.mkdir()
    place.write_text(text, encoding="utf-8")
    return place


def _to_yaml(samples: Sequence[Path], proposal: Proposal) -> str:
    """Return the component as YAML, with comments on what was guessed."""
    attributes = list_attributes(samples[0], proposal)
    comments = {
        "description": "what the files are, and who sends them",
        "name": "also the name of the table, unless `table` says otherwise",
        **proposal.doubts,
    }
    names = ", ".join(show(sample.name) for sample in samples)
    lines = [f"# Guessed from {names}: check every line before you use it."]
    if proposal.verdict:
        lines.append(f"# As it stands, {show(proposal.verdict)}.")
    lines += [
        f"# {show(attribute)}: {show(proposal.doubts[attribute])}"
        for attribute in sorted(proposal.doubts.keys() - _list_places(attributes))
    ]
    lines += [f"type: {COMPONENT}", "attributes:"]
    for attribute, value in attributes.items():
        if isinstance(value, dict):
            comment = comments.get(attribute, "")
            lines.append(f"  {attribute}:  # {show(comment)}" if comment else f"  {attribute}:")
            lines += [
                _line(4, key, item, comments.get(f"{attribute}.{key}", ""))
                for key, item in value.items()
            ]
        else:
            lines.append(_line(2, attribute, value, comments.get(attribute, "")))
    return "\n".join(lines) + "\n"


def list_attributes(sample: Path, proposal: Proposal) -> dict[str, object]:
    """Return the component's attributes, without those at their default."""
    attributes: dict[str, object] = {
        "name": proposal.name,
        "description": f"Files such as {show(sample.name)}.",
        "pattern": proposal.pattern,
    }
    folder = _find_folder(sample)
    if folder is not None and folder != Path(proposal.name):
        attributes["folder"] = str(folder)
    if proposal.options:
        attributes["format"] = {"type": proposal.format, **proposal.options}
    elif proposal.format != "csv":
        attributes["format"] = proposal.format
    if proposal.start:
        attributes["start"] = proposal.start
    if proposal.values:
        attributes["values"] = proposal.values
    attributes["columns"] = proposal.declared_columns
    return attributes


def _list_places(attributes: Mapping[str, object]) -> set[str]:
    """Return the attributes that have a line of their own."""
    inner = (
        f"{attribute}.{key}"
        for attribute, value in attributes.items()
        if isinstance(value, Mapping)
        for key in value
    )
    return {*attributes, *inner}


def _line(indent: int, key: str, value: object, comment: str) -> str:
    name, space = _scalar(key), " " * indent
    # YAML takes a longer one for a key only if it is said to be one.
    text = f"{space}{name}: " if len(name) <= _LONGEST_KEY else f"{space}? {name}\n{space}: "
    text += _scalar(value)
    return f"{text}  # {show(comment)}" if comment else text


def _scalar(value: object, *, has_commas: bool = True) -> str:
    """Return a value as YAML: a word as it is, any other text quoted as in JSON.

    Args:
        value: The value.
        has_commas: Whether a comma may stand in a word, as it may outside of a mapping in braces.
    """
    if isinstance(value, Mapping):
        pairs = (
            f"{_scalar(key)}: {_scalar(item, has_commas=False)}" for key, item in value.items()
        )
        return f"{{{', '.join(pairs)}}}"
    is_word = isinstance(value, str) and _PLAIN.fullmatch(value)
    is_word = is_word and (has_commas or "," not in str(value))
    if is_word and str(value).lower() not in _NO_TEXT_IN_YAML:
        return str(value)
    return _quote(value) if isinstance(value, str) else json.dumps(value)


def _quote(text: str) -> str:
    """Return a text in quotes, in which whatever cannot be seen is escaped."""
    return '"' + "".join(map(_spell_character, text)) + '"'


def _spell_character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
