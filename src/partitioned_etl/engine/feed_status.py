"""Feed status: what a feed's table holds, what waits, is late, refused or of no feed.

Takes a feed's plan, and what else is known of it; returns one value. Next: `status` prints it, and
the asset `arrivals` shows it. What would happen next belongs in `plan.py`.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from partitioned_etl.engine.arrivals import list_overdue
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import PassedOver
from partitioned_etl.engine.plan import Action, Plan
from partitioned_etl.engine.unchanged import Totals


@dataclass(frozen=True)
class Refusal:
    """A file that is refused, or is one of no feed; or a key that no file can be named after.

    Attributes:
        partition_key: The partition, if the file name gives one.
        file: The file's name, or the key.
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
        waiting: How many files have landed but are not loaded, not counting refused ones, and how
            many keys are to be computed.
        oldest_waiting_seconds: How long the oldest of the files has waited; None if none is
            waiting.
        rejected_rows: How many rows of loaded files were quarantined.
        refused: The files that are refused, and the keys that can be none.
        unmatched: What lies in its folder and is a file of no feed.
        not_fetched: What the latest fetch from its source could not fetch.
        stale: The names of loaded or refused files that the feed cannot name any more.
        late: The partitions that were due in the last days, and of which nothing is loaded.
        failed: The files and keys that wait because their runs failed too often; None if Dagster
            was not asked.
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


def describe_status(
    feed: Feed,
    plan: Plan,
    *,
    totals: Totals | None = None,
    expected: Collection[str] = (),
    unmatched: Iterable[PassedOver] = (),
    not_fetched: Iterable[PassedOver] = (),
    failed: Sequence[Refusal] | None = None,
    waiting_keys: Collection[str] = (),
    refused_keys: Iterable[PassedOver] = (),
) -> FeedStatus:
    """Describe the status of a feed.

    Args:
        feed: The feed.
        plan: Its plan.
        totals: What its table holds; by default what the plan knows of.
        expected: The partition keys that should eventually have a file.
        unmatched: What lies in its folder and is a file of no feed.
        not_fetched: What the latest fetch from its source could not fetch.
        failed: The files and keys whose runs failed too often; None if nobody asked.
        waiting_keys: The keys that are to be computed.
        refused_keys: The keys that no file can be named after.
    """
    totals = totals or plan.sum_up()
    waiting = plan.files(Action.NEW, Action.CHANGED, Action.UNSETTLED)
    since_ns = min((file.landed_ns for file in waiting), default=None)
    refused = [
        Refusal(step.partition_key, step.name, step.ledger_row.error or "")
        for step in plan.steps.values()
        if step.action is Action.REFUSED and step.ledger_row
    ]
    refused += [
        Refusal(entry.partition_key, entry.name, f"{entry.name}: {entry.reason}")
        for entry in (*plan.refused, *refused_keys)
    ]
    return FeedStatus(
        feed=feed.name,
        table=feed.table,
        partitions=totals.partitions,
        rows=totals.rows,
        last_load=totals.loaded_at,
        waiting=len(waiting) + len(waiting_keys),
        oldest_waiting_seconds=None
        if since_ns is None
        else max(0, (time.time_ns() - since_ns) // 1_000_000_000),
        rejected_rows=totals.rejected_rows,
        refused=refused,
        unmatched=[Refusal(one.partition_key, one.name, one.reason) for one in unmatched],
        not_fetched=[Refusal("", one.name, one.reason) for one in not_fetched],
        stale=[row.source_file for row in plan.stale],
        late=_list_late(feed, plan, expected),
        failed=None if failed is None else list(failed),
        files=_count_files(plan),
    )


def _list_late(feed: Feed, plan: Plan, expected: Collection[str]) -> list[Refusal]:
    if feed.due_after is None:
        return []
    loaded = {*plan.unchanged.list_keys()}
    unloaded = [key for key in expected if key not in loaded]
    late = list_overdue(feed, plan.ledger, plan.listing, unloaded, datetime.now(UTC))
    return [Refusal(key, "", reason) for key, reason in late.items()]


def _count_files(plan: Plan) -> dict[str, int]:
    counts = plan.count_actions()
    counts[Action.REFUSED] += len(plan.refused)
    return {str(action): counts[action] for action in Action}
