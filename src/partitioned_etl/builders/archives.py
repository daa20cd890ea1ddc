"""Archives: a compressed Parquet copy of each partition, one step below the load asset.

Takes a feed; returns the asset, its job and the sensor that rewrites a copy when its partition was
loaded again. Writing belongs in `ingest/archive.py`. This is how to declare the third asset of a
chain.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import dagster as dg

from partitioned_etl.builders.imports import feed_tags
from partitioned_etl.builders.loads import table_schema
from partitioned_etl.builders.refresh import Refresh, build_refresh, list_latest_events
from partitioned_etl.builders.resources import Warehouse
from partitioned_etl.builders.runs import PROCESS_TAG
from partitioned_etl.ingest.archive import ArchivedFile, remove_archived_files, write_archive
from partitioned_etl.ingest.feed import Feed, OnMissing
from partitioned_etl.ingest.ledger import LedgerRow, read_ledger
from partitioned_etl.ingest.settings import read_settings

ARCHIVE_POOL = "archive"
"""Dagster pool of the steps that write copies; `dagster.yaml` limits every pool to one."""
_LOCK_WAIT_SECONDS = 3600.0
"""How long the daemon's runs wait for the database: they have a separate pool, so they wait here
even for the longest load."""


def build_archive(
    feed: Feed,
    *,
    name: str,
    folder: str,
    load_asset: str,
    partitions_def: dg.PartitionsDefinition,
    owners: Sequence[str] = (),
) -> Refresh:
    """Build the asset that holds a copy of each partition of a feed.

    A partition that is not loaded has nothing to copy. Under the policy `keep`, it fails the run
    once the others are copied, and copies stay. Under the policy `remove`, it is reported with no
    rows, and the reconcile job removes the copies of removed partitions.

    Args:
        feed: The feed.
        name: Key of the asset.
        folder: Folder for the copies in the archive directory, not shared with another feed.
        load_asset: Key of the feed's load asset.
        partitions_def: The feed's partitions.
        owners: Owners of the asset: e-mail addresses or `team:` names.
    """
    load_key = dg.AssetKey(load_asset)
    schema = table_schema(feed)
    columns = [column.name for column in schema.columns]

    @dg.asset(
        name=name,
        deps=[load_key],
        partitions_def=partitions_def,
        backfill_policy=dg.BackfillPolicy.single_run(),
        # Every copy is reported separately: metadata for one key of the asset's single output costs
        # a listing of all keys that Dagster knows.
        output_required=False,
        # Reading takes a second or two; a load waits only for that, not for all events after it.
        pool=ARCHIVE_POOL,
        kinds={"parquet", "file"},
        group_name=feed.name,
        tags=feed_tags(feed),
        owners=list(owners),
        description=(
            f"One compressed Parquet file for each partition of `{feed.table}`, in folder "
            f"`{folder}/` of the archive: its rows as they are in the table, replaced as a "
            "whole whenever the partition was loaded again."
        ),
        metadata={
            "dagster/column_schema": schema,
            "dagster/column_lineage": dg.TableColumnLineage(
                {name: [dg.TableColumnDep(load_key, name)] for name in columns}
            ),
        },
    )
    def archived_file(
        context: dg.AssetExecutionContext, warehouse: Warehouse
    ) -> Iterator[dg.AssetMaterialization]:
        keys, missing = list(context.partition_keys), list[str]()
        archive_dir = read_settings().archive_dir
        feed_dir = archive_dir / folder
        is_of_daemon = PROCESS_TAG not in context.run.tags
        lock_wait = _LOCK_WAIT_SECONDS if is_of_daemon else warehouse.lock_wait
        while keys:
            with warehouse.get_connection(archive_dir, lock_wait_seconds=lock_wait) as connection:
                before = list_latest_events(context.instance, load_key)
                ledger = read_ledger(connection, feed)
                loaded = [key for key in keys if _is_loaded(ledger.get(key))]
                written = write_archive(connection, feed, loaded, feed_dir)
            metadata = {key: _describe(archived) for key, archived in written.items()}
            if feed.on_missing is OnMissing.REMOVE:
                no_rows = {"dagster/partition_row_count": dg.MetadataValue.int(0)}
                metadata |= {key: no_rows for key in keys if key not in written}
            missing += [key for key in keys if key not in metadata]
            for key, of_key in metadata.items():
                yield dg.AssetMaterialization(name, partition=key, metadata=of_key)
            # A load that ended meanwhile was reported before these copies of older rows.
            after = list_latest_events(context.instance, load_key)
            keys = [key for key in metadata if after.get(key) != before.get(key)]
        if missing:
            raise dg.Failure(
                f"feed {feed.name}: {len(missing)} of {len(context.partition_keys)} partitions are "
                f"not loaded and have no copy: {', '.join(map(ascii, missing[:20]))}",
                allow_retries=False,
            )

    def remove_copies(kept: Collection[str]) -> list[Path]:
        return remove_archived_files(feed, read_settings().archive_dir / folder, kept)

    return build_refresh(
        feed,
        archived_file,
        partitions_def,
        load_asset=load_asset,
        job=f"{feed.name}_archive_job",
        job_description=f"Write the copies of {feed.name} again: one partition or a range.",
        sensor=f"{feed.name}_archive_sensor",
        sensor_description="Writes the copy of a partition when the partition was loaded again.",
        remove_gone=remove_copies,
    )


def _is_loaded(row: LedgerRow | None) -> bool:
    return row is not None and row.loaded_at is not None


def _describe(archived: ArchivedFile) -> dict[str, dg.MetadataValue]:
    return {
        "path": dg.MetadataValue.path(archived.path),
        "dagster/uri": dg.MetadataValue.text(archived.path.resolve().as_uri()),
        "dagster/partition_row_count": dg.MetadataValue.int(archived.row_count),
        "size_bytes": dg.MetadataValue.int(archived.size_bytes),
    }
