"""Checks of a feed: what must hold for its files and its table, and what a person should look at.

Takes a feed; returns one check for header and types, one per row rule, one that no row was lost,
one that table and landing agree, one that nothing in the folder is of no feed, warnings for late
and short files, and the results of all. Validation is done once, by the load; a check passes when
no landed file of the feed is refused because of it, whichever run refused it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import dagster as dg

from partitioned_etl.engine.arrivals import (
    USUAL_OF,
    list_overdue,
    list_short,
    list_unpunctual,
)
from partitioned_etl.engine.feed import LATE_FOR, Feed, OnUnmatched
from partitioned_etl.engine.formats.format import CONTRACT
from partitioned_etl.engine.landing.landing import Listing
from partitioned_etl.engine.unmatched import list_unmatched
from partitioned_etl.engine.warehouse.ledger import Ledger, LedgerRow, LoadStatus

_MOST_REASONS = 20
_MOST_DIFFERENCES = 50


class _CheckNames(NamedTuple):
    """The names of the checks that every feed has, if they apply to it."""

    matches_contract: str = "matches_contract"
    """The declared header, width, encoding and types."""
    rows_add_up: str = "rows_add_up"
    """Every row of a loaded file was loaded or rejected."""
    table_equals_landing: str = "table_equals_landing"
    """Landing, ledger, table and Dagster agree."""
    file_is_on_time: str = "file_is_on_time"
    """No recently due file is missing or late."""
    partition_is_of_usual_size: str = "partition_is_of_usual_size"
    """The latest load has about as many rows as usual."""
    every_file_is_matched: str = "every_file_is_matched"
    """Nothing lies in the feed's folder that is a file of no feed."""


CHECK_NAMES = _CheckNames()


def list_check_specs(feed: Feed, load_key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Declare a feed's checks.

    Args:
        feed: The feed.
        load_key: Its load asset, to which the checks belong.
    """
    columns = ", ".join(f"{name} {type_name}" for name, type_name in feed.column_types.items())
    described = {
        CHECK_NAMES.matches_contract: (
            f"Every landed file has exactly the columns {columns}, and only such values."
        ),
        **{
            rule.name: f"In every row of every landed file: {rule.expression}"
            for rule in feed.row_rules
        },
        CHECK_NAMES.rows_add_up: (
            "For every file, rows loaded plus rows rejected are the rows of the file."
        ),
        CHECK_NAMES.table_equals_landing: (
            "Landing, ledger, row counts of the table and Dagster's materialized partitions agree. "
            "What differs is named; the reconcile job repairs it."
        ),
        CHECK_NAMES.every_file_is_matched: (
            f"All that lies in folder `{feed.folder}/` is a file of this feed or of another one, "
            "hidden or temporary."
        ),
    }
    if feed.due_after is not None:
        described[CHECK_NAMES.file_is_on_time] = (
            f"Every file that was due in the last {LATE_FOR.days} days came in time, with its "
            "marker if the feed wants one, and alone for its partition. It is due "
            f"{feed.due_after} (h:mm:ss) after its period ends in {feed.timezone}."
        )
    if feed.is_series and feed.short_below_percent:
        described[CHECK_NAMES.partition_is_of_usual_size] = (
            f"What was loaded last has at least {feed.short_below_percent:g}% of the median of "
            f"rows of the {USUAL_OF} partitions before it."
        )
    return [
        dg.AssetCheckSpec(name, asset=load_key, description=description)
        for name, description in described.items()
    ]


@dataclass(frozen=True)
class CheckedState:
    """What checks are evaluated from.

    Attributes:
        feed: The feed.
        ledger: What the ledger knows of it.
        listing: Its files, as listed; a refused file that is gone no longer counts.
        expected: The partition keys that should eventually have a file.
        differences: Where landing, ledger, table and Dagster differ, one sentence each.
        brake: Why partitions whose files are gone are not removed; may be empty.
        others: The other feeds, which may have files in the feed's folder.
    """

    feed: Feed
    ledger: Ledger
    listing: Listing
    expected: Collection[str] = ()
    differences: Sequence[str] = ()
    brake: str = ""
    others: Sequence[Feed] = ()
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def evaluate(self, selected: Collection[dg.AssetCheckKey]) -> Iterator[dg.AssetCheckResult]:
        """Evaluate checks.

        Args:
            selected: The checks to evaluate.

        Yields:
            One result per check.
        """
        for check in sorted(selected, key=lambda check: check.name):
            match check.name:
                case CHECK_NAMES.rows_add_up:
                    yield self._sum_up(check)
                case CHECK_NAMES.table_equals_landing:
                    yield _result(check, not self.differences, self._describe_differences())
                case CHECK_NAMES.file_is_on_time:
                    late = self.list_unpunctual()
                    yield _warning(check, "late_or_missing_partitions", late)
                case CHECK_NAMES.partition_is_of_usual_size:
                    yield _warning(check, "short_partitions", list_short(self.feed, self.ledger))
                case CHECK_NAMES.every_file_is_matched:
                    yield self._list_unmatched(check)
                case _:
                    yield self._list_refused(check)

    def list_unpunctual(self) -> dict[str, str]:
        """Return the recently due partitions whose file is late or missing, each with a reason."""
        return list_unpunctual(self.feed, self.ledger, self.listing, self.expected, self.now)

    def list_overdue(self) -> dict[str, str]:
        """Return those of which nothing is loaded yet, each with a reason."""
        return list_overdue(self.feed, self.ledger, self.listing, self.expected, self.now)

    def _list_unmatched(self, check: dg.AssetCheckKey) -> dg.AssetCheckResult:
        found = list_unmatched(self.feed, self.listing.ignored, self.others)
        is_failure = self.feed.unmatched is OnUnmatched.FAIL
        severity = dg.AssetCheckSeverity.ERROR if is_failure else dg.AssetCheckSeverity.WARN
        metadata = _name_reasons("unmatched_entries", {one.name: one.reason for one in found})
        if self.listing.first_name:
            metadata["names_from"] = dg.MetadataValue.text(self.listing.first_name)
        return _result(check, not found, metadata, severity)

    def _list_refused(self, check: dg.AssetCheckKey) -> dg.AssetCheckResult:
        rules = [rule.name for rule in self.feed.row_rules]
        rule = check.name if check.name in rules else CONTRACT
        reasons: dict[str, str] = {}
        for row in self.ledger:
            if rule in row.broken_rules and self._is_refused(row):
                of_others = reasons.get(row.partition_key)
                told = [*([of_others] if of_others else []), row.error or ""]
                reasons[row.partition_key] = "; ".join(told)
        return _result(check, not reasons, _name_reasons("refused_partitions", reasons))

    def _is_refused(self, row: LedgerRow) -> bool:
        return row.status == LoadStatus.REFUSED and self.listing.is_there(row.source_file)

    def _sum_up(self, check: dg.AssetCheckKey) -> dg.AssetCheckResult:
        wrong = [row.partition_key for row in self.ledger if not row.adds_up]
        rejected_count = sum(row.rejected_count for row in self.ledger)
        metadata = {
            "rows": dg.MetadataValue.int(sum(row.row_count for row in self.ledger)),
            "rejected_rows": dg.MetadataValue.int(rejected_count),
            "partitions_that_do_not_add_up": dg.MetadataValue.json(wrong[:_MOST_REASONS]),
        }
        return _result(check, not wrong, metadata)

    def _describe_differences(self) -> dict[str, Any]:
        brakes = {"brake": dg.MetadataValue.text(self.brake)} if self.brake else {}
        return {
            "differences": dg.MetadataValue.int(len(self.differences)),
            "named": dg.MetadataValue.json(list(self.differences[:_MOST_DIFFERENCES])),
            **brakes,
        }


def _name_reasons(what: str, reasons: Mapping[str, str]) -> dict[str, Any]:
    return {
        what: dg.MetadataValue.int(len(reasons)),
        "reasons": dg.MetadataValue.json(dict(list(reasons.items())[:_MOST_REASONS])),
    }


def _result(
    check: dg.AssetCheckKey,
    passed: bool,
    metadata: Mapping[str, Any],
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=passed,
        metadata=metadata,
        severity=severity,
    )


def _warning(check: dg.AssetCheckKey, what: str, reasons: Mapping[str, str]) -> dg.AssetCheckResult:
    metadata = _name_reasons(what, reasons)
    return _result(check, not reasons, metadata, dg.AssetCheckSeverity.WARN)


def to_evaluation(result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    """Return a result as an event that is reported outside of the check's own step."""
    return dg.AssetCheckEvaluation(
        # Every result of this module names its asset.
        cast("dg.AssetKey", result.asset_key),
        result.check_name or "",
        result.passed,
        metadata=result.metadata,
        severity=result.severity,
    )
