"""Infer merge: one proposal for several samples of a feed.

Takes what a format proposes for each sample; returns what fits all of them, with a doubt where they
differ. What the texts of the columns are is found later, over all samples at once.
"""

from collections.abc import Sequence
from typing import Any

from partitioned_etl.engine.formats.format import FormatProposal
from partitioned_etl.engine.formats.registry import find_format

_WIDER = {
    frozenset({"BIGINT", "DOUBLE"}): "DOUBLE",
    frozenset({"INTEGER", "BIGINT"}): "BIGINT",
    frozenset({"INTEGER", "DOUBLE"}): "DOUBLE",
    frozenset({"BIGINT", "HUGEINT"}): "HUGEINT",
    frozenset({"DATE", "TIMESTAMP"}): "TIMESTAMP",
}
"""The type for values of two types."""
_WIDER_ENCODINGS = frozenset({"latin-1", "windows-1252"})


def merge_proposals(proposals: Sequence[FormatProposal]) -> FormatProposal:
    """Return one proposal for all samples.

    Args:
        proposals: One of each sample, in their order.
    """
    first, *others = proposals
    merged = FormatProposal(
        first.type,
        dict(first.options),
        dict(first.columns),
        {name: dict(one) for name, one in first.attributes.items()},
        dict(first.doubts),
        are_texts=first.are_texts,
        footer=first.footer,
    )
    for other in others:
        if other.type != merged.type:
            merged.doubts["format"] = "the samples are of several kinds; as the first"
        _merge_options(merged, other)
        if _are_places(merged) and _are_places(other):
            _merge_places(merged, other)
        else:
            _merge_columns(merged, other)
        merged.doubts = {**other.doubts, **merged.doubts}
        if not other.footer:
            merged.footer = ()
    return merged


def _merge_options(merged: FormatProposal, other: FormatProposal) -> None:
    for option, value in other.options.items():
        known = merged.options.setdefault(option, value)
        if known == value:
            continue
        if {known, value} == _WIDER_ENCODINGS:
            merged.options[option] = "windows-1252"
        else:
            merged.doubts[f"format.{option}"] = f"the samples differ: {known} and {value}"


def _are_places(one: FormatProposal) -> bool:
    return bool(one.attributes) and all("start" in each for each in one.attributes.values())


def _merge_places(merged: FormatProposal, other: FormatProposal) -> None:
    """Let columns begin where they do in the sample with the longer text before them."""
    if list(merged.columns) != list(other.columns):
        merged.doubts["columns"] = (
            f"the samples differ: {len(merged.columns)} columns and {len(other.columns)}, or other "
            "names; as in the first"
        )
        return
    ends = [
        max(one["start"] + one["length"] for one in proposal.attributes.values())
        for proposal in (merged, other)
    ]
    end = max(ends)
    for name in reversed(merged.columns):
        own, its = merged.attributes[name]["start"], other.attributes[name]["start"]
        if own != its:
            doubt = f"begins at {own} in one sample, at {its} in another"
            merged.doubts[f"columns.{name}"] = doubt
        start = max(own, its)
        merged.attributes[name] = {"start": start, "length": end - start}
        end = start


def _merge_columns(merged: FormatProposal, other: FormatProposal) -> None:
    by_folded_name = {name.casefold(): name for name in merged.columns}
    given: list[str] = []
    for name, type_name in other.columns.items():
        column = by_folded_name.get(name.casefold(), name)
        given.append(column)
        attributes = other.attributes.get(name, {})
        if column in merged.columns:
            _merge_column(merged, column, type_name, attributes)
            if column != name and _takes(merged, "header_ignores_case"):
                merged.options["header_ignores_case"] = True
        else:
            _insert(merged, column, type_name, before=other, name=name)
            merged.attributes[column] = {**attributes, "optional": True}
    for column in merged.columns:
        if column not in given:
            merged.attributes.setdefault(column, {})["optional"] = True
    common = [column for column in merged.columns if column in given]
    if common != given and _takes(merged, "any_column_order"):
        merged.options["any_column_order"] = True


def _insert(
    merged: FormatProposal, column: str, type_name: str, *, before: FormatProposal, name: str
) -> None:
    """Add a column where it stands in the other sample: behind the one that it follows there."""
    names = list(before.columns)
    at = names.index(name)
    columns = list(merged.columns.items())
    place = next(
        (number + 1 for number, (one, _) in enumerate(columns) if at and one == names[at - 1]),
        len(columns) if at else 0,
    )
    columns.insert(place, (column, type_name))
    merged.columns = dict(columns)


def _merge_column(
    merged: FormatProposal, column: str, type_name: str, attributes: dict[str, Any]
) -> None:
    known = merged.columns[column]
    if known != type_name:
        merged.columns[column] = _WIDER.get(frozenset({known, type_name}), "VARCHAR")
        merged.doubts[f"columns.{column}"] = f"{known} in one sample, {type_name} in another"
    own = merged.attributes.setdefault(column, {})
    if attributes.get("optional"):
        own["optional"] = True
    names = [own.get("from", column), attributes.get("from", column)]
    if names[0] != names[1] and names[0].strip().casefold() != names[1].strip().casefold():
        own["from"] = names
    elif names[0] != names[1] and _takes(merged, "header_ignores_case"):
        merged.options["header_ignores_case"] = True
    if not own:
        del merged.attributes[column]


def _takes(merged: FormatProposal, option: str) -> bool:
    return option in find_format(merged.type).model_fields
