"""Dagster's view: which partitions Dagster shows otherwise than the ledger knows them.

Takes landing, ledger and Dagster's records of a feed's load asset; returns the differences, and
tells Dagster what it does not know. Next: the check `table_equals_landing` names the differences;
`reconcile.py` and `forget.py` tell Dagster what they changed.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import dagster as dg

from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.components.check_results import to_evaluation
from partitioned_etl.components.checks import CheckedState, list_check_specs
from partitioned_etl.components.events import PARTITION_ROW_COUNT
from partitioned_etl.engine.plan import Action
from partitioned_etl.engine.reconcile import Comparison

RepairEvent: TypeAlias = dg.AssetMaterialization | dg.AssetCheckEvaluation
"""What Dagster is told of a feed whose table was changed by something else than a load."""


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
    def untold(self) -> set[str]:
        """The keys that Dagster must be told of."""
        return {*self.unreported, *self.failed, *self.outdated}

    @property
    def sentences(self) -> list[str]:
        """One sentence per partition."""
        return [
            *(f"partition {key}: loaded, and Dagster does not know it" for key in self.unreported),
            *(f"partition {key}: loaded, and Dagster shows it as failed" for key in self.failed),
            *(f"partition {key}: Dagster shows rows that are gone" for key in self.outdated),
        ]


def compare_with_dagster(
    instance: dg.DagsterInstance, assets: FeedAssets, known: Sequence[str], found: Comparison
) -> DagsterView:
    """Compare the ledger with the partitions that Dagster shows as materialized or failed.

    Args:
        instance: The Dagster instance.
        assets: The feed's assets.
        known: All partition keys that Dagster knows.
        found: Landing, ledger and table of the feed.
    """
    load_key, loaded = assets.load_key, found.plan.ledger.loaded_keys
    # To Dagster, what was materialized once stays so, also when a later run failed.
    materialized = instance.get_materialized_partitions(load_key) & set(known)
    level = sorted(materialized.intersection(found.plan.keys(Action.IDENTICAL)))
    shown = instance.get_status_by_partition(load_key, level, assets.partitions.definition) or {}
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
                rows = event.metadata.get(PARTITION_ROW_COUNT)
                with_rows[event.partition or ""] = rows is None or rows.value != 0
    return DagsterView(
        unreported=sorted((loaded & set(known)) - materialized),
        failed=[key for key, status in shown.items() if status and status.value == "FAILED"],
        outdated=[key for key in strange if with_rows.get(key, True)],
        gone=strange,
    )


def tell_dagster(
    instance: dg.DagsterInstance,
    assets: FeedAssets,
    state: CheckedState,
    changed: Collection[str],
    *,
    gone: Collection[str] = (),
    why_removed: str,
) -> Iterator[RepairEvent]:
    """Tell Dagster what a feed's table holds now, of changed partitions and by all checks.

    Args:
        instance: The Dagster instance.
        assets: The feed's assets.
        state: The feed as it is now, with all partition keys that Dagster knows.
        changed: Keys of the partitions that it must be told of.
        gone: Keys whose dynamic names are deleted, unless another file still has the name.
        why_removed: Why a changed partition has no rows any more.
    """
    ledger, partitions, known = state.ledger, assets.partitions, list(state.expected)
    for key in sorted({*changed} & {*known}):
        yield assets.events.reconciled(key, ledger, why_removed)
    if partitions.dynamic:
        refused = [entry.partition_key for entry in state.listing.refused]
        left = [*ledger.by_key, *state.listing.by_key, *refused]
        names = {*partitions.list_names(gone)} - {*partitions.list_names(left)}
        for name in sorted(names & {*partitions.list_names(known)}):
            instance.delete_dynamic_partition(partitions.dynamic_name, name)
    # A materialization makes Dagster show all checks of the asset as not evaluated.
    for result in state.evaluate(
        [spec.key for spec in list_check_specs(assets.feed, assets.load_key)]
    ):
        yield to_evaluation(result)
