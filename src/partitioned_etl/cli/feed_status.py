"""Feed status: what the feeds' tables hold, what waits, is late, refused or of no feed.

Takes feeds, their landings and the ledger, which is only read; returns one value per feed. Next:
`status.py` prints it, `prometheus.py` makes metrics of it, and `watch.py` keeps a table up to date.
"""

from contextlib import nullcontext

import dagster as dg

from partitioned_etl.cli.location import ChosenFeeds, look_at_each, open_instance
from partitioned_etl.cli.plan import list_given_up
from partitioned_etl.components.ad_hoc_keys import choose_keys
from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.components.attempts import Attempts
from partitioned_etl.engine.feed_status import FeedStatus, Refusal, describe_status
from partitioned_etl.engine.plan import make_plan


def find_statuses(
    chosen: ChosenFeeds, *, asks_dagster: bool = False, lock_wait_seconds: float | None = None
) -> tuple[list[FeedStatus], int]:
    """Find the status of each feed that can be looked at.

    Args:
        chosen: The feeds.
        asks_dagster: Whether to find what failed, for which Dagster's instance is opened; it is
            opened for the keys that people add, too.
        lock_wait_seconds: How long to wait for others that have the warehouse open; by default as
            configured.

    Returns:
        The statuses, and the exit code: 0, or 2 if one is missing; standard error then says why.
    """
    needs_dagster = asks_dagster or any(assets.feed.is_computed for assets in chosen.feeds)
    with open_instance() if needs_dagster else nullcontext() as instance:
        return look_at_each(
            chosen.feeds,
            lambda assets: _find_status(chosen, assets, instance, asks_dagster, lock_wait_seconds),
        )


def _find_status(
    chosen: ChosenFeeds,
    assets: FeedAssets,
    instance: dg.DagsterInstance | None,
    asks_for_failed: bool,
    lock_wait_seconds: float | None,
) -> FeedStatus:
    feed, landing = assets.feed, chosen.landing_of(assets.feed)
    # Before the look at what has landed: a key whose rows land meanwhile does not wait.
    known = assets.partitions.list_keys(instance) if instance and feed.is_computed else ()
    plan = make_plan(
        feed,
        assets.scan(landing),
        landing,
        chosen.warehouse,
        lock_wait_seconds=lock_wait_seconds,
        read_only=True,
    )
    keys = choose_keys(assets, plan, known, Attempts(), most=0)
    failed = None
    if instance is not None and asks_for_failed:
        failed = [Refusal(*found) for found in list_given_up(chosen, assets, plan, instance)]
    # Only a feed without names is due, and Dagster need not be asked for its keys.
    is_due = feed.due_after is not None
    return describe_status(
        feed,
        plan,
        expected=assets.partitions.definition.get_partition_keys() if is_due else (),
        unmatched=chosen.list_unmatched(feed, plan.ignored),
        not_fetched=chosen.list_not_fetched(feed),
        failed=failed,
        waiting_keys=keys.pending,
        refused_keys=keys.refused,
    )
