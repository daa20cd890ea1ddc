"""Resources: landing and warehouse as Dagster sees them, and what a feed's step does with them.

Unless given a value, each reads it from the settings when used, so that UI, command line, tests and
run workers agree. Which kind of landing or warehouse it is, the registries of the engine decide.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource
from pydantic import Field

from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.components.checks import CHECK_NAMES, CheckedState
from partitioned_etl.components.computations import Compute, compute_keys
from partitioned_etl.components.dagster_view import compare_with_dagster
from partitioned_etl.components.events import FEED_TAG, PREVIEW_ROWS, FeedEvent
from partitioned_etl.engine.errors import (
    FeedDefinitionError,
    LandedFileError,
    PartitionKeyError,
    SourceError,
    WarehouseError,
)
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import (
    LandedFile,
    Landing,
    Listing,
    PassedOver,
    find_landed_files,
)
from partitioned_etl.engine.landing.registry import connect_landing
from partitioned_etl.engine.list_since import find_first_name_of
from partitioned_etl.engine.load import load_files, load_surveyed
from partitioned_etl.engine.outcomes import Outcome, OutcomeStatus
from partitioned_etl.engine.plan import choose_parts, compare, list_newly_superseded
from partitioned_etl.engine.reconcile import compare_table
from partitioned_etl.engine.settings import Settings, to_landing_address
from partitioned_etl.engine.sources.places import find_place
from partitioned_etl.engine.sources.troubles import read_troubles
from partitioned_etl.engine.survey import Surveyed, survey_files
from partitioned_etl.engine.warehouse.ledger import Ledger
from partitioned_etl.engine.warehouse.registry import connect_warehouse, has_one_writer
from partitioned_etl.engine.warehouse.warehouse import (
    Execute,
    FeedTable,
    OpenWarehouse,
    Warehouse,
)


@dataclass(frozen=True)
class FoundFiles:
    """The landed files of a run's partitions.

    Attributes:
        landing: The landing.
        listing: The feed's files, as listed.
        keys: The run's partition keys; none if it only evaluates checks.
        files: The landed files of these keys.
        reasons: Per key with no file, or with one that cannot be used, why that is so.
    """

    landing: Landing
    listing: Listing
    keys: Sequence[str] = ()
    files: Sequence[LandedFile] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)


class LandingResource(dg.ConfigurableResource):
    """The place where files land, with one folder per feed."""

    path: str | None = Field(
        default=None,
        description="The landing directory, or a bucket's prefix; by default the setting "
        "LANDING_DIR.",
    )
    settle_seconds: float | None = Field(
        default=None,
        description="Seconds that a file must have been left alone; by default SETTLE_SECONDS.",
    )

    def connect(self, feed: Feed | None = None) -> Landing:
        """Return the landing of a feed: its own, if it declares one, or that of all others.

        Raises:
            SettingError: Its address makes no sense.
            LandedFileError: What it needs is not installed, or not set.
        """
        settings, settle_seconds = Settings(), self.settle_seconds
        return connect_landing(
            self.address_of(feed, settings),
            settings.settle_seconds if settle_seconds is None else settle_seconds,
        )

    def address_of(self, feed: Feed | None, settings: Settings | None = None) -> Path | str:
        """Return where the landing of a feed is, a folder or a URL, without a look at it.

        Raises:
            SettingError: Its address makes no sense.
        """
        if feed and feed.landing:
            return to_landing_address(feed.landing)
        return to_landing_address(self.path) if self.path else (settings or Settings()).landing_dir

    def list_not_fetched(self, feed: Feed) -> list[PassedOver]:
        """Return what the latest fetch from a feed's source could not fetch, and why."""
        if feed.fetched_from is None:
            return []
        with suppress(SourceError):
            return read_troubles(find_place(feed, self.address_of(feed)))
        return []

    def find(self, context: dg.AssetExecutionContext) -> FoundFiles:
        """Find the landed files of each partition of a feed's run.

        It waits a while for files that are still being written.

        Args:
            context: The context of a step that `feed_assets` made.

        Raises:
            dagster.Failure: The run has no partitions.
            LandedFileError: The landing cannot be listed.
        """
        assets = FeedAssets.of(context.assets_def)
        landing = self.connect(assets.feed)
        if not context.selected_asset_keys:
            # The web UI executes checks by themselves, also without a partition.
            return FoundFiles(landing, assets.list_files(landing))
        has_keys = context.has_partition_key or context.has_partition_key_range
        keys = context.partition_keys if has_keys else []
        if not keys:
            raise dg.Failure(
                f"feed {assets.feed.name}: the run has no partition keys; is its range reversed?",
                allow_retries=False,
            )
        listing = _list_settled_files(assets, landing, keys)
        files: list[LandedFile] = []
        reasons: dict[str, str] = {}
        for key in keys:
            try:
                assets.feed.check_partition_key(key)
                of_key = find_landed_files(assets.feed, landing, listing, key)
            except (LandedFileError, PartitionKeyError) as error:
                reasons[key] = str(error)
                continue
            why_not = {file: file.why_not_ready(landing.settle_seconds) for file in of_key}
            ready = [file for file, reason in why_not.items() if not reason]
            files += ready
            if not ready:
                reasons[key] = f"{of_key[0].name}: {why_not[of_key[0]]}"
        return FoundFiles(landing, listing, keys, files, reasons)

    def compute(self, context: dg.AssetExecutionContext, compute: Compute) -> FoundFiles:
        """Let the rows of each partition of a run land, and find their files as `find` does.

        Its keys are ad-hoc keys, of a feed with source `parameters`. A key for which the function
        raises keeps its file and its rows, and the run fails with its reason once the others are
        loaded. What has landed is loaded as it is, and not computed again, where a run is about
        that: one that the feed's sensor requested, or `sync`.

        Args:
            context: The context of a step that `feed_assets` made.
            compute: Takes a key; returns or yields its rows: a mapping of column names to values
                for each, or a DataFrame.

        Raises:
            dagster.Failure: The run has no partitions.
            FeedDefinitionError: The feed has another source, or none.
            LandedFileError: The landing cannot be listed.
            SourceError: It cannot be written to.
        """
        assets = FeedAssets.of(context.assets_def)
        feed = assets.feed
        if not feed.is_computed:
            reason = f"feed {feed.name}: only rows of a feed with source parameters are computed"
            raise FeedDefinitionError(reason, attribute="source")
        reasons = dict[str, str]()
        has_keys = context.has_partition_key or context.has_partition_key_range
        if has_keys and context.selected_asset_keys:
            address = self.address_of(feed)
            listing = assets.list_files(self.connect(feed))
            reasons = compute_keys(context, feed, address, listing, compute)
        found = self.find(context)
        files = [file for file in found.files if file.partition_key not in reasons]
        return replace(found, files=files, reasons={**found.reasons, **reasons})


def _list_settled_files(assets: FeedAssets, landing: Landing, keys: Sequence[str]) -> Listing:
    """List the landing, waiting a while for files of the run that are still being written."""
    settle_seconds = landing.settle_seconds
    first_name = find_first_name_of(assets.feed, keys)
    deadline = time.monotonic() + 5 + 2 * settle_seconds
    while True:
        listing = assets.list_files(landing, first_name)
        found = (file for key in keys for file in listing.by_key.get(key, ()))
        is_settled = all(file.is_settled(settle_seconds) for file in found)
        if is_settled or time.monotonic() > deadline:
            return listing
        time.sleep(min(settle_seconds, 0.2))


class WarehouseResource(DuckDBResource):
    """The warehouse: by default a DuckDB file, with one writer at a time.

    Unlike its base class, it waits only a bounded time for another process that has the database
    open, and closes the connection even if the work in it fails.
    """

    database: str = Field(
        default="",
        description="Path of the database, or address of the warehouse; by default the setting "
        "WAREHOUSE, else DUCKDB_DATABASE. The web UI shows it: leave a password to PGPASSWORD.",
    )
    lock_wait_seconds: float | None = Field(
        default=None,
        description="Seconds to wait for another process; by default LOCK_WAIT_SECONDS.",
    )
    memory_limit: str | None = Field(
        default=None,
        description="Memory that DuckDB may use, such as 1GB; by default DUCKDB_MEMORY_LIMIT.",
    )
    landing: dg.ResourceDependency[LandingResource]

    def connect(self) -> Warehouse:
        """Return the warehouse, which is not opened yet."""
        settings, wait, limit = Settings(), self.lock_wait_seconds, self.memory_limit
        return connect_warehouse(
            self._database,
            settings.lock_wait_seconds if wait is None else wait,
            settings.duckdb_memory_limit if limit is None else limit,
            settings.duckdb_read_copy,
        )

    @property
    def _database(self) -> Path | str:
        return self.database or Settings().database

    @contextmanager
    def open(self) -> Iterator[OpenWarehouse]:
        """Open the warehouse for one unit of work, such that it reads landed files.

        Raises:
            WarehouseLockedError: Another process held it for longer than the wait.
        """
        with self.connect().open(self.landing.connect().readable_dir) as opened:
            yield opened

    @contextmanager
    def transaction(self, table: str) -> Iterator[Execute]:
        """Open the warehouse for statements of one's own, such as those of a downstream asset.

        All of them are done or, after any exception, none. They are in the SQL of the warehouse,
        with `$1`, `$2`, … for the values that they bind.

        Args:
            table: The table that they change; transactions on the same one take turns.

        Raises:
            WarehouseLockedError: Another process held it for longer than the wait.
        """
        with self.open() as opened, opened.transaction(table) as execute:
            yield execute

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a DuckDB file for statements of one's own.

        Raises:
            WarehouseLockedError: Another process held it for longer than the wait.
            WarehouseError: The warehouse is no DuckDB file.
        """
        if not has_one_writer(self._database):
            raise WarehouseError(
                f"{self.connect().name} has no DuckDB connection: use warehouse.transaction"
            )
        with self.open() as opened:
            yield opened.duck

    def load(self, context: dg.AssetExecutionContext, found: FoundFiles) -> Iterator[FeedEvent]:
        """Load the landed files of a feed's run, and tell Dagster what happened to each partition.

        All files are loaded in one transaction: ledger rows, delete by partition key, insert. A bad
        file changes no row, and the others are loaded without it: see `load_files`. Of a partition
        with parts, those are loaded that are new or changed; if none is, all are loaded again.

        Args:
            context: The context of a step that `feed_assets` made.
            found: The landed files.

        Yields:
            Events of import asset, load asset and checks, as far as they are selected.

        Raises:
            dagster.Failure: A partition was not loaded; all others were.
        """
        assets = FeedAssets.of(context.assets_def)
        warehouse = self.connect()
        step = _Step(context, assets, found, warehouse.address)
        if found.keys and assets.load_key not in context.selected_asset_keys:
            step.survey()
        if step.needs_warehouse:
            with (
                step.surveyed(warehouse) as surveyed,
                warehouse.open(found.landing.readable_dir) as opened,
            ):
                table = opened.table(assets.feed)
                if assets.load_key in context.selected_asset_keys:
                    step.load(table, surveyed)
                step.look(table)
        yield from step.report()


class _Step:
    """What happens in one run to the partitions of a feed."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        assets: FeedAssets,
        found: FoundFiles,
        address: str,
    ) -> None:
        self._context, self._assets, self._found = context, assets, found
        self._address = address
        self._started = time.monotonic()
        self._reasons = dict(found.reasons)
        self._outcomes: dict[str, list[Outcome]] = {}
        self._previews: Mapping[str, str] = {}
        self._load_seconds = 0.0
        self._state = CheckedState(assets.feed, Ledger(), found.listing)

    @property
    def needs_warehouse(self) -> bool:
        """Whether the run loads, or evaluates a check."""
        context = self._context
        return bool(
            self._assets.load_key in context.selected_asset_keys
            or context.selected_asset_check_keys
        )

    def survey(self) -> None:
        """Survey the files, and load nothing."""
        feed, outcomes = self._assets.feed, list[Outcome]()
        with self._found.landing.stage(self._found.files) as files:
            for file in files:
                try:
                    contract = feed.contract_of(file.partition_key)
                    survey = feed.format.survey(contract, file)
                except LandedFileError as error:
                    outcomes.append(Outcome.changed(file, str(error)))
                else:
                    outcomes.append(Outcome(file, OutcomeStatus.SURVEYED, survey=survey))
        self._end(outcomes)

    @contextmanager
    def surveyed(self, warehouse: Warehouse) -> Iterator[Surveyed | None]:
        """Survey the files that are to be loaded, if all of them are; None otherwise.

        Which parts of a partition are, the ledger tells.
        """
        assets = self._assets
        is_loaded = assets.load_key in self._context.selected_asset_keys
        if not is_loaded or assets.feed.file_names.has_parts:
            yield None
            return
        landing, files = self._found.landing, self._found.files
        with survey_files(assets.feed, landing, files, warehouse) as surveyed:
            yield surveyed

    def load(self, table: FeedTable, surveyed: Surveyed | None) -> None:
        """Load the files."""
        feed, found, run_id = self._assets.feed, self._found, self._context.run.run_id
        first_name = found.listing.first_name
        if surveyed:
            outcomes = load_surveyed(table, surveyed, run_id=run_id)
        else:
            ledger = table.read_ledger(found.listing.files, first_name=first_name)
            files = choose_parts(compare(feed, found.listing, ledger), found.files)
            outcomes = load_files(table, found.landing, files, run_id=run_id)
        self._load_seconds = time.monotonic() - self._started
        if feed.file_names.has_versions:
            plan = compare(feed, found.listing, table.read_ledger(first_name=first_name))
            table.record_superseded(list(list_newly_superseded(feed, plan)))
        loaded = [one for one in outcomes if one.is_loaded]
        rows = table.read_first_rows([one.file for one in loaded], PREVIEW_ROWS) if loaded else {}
        self._previews = {key: self._assets.events.preview(of_key) for key, of_key in rows.items()}
        row_count = sum(outcome.row_count for outcome in loaded)
        self._context.log.info(
            f"feed {feed.name}: loaded {len(loaded)} of {len(outcomes)} files, {row_count:,} rows, "
            f"in {self._load_seconds:.2f} s"
        )
        self._end(outcomes)

    def look(self, table: FeedTable) -> None:
        """Read what the selected checks are evaluated from."""
        assets, instance = self._assets, self._context.instance
        selected = {check.name for check in self._context.selected_asset_check_keys}
        listing, ledger = self._found.listing, table.read_ledger()
        wants_known = selected & {CHECK_NAMES.file_is_on_time, CHECK_NAMES.table_equals_landing}
        known = assets.partitions.list_keys(instance) if wants_known else []
        differences, brake = list[str](), ""
        if CHECK_NAMES.table_equals_landing in selected:
            landing = self._found.landing
            now = compare_table(
                table, assets.list_files(landing), settle_seconds=landing.settle_seconds
            )
            # What this run loaded, it is about to report.
            told = [key for key in known if key not in self._previews]
            view = compare_with_dagster(instance, assets, told, now)
            differences = [*map(str, now.differences), *view.sentences]
            brake = now.brake
        self._state = CheckedState(
            assets.feed, ledger, listing, known, differences, brake, assets.other_feeds
        )

    def _end(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self._outcomes.setdefault(outcome.file.partition_key, []).append(outcome)
        for key, of_key in self._outcomes.items():
            if bad := [outcome.reason for outcome in of_key if outcome.reason]:
                self._reasons[key] = "; ".join(bad)

    def report(self) -> Iterator[FeedEvent]:
        """Yield what happened, and fail if a partition was not loaded."""
        context, assets, events = self._context, self._assets, self._assets.events
        imported, ledger = set(), self._state.ledger
        for key, of_key in self._outcomes.items():
            # A run of the load asset alone, such as the feed's job, includes the import.
            if event := events.imported(of_key, ledger):
                imported.add(key)
                yield event
        for asset_key in context.selected_asset_keys:
            known = imported if asset_key == assets.import_key else {*self._previews}
            for key in self._reasons.keys() - known:
                yield events.not_loaded(asset_key, key, self._reasons[key], ledger)
        if assets.load_key in context.selected_asset_keys:
            yield from self._report_loaded(ledger)
        yield from self._state.evaluate(context.selected_asset_check_keys)
        if self._reasons:
            raise events.failed(len(self._found.keys), self._reasons)

    def _report_loaded(self, ledger: Ledger) -> Iterator[FeedEvent]:
        """Report loaded partitions one by one, or as one result if the run continues downstream.

        Dagster applies a result to all keys of the run, and only a result lets downstream assets
        continue in the same run. Metadata for one key of a result costs a listing of all keys that
        Dagster knows.
        """
        load_key = self._assets.load_key
        is_result = not self._reasons and (len(self._found.keys) == 1 or not self._is_alone())
        for key, preview in self._previews.items():
            metadata = self._assets.events.load_metadata(
                [outcome for outcome in self._outcomes[key] if outcome.is_loaded],
                ledger,
                preview,
                address=self._address,
                load_seconds=self._load_seconds,
            )
            if is_result:
                self._context.add_asset_metadata(metadata, asset_key=load_key, partition_key=key)
            else:
                yield self._assets.events.loaded(key, metadata)
        if is_result:
            yield dg.MaterializeResult(asset_key=load_key)

    def _is_alone(self) -> bool:
        """Return whether the run materializes only the feed's own assets and nothing downstream."""
        run, assets = self._context.run, self._assets
        if run.asset_selection:
            return run.asset_selection <= {assets.import_key, assets.load_key}
        return run.tags.get(FEED_TAG) == assets.feed.name
