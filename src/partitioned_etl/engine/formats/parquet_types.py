"""Parquet types: which types of a file a column takes without loss.

Takes the type in the file and that of the column, both as DuckDB spells them; returns how the
values are converted. Some conversions are without loss for some values only: then SQL tells which
are not. DuckDB itself rounds or cuts what does not fit.
"""

import re
from dataclasses import dataclass

_BITS = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}
_RANGES = {
    **{name: (-(1 << bits - 1), (1 << bits - 1) - 1) for name, bits in _BITS.items()},
    **{f"U{name}": (0, (1 << bits) - 1) for name, bits in _BITS.items()},
}
_FLOAT_BITS = {"FLOAT": 24, "DOUBLE": 53}
"""How many bits of a whole number a floating-point type keeps."""
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
_FINER = {
    ("TIMESTAMP_NS", "TIMESTAMP"),
    ("TIMESTAMPTZ_NS", "TIMESTAMP WITH TIME ZONE"),
    ("TIME_NS", "TIME"),
}
"""Types in nanoseconds, and those in microseconds that may take them."""
_TIMESTAMPS = ("TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP_NS")
"""Times without zone, each finer than the one before it."""


@dataclass(frozen=True)
class Conversion:
    """How the values of a file get into a column.

    Attributes:
        is_loss: SQL condition for a value that would lose something, with `{}` for the value; empty
            if none does.
        reason: What is said of such a value.
    """

    is_loss: str = ""
    reason: str = ""


def find_conversion(given: str, wanted: str, *, whole_doubles: bool) -> Conversion | None:
    """Return how values of one type get into a column of another; None if they do not.

    Args:
        given: The type in the file.
        wanted: The column's.
        whole_doubles: Whether a floating-point number may be a whole one.
    """
    if given == wanted or _is_within(given, wanted):
        return Conversion()
    if given in _FLOAT_BITS and wanted in _RANGES and whole_doubles:
        most = 1 << _FLOAT_BITS[given]
        return Conversion(
            f"NOT isfinite({{0}}) OR {{0}} <> trunc({{0}}) OR abs({{0}}) >= {most}",
            f"no whole number below {most}",
        )
    if (given, wanted) in _FINER:
        return Conversion(
            f"{{0}} <> CAST(CAST({{0}} AS {wanted}) AS {given})",
            f"a time finer than the microseconds of a {wanted}",
        )
    return None


def _is_within(given: str, wanted: str) -> bool:
    """Return whether every value of one type is one of another."""
    if given in _RANGES:
        least, most = _RANGES[given]
        if wanted in _RANGES:
            return _RANGES[wanted][0] <= least and most <= _RANGES[wanted][1]
        if wanted in _FLOAT_BITS:
            return max(-least, most) <= 1 << _FLOAT_BITS[wanted]
        room = _DECIMAL.fullmatch(wanted)
        return room is not None and len(str(most)) <= int(room[1]) - int(room[2])
    if digits := _DECIMAL.fullmatch(given):
        width, scale = map(int, digits.groups())
        if wanted in _RANGES:
            return not scale and 10**width - 1 <= _RANGES[wanted][1] and _RANGES[wanted][0] < 0
        room = _DECIMAL.fullmatch(wanted)
        return room is not None and (
            scale <= int(room[2]) and width - scale <= int(room[1]) - int(room[2])
        )
    if given in _TIMESTAMPS and wanted in _TIMESTAMPS:
        return _TIMESTAMPS.index(given) < _TIMESTAMPS.index(wanted)
    return (given, wanted) == ("FLOAT", "DOUBLE")
