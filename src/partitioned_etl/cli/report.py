"""Report: what every table holds after a sync, and why something is not loaded.

Takes each feed's result; prints it, and returns the exit code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from partitioned_etl.cli.output import print_json, print_table, show
from partitioned_etl.cli.status import describe_refusal, describe_unmatched, name_some
from partitioned_etl.components.isolation import Mistake
from partitioned_etl.engine.feed import Feed, OnUnmatched
from partitioned_etl.engine.landing.landing import PassedOver
from partitioned_etl.engine.plan import Action, Plan, Removal, Step
from partitioned_etl.engine.project import project_dir
from partitioned_etl.engine.settings import Settings
from partitioned_etl.engine.stale import describe_stale
from partitioned_etl.engine.warehouse.ledger import LoadStatus
from partitioned_etl.engine.warehouse.registry import connect_warehouse

_HEADERS = ("feed", "partition key", "file", "rows", "status", "loaded at")
_NOT_LOADED = "not loaded"
_INCOMPLETE = "incomplete"


@dataclass
class FeedResult:
    """The result of one feed's sync.

    Attributes:
        feed: The feed.
        plan: The plan after the last load: what is loaded, refused or not loaded.
        loaded_keys: Partition keys that this call loaded.
        failures: What failed after the loads, one sentence each.
        unmatched: What lies in its folder and is a file of no feed.
        reasons: Per partition key that a run was meant to load, why the run failed; empty if it did
            not.
        keys: The partition keys that the call is about; none for all.
        warnings: What is to be known of files that this call loaded, one sentence per partition.
    """

    feed: Feed
    plan: Plan
    loaded_keys: list[str]
    failures: list[str]
    unmatched: list[PassedOver]
    reasons: Mapping[str, str]
    keys: frozenset[str] = frozenset()
    warnings: Sequence[str] = ()

    def has(self, key: str) -> bool:
        """Return whether the call is about a partition."""
        return not self.keys or key in self.keys


def print_report(
    results: Sequence[FeedResult],
    errors: Sequence[str],
    mistakes: Sequence[Mistake],
    settings: Settings,
    *,
    as_json: bool,
) -> int:
    """Print what every table holds and why something is not loaded.

    Args:
        results: Results of the feeds that could be tried.
        errors: Why the others could not be tried.
        mistakes: What cannot be loaded.
        settings: The settings.
        as_json: Whether to print JSON instead of a table.

    Returns:
        0 if every feed can be loaded, everything that landed is loaded, superseded or incomplete,
        and nothing failed; 1 otherwise. What is a file of no feed is a failure where its feed says
        so.
    """
    rows: list[tuple[object, ...]] = []
    problems = [f"broken: {mistake.name}: {mistake.reason}" for mistake in mistakes]
    warnings: list[str] = []
    for result in results:
        name, plan = result.feed.name, result.plan
        of_feed: list[tuple[object, ...]] = [
            (name, key, file, row_count, str(LoadStatus.LOADED), loaded_at)
            for key, file, row_count, _, loaded_at in plan.unchanged
            if result.has(key)
        ]
        for step in plan.steps.values():
            key, row, status = step.partition_key, step.ledger_row, _status(step)
            if not result.has(key):
                continue
            row_count = plan.count_rows(result.feed, step)
            loaded_at = row.loaded_at if row else None
            of_feed.append((name, key, step.name, row_count, status, loaded_at))
            if step.action is Action.REFUSED and row:
                problems.append(describe_refusal(name, key, row.error or ""))
            elif status == _NOT_LOADED:
                reason = result.reasons.get(key) or step.explain(Removal())
                reason = reason or "another run has it, or it landed meanwhile"
                problems.append(f"not loaded: {name}, partition {key}: {step.name}: {reason}")
        rows += sorted(of_feed, key=lambda row: row[1:3]) if plan.unchanged.count else of_feed
        problems += result.failures
        for entry in plan.refused:
            key, reason = entry.partition_key, f"{entry.name}: {entry.reason}"
            if not result.has(key):
                continue
            rows.append((name, key, entry.name, 0, "refused", None))
            problems.append(describe_refusal(name, key, reason))
        warnings += name_some("warning", name, result.warnings)
        if stale := [row.source_file for row in plan.stale if result.has(row.partition_key)]:
            warnings.append(f"stale: {name}: {describe_stale(name, stale)}")
        # What is a file of no feed is of no partition, either.
        of_all = () if result.keys else result.unmatched
        unmatched = [(entry.name, entry.reason) for entry in of_all]
        told = describe_unmatched(name, unmatched)
        (problems if result.feed.unmatched is OnUnmatched.FAIL else warnings).extend(told)
    loaded = sum(len(result.loaded_keys) for result in results)
    if as_json:
        files = [
            dict(zip((name.replace(" ", "_") for name in _HEADERS), row, strict=True))
            for row in rows
        ]
        problems_of_all = [*errors, *problems]
        print_json(
            {"loaded": loaded, "files": files, "problems": problems_of_all, "warnings": warnings}
        )
    elif results:
        is_level = all(row[4] not in (_NOT_LOADED, _INCOMPLETE) for row in rows)
        is_idle = is_level and not any(result.reasons for result in results)
        _print_tables(rows, loaded, settings, is_idle=is_idle)
    for line in (*errors, *problems, *warnings):
        click.echo(show(line), err=True)
    return 1 if problems else 0


def _print_tables(
    rows: list[tuple[object, ...]], loaded: int, settings: Settings, *, is_idle: bool
) -> None:
    if rows:
        click.echo()
        print_table(rows, _HEADERS)
        click.echo()
    if not rows and is_idle:
        click.echo(f"Nothing has landed in {settings.landing_dir}.")
    elif is_idle:
        click.echo("Nothing to load: every landed file was loaded or refused before.")
    else:
        click.echo(f"Loaded {loaded} file(s) into {_name_database(settings)}.")


def _status(step: Step) -> str:
    if step.action is Action.MISSING and step.ledger_row:
        return f"{step.ledger_row.status}, file gone"
    if step.action is Action.STALE and step.ledger_row:
        return f"{step.ledger_row.status}, stale"
    if step.ledger_row and step.action in (Action.IDENTICAL, Action.REFUSED, Action.UNUSABLE):
        return str(step.ledger_row.status)
    if step.action is Action.SUPERSEDED:
        return str(step.action)
    return _INCOMPLETE if step.file and step.file.lacks else _NOT_LOADED


def _name_database(settings: Settings) -> str:
    database = settings.database
    if isinstance(database, Path):
        return str(_from_project(database))
    return connect_warehouse(database).name


def _from_project(path: Path) -> Path:
    inside = path.is_relative_to(project_dir())
    return path.relative_to(project_dir()) if inside else path
