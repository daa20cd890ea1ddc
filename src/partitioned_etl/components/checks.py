"""Checks of a feed: what must hold for its files and its table, and what a person should look at.

Takes a feed; returns one check for header and types, one per row rule, one that no row was lost,
one that table and landing agree, one that nothing in the folder is of no feed, warnings for late
and short files, and the results of all, each with its reason as description. Validation is done
once, by the load; a check passes when no landed file of the feed is refused because of it,
whichever run refused it.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import dagster as dg

from partitioned_etl.components.check_results import (
    MOST_REASONS,
    describe_reasons,
    describe_result,
    warn_of_reasons,
)
from partitioned_etl.components.markdown import list_reasons, list_sentences
from partitioned_etl.engine.arrivals import (
    USUAL_OF,
    list_overdue,
    list_short,
    list_unpunctual,
)
from partitioned_etl.engine.feed import LATE_FOR, Feed, OnUnmatched
from partitioned_etl.engine.landing.landing import Listing
from partitioned_etl.engine.unmatched import list_unmatched
from partitioned_etl.engine.warehouse.ledger import Ledger, LedgerRow, LoadStatus

_MOST_DIFFERENCES = 50


class _CheckNames(NamedTuple):
    """The names of the checks that every feed has, if they apply to it."""

    matches_contract: str = "matches_contract"
    """No landed file is refused, for whatever reason."""
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
            f"Every landed file has exactly the columns {columns}, only such values, no row that "
            "breaks a rule, and can be used for a partition. Otherwise it is refused."
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
                case CHECK_NAMES.matches_contract:
                    yield self._list_refused(check)
                case CHECK_NAMES.rows_add_up:
                    yield self._sum_up(check)
                case CHECK_NAMES.table_equals_landing:
                    yield self._name_differences(check)
                case CHECK_NAMES.file_is_on_time:
                    late, said = self.list_unpunctual(), "No recently due file is late or missing."
                    yield warn_of_reasons(check, "late_or_missing_partitions", late, said)
                case CHECK_NAMES.partition_is_of_usual_size:
                    short = list_short(self.feed, self.ledger)
                    said = "The latest load is not short of rows."
                    yield warn_of_reasons(check, "short_partitions", short, said)
                case CHECK_NAMES.every_file_is_matched:
                    yield self._list_unmatched(check)
                case _:
                    yield self._list_refused(check, check.name)

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
        reasons = {one.name: one.reason for one in found}
        said = "Nothing in the folder is a file of no feed."
        result = describe_reasons(check, "unmatched_entries", reasons, said, severity)
        if not self.listing.first_name:
            return result
        names_from = dg.MetadataValue.text(self.listing.first_name)
        return result.with_metadata({**(result.metadata or {}), "names_from": names_from})

    def _find_refused(self, rule: str = "") -> dict[str, str]:
        """Return why landed files are refused, by partition; a rule limits it to what breaks it."""
        refused = [
            (row.partition_key, row.error or "")
            for row in self.ledger
            if self._is_refused(row) and (not rule or rule in row.broken_rules)
        ]
        if not rule:
            refused += [
                (entry.partition_key, f"{entry.name}: {entry.reason}")
                if entry.partition_key
                else (entry.name, entry.reason)
                for entry in self.listing.refused
            ]
        reasons: dict[str, str] = {}
        for key, reason in refused:
            reasons[key] = f"{reasons[key]}; {reason}" if key in reasons else reason
        return reasons

    def _list_refused(self, check: dg.AssetCheckKey, rule: str = "") -> dg.AssetCheckResult:
        said = "No landed file breaks it." if rule else "No landed file is refused."
        return describe_reasons(check, "refused_partitions", self._find_refused(rule), said)

    def _is_refused(self, row: LedgerRow) -> bool:
        return row.status == LoadStatus.REFUSED and self.listing.is_there(row.source_file)

    def _sum_up(self, check: dg.AssetCheckKey) -> dg.AssetCheckResult:
        wrong = {
            row.partition_key: (
                f"{row.source_file} has {row.file_row_count or 0:,} rows; {row.row_count:,} are "
                f"loaded and {row.rejected_count:,} rejected"
            )
            for row in self.ledger
            if not row.adds_up
        }
        row_count = sum(row.row_count for row in self.ledger)
        rejected_count = sum(row.rejected_count for row in self.ledger)
        metadata = {
            "rows": dg.MetadataValue.int(row_count),
            "rejected_rows": dg.MetadataValue.int(rejected_count),
            "partitions_that_do_not_add_up": dg.MetadataValue.json([*wrong][:MOST_REASONS]),
        }
        said = f"The files have {row_count:,} rows that are loaded and {rejected_count:,} rejected."
        if wrong:
            said = list_reasons("Rows do not add up:", wrong)
        return describe_result(check, not wrong, said, metadata)

    def _name_differences(self, check: dg.AssetCheckKey) -> dg.AssetCheckResult:
        brakes = {"brake": dg.MetadataValue.text(self.brake)} if self.brake else {}
        metadata = {
            "differences": dg.MetadataValue.int(len(self.differences)),
            "named": dg.MetadataValue.json(list(self.differences[:_MOST_DIFFERENCES])),
            **brakes,
        }
        said = "Landing, ledger, table and Dagster agree."
        if self.differences:
            sentences = [*([self.brake] if self.brake else []), *self.differences]
            said = list_sentences(f"Differences: {len(self.differences):,}", sentences)
        return describe_result(check, not self.differences, said, metadata)
