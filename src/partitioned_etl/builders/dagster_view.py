"""Dagster's view: which partitions Dagster shows otherwise than the ledger knows them.

Takes folder, ledger and Dagster's records of a feed's load asset; returns the differences. Next:
`reconciliation.py` names and repairs them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from partitioned_etl.ingest.reconcile import Action
from partitioned_etl.ingest.repair import State


@dataclass(frozen=True)
class DagsterView:
    """Where Dagster's records differ from the ledger.

    Attributes:
        unreported: Partition keys that are loaded but that Dagster does not show as materialized.
        failed: Keys whose file is loaded as it is but that Dagster shows as failed.
        outdated: Keys that Dagster shows with rows but that are not loaded.
        gone: Keys that are not loaded but that Dagster shows as materialized, even without rows.
    """

    unreported: list[str]
    failed: list[str]
    outdated: list[str]
    gone: list[str]

    @property
    def sentences(self) -> list[str]:
        """One sentence per partition."""
        return [
            *(f"partition {key}: loaded, and Dagster does not know it" for key in self.unreported),
            *(f"partition {key}: loaded, and Dagster shows it as failed" for key in self.failed),
            *(f"partition {key}: Dagster shows rows that are gone" for key in self.outdated),
        ]


def compare_with_dagster(
    instance: dg.DagsterInstance,
    load_key: dg.AssetKey,
    partitions_def: dg.PartitionsDefinition,
    known: Sequence[str],
    state: State,
) -> DagsterView:
    """Compare the ledger with the partitions that Dagster shows as materialized or failed.

    Args:
        instance: The Dagster instance.
        load_key: The feed's load asset.
        partitions_def: Its partitions.
        known: All partition keys that Dagster knows.
        state: Folder and ledger of the feed.
    """
    loaded = {key for key, row in state.ledger.items() if row.loaded_at}
    # To Dagster, what was materialized once stays so, also when a later run failed.
    materialized = instance.get_materialized_partitions(load_key) & set(known)
    level = sorted(materialized.intersection(state.plan.keys(Action.IDENTICAL)))
    shown = instance.get_status_by_partition(load_key, level, partitions_def) or {}
    strange = sorted(materialized - loaded)
    with_rows: dict[str, bool] = {}
    if strange:
        latest = instance.get_latest_storage_id_by_partition(
            load_key, dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        wanted = dg.AssetRecordsFilter(load_key, storage_ids=[latest[key] for key in strange])
        for record in instance.fetch_materializations(wanted, limit=len(strange)).records:
            event = record.asset_materialization
            if event:
                rows = event.metadata.get("row_count")
                with_rows[event.partition or ""] = rows is None or rows.value != 0
    return DagsterView(
        unreported=sorted((loaded & set(known)) - materialized),
        failed=[key for key, status in shown.items() if status and status.value == "FAILED"],
        outdated=[key for key in strange if with_rows.get(key, True)],
        gone=strange,
    )
