"""Column names: what a column is called in the table, by its name in a sample."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from partitioned_etl.engine.sql import PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN


def to_column_name(name: str, taken: Mapping[str, Any] | Collection[str]) -> str:
    """Return a column's name for a name in a file: the same, unless SQL would need quotes for it.

    Args:
        name: The name in the file.
        taken: Names that other columns have.
    """
    reserved = {PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN}
    used = {each.casefold() for each in taken} | reserved
    stem = name if _needs_no_quotes(name) else _to_snake_case(name)
    stem = f"{stem}_in_file" if stem.casefold() in reserved else stem
    found, number = stem, 1
    while found.casefold() in used:
        number += 1
        found = f"{stem}_{number}"
    return found


def _needs_no_quotes(name: str) -> bool:
    """Return whether SQL takes a name as it is: letters, digits, _ and what is beyond ASCII."""
    bare = "".join(each for each in name if each.isascii() or not each.isprintable())
    has_start = not name[:1].isdecimal()
    return bool(name) and has_start and (not bare or bool(re.fullmatch(r"[A-Za-z0-9_]+", bare)))


def _to_snake_case(name: str) -> str:
    parts = re.findall(r"\w+", name)
    stem = "_".join(parts).strip("_").lower() or "column"
    return f"_{stem}" if stem[0].isdecimal() else stem
