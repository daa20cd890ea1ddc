"""Sync: bring every feed up to date with the landing directory via Dagster, without its daemon.

It makes each feed's agenda as the sensors do, executes the jobs in this process on the same Dagster
instance as `dagster dev`, and computes what is downstream. Next: `report.py` prints the result.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, field

import click
import dagster as dg

from partitioned_etl.cli.added_keys import add_keys
from partitioned_etl.cli.location import (
    ERRORS_OF_ONE_FEED,
    ChosenFeeds,
    choose_feeds,
    describe_error,
    open_instance,
)
from partitioned_etl.cli.output import show
from partitioned_etl.cli.partitions import require_partitions
from partitioned_etl.cli.progress_bar import show_progress
from partitioned_etl.cli.report import FeedResult, print_report
from partitioned_etl.cli.runs import execute_job
from partitioned_etl.components.ad_hoc_keys import MARK, describe_unregistered
from partitioned_etl.components.agenda import Agenda, Limits, Scope, make_agenda, mark_of
from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.components.attempts import Attempts
from partitioned_etl.components.computations import tags_of_request
from partitioned_etl.components.downstream import find_downstream, list_stale_keys
from partitioned_etl.components.events import WARNING
from partitioned_etl.components.fetches import FETCHES_TAG
from partitioned_etl.components.orphans import fail_runs_without_worker
from partitioned_etl.components.ranges import group_into_ranges, range_tags
from partitioned_etl.components.reconcile import RECONCILE_JOB, RECONCILES_TAG, reconcile_config
from partitioned_etl.components.runs import describe_failure
from partitioned_etl.engine.errors import SourceError, WarehouseLockedError
from partitioned_etl.engine.landing.landing import LandedFile, PassedOver, group_by_key
from partitioned_etl.engine.plan import Action, Plan
from partitioned_etl.engine.settings import Settings
from partitioned_etl.engine.sources.mirror import find_difference

_POLL_SECONDS = 0.2
_ANOTHER_RUN = "another run has it"


def sync_feeds(
    names: Sequence[str],
    keys: Sequence[str] = (),
    *,
    reloads: bool = False,
    adds: bool = False,
    as_json: bool,
) -> int:
    """Bring the feeds up to date and print what every table holds.

    Args:
        names: The feeds to load; none for all.
        keys: The partitions of one feed that are loaded; none for all.
        reloads: Whether to load what is unchanged, too.
        adds: Whether the partitions are ad-hoc keys that are added first.
        as_json: Whether to print JSON instead of a table; progress messages then go to standard
            error.

    Returns:
        0 if everything that landed is loaded, superseded or incomplete, 1 if a feed cannot be
        loaded, a file was refused or something failed, 2 if a feed could not be tried.

    Raises:
        SettingError: A setting is invalid.
        FeedDefinitionError: There is no such feed.
    """
    settings, chosen = Settings(), choose_feeds(names)
    results: list[FeedResult] = []
    errors: list[str] = []

    def sync_feed(assets: FeedAssets) -> FeedResult:
        if adds:
            add_keys(instance, assets, keys)
        # A person who names ad-hoc keys wants them computed, also again.
        again = reloads or (assets.feed.is_computed and bool(keys) and not adds)
        return _FeedSync(instance, chosen, assets, settings, frozenset(keys), again).bring_level()

    with (
        open_instance() as instance,
        redirect_stdout(sys.stderr) if as_json else nullcontext(),
        show_progress(),
    ):
        for run_id in fail_runs_without_worker(instance):
            click.echo(f"run {run_id} was left behind by a process that is gone; marked as failed")
        for assets in chosen.feeds:
            try:
                results.append(sync_feed(assets))
            except ERRORS_OF_ONE_FEED as error:
                errors.append(describe_error(assets, error))
                if isinstance(error, WarehouseLockedError):
                    # The other feeds share the warehouse, and each would wait as long.
                    break
    code = print_report(results, errors, chosen.mistakes, settings, as_json=as_json)
    return 2 if errors else code


@dataclass
class _FeedSync:
    """One feed on its way to be up to date.

    Attributes:
        instance: The Dagster instance that records partition keys and runs.
        chosen: The code location.
        assets: The feed's assets.
        settings: The settings.
        keys: The partitions that are loaded; none for all.
        reloads: Whether what is unchanged is loaded, too.
    """

    instance: dg.DagsterInstance
    chosen: ChosenFeeds
    assets: FeedAssets
    settings: Settings
    keys: frozenset[str] = frozenset()
    reloads: bool = False
    _attempts: Attempts = field(default_factory=Attempts)
    _run_ids: list[str] = field(default_factory=list)
    _loaded: set[str] = field(default_factory=set)
    _reasons: dict[str, str] = field(default_factory=dict)
    _warnings: list[str] = field(default_factory=list)
    _not_fetched: list[PassedOver] = field(default_factory=list)
    _later_runs: dict[str, str] = field(default_factory=dict)

    def bring_level(self) -> FeedResult:
        """Load every file of the feed that is new or changed, through its job.

        What its source offers, if it has one, is fetched first, by a job of its own.

        It waits for files that are still settling or that a run of the daemon is loading.

        Raises:
            PartitionKeyError: Nothing is known of a partition that was asked for.
        """
        failures = self._fetch() if self.assets.feed.fetched_from else []
        deadline = time.monotonic() + 30 + 10 * self.settings.settle_seconds
        while True:
            may_wait = time.monotonic() < deadline
            agenda = self._look(waits_for_runs=may_wait)
            require_partitions(self.assets.feed, agenda.plan, self.keys, agenda.known)
            if agenda.unregistered:
                self._register(agenda.unregistered)
            elif agenda.choice.wanted or agenda.to_compute.wanted:
                self._load(agenda)
            elif self._is_worth_waiting_for(agenda) and may_wait:
                time.sleep(_POLL_SECONDS)
            else:
                break
        plan = self._remove_gone(agenda)
        self._compute_downstream()
        failures += [
            f"{what}: run {run_id} failed"
            for run_id, what in self._later_runs.items()
            if not self._has_succeeded(run_id)
        ]
        feed = self.assets.feed
        name = feed.name
        failures += self._list_not_reloaded(plan)
        failures += [
            f"not computed: {name}, partition {key}: {self._reasons.get(key) or _ANOTHER_RUN}"
            for key in agenda.to_compute.pending
        ]
        if agenda.removal.brake:
            failures.append(f"not removed: partitions of {name}: {agenda.removal.brake}")
        unmatched = [*self.chosen.list_unmatched(feed, plan.ignored), *self._not_fetched]
        loaded = sorted(self._loaded)
        return FeedResult(
            *(feed, plan, loaded, failures, unmatched, self._reasons, self.keys),
            warnings=[*dict.fromkeys(self._warnings)],
        )

    @property
    def _scope(self) -> Scope:
        return Scope(self.keys, self._find_not_reloaded) if self.reloads else Scope(self.keys)

    def _find_not_reloaded(self, plan: Plan) -> set[str]:
        return plan.list_keys_not_of(self._run_ids)

    def _list_not_reloaded(self, plan: Plan) -> list[str]:
        """Return one sentence per partition that was to be loaded again, and was not."""
        if not self.reloads:
            return []
        left = {key for key in self._find_not_reloaded(plan) if self._scope.has(key)}
        reasons = {key: self._reasons.get(key, "") for key in left}
        if not self.assets.feed.is_computed:
            reasons |= dict.fromkeys(self.keys.difference(plan.landed_keys), "no file is there")
        return [
            f"not loaded again: {self.assets.feed.name}, partition {key}: "
            + (reasons[key] or _ANOTHER_RUN)
            for key in sorted(reasons)
        ]

    def _is_worth_waiting_for(self, agenda: Agenda) -> bool:
        """Return whether a run loads, or somebody writes, what this call is about."""
        settling = (file for file in agenda.plan.files(Action.UNSETTLED) if not file.lacks)
        keys = {*agenda.in_flight, *(file.partition_key for file in settling)}
        return any(map(self._scope.has, keys))

    def _look(self, *, waits_for_runs: bool = True) -> Agenda:
        agenda = make_agenda(
            self.assets,
            self.instance,
            self.chosen.landing_of(self.assets.feed),
            self.chosen.warehouse,
            lambda _: self._attempts,
            Limits(self.settings.max_files_per_run),
            waits_for_runs=waits_for_runs,
            scope=self._scope,
        )
        self._loaded |= {
            load.partition_key for load in agenda.plan.list_loads() if load.run_id in self._run_ids
        }
        return agenda

    def _fetch(self) -> list[str]:
        """Fetch what the feed's source offers; return what went wrong, one sentence each."""
        feed, job_name = self.assets.feed, self.assets.fetch_job_name
        windows = self.assets.partitions.list_windows()
        try:
            found = find_difference(feed, self.chosen.landing_address_of(feed), windows.why_outside)
        except SourceError as error:
            return [f"not fetched: {error}"]
        self._not_fetched = found.passed_over
        failures = list[str]()
        if found.brake:
            failures.append(f"not removed: files of {feed.name}: {found.brake}")
        if not found.is_something:
            return failures
        if job_name not in {job.name for job in self.chosen.definitions.jobs or ()}:
            return [*failures, f"not fetched: {feed.name} has a source, and no fetch_job"]
        click.echo(f"{job_name}: {len(found.wanted):,} to fetch")
        run = execute_job(
            self.instance, self.chosen.definitions, job_name, tags={FETCHES_TAG: feed.name}
        )
        if run.success:
            return failures
        return [*failures, describe_failure(run.get_step_failure_events()) or "the fetch failed"]

    def _register(self, files: Sequence[LandedFile]) -> None:
        """Register the keys of files that have landed again, and say so."""
        feed = self.assets.feed
        click.echo(show(f"{feed.name}: {describe_unregistered(feed, files)}"))
        self.assets.partitions.register(self.instance, [file.partition_key for file in files])

    def _load(self, agenda: Agenda) -> None:
        """Execute the runs of an agenda."""
        partitions, name = self.assets.partitions, self.assets.feed.name
        for change in agenda.plan.describe_changes(name):
            click.echo(show(f"{name}: {change}"))
        if agenda.names:
            partitions.register(self.instance, agenda.names)
        for keys in agenda.ranges:
            tags = {} if self.reloads else tags_of_request(self.assets.feed)
            run = self._execute_range(self.assets.job_name, keys, tags)
            self._run_ids.append(run.run_id)
            reason = describe_failure(run.get_step_failure_events())
            self._reasons |= dict.fromkeys(keys, reason)
            self._warnings += _list_warnings(run, self.assets.load_key)
        by_key = group_by_key(agenda.choice.wanted)
        marks = dict.fromkeys(agenda.to_compute.wanted, MARK)
        marks |= {key: mark_of(files) for key, files in by_key.items()}
        for key, mark in marks.items():
            # A function is called once, whatever comes of it.
            if mark == MARK or (self.reloads and self.assets.feed.is_computed):
                self._attempts.give_up(key, mark)
            else:
                self._attempts.note(key, mark)

    def _remove_gone(self, agenda: Agenda) -> Plan:
        """Remove partitions whose files are gone; return the plan afterwards."""
        if not agenda.removal.rows:
            return agenda.plan
        name = self.assets.feed.name
        click.echo(f"{RECONCILE_JOB}: removing what has no file any more from {name}")
        run = execute_job(
            self.instance,
            self.chosen.definitions,
            RECONCILE_JOB,
            tags={RECONCILES_TAG: name},
            config=reconcile_config(name),
        )
        self._later_runs[run.run_id] = f"not removed: partitions of {name} whose files are gone"
        return self._look().plan

    def _compute_downstream(self) -> None:
        # A dynamic key is removed with its partition, and then nothing can be computed for it.
        known = self.assets.partitions.list_keys(self.instance)
        name, load_key = self.assets.feed.name, self.assets.load_key
        for downstream in find_downstream(self.chosen.definitions):
            if downstream.feed_name != name:
                continue
            stale = list_stale_keys(self.instance, load_key, downstream.key)
            stale = {key: event for key, event in stale.items() if self._scope.has(key)}
            for keys in group_into_ranges(stale, known, self.settings.max_files_per_run):
                run = self._execute_range(downstream.job_name, keys)
                what = f"not computed: {downstream.key.to_user_string()}, downstream of {name}"
                self._later_runs[run.run_id] = what

    def _has_succeeded(self, run_id: str) -> bool:
        run = self.instance.get_run_by_id(run_id)
        return bool(run and run.is_success)

    def _execute_range(
        self, job_name: str, keys: Sequence[str], tags: Mapping[str, str] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Execute a job for one partition key or a range."""
        span = f"{keys[0]} to {keys[-1]}, {len(keys)} partitions" if keys[1:] else keys[0]
        click.echo(f"{job_name}: {span}")
        return execute_job(
            self.instance,
            self.chosen.definitions,
            job_name,
            partition_key=None if keys[1:] else keys[0],
            tags={**range_tags(keys), **(tags or {})},
        )


def _list_warnings(run: dg.ExecuteInProcessResult, load_key: dg.AssetKey) -> list[str]:
    """Return what is to be known of files that a run loaded, one sentence per partition."""
    loads = (event.materialization for event in run.get_asset_materialization_events())
    return [
        f"partition {load.partition}: {load.metadata[WARNING].value}"
        for load in loads
        if load.asset_key == load_key and WARNING in load.metadata
    ]
