"""PostgreSQL types: which of them holds all values of one of DuckDB's, and what none holds.

Takes types as DuckDB spells them. A column whose type has none is refused before anything is
loaded; a value that its column cannot hold, with its file. None is cut to fit.
"""

import re
from collections.abc import Iterable, Mapping

from partitioned_etl.engine.sql import PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN, quote_identifier
from partitioned_etl.engine.warehouse.warehouse import Limit

MAX_NAME_BYTES = 63
"""PostgreSQL cuts a longer name off without a word."""
_MAX_COLUMNS = 1600
_SYSTEM_COLUMNS = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
_TYPES = {
    "BOOLEAN": "boolean",
    "TINYINT": "smallint",
    "UTINYINT": "smallint",
    "SMALLINT": "smallint",
    "USMALLINT": "integer",
    "INTEGER": "integer",
    "UINTEGER": "bigint",
    "BIGINT": "bigint",
    "UBIGINT": "numeric(20,0)",
    "HUGEINT": "numeric(39,0)",
    "UHUGEINT": "numeric(39,0)",
    "FLOAT": "real",
    "DOUBLE": "double precision",
    "VARCHAR": "text",
    # Kept as it is spelled, which jsonb would not do.
    "JSON": "json",
    "DATE": "date",
    "TIME": "time without time zone",
    "TIMESTAMP_S": "timestamp(0) without time zone",
    "TIMESTAMP_MS": "timestamp(3) without time zone",
    "TIMESTAMP": "timestamp without time zone",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    "UUID": "uuid",
}
_READ_AS = {postgres: duck for duck, postgres in _TYPES.items() if not duck.startswith("U")} | {
    "uuid": "UUID",
    "numeric(20,0)": "UBIGINT",
}
"""How a column is read whose comment does not say what it was made for."""
_TEXTS = ("VARCHAR", "JSON")
_COMMENT = "DuckDB type "


def to_postgres(type_name: str) -> str:
    """Return the type that holds all values of one of DuckDB's; empty if there is none."""
    if decimal := _DECIMAL.fullmatch(type_name):
        return f"numeric({decimal[1]},{decimal[2]})"
    return _TYPES.get(type_name, "")


def write_comment(type_name: str) -> str:
    """Return the comment of a column that tells for which type of DuckDB it was made."""
    return _COMMENT + type_name


def to_duckdb(postgres: str, comment: str | None, declared: str = "") -> str:
    """Return which type of DuckDB a column has.

    Args:
        postgres: Its type, as PostgreSQL spells it.
        comment: The column's comment.
        declared: The type that its feed declares, if any.

    Returns:
        The type that it was made for; without such a comment, the declared one if it would be made
        alike, or else one with the same values.
    """
    made_for = (comment or "").removeprefix(_COMMENT)
    for known in (made_for, declared):
        if known and to_postgres(known) == postgres:
            return known
    if numeric := _NUMERIC.fullmatch(postgres):
        width, digits = map(int, numeric.groups())
        if width <= 38 and postgres not in _READ_AS:
            return f"DECIMAL({width},{digits})"
    return _READ_AS.get(postgres, "VARCHAR" if postgres.startswith("character") else postgres)


def is_text(type_name: str) -> bool:
    """Return whether a type's values are texts, which need not be free of quotes and commas."""
    return type_name in _TEXTS


def find_unheld(columns: Mapping[str, str], table: str) -> list[str]:
    """Return one sentence for each reason why PostgreSQL cannot hold a feed's table.

    Args:
        columns: The feed's columns with their types, as DuckDB spells them.
        table: The table.
    """
    found = [
        f"column {name} is {one}, which PostgreSQL does not hold exactly: {_advise(one)}"
        for name, one in columns.items()
        if not to_postgres(one)
    ]
    found += [f"PostgreSQL has a column {name} of its own" for name in columns if _is_taken(name)]
    long = [name for name in (table, *columns) if len(name.encode()) > MAX_NAME_BYTES]
    found += [
        f"the name {name} has more than {MAX_NAME_BYTES} bytes, which PostgreSQL would cut off"
        for name in long
    ]
    if len(columns) + len((PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN)) > _MAX_COLUMNS:
        found.append(f"a table of PostgreSQL has at most {_MAX_COLUMNS:,} columns")
    return found


def _is_taken(name: str) -> bool:
    return name in _SYSTEM_COLUMNS


def _advise(type_name: str) -> str:
    if type_name == "TIMESTAMP_NS":
        return "declare TIMESTAMP, which takes microseconds, or VARCHAR"
    return "declare JSON where the format takes it, or columns for its parts"


def list_limits(columns: Mapping[str, str]) -> dict[str, Limit]:
    """Return which values PostgreSQL does not hold, by column; without columns that hold all.

    Args:
        columns: The columns with their types, as DuckDB spells them.
    """
    limits = {name: _limit_of(quote_identifier(name), one) for name, one in columns.items()}
    return {name: limit for name, limit in limits.items() if limit}


def _limit_of(name: str, type_name: str) -> Limit | None:
    if is_text(type_name):
        return Limit(f"contains(CAST({name} AS VARCHAR), chr(0))", "without NUL characters")
    if type_name == "TIME":
        return Limit(f"{name} >= TIME '24:00:00'", "before 24:00")
    years = "of the years 1 to 9999"
    if type_name == "DATE":
        return Limit(f"({name} < DATE '0001-01-01' OR {name} > DATE '9999-12-31')", years)
    if type_name.startswith("TIMESTAMP"):
        kind = "TIMESTAMPTZ" if type_name.endswith("ZONE") else "TIMESTAMP"
        first, last = (f"{kind} '{day} {time}'" for day, time in _whole_range(kind))
        return Limit(f"({name} < {first} OR {name} > {last})", years)
    return None


def _whole_range(kind: str) -> Iterable[tuple[str, str]]:
    zone = "+00" if kind == "TIMESTAMPTZ" else ""
    return ("0001-01-01", f"00:00:00{zone}"), ("9999-12-31", f"23:59:59.999999{zone}")
