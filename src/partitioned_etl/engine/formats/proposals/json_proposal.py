"""JSON proposals: what a sample of JSON says of its records, their columns and paths.

Takes a sample; returns a proposal, for `infer.py`. Types are guessed by how texts and numbers are
spelled; whether the contract takes all values, the load of the sample shows.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from partitioned_etl.engine.errors import ContractError
from partitioned_etl.engine.formats.format import FormatProposal
from partitioned_etl.engine.formats.json_columns import write_path
from partitioned_etl.engine.formats.json_stream import to_json_lines
from partitioned_etl.engine.formats.proposals.sample_text import (
    SampleText,
    cannot_be_inferred,
    read_sample,
)
from partitioned_etl.engine.formats.text import read_lines

_MOST_RECORDS = 20_000
_MOST_LEAVES = 12
"""An object with more members is proposed as a whole."""
_START_BYTES = 1 << 16
_MOST_DOCUMENT_BYTES = 64 << 20
_INTEGERS = range(-(2**63), 2**63)
_TEXT_TYPES = {
    "DATE": re.compile(r"\d{4}-\d{2}-\d{2}"),
    "TIMESTAMP": re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?"),
    "TIMESTAMPTZ": re.compile(
        r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}(:?\d{2})?)"
    ),
    "TIME": re.compile(r"\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?"),
    "UUID": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
}
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")


@dataclass
class _Seen:
    """What was seen at one place of all records.

    Attributes:
        count: In how many objects it was there.
        kinds: How many values of which kind there were, `null` left out.
        types: The types of texts that all its texts may have.
        are_numbers: Whether all its texts are spelled as numbers.
        members: What was seen in its objects.
    """

    count: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    types: set[str] = field(default_factory=lambda: set(_TEXT_TYPES))
    are_numbers: bool = True
    members: dict[str, "_Seen"] = field(default_factory=dict)

    def see(self, value: Any) -> None:
        """Take one more value into account."""
        self.count += 1
        match value:
            case None:
                return
            case bool():
                self.kinds["BOOLEAN"] += 1
            case int():
                self.kinds["BIGINT" if value in _INTEGERS else "DOUBLE"] += 1
            case float():
                self.kinds["DOUBLE"] += 1
            case str():
                self.kinds["text"] += 1
                self.types = {name for name in self.types if _TEXT_TYPES[name].fullmatch(value)}
                self.are_numbers &= bool(_NUMBER.fullmatch(value))
            case dict():
                self.kinds["object"] += 1
                for name, each in value.items():
                    self.members.setdefault(name, _Seen()).see(each)
            case _:
                self.kinds["array"] += 1

    @property
    def type_name(self) -> str:
        """The type of a column for it."""
        kinds = set(self.kinds)
        if kinds == {"text"}:
            return next((name for name in _TEXT_TYPES if name in self.types), "VARCHAR")
        if kinds == {"BIGINT", "DOUBLE"}:
            return "DOUBLE"
        if len(kinds) == 1 and not kinds & {"object", "array"}:
            return kinds.pop()
        return "JSON" if kinds else "VARCHAR"

    def count_leaves(self) -> int:
        """Return how many values it has within."""
        if not self.is_object:
            return 1
        return sum(member.count_leaves() for member in self.members.values())

    @property
    def is_object(self) -> bool:
        """Whether all values are objects, and not empty."""
        return set(self.kinds) == {"object"} and bool(self.members)


def propose_json(sample: Path) -> FormatProposal:
    """Propose the format, and the columns, of a sample of JSON lines or of a JSON document.

    Raises:
        LandedFileError: It is neither, or its compressed data is damaged.
    """
    text = read_sample(sample)
    proposal = FormatProposal()
    text.declare_encoding(proposal)
    records = _Seen()
    try:
        for record in islice(_read_records(text, proposal), _MOST_RECORDS):
            if not isinstance(record, dict):
                raise ContractError("a record is not a JSON object")
            records.see(record)
    except (ValueError, RecursionError, ContractError) as error:
        raise cannot_be_inferred(sample, error) from None
    _propose_columns(records, (), proposal)
    return proposal


def _read_records(text: SampleText, proposal: FormatProposal) -> Iterator[Any]:
    start = text.read_start(_START_BYTES).lstrip()
    path = None if not start.startswith(b"[") else []
    if start.startswith(b"{") and not _is_json(start.split(b"\n", 1)[0]):
        path = _find_path(text.read_start(_MOST_DOCUMENT_BYTES).rstrip())
    lines = text.read()
    if path is not None:
        proposal.type = "json"
        if path:
            proposal.options["records"] = write_path(tuple(path))
            proposal.doubts["format.records"] = "the first array of objects"
        lines = to_json_lines(lines, path)
        next(lines)
    else:
        text.declare_final_line_end(proposal)
    for line in read_lines(lines):
        if line.strip():
            yield json.loads(line)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _find_path(document: bytes) -> Sequence[str]:
    """Return the path of the first array of objects in a document, the least deep one.

    Raises:
        ValueError: It is no JSON, or has none.
    """
    places: list[tuple[tuple[str, ...], Any]] = [((), json.loads(document))]
    for path, value in places:
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            return path
        if isinstance(value, dict):
            places += [((*path, name), each) for name, each in value.items()]
    raise ValueError("no array of objects in the JSON document")


def _propose_columns(seen: _Seen, path: tuple[str, ...], proposal: FormatProposal) -> None:
    objects = seen.kinds["object"]
    for name, one in seen.members.items():
        here = (*path, name)
        if one.is_object and one.count_leaves() <= _MOST_LEAVES:
            if one.count < objects:
                _make_optional(one)
            _propose_columns(one, here, proposal)
            continue
        column = _name_column(here, proposal.columns)
        proposal.columns[column] = one.type_name
        declared: dict[str, Any] = {}
        if len(here) > 1 or column != name:
            declared["from"] = write_path(here)
        if one.count < objects:
            declared["optional"] = True
        if declared:
            proposal.attributes[column] = declared
        if doubt := _say_doubt(one, objects):
            proposal.doubts[f"columns.{column}"] = doubt


def _make_optional(seen: _Seen) -> None:
    """Take what is within an object that may be absent for absent at times."""
    for member in seen.members.values():
        member.count = -1
        _make_optional(member)


def _name_column(path: tuple[str, ...], taken: Mapping[str, str]) -> str:
    if len(path) == 1 and path[0].casefold() not in {name.casefold() for name in taken}:
        return path[0]
    name = stem = "_".join(path)
    number = 1
    while name.casefold() in {each.casefold() for each in taken}:
        number += 1
        name = f"{stem}_{number}"
    return name


def _say_doubt(seen: _Seen, objects: int) -> str:
    doubts = []
    kinds = set(seen.kinds)
    if not kinds:
        doubts.append("always null in the sample")
    elif seen.type_name == "JSON":
        doubts.append(
            "of several kinds"
            if len(kinds) > 1
            else f"{'an' if kinds & {'object', 'array'} else 'a'} {next(iter(kinds))}"
        )
    elif kinds == {"text"} and seen.are_numbers:
        doubts.append("numbers in quotes: a number type takes them with numbers_as_texts")
    if 0 <= seen.count < objects:
        doubts.append(f"not in {objects - seen.count:,} of {objects:,} records")
    return "; ".join(doubts)
