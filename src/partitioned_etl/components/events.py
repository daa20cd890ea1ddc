"""Events: what a feed tells Dagster of its files and partitions, and the metadata in it.

Takes a feed's assets and what happened; returns events. Every event and every metadata value of a
feed is built here. To add a value to all materializations of a feed, give `feed_assets` a
`get_metadata` or, in a component, override `FileFeed.get_metadata`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, TypeAlias

import dagster as dg

from partitioned_etl.components.markdown import escape_markdown
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.format import Survey
from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.outcomes import Outcome
from partitioned_etl.engine.warehouse.ledger import Ledger, LedgerRow, LoadStatus
from partitioned_etl.engine.warehouse.load_history import RowChanges

FeedEvent: TypeAlias = (
    dg.AssetMaterialization | dg.AssetObservation | dg.MaterializeResult | dg.AssetCheckResult
)
"""What a feed's step reports to Dagster."""
GetMetadata: TypeAlias = Callable[[str, str], Mapping[str, Any]]
"""Returns metadata to add to every materialization, by partition key and file name."""

FEED_TAG = "partitioned_etl/feed"
"""Run tag that names the feed."""
PARTITION_ROW_COUNT = "dagster/partition_row_count"
"""Dagster's own name for how many rows a partition has."""
WARNING = "warning"
"""What is to be known of files of a partition that were loaded nevertheless."""
PREVIEW_ROWS = 5
_DATA_VERSION_TAG = "dagster/data_version"
_MOST_REASONS = 20
_MOST_NAMED = 20
_MOST_FILES = 100
_FILES_SCHEMA = dg.TableSchema(
    [
        dg.TableColumn("file"),
        dg.TableColumn("status"),
        dg.TableColumn("rows", "int"),
        dg.TableColumn("reason"),
    ]
)


def no_metadata(partition_key: str, source_file: str) -> Mapping[str, Any]:  # noqa: ARG001
    """Add nothing to a materialization."""
    return {}


def _path_of(file: LandedFile) -> dict[str, dg.MetadataValue]:
    """Return the path of a file that has one; what DuckDB reads of another is a copy."""
    is_local = file.uri.startswith("file:")
    return {"path": dg.MetadataValue.path(file.path)} if is_local else {}


def import_asset_metadata(feed: Feed) -> dict[str, Any]:
    """Return what the import asset shows of the feed."""
    return {
        "folder": feed.folder,
        "pattern": feed.pattern,
        "dagster/column_schema": dg.TableSchema(_list_columns(feed)),
    }


def load_asset_metadata(feed: Feed, import_key: dg.AssetKey) -> dict[str, Any]:
    """Return what the load asset shows of the feed and its table."""
    lineage = {name: [dg.TableColumnDep(import_key, name)] for name in feed.columns}
    return {
        "dagster/column_schema": table_schema(feed),
        "dagster/column_lineage": dg.TableColumnLineage(lineage),
        "dagster/table_name": feed.table,
    }


def table_schema(feed: Feed) -> dg.TableSchema:
    """Return the columns of a feed's table as Dagster shows them."""
    added = [
        dg.TableColumn("partition_key", "VARCHAR", description="The partition of the row."),
        dg.TableColumn("source_file", "VARCHAR", description="Name of the file it came from."),
    ]
    return dg.TableSchema([*_list_columns(feed), *added])


def _list_columns(feed: Feed) -> list[dg.TableColumn]:
    described = feed.column_descriptions
    return [
        dg.TableColumn(name, type_name, described.get(name))
        for name, type_name in feed.column_types.items()
    ]


class FeedEvents:
    """What a feed tells Dagster.

    Attributes:
        feed: The feed.
        import_key: The feed's import asset.
        load_key: The feed's load asset.
    """

    def __init__(
        self,
        feed: Feed,
        import_key: dg.AssetKey,
        load_key: dg.AssetKey,
        get_metadata: GetMetadata = no_metadata,
    ) -> None:
        self.feed, self.import_key, self.load_key = feed, import_key, load_key
        self._get_metadata = get_metadata

    def imported(
        self, outcomes: Sequence[Outcome], ledger: Ledger
    ) -> dg.AssetMaterialization | None:
        """Report that a partition's files were found, with their content hash as data version.

        Args:
            outcomes: What happened to those of the partition's files that were read now.
            ledger: What the ledger knows of the feed, and of the others.

        Returns:
            The event; None if no file could be read.
        """
        read = [(one.file, one.survey) for one in outcomes if one.survey]
        if not read:
            return None
        file, survey = read[-1]
        content_hash, of_parts = survey.content_hash, {}
        if self.feed.file_names.has_parts:
            hashes = _list_hashes(file.partition_key, read, ledger)
            content_hash = sha256("".join(sorted(hashes.values())).encode()).hexdigest()
            of_parts = {"part_count": dg.MetadataValue.int(len(hashes))}
        # A first line that is not a header contains cells, which do not belong in a log.
        is_header = sorted(survey.header) == sorted(self.feed.columns)
        landed_at = datetime.fromtimestamp(file.landed_ns / 1e9, UTC)
        return dg.AssetMaterialization(
            self.import_key,
            partition=file.partition_key,
            metadata={
                **_path_of(file),
                "dagster/uri": dg.MetadataValue.text(file.uri),
                "size_bytes": dg.MetadataValue.int(file.size_bytes),
                "landed_at": dg.MetadataValue.timestamp(landed_at),
                "content_hash": dg.MetadataValue.text(content_hash),
                "header": dg.MetadataValue.json(survey.header if is_header else []),
                **of_parts,
                **self._get_metadata(file.partition_key, file.name),
            },
            tags={_DATA_VERSION_TAG: content_hash},
        )

    def load_metadata(
        self,
        outcomes: Sequence[Outcome],
        ledger: Ledger,
        preview: str,
        *,
        address: str,
        load_seconds: float,
    ) -> dict[str, Any]:
        """Describe a loaded partition.

        Args:
            outcomes: What happened to the partition's files that were loaded now.
            ledger: What the ledger knows of the feed.
            preview: The first rows of these files as markdown.
            address: The warehouse's address.
            load_seconds: Duration of the whole batch.
        """
        key, names = outcomes[0].file.partition_key, [one.file.name for one in outcomes]
        rows = ledger.by_key.get(key, [])
        rejected_count = sum(row.rejected_count for row in rows)
        told = "; ".join(one.warning for one in outcomes if one.warning)
        warning = {WARNING: dg.MetadataValue.text(told)} if told else {}
        return {
            **warning,
            **self._count(ledger.count_rows(key), rejected_count, _name_some(names)),
            **_describe_changes([one.changes for one in outcomes]),
            **self._describe_files(rows),
            "size_bytes": dg.MetadataValue.int(sum(one.file.size_bytes for one in outcomes)),
            "load_seconds": dg.MetadataValue.float(round(load_seconds, 3)),
            "preview": dg.MetadataValue.md(preview),
            "dagster/uri": dg.MetadataValue.text(f"{address}#{self.feed.table}"),
            **self._get_metadata(key, names[0]),
        }

    def _describe_files(self, rows: Sequence[LedgerRow]) -> dict[str, Any]:
        """Describe the files of a partition that may have several, those not loaded first."""
        names = self.feed.file_names
        if not (names.has_parts or names.has_versions):
            return {}
        shown = sorted(rows, key=lambda row: row.status == LoadStatus.LOADED)[:_MOST_FILES]
        records = [
            dg.TableRecord(
                {
                    "file": row.source_file,
                    "status": str(row.status),
                    "rows": row.row_count,
                    "reason": row.error or "",
                }
            )
            for row in shown
        ]
        counts = Counter(row.status for row in rows)
        told = {f"files_{status}": dg.MetadataValue.int(counts[status]) for status in counts}
        return {**told, "files": dg.MetadataValue.table(records, _FILES_SCHEMA)}

    def loaded(self, partition_key: str, metadata: Mapping[str, Any]) -> dg.AssetMaterialization:
        """Report that a partition was loaded."""
        return dg.AssetMaterialization(self.load_key, partition=partition_key, metadata=metadata)

    def reconciled(
        self, partition_key: str, ledger: Ledger, why_removed: str
    ) -> dg.AssetMaterialization:
        """Report what the ledger knows of a partition, or why it has no rows any more."""
        rows = ledger.by_key.get(partition_key, [])
        name = _name_some([row.source_file for row in rows if row.loaded_at])
        rejected_count = sum(row.rejected_count for row in rows)
        return dg.AssetMaterialization(
            self.load_key,
            partition=partition_key,
            description="Reconciled with the ledger." if rows else f"Removed: {why_removed}.",
            metadata={
                **self._count(ledger.count_rows(partition_key), rejected_count, name),
                **self._describe_files(rows),
                **self._get_metadata(partition_key, name),
            },
        )

    def not_loaded(
        self, asset_key: dg.AssetKey, partition_key: str, reason: str, ledger: Ledger
    ) -> dg.AssetObservation:
        """Show on a partition's page why it was not loaded.

        Args:
            asset_key: The asset, import or load.
            partition_key: The partition.
            reason: Why its file was refused, or that there is none.
            ledger: What the ledger knows of the feed.
        """
        rows = ledger.count_rows(partition_key)
        is_kept = any(row.loaded_at for row in ledger.by_key.get(partition_key, ()))
        kept = f"its {rows:,} rows stay as they were" if is_kept else "it has no rows yet"
        return dg.AssetObservation(
            asset_key,
            partition=partition_key,
            description=f"Not loaded; {kept}.",
            metadata={
                "reason": dg.MetadataValue.text(reason),
                "rows_kept": dg.MetadataValue.int(rows),
            },
        )

    def failed(self, key_count: int, reasons: Mapping[str, str]) -> dg.Failure:
        """Return the failure of a run in which some partitions were not loaded.

        Args:
            key_count: How many partitions the run has.
            reasons: Why not, by partition key.
        """
        shown = "; ".join(list(reasons.values())[:_MOST_REASONS])
        more = f"; and {len(reasons) - _MOST_REASONS} more" if len(reasons) > _MOST_REASONS else ""
        return dg.Failure(
            f"feed {self.feed.name}: {len(reasons)} of {key_count} partitions failed: "
            f"{shown}{more}",
            metadata={"reasons": dg.MetadataValue.json(dict(list(reasons.items())[:1000]))},
            allow_retries=False,
        )

    def preview(self, rows: Sequence[Sequence[object]]) -> str:
        """Return rows as a markdown table in which no cell can act as markdown or HTML."""
        # Only a process that loads needs pandas, and it is slow to import.
        import pandas as pd

        frame = pd.DataFrame(
            [[escape_markdown(cell) for cell in row] for row in rows],
            columns=[escape_markdown(name) for name in self.feed.columns],
            dtype=object,
        )
        return frame.to_markdown(index=False, tablefmt="pipe", disable_numparse=True)

    @staticmethod
    def _count(row_count: int, rejected_count: int, source_file: str) -> dict[str, Any]:
        return {
            PARTITION_ROW_COUNT: dg.MetadataValue.int(row_count),
            "rejected_count": dg.MetadataValue.int(rejected_count),
            "source_file": dg.MetadataValue.text(source_file),
        }


def _describe_changes(changes: Sequence[RowChanges]) -> dict[str, Any]:
    """Return by how many rows the loads of a partition's files changed its table, or why not."""
    if reasons := [one.not_compared for one in changes if one.not_compared]:
        return {"rows_not_compared": dg.MetadataValue.text(reasons[0])}
    return {
        "rows_added": dg.MetadataValue.int(sum(one.added or 0 for one in changes)),
        "rows_removed": dg.MetadataValue.int(sum(one.removed or 0 for one in changes)),
        "rows_unchanged": dg.MetadataValue.int(sum(one.unchanged or 0 for one in changes)),
    }


def _list_hashes(
    key: str, read: Sequence[tuple[LandedFile, Survey]], ledger: Ledger
) -> dict[str, str]:
    """Return the content hash of each file of a partition, by its name."""
    known = {row.source_file: row.content_hash for row in ledger.by_key.get(key, ())}
    return known | {file.name: survey.content_hash for file, survey in read}


def _name_some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")
