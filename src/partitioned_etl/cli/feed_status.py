"""Feed status: what a feed's table holds, what waits, is late, refused or of no feed.

Takes feeds, their landings and the ledger, which is only read; returns one value per feed. Next:
`status.py` prints it, `prometheus.py` makes metrics of it, and `watch.py` keeps a table up to date.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from partitioned_etl.cli.location import ChosenFeeds, look_at_each, open_instance
from partitioned_etl.cli.plan import list_given_up
from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.engine.arrivals import list_overdue
from partitioned_etl.engine.plan import Action, Plan, make_plan


@dataclass(frozen=True)
class Refusal:
    """A file that is refused, or is one of no feed.

    Attributes:
        partition_key: The partition, if the file name gives one.
        file: The file's name.
        reason: Why.
    """

    partition_key: str
    file: str
    reason: str


@dataclass(frozen=True)
class FeedStatus:
    """The status of one feed.

    Attributes:
        feed: The feed.
        table: Its table.
        partitions: How many partitions the table holds.
        rows: How many rows they hold.
        last_load: When one was last loaded, in UTC; None for never.
        waiting: How many files have landed but are not loaded, not counting refused ones.
        oldest_waiting_seconds: How long the oldest of them has waited; None if none is waiting.
        rejected_rows: How many rows of loaded files were quarantined.
        refused: The files that are refused.
        unmatched: What lies in its folder and is a file of no feed.
        not_fetched: What the latest fetch from its source could not fetch.
        stale: The names of loaded or refused files that the feed cannot name any more.
        late: The partitions that were due in the last days, and of which nothing is loaded.
        failed: The files that wait because their runs failed too often; None if Dagster was not
            asked.
        files: How many files are in which state of a plan.
    """

    feed: str
    table: str
    partitions: int
    rows: int
    last_load: datetime | None
    waiting: int
    oldest_waiting_seconds: int | None
    rejected_rows: int
    refused: list[Refusal]
    unmatched: list[Refusal]
    not_fetched: list[Refusal]
    stale: list[str]
    late: list[Refusal]
    failed: list[Refusal] | None
    files: dict[str, int]


COUNTS: Mapping[str, Callable[[FeedStatus], int]] = {
    "late": lambda status: len(status.late),
    "refused": lambda status: len(status.refused),
    "rejected": lambda status: status.rejected_rows,
    "unmatched": lambda status: len(status.unmatched),
    "waiting": lambda status: status.waiting,
    "unfetched": lambda status: len(status.not_fetched),
    "stale": lambda status: len(status.stale),
    "failed": lambda status: len(status.failed or ()),
}
"""How many of what a call may fail on."""


def find_statuses(
    chosen: ChosenFeeds, *, asks_dagster: bool = False, lock_wait_seconds: float | None = None
) -> tuple[list[FeedStatus], int]:
    """Find the status of each feed that can be looked at.

    Args:
        chosen: The feeds.
        asks_dagster: Whether to find what failed, for which Dagster's instance is opened.
        lock_wait_seconds: How long to wait for others that have the warehouse open; by default as
            configured.

    Returns:
        The statuses, and the exit code: 0, or 2 if one is missing; standard error then says why.
    """
    with open_instance() if asks_dagster else nullcontext() as instance:
        return look_at_each(
            chosen.feeds, lambda assets: _find_status(chosen, assets, instance, lock_wait_seconds)
        )


def _find_status(
    chosen: ChosenFeeds,
    assets: FeedAssets,
    instance: dg.DagsterInstance | None,
    lock_wait_seconds: float | None,
) -> FeedStatus:
    feed, landing = assets.feed, chosen.landing_of(assets.feed)
    plan = make_plan(
        feed,
        assets.scan(landing),
        landing,
        chosen.warehouse,
        lock_wait_seconds=lock_wait_seconds,
        read_only=True,
    )
    totals = plan.sum_up()
    waiting = plan.files(Action.NEW, Action.CHANGED, Action.UNSETTLED)
    since_ns = min((file.landed_ns for file in waiting), default=None)
    refused = [
        Refusal(step.partition_key, step.name, step.ledger_row.error or "")
        for step in plan.steps.values()
        if step.action is Action.REFUSED and step.ledger_row
    ]
    refused += [
        Refusal(entry.partition_key, entry.name, f"{entry.name}: {entry.reason}")
        for entry in plan.refused
    ]
    return FeedStatus(
        feed=feed.name,
        table=feed.table,
        partitions=totals.partitions,
        rows=totals.rows,
        last_load=totals.loaded_at,
        waiting=len(waiting),
        oldest_waiting_seconds=None
        if since_ns is None
        else max(0, (time.time_ns() - since_ns) // 1_000_000_000),
        rejected_rows=totals.rejected_rows,
        refused=refused,
        unmatched=[
            Refusal(entry.partition_key, entry.name, entry.reason)
            for entry in chosen.list_unmatched(feed, plan.ignored)
        ],
        not_fetched=[
            Refusal("", entry.name, entry.reason) for entry in chosen.list_not_fetched(feed)
        ],
        stale=[row.source_file for row in plan.stale],
        late=_list_late(assets, plan),
        failed=None
        if instance is None
        else [
            Refusal(file.partition_key, file.name, f"{file.name}: {reason}")
            for file, reason in list_given_up(chosen, assets, plan, instance)
        ],
        files=_count_files(plan),
    )


def _list_late(assets: FeedAssets, plan: Plan) -> list[Refusal]:
    if assets.feed.due_after is None:
        return []
    loaded = {*plan.unchanged.list_keys()}
    # Only a feed without names is due, and Dagster need not be asked for its keys.
    expected = assets.partitions.definition.get_partition_keys()
    unloaded = [key for key in expected if key not in loaded]
    late = list_overdue(assets.feed, plan.ledger, plan.listing, unloaded, datetime.now(UTC))
    return [Refusal(key, "", reason) for key, reason in late.items()]


def _count_files(plan: Plan) -> dict[str, int]:
    counts = plan.count_actions()
    counts[Action.REFUSED] += len(plan.refused)
    return {str(action): counts[action] for action in Action}
