"""Step 2, checks: what must hold for a feed's landed files, and what a person should look at.

Takes a feed; returns one check for header and types, one per row rule, one that no row was lost,
warnings for late and short files, and the results of all. Validation is done once, by the load in
`ingest/`; a check passes when no landed file of the feed is refused because of it, whichever run
refused it. Next: `loads.py`.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime

import dagster as dg

from partitioned_etl.ingest.arrivals import LATE_FOR, USUAL_OF, list_short, list_unpunctual
from partitioned_etl.ingest.feed import CONTRACT, Feed
from partitioned_etl.ingest.landing import Listing
from partitioned_etl.ingest.ledger import LedgerRow, LoadStatus


def contract_check_name(feed: Feed) -> str:
    """Return the name of the check for the declared header, width, encoding and types."""
    return f"{feed.name}_match_contract"


def sum_check_name(feed: Feed) -> str:
    """Return the name of the check that every row of a loaded file was loaded or rejected."""
    return f"{feed.name}_rows_add_up"


def on_time_check_name(feed: Feed) -> str:
    """Return the name of the check that no recently due file is missing or late."""
    return f"{feed.name}_file_is_on_time"


def size_check_name(feed: Feed) -> str:
    """Return the name of the check that the latest load has about as many rows as usual."""
    return f"{feed.name}_partition_is_of_usual_size"


def feed_check_specs(feed: Feed, asset: str) -> list[dg.AssetCheckSpec]:
    """Declare a feed's checks.

    Args:
        feed: The feed.
        asset: Key of its load asset, to which the checks belong.
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
    total = dg.AssetCheckSpec(
        sum_check_name(feed),
        asset=asset,
        description="For every partition, rows loaded plus rows rejected are the rows of its file.",
    )
    warnings = []
    if feed.due_after is not None:
        warnings.append(
            dg.AssetCheckSpec(
                on_time_check_name(feed),
                asset=asset,
                description=(
                    f"Every file that was due in the last {LATE_FOR.days} days came in time, with "
                    "its marker if the feed wants one, and alone for its partition. It is due "
                    f"{feed.due_after} (h:mm:ss) after its period ends in {feed.timezone}."
                ),
            )
        )
    if feed.is_series and feed.short_below_percent:
        warnings.append(
            dg.AssetCheckSpec(
                size_check_name(feed),
                asset=asset,
                description=(
                    f"What was loaded last has at least {feed.short_below_percent:g}% of the "
                    f"median of rows of the {USUAL_OF} partitions before it."
                ),
            )
        )
    return [whole, *rules, total, *warnings]


def judge_checks(
    feed: Feed,
    selected: Collection[dg.AssetCheckKey],
    ledger: Mapping[str, LedgerRow],
    listing: Listing,
    expected: Collection[str],
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate checks from the ledger after a load.

    Args:
        feed: The feed.
        selected: The checks to report.
        ledger: The feed's ledger rows, by partition key.
        listing: The feed's folder, as listed; a refused file that is gone no longer counts.
        expected: The partition keys that should eventually have a file.

    Yields:
        One result per check.
    """
    refused = {
        key: row
        for key, row in ledger.items()
        if row.status == LoadStatus.REJECTED and key in listing.files
    }
    rules = [rule.name for rule in feed.row_rules]
    for check in sorted(selected, key=lambda check: check.name):
        if check.name == sum_check_name(feed):
            yield _judge_sums(check, ledger)
            continue
        if check.name == on_time_check_name(feed):
            unpunctual = list_unpunctual(feed, ledger, listing, expected, datetime.now(UTC))
            yield _warn(check, "late_or_missing", unpunctual)
            continue
        if check.name == size_check_name(feed):
            yield _warn(check, "short", list_short(feed, ledger))
            continue
        rule = check.name if check.name in rules else CONTRACT
        of_check = {
            key: row.error or "" for key, row in refused.items() if rule in row.broken_rules
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


def _warn(check: dg.AssetCheckKey, what: str, reasons: Mapping[str, str]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=not reasons,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            f"{what}_partitions": dg.MetadataValue.int(len(reasons)),
            "reasons": dg.MetadataValue.json(dict(list(reasons.items())[:20])),
        },
    )


def _judge_sums(check: dg.AssetCheckKey, ledger: Mapping[str, LedgerRow]) -> dg.AssetCheckResult:
    rejected_count = sum(row.rejected_count for row in ledger.values())
    wrong = [key for key, row in ledger.items() if not row.adds_up]
    return dg.AssetCheckResult(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=not wrong,
        metadata={
            "rows": dg.MetadataValue.int(sum(row.row_count for row in ledger.values())),
            "rejected_rows": dg.MetadataValue.int(rejected_count),
            "partitions_that_do_not_add_up": dg.MetadataValue.json(wrong[:20]),
        },
    )
