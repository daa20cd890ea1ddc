"""Step 2, contract checks: what must be true of a feed's landed files.

Takes a feed; gives one check for header and types and one per row rule, and says how they went.
The judging is done in `ingest/`, once, by the load; a check is true when no landed file of the feed
is refused for its sake, whichever run refused it. Next: `loads.py`.
"""

from collections.abc import Collection, Iterator, Mapping

import dagster as dg

from partitioned_etl.ingest.contract import is_refused_for
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.ledger import LedgerRow, LoadStatus


def contract_check_name(feed: Feed) -> str:
    """Name the check that files have the declared header, width, encoding and types."""
    return f"{feed.name}_match_contract"


def contract_check_specs(feed: Feed, asset: str) -> list[dg.AssetCheckSpec]:
    """Declare a feed's contract checks.

    Args:
        feed: The feed.
        asset: Key of its load asset, which the checks are shown at.
    """
    columns = ", ".join(f"{name} {kind}" for name, kind in feed.columns.items())
    whole = dg.AssetCheckSpec(
        contract_check_name(feed),
        asset=asset,
        description=f"Every landed file has exactly the columns {columns}, and only such values.",
    )
    rules = [
        dg.AssetCheckSpec(
            rule.name,
            asset=asset,
            description=f"In every row of every landed file: {rule.expression}",
        )
        for rule in feed.row_rules
    ]
    return [whole, *rules]


def judge_checks(
    feed: Feed,
    selected: Collection[dg.AssetCheckKey],
    ledger: Mapping[str, LedgerRow],
    landed: Collection[str],
) -> Iterator[dg.AssetCheckResult]:
    """Say which checks hold, by what the ledger says after a load.

    Args:
        feed: The feed.
        selected: The checks that the run is to report.
        ledger: The feed's ledger rows, by partition key.
        landed: Partition keys that have a landed file; a refused file that is gone counts no more.

    Yields:
        One result per check.
    """
    refused = {
        key: row.error or ""
        for key, row in ledger.items()
        if row.status == LoadStatus.REJECTED and key in landed
    }
    rules = [rule.name for rule in feed.row_rules]
    for check in sorted(selected, key=lambda check: check.name):
        rule = check.name if check.name in rules else ""
        of_check = {
            key: error for key, error in refused.items() if is_refused_for(error, rule, rules)
        }
        yield dg.AssetCheckResult(
            asset_key=check.asset_key,
            check_name=check.name,
            passed=not of_check,
            metadata={
                "refused_partitions": dg.MetadataValue.int(len(of_check)),
                "reasons": dg.MetadataValue.json(dict(list(of_check.items())[:20])),
            },
        )
