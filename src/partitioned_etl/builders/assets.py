"""Steps 1 to 3 as one Dagster step: import, check and load the partitions of a run.

Takes a feed; returns its import asset, load asset and contract checks as one subsettable
multi-asset. It is one step, not one per asset, so that a partition without a file, or with a bad
one, fails alone while all others in the run are loaded and shown green.
"""

import time
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TypeAlias

import dagster as dg

from partitioned_etl.builders.checks import feed_check_specs, judge_checks
from partitioned_etl.builders.freshness import build_freshness_policy
from partitioned_etl.builders.imports import import_spec, materialize_import
from partitioned_etl.builders.jobs import FEED_TAG
from partitioned_etl.builders.loads import (
    load_metadata,
    load_spec,
    observe_refusal,
    read_previews,
)
from partitioned_etl.builders.partitions import check_partitions_fit, list_partition_keys
from partitioned_etl.builders.resources import LandingDirectory, Warehouse
from partitioned_etl.ingest.contract import survey_file
from partitioned_etl.ingest.errors import LandedFileError, PartitionKeyError
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.landing import (
    LandedFile,
    Listing,
    find_landed_file,
    list_landed_files,
)
from partitioned_etl.ingest.ledger import LedgerRow, read_ledger
from partitioned_etl.ingest.outcomes import Outcome, OutcomeStatus
from partitioned_etl.ingest.warehouse import replace_partitions

DUCKDB_POOL = "duckdb"
"""Dagster pool of every step that opens the database; `dagster.yaml` limits it to one."""
_MAX_REASONS = 20

FeedEvent: TypeAlias = (
    dg.AssetMaterialization | dg.AssetObservation | dg.MaterializeResult | dg.AssetCheckResult
)
"""What a feed's step reports to Dagster."""


def build_feed_assets(
    feed: Feed,
    *,
    import_asset: str,
    load_asset: str,
    partitions_def: dg.PartitionsDefinition,
    owners: Sequence[str] = (),
) -> dg.AssetsDefinition:
    """Build a feed's import asset, load asset and contract checks.

    Args:
        feed: The feed.
        import_asset: Key of the import asset.
        load_asset: Key of the load asset.
        partitions_def: Partitions of both; their keys are the feed's partition keys.
        owners: Owners of the assets: e-mail addresses or `team:` names.

    Returns:
        One assets definition that accepts one partition key or a range.

    Raises:
        FeedDefinitionError: The partitions do not have the kind of keys that the feed's file names
            stand for.
    """
    check_partitions_fit(feed, partitions_def)
    import_key, load_key = dg.AssetKey(import_asset), dg.AssetKey(load_asset)

    @dg.multi_asset(
        name=f"load_{feed.name}",
        specs=[
            import_spec(feed, import_asset, partitions_def, list(owners)),
            load_spec(
                feed,
                load_asset,
                partitions_def,
                list(owners),
                import_asset,
                build_freshness_policy(feed, partitions_def),
            ),
        ],
        check_specs=feed_check_specs(feed, load_asset),
        partitions_def=partitions_def,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
        pool=DUCKDB_POOL,
    )
    def feed_assets(
        context: dg.AssetExecutionContext, landing: LandingDirectory, warehouse: Warehouse
    ) -> Iterator[FeedEvent]:
        checks = context.selected_asset_check_keys
        expected = _list_expected_keys(context, feed, partitions_def)
        if not context.selected_asset_keys:
            # The web UI executes checks by themselves, also without a partition.
            listing = list_landed_files(feed, landing.directory)
            ledger = _read_ledger(feed, warehouse)
            yield from judge_checks(feed, checks, ledger, listing, expected)
            return
        has_keys = context.has_partition_key or context.has_partition_key_range
        keys = context.partition_keys if has_keys else []
        if not keys:
            raise dg.Failure(
                f"feed {feed.name}: the run has no partition keys; is its range reversed?",
                allow_retries=False,
            )
        listing = _list_settled_files(feed, landing, keys)
        files, reasons = _find_files(feed, landing, listing, keys)
        loads = load_key in context.selected_asset_keys
        if loads:
            batch = _load(context, feed, files, warehouse)
        else:
            batch = _survey(feed, files, _read_ledger(feed, warehouse) if checks else {})
        imported = set()
        for outcome in batch.outcomes:
            if outcome.reason:
                reasons[outcome.file.partition_key] = outcome.reason
            # A run of the load asset alone, such as the feed's job, includes the import.
            if outcome.survey:
                imported.add(outcome.file.partition_key)
                yield materialize_import(feed, import_key, outcome.file, outcome.survey)
        for asset_key in context.selected_asset_keys:
            for key in reasons.keys() - (imported if asset_key == import_key else set()):
                yield observe_refusal(asset_key, key, reasons[key], batch.ledger.get(key))
        if loads:
            is_alone = _is_alone(context, feed, {import_key, load_key})
            goes_on = not reasons and (len(keys) == 1 or not is_alone)
            yield from _report_load(context, load_key, batch, goes_on=goes_on)
        yield from judge_checks(feed, checks, batch.ledger, listing, expected)
        if reasons:
            raise _failure(feed, len(keys), reasons)

    return feed_assets


@dataclass(frozen=True)
class _Batch:
    """What happened to the files of a run: metadata of each loaded partition, and the ledger."""

    outcomes: Sequence[Outcome]
    loaded: Mapping[str, Mapping[str, dg.MetadataValue]] = field(default_factory=dict)
    ledger: Mapping[str, LedgerRow] = field(default_factory=dict)


def _read_ledger(feed: Feed, warehouse: Warehouse) -> Mapping[str, LedgerRow]:
    """Return the earlier loads, from which checks are evaluated that run without a load."""
    with warehouse.get_connection() as connection:
        return read_ledger(connection, feed)


def _list_expected_keys(
    context: dg.AssetExecutionContext, feed: Feed, partitions_def: dg.PartitionsDefinition
) -> list[str]:
    """Return the keys that should have a file, if the feed defines due times."""
    if feed.due_after is None:
        return []
    return list_partition_keys(partitions_def, context.instance)


def _list_settled_files(feed: Feed, landing: LandingDirectory, keys: Sequence[str]) -> Listing:
    """List the folder, waiting a while for files of the run that are still being written."""
    deadline = time.monotonic() + 5 + 2 * landing.settle_time
    while True:
        listing = list_landed_files(feed, landing.directory)
        found = (listing.files[key] for key in keys if key in listing.files)
        is_settled = all(file.signature.is_settled(landing.settle_time) for file in found)
        if is_settled or time.monotonic() > deadline:
            return listing
        time.sleep(min(landing.settle_time, 0.2))


def _find_files(
    feed: Feed, landing: LandingDirectory, listing: Listing, keys: Sequence[str]
) -> tuple[list[LandedFile], dict[str, str]]:
    files: list[LandedFile] = []
    reasons: dict[str, str] = {}
    for key in keys:
        try:
            feed.check_partition_key(key)
            file = find_landed_file(feed, landing.directory, listing, key)
        except (LandedFileError, PartitionKeyError) as error:
            reasons[key] = str(error)
            continue
        if why_not := file.why_not_ready(landing.settle_time):
            reasons[key] = f"{file.name}: {why_not}"
        else:
            files.append(file)
    return files, reasons


def _survey(feed: Feed, files: Sequence[LandedFile], ledger: Mapping[str, LedgerRow]) -> _Batch:
    outcomes = []
    for file in files:
        try:
            survey = survey_file(feed, file)
        except LandedFileError as error:
            outcomes.append(Outcome.changed(file, str(error)))
        else:
            outcomes.append(Outcome(file, OutcomeStatus.SURVEYED, survey=survey))
    return _Batch(outcomes, ledger=ledger)


def _load(
    context: dg.AssetExecutionContext,
    feed: Feed,
    files: Sequence[LandedFile],
    warehouse: Warehouse,
) -> _Batch:
    started = time.monotonic()
    with warehouse.get_connection() as connection:
        outcomes = replace_partitions(
            connection, feed, files, run_id=context.run.run_id, log=context.log
        )
        load_seconds = time.monotonic() - started
        loaded = {
            outcome.file.partition_key: outcome
            for outcome in outcomes
            if outcome.status is OutcomeStatus.LOADED
        }
        previews = read_previews(connection, feed, list(loaded))
        ledger = read_ledger(connection, feed)
    rows = sum(outcome.row_count for outcome in loaded.values())
    context.log.info(
        f"feed {feed.name}: loaded {len(loaded)} of {len(outcomes)} files, {rows:,} rows, "
        f"in {load_seconds:.2f} s"
    )
    metadata = {
        key: load_metadata(
            feed, outcome, previews[key], database=warehouse.path, load_seconds=load_seconds
        )
        for key, outcome in loaded.items()
    }
    return _Batch(outcomes, metadata, ledger)


def _is_alone(context: dg.AssetExecutionContext, feed: Feed, own: Set[dg.AssetKey]) -> bool:
    """Return whether a run materializes only the feed's own assets and nothing downstream."""
    selection = context.run.asset_selection
    return selection <= own if selection else context.run.tags.get(FEED_TAG) == feed.name


def _report_load(
    context: dg.AssetExecutionContext, key: dg.AssetKey, batch: _Batch, *, goes_on: bool
) -> Iterator[dg.AssetMaterialization | dg.MaterializeResult]:
    """Report loaded partitions one by one, or as one result if the run continues downstream.

    Dagster applies a result to all keys of the run, and only a result lets downstream assets
    continue in the same run. Metadata for one key of a result costs a listing of all keys that
    Dagster knows.
    """
    for partition_key, metadata in batch.loaded.items():
        if goes_on:
            context.add_asset_metadata(metadata, asset_key=key, partition_key=partition_key)
        else:
            yield dg.AssetMaterialization(key, partition=partition_key, metadata=metadata)
    if goes_on:
        yield dg.MaterializeResult(asset_key=key)


def _failure(feed: Feed, key_count: int, reasons: dict[str, str]) -> dg.Failure:
    shown = "; ".join(list(reasons.values())[:_MAX_REASONS])
    more = f"; and {len(reasons) - _MAX_REASONS} more" if len(reasons) > _MAX_REASONS else ""
    return dg.Failure(
        f"feed {feed.name}: {len(reasons)} of {key_count} partitions failed: {shown}{more}",
        metadata={"reasons": dg.MetadataValue.json(dict(list(reasons.items())[:1000]))},
        allow_retries=False,
    )
