"""Archive: a compressed Parquet copy of each partition, one step below the load asset.

Takes a feed's assets; returns the asset that writes the copies. Its job and sensor are those of any
downstream asset, in `downstream.py`. Writing belongs in `engine/archive.py`.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.components.downstream import list_latest_events
from partitioned_etl.components.events import PARTITION_ROW_COUNT, table_schema
from partitioned_etl.components.orphans import PROCESS_TAG
from partitioned_etl.components.resources import WarehouseResource
from partitioned_etl.engine.archive import (
    ArchivedFile,
    remove_archived_files,
    write_archive,
)
from partitioned_etl.engine.feed import OnMissing
from partitioned_etl.engine.settings import Settings

ARCHIVE_POOL = "archive"
"""Dagster pool of the steps that write copies; `dagster.yaml` limits every pool to one."""
_LOCK_WAIT_SECONDS = 3600.0
"""How long the daemon's runs wait for the warehouse: they have a separate pool, so they wait here
even for the longest load."""
_COPIES = "partitioned_etl/copies"


class Copies(dict[str, Any]):
    """Where the copies of a feed's partitions are, as an asset's metadata shows it.

    Attributes:
        assets: The feed's assets.
    """

    def __init__(self, assets: FeedAssets, folder: str) -> None:
        super().__init__(feed=assets.feed.name, folder=folder)
        self.assets, self._folder = assets, folder

    @property
    def folder(self) -> Path:
        """The folder of the copies."""
        return Settings().archive_dir / self._folder

    def remove_others(self, kept: Collection[str]) -> list[Path]:
        """Remove the copies of partitions other than these, if the feed's policy removes them."""
        return remove_archived_files(self.assets.feed, self.folder, kept)


def find_copies(definitions: dg.Definitions) -> list[Copies]:
    """Return where the copies of feeds are, for all archives in definitions."""
    return [
        value
        for definition in definitions.assets or ()
        if isinstance(definition, dg.AssetsDefinition)
        for metadata in definition.metadata_by_key.values()
        if isinstance(value := metadata.get(_COPIES), Copies)
    ]


def archive_asset(
    feed: dg.AssetsDefinition, *, name: str, folder: str, owners: Sequence[str] = ()
) -> dg.AssetsDefinition:
    """Build the asset that holds a copy of each partition of a feed.

    A partition that is not loaded has nothing to copy. Under the policy `keep`, it fails the run
    once the others are copied, and copies stay. Under the policy `remove`, it is reported with no
    rows, and the reconcile job removes the copies of removed partitions.

    Args:
        feed: The feed's assets.
        name: Key of the asset.
        folder: Folder for the copies in the archive directory, not shared with another feed.
        owners: Owners of the asset: e-mail addresses or `team:` names.
    """
    assets = FeedAssets.of(feed)
    load_key, schema = assets.load_key, table_schema(assets.feed)
    copies = Copies(assets, folder)
    lineage = {column.name: [dg.TableColumnDep(load_key, column.name)] for column in schema.columns}

    @dg.asset(
        name=name,
        deps=[load_key],
        partitions_def=assets.partitions.definition,
        backfill_policy=dg.BackfillPolicy.single_run(),
        # Every copy is reported separately: metadata for one key of the asset's single output costs
        # a listing of all keys that Dagster knows.
        output_required=False,
        # Reading takes a second or two; a load waits only for that, not for all events after it.
        pool=ARCHIVE_POOL,
        kinds={"parquet", "file"},
        group_name=assets.feed.name,
        tags={"feed": assets.feed.name},
        owners=list(owners),
        description=(
            f"One compressed Parquet file for each partition of `{assets.feed.table}`, in folder "
            f"`{folder}/` of the archive: its rows as they are in the table, replaced as a whole "
            "whenever the partition was loaded again."
        ),
        metadata={
            "dagster/column_schema": schema,
            "dagster/column_lineage": dg.TableColumnLineage(lineage),
            _COPIES: copies,
        },
    )
    def archived_file(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource
    ) -> Iterator[dg.AssetMaterialization]:
        keys, missing = list(context.partition_keys), list[str]()
        is_of_daemon = PROCESS_TAG not in context.run.tags
        lock_wait = _LOCK_WAIT_SECONDS if is_of_daemon else None
        archive_dir = Settings().archive_dir
        while keys:
            with warehouse.connect().open(archive_dir, lock_wait_seconds=lock_wait) as opened:
                before = list_latest_events(context.instance, load_key)
                table = opened.table(assets.feed)
                loaded = table.read_ledger().loaded_keys
                written = write_archive(
                    table, [key for key in keys if key in loaded], copies.folder
                )
            metadata = {key: _describe(archived) for key, archived in written.items()}
            if assets.feed.on_missing is OnMissing.REMOVE:
                no_rows = {PARTITION_ROW_COUNT: dg.MetadataValue.int(0)}
                metadata |= {key: no_rows for key in keys if key not in written}
            missing += [key for key in keys if key not in metadata]
            for key, of_key in metadata.items():
                yield dg.AssetMaterialization(name, partition=key, metadata=of_key)
            # A load that ended meanwhile was reported before these copies of older rows.
            after = list_latest_events(context.instance, load_key)
            keys = [key for key in metadata if after.get(key) != before.get(key)]
        if missing:
            raise dg.Failure(
                f"feed {assets.feed.name}: {len(missing)} of {len(context.partition_keys)} "
                "partitions are not loaded and have no copy: "
                f"{', '.join(map(ascii, missing[:20]))}",
                allow_retries=False,
            )

    return archived_file


def _describe(archived: ArchivedFile) -> dict[str, Any]:
    return {
        "path": dg.MetadataValue.path(archived.path),
        "dagster/uri": dg.MetadataValue.text(archived.path.resolve().as_uri()),
        PARTITION_ROW_COUNT: dg.MetadataValue.int(archived.row_count),
        "size_bytes": dg.MetadataValue.int(archived.size_bytes),
    }
