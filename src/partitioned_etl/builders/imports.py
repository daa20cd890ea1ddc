"""Step 1, import: the landed file of a partition key, found and described.

Takes a feed; returns the spec of its import asset, and reports what was found. Next: `checks.py`.
Validating and loading the file do not belong here.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg

from partitioned_etl.ingest.contract import Survey
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.landing import LandedFile

DATA_VERSION_TAG = "dagster/data_version"


def import_spec(
    feed: Feed, name: str, partitions_def: dg.PartitionsDefinition, owners: list[str]
) -> dg.AssetSpec:
    """Declare a feed's import asset.

    Args:
        feed: The feed.
        name: The asset's key.
        partitions_def: Its partitions.
        owners: Owners of the asset, in Dagster's form.
    """
    return dg.AssetSpec(
        name,
        description=(
            f"{feed.description} The landed file of each partition, in folder "
            f"`{feed.folder}/`, named like `{feed.pattern}`: where it is, its size and its "
            "content hash. No row is read into a table yet."
        ),
        kinds={feed.format.kind},
        group_name=feed.name,
        tags=feed_tags(feed),
        owners=owners,
        partitions_def=partitions_def,
        metadata={
            "folder": feed.folder,
            "pattern": feed.pattern,
            "dagster/column_schema": column_schema(feed),
        },
    )


def column_schema(feed: Feed) -> dg.TableSchema:
    """Return the columns of a feed's file as Dagster shows them."""
    described = feed.column_descriptions
    return dg.TableSchema(
        [dg.TableColumn(name, kind, described.get(name)) for name, kind in feed.columns.items()]
    )


def feed_tags(feed: Feed) -> dict[str, str]:
    """Return the tags by which the asset catalog finds a feed's assets."""
    return {"feed": feed.name, "partitioning": str(feed.partitioning)}


def import_metadata(feed: Feed, file: LandedFile, survey: Survey) -> Mapping[str, dg.MetadataValue]:
    """Describe a landed file for the UI.

    Args:
        feed: The feed.
        file: The landed file.
        survey: What one pass over its bytes found.
    """
    signature = file.signature
    modified = datetime.fromtimestamp(signature.mtime_ns / 1e9, UTC)
    # A first line that is not a header contains cells, which do not belong in a log.
    header = survey.header if sorted(survey.header) == sorted(feed.columns) else []
    return {
        "path": dg.MetadataValue.path(file.path),
        "dagster/uri": dg.MetadataValue.text(file.path.resolve().as_uri()),
        "size_bytes": dg.MetadataValue.int(signature.size_bytes),
        "modified_at": dg.MetadataValue.timestamp(modified),
        "sha256": dg.MetadataValue.text(survey.sha256),
        "header": dg.MetadataValue.json(header),
    }


def materialize_import(
    feed: Feed, key: dg.AssetKey, file: LandedFile, survey: Survey
) -> dg.AssetMaterialization:
    """Report to Dagster that a landed file was found, with its content hash as data version."""
    return dg.AssetMaterialization(
        key,
        partition=file.partition_key,
        metadata=import_metadata(feed, file, survey),
        tags={DATA_VERSION_TAG: survey.sha256},
    )
