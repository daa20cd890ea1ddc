"""Infer: the `defs.yaml` of a component, proposed from a sample file.

Takes the proposal of `engine/infer.py`; prints it as YAML whose comments explain what was
guessed and what to check.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import click

from partitioned_etl.cli.output import print_json, show
from partitioned_etl.engine.infer import Proposal, infer_feed
from partitioned_etl.engine.settings import Settings

COMPONENT = "partitioned_etl.components.FileFeed"
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\(\d+(, ?\d+)?\))?( [A-Za-z]+)*")
_SURROGATES = re.compile(r"\\ud[89ab]\w\w\\ud[c-f]\w\w")
"""How JSON writes a character beyond U+FFFF, and YAML does not."""
_LONGEST_KEY = 1000
_NO_TEXT_IN_YAML = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def propose_feed(sample: Path, name: str | None, *, as_json: bool) -> int:
    """Print the component that a sample suggests.

    Args:
        sample: The file.
        name: The feed's name; None to guess it.
        as_json: Whether to print JSON, with the comments separate, instead of YAML.

    Returns:
        The exit code.

    Raises:
        LandedFileError: The file cannot be read as the format that its name implies.
    """
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise click.BadParameter(
            f"{name!a} is no word of letters, digits and _", param_hint="--name"
        )
    proposal = infer_feed(sample, name)
    attributes = list_attributes(sample, proposal)
    if as_json:
        print_json(
            {
                "type": COMPONENT,
                "attributes": attributes,
                "verdict": proposal.verdict,
                "doubts": proposal.doubts,
            }
        )
        return 0
    comments = {
        "description": "what the files are, and who sends them",
        "name": "also the name of the table, unless `table` says otherwise",
        **proposal.doubts,
    }
    click.echo(f"# Guessed from {show(sample.name)}: check every line before you use it.")
    if proposal.verdict:
        click.echo(f"# As it stands, {show(proposal.verdict)}.")
    for attribute in sorted(proposal.doubts.keys() - _list_places(attributes)):
        click.echo(f"# {show(attribute)}: {show(proposal.doubts[attribute])}")
    click.echo(f"type: {COMPONENT}\nattributes:")
    for attribute, value in attributes.items():
        if isinstance(value, dict):
            click.echo(f"  {attribute}:")
            for key, item in value.items():
                click.echo(_line(4, key, item, comments.get(f"{attribute}.{key}", "")))
        else:
            click.echo(_line(2, attribute, value, comments.get(attribute, "")))
    return 0


def list_attributes(sample: Path, proposal: Proposal) -> dict[str, object]:
    """Return the component's attributes, without those at their default."""
    attributes: dict[str, object] = {
        "name": proposal.name,
        "description": f"Files such as {show(sample.name)}.",
        "pattern": proposal.pattern,
    }
    folder, landing_dir = sample.resolve().parent, Settings().landing_dir.resolve()
    if folder.is_relative_to(landing_dir) and folder != landing_dir / proposal.name:
        attributes["folder"] = str(folder.relative_to(landing_dir))
    if proposal.options:
        attributes["format"] = {"type": proposal.format, **proposal.options}
    elif proposal.format != "csv":
        attributes["format"] = proposal.format
    if proposal.start:
        attributes["start"] = proposal.start
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


def _scalar(value: object) -> str:
    """Return a value as YAML: a word as it is, any other text quoted as in JSON."""
    is_word = isinstance(value, str) and _PLAIN.fullmatch(value)
    if is_word and str(value).lower() not in _NO_TEXT_IN_YAML:
        return str(value)
    return _SURROGATES.sub(_escape_for_yaml, json.dumps(value))


def _escape_for_yaml(pair: re.Match[str]) -> str:
    character = json.loads(f'"{pair[0]}"')
    return f"\\U{ord(character):08x}"
