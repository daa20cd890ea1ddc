"""Step 3, load: the landed file's rows in DuckDB, one partition replaced at a time.

Takes a feed; returns the spec of its load asset and the metadata of what was loaded, with a preview
whose cells are escaped. Next: `jobs.py`. Replacing partitions belongs in `ingest/warehouse.py`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import duckdb

from partitioned_etl.builders.imports import column_schema, feed_tags
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.ledger import LedgerRow
from partitioned_etl.ingest.outcomes import Outcome
from partitioned_etl.ingest.statements import preview_sql

PREVIEW_ROWS = 5
_MAX_CELL_CHARS = 80
_PLAIN = re.compile(r"[A-Za-z0-9 -]*")
_LOOK_ALIKE = str.maketrans({"`": "\u02cb", "|": "\u2502", "\\": "\u2216"})


def load_spec(
    feed: Feed,
    name: str,
    partitions_def: dg.PartitionsDefinition,
    owners: list[str],
    import_key: str,
    freshness_policy: dg.FreshnessPolicy | None,
) -> dg.AssetSpec:
    """Declare a feed's load asset.

    Args:
        feed: The feed.
        name: The asset's key.
        partitions_def: Its partitions.
        owners: Owners of the asset, in Dagster's form.
        import_key: Key of the feed's import asset.
        freshness_policy: By when it must be loaded, if that is known.
    """
    return dg.AssetSpec(
        name,
        deps=[import_key],
        description=(
            f"{feed.description} Table `{feed.table}`: for each partition exactly the rows of its "
            "landed file, replaced as a whole in one transaction, with `partition_key` and "
            "`source_file`. A file that breaks its contract is refused and changes no row."
        ),
        kinds={"duckdb", "table"},
        group_name=feed.name,
        tags=feed_tags(feed),
        owners=owners,
        partitions_def=partitions_def,
        freshness_policy=freshness_policy,
        metadata={
            "dagster/column_schema": table_schema(feed),
            "dagster/column_lineage": column_lineage(feed, import_key),
            "dagster/table_name": feed.table,
        },
    )


def column_lineage(feed: Feed, import_key: str) -> dg.TableColumnLineage:
    """Return which column of the file each column of the table is made from, for Dagster."""
    key = dg.AssetKey(import_key)
    return dg.TableColumnLineage({name: [dg.TableColumnDep(key, name)] for name in feed.columns})


def table_schema(feed: Feed) -> dg.TableSchema:
    """Return the columns of a feed's table as Dagster shows them."""
    added = [
        dg.TableColumn("partition_key", "VARCHAR", description="The partition of the row."),
        dg.TableColumn("source_file", "VARCHAR", description="Name of the file it came from."),
    ]
    return dg.TableSchema([*column_schema(feed).columns, *added])


def load_metadata(
    feed: Feed, outcome: Outcome, preview: str, *, database: Path, load_seconds: float
) -> dict[str, dg.MetadataValue]:
    """Describe a loaded partition for the UI.

    Args:
        feed: The feed.
        outcome: What happened to the partition's file.
        preview: The partition's first rows as markdown.
        database: The database file.
        load_seconds: Duration of the whole batch.
    """
    warning = {"warning": dg.MetadataValue.text(outcome.warning)} if outcome.warning else {}
    return {
        **warning,
        "row_count": dg.MetadataValue.int(outcome.row_count),
        "dagster/partition_row_count": dg.MetadataValue.int(outcome.row_count),
        "rejected_count": dg.MetadataValue.int(outcome.rejected_count),
        "size_bytes": dg.MetadataValue.int(outcome.file.signature.size_bytes),
        "load_seconds": dg.MetadataValue.float(round(load_seconds, 3)),
        "source_file": dg.MetadataValue.text(outcome.file.name),
        "preview": dg.MetadataValue.md(preview),
        "dagster/uri": dg.MetadataValue.text(f"{database.resolve().as_uri()}#{feed.table}"),
    }


def observe_refusal(
    asset_key: dg.AssetKey, partition_key: str, reason: str, row: LedgerRow | None
) -> dg.AssetObservation:
    """Return an observation, shown on the partition's page, of why a partition was not loaded.

    Args:
        asset_key: The partition's asset.
        partition_key: The partition.
        reason: Why its file was refused, or that there is none.
        row: Its ledger row, if any.
    """
    rows = row.row_count if row else 0
    kept = f"its {rows:,} rows stay as they were" if row and row.loaded_at else "it has no rows yet"
    return dg.AssetObservation(
        asset_key,
        partition=partition_key,
        description=f"Not loaded; {kept}.",
        metadata={
            "reason": dg.MetadataValue.text(reason),
            "rows_kept": dg.MetadataValue.int(rows),
        },
    )


def read_previews(
    connection: duckdb.DuckDBPyConnection, feed: Feed, keys: Sequence[str]
) -> dict[str, str]:
    """Return the first rows of partitions as markdown tables.

    Args:
        connection: A connection to the warehouse.
        feed: The feed.
        keys: The partition keys.
    """
    result = connection.execute(preview_sql(feed), [list(keys), PREVIEW_ROWS])
    rows: dict[str, list[tuple[object, ...]]] = {key: [] for key in keys}
    for key, *cells in result.fetchall():
        rows[key].append(tuple(cells))
    return {key: markdown_table(list(feed.columns), of_key) for key, of_key in rows.items()}


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as a markdown table in which no cell can act as markdown or HTML.

    Args:
        header: The column names.
        rows: The rows, each as wide as the header.
    """
    from tabulate import tabulate  # only a process that loads needs it, and it is slow to import

    return tabulate(
        [[escape_markdown(cell) for cell in row] for row in rows],
        headers=[escape_markdown(name) for name in header],
        tablefmt="pipe",
        disable_numparse=True,
    )


def escape_markdown(cell: object) -> str:
    """Return a value as text that markdown shows verbatim.

    A text with more than letters, digits, spaces and hyphens becomes a code span, the only place
    where a renderer creates no link, image or HTML, not even from a bare address. Characters that
    could end the span or the table cell are replaced by look-alikes.

    Args:
        cell: Any value; None is shown as empty.
    """
    if cell is None:
        return ""
    if not isinstance(cell, str):
        return str(cell)
    text = "".join(char if char.isprintable() else " " for char in cell)
    if len(text) > _MAX_CELL_CHARS:
        text = text[: _MAX_CELL_CHARS - 1] + "…"
    if _PLAIN.fullmatch(text) or not text.strip():
        return text.strip()
    return f"`{text.translate(_LOOK_ALIKE)}`"
