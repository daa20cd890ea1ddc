"""DuckLake query: which statements of a person's own may run where a lake is attached.

DuckDB's sandbox does not hold its extension for PostgreSQL, whose functions reach any server. So
those of a query's functions that give tables are looked up in a list before it runs.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

_TABLE_FUNCTIONS = {
    *("range", "generate_series", "repeat", "unnest", "json_each", "json_tree"),
    *("duckdb_tables", "duckdb_columns", "duckdb_views", "pragma_table_info"),
}
_EXPLAIN = re.compile(r"\s*EXPLAIN(\s+ANALYZE)?\s", re.IGNORECASE)
_CATALOG = "__ducklake_metadata"


def why_no_lake_query(duck: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Return why a statement may not run; empty if it may.

    Args:
        duck: A connection.
        sql: One statement that reads.
    """
    text = _EXPLAIN.sub("", sql, count=1)
    ((serialized,),) = duck.execute("SELECT json_serialize_sql(?)", [text]).fetchall()
    tree = json.loads(serialized)
    if tree["error"]:
        return "query takes SELECT here, and what it says before a table is not SELECT"
    for node in _walk(tree):
        if node.get("type") == "TABLE_FUNCTION":
            name = str(node["function"].get("function_name", ""))
            if name.lower() not in _TABLE_FUNCTIONS:
                return f"query reads tables, and {name} is no function that it may ask"
        elif node.get("type") == "BASE_TABLE":
            place = f"{node.get('catalog_name')} {node.get('schema_name')}".lower()
            if _CATALOG in place:
                return "query reads tables, and not those of the catalog"
    return ""


def _walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        node = [*node.values()]
    if isinstance(node, list):
        for one in node:
            yield from _walk(one)
