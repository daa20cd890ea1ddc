"""Explain: what the feeds make of one file, without loading it.

Takes a path, a name or a URL; prints which feed takes it and why others do not, what the next tick
does with it, and what became of each rule of its contract. The file is read as a load reads it, by
`engine/trial.py`; what the names say, and what would happen, is told by the same code as for all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import click
import dagster as dg

from partitioned_etl.cli.explanation import Explanation, print_explanations
from partitioned_etl.cli.location import ChosenFeeds, choose_feeds, look_at_each, open_instance
from partitioned_etl.cli.output import print_json, show
from partitioned_etl.cli.places import find_elsewhere, find_name, find_path_in, is_file
from partitioned_etl.cli.plan import list_planned_files, make_next_agenda
from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.engine.arrivals import due_at
from partitioned_etl.engine.errors import LandedFileError, PartitionKeyError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import LandedFile, Landing
from partitioned_etl.engine.landing.names import is_hidden_or_temporary, to_printable, why_ignored
from partitioned_etl.engine.plan import Plan
from partitioned_etl.engine.settings import Settings
from partitioned_etl.engine.trial import land_copy, try_file
from partitioned_etl.engine.warehouse.ledger import LedgerRow


def explain_file(text: str, names: Sequence[str], *, as_json: bool) -> int:
    """Print what the feeds make of one file.

    Args:
        text: Its path, its name in the landing directory, or its URL.
        names: The feeds that are asked; none for all.
        as_json: Whether to print JSON.

    Returns:
        0 if one feed takes it, and it breaks no rule; 1 if not, or a feed cannot be loaded; 2 if a
        feed's landing could not be looked at.

    Raises:
        FeedDefinitionError: There is no such feed.
        LandedFileError: There is no such file.
        WarehouseError: The warehouse cannot be opened.
    """
    settings, chosen = Settings(), choose_feeds(names)
    addresses = (chosen.landing_address_of(assets.feed) for assets in chosen.feeds)
    elsewhere = find_elsewhere(addresses, text)
    if elsewhere and len(chosen.feeds) + len(chosen.mistakes) != 1:
        raise click.UsageError(
            "the file lies in no feed's landing: say by --feed NAME whose it would be"
        )
    with open_instance() as instance:
        look = _Look(chosen, settings, instance, text, elsewhere)
        told, code = look_at_each(chosen.feeds, look.ask)
    chosen.report_mistakes()
    if not (look.is_there or any(one.takes for one in told) or code):
        raise LandedFileError(f"there is no file {text!a}, here or in {settings.landing_dir}")
    if as_json:
        print_json({"file": text, "feeds": [asdict(one) for one in told]})
    else:
        print_explanations(text, told)
    takers = [one for one in told if one.takes]
    is_sound = len(takers) == 1 and takers[0].is_sound
    return code or int(not is_sound or bool(chosen.mistakes))


@dataclass
class _Look:
    """One look at a file, feed by feed.

    Attributes:
        chosen: The code location.
        settings: The settings.
        instance: The Dagster instance.
        text: The file, as it was named.
        elsewhere: Its path, if it lies in no landing.
        is_there: Whether a file of that name was seen at all.
    """

    chosen: ChosenFeeds
    settings: Settings
    instance: dg.DagsterInstance
    text: str
    elsewhere: Path | None
    is_there: bool = False

    def ask(self, assets: FeedAssets) -> Explanation:
        """Return what a feed makes of the file."""
        feed = assets.feed
        if self.elsewhere:
            self.is_there = True
            name = "/".join(self.elsewhere.parts[-1 - feed.file_names.depth :])
        else:
            address = self.chosen.landing_address_of(feed)
            path = find_path_in(address, self.text)
            self.is_there |= path is not None and is_file(address, path)
            name, reason = find_name(feed, path)
            if reason:
                return Explanation(feed.name, reason=reason)
        if reason := _why_not_taken(feed, name):
            return Explanation(feed.name, reason=reason)
        key = feed.partition_key_of(name)
        told = Explanation(
            feed.name,
            takes=True,
            name=name,
            partition_key=key,
            part=feed.file_names.part_of(name) if feed.file_names.has_parts else "",
            window=feed.window_of(key),
            due_at=due_at(feed, key),
        )
        if self.elsewhere:
            return self._try_elsewhere(assets, self.elsewhere, told)
        return self._look_in_landing(assets, told)

    def _look_in_landing(self, assets: FeedAssets, told: Explanation) -> Explanation:
        feed, landing = assets.feed, self.chosen.landing_of(assets.feed)
        agenda = make_next_agenda(self.chosen, assets, self.instance, self.settings)
        for planned in list_planned_files(feed.name, agenda, self.settings):
            if planned.file in (told.name, to_printable(told.name)):
                break
        else:
            return Explanation(feed.name, reason="no such file has landed")
        self.is_there = True
        file = _find_landed(agenda.plan, told)
        told = replace(
            told,
            state=planned.state,
            next=planned.next,
            reason=planned.reason,
            ledger=list(_describe_ledger(agenda.plan, told)),
        )
        if file is None:
            return told
        marker = ", with its marker" if feed.done_suffix or feed.done_names else ""
        ready = file.why_not_ready(landing.settle_seconds) or f"settled{marker}"
        return _try(feed, landing, file, replace(told, ready=ready))

    def _try_elsewhere(self, assets: FeedAssets, path: Path, told: Explanation) -> Explanation:
        feed, warehouse, rows = assets.feed, self.chosen.warehouse, list[LedgerRow]()
        reason = assets.partitions.list_windows().why_outside(told.partition_key)
        if warehouse.exists():
            with warehouse.open_read_only() as opened:
                ledger = opened.table(feed).read_ledger()
            rows = ledger.by_key.get(told.partition_key, [])
        told = replace(
            told,
            state="elsewhere",
            next="refuse" if reason else "load",
            reason=reason,
            ledger=list(map(_describe_row, rows)),
        )
        with land_copy(feed, path) as (landing, file):
            return _try(feed, landing, file, told)


def _try(feed: Feed, landing: Landing, file: LandedFile, told: Explanation) -> Explanation:
    """Add what a load would make of a file."""
    trial = try_file(feed, landing, file)
    outcome, survey = trial.outcome, trial.outcome.survey
    broken = "" if outcome.is_loaded else outcome.reason
    return replace(
        told,
        reason=told.reason or broken,
        next="refuse" if broken and told.next == "load" else told.next,
        size_bytes=file.size_bytes,
        landed_at=datetime.fromtimestamp(file.landed_ns / 1e9, UTC) if told.ready else None,
        row_count=None if broken or survey is None else survey.row_count,
        rejected_rows=outcome.rejected_count if outcome.is_loaded else None,
        verdicts=trial.verdicts,
        sample=[dict(zip(feed.columns, row, strict=False)) for row in trial.sample],
    )


def _why_not_taken(feed: Feed, name: str) -> str:
    """Return why a file is none of a feed's, by its name; empty if it is one."""
    last = name.rpartition("/")[2]
    if feed.is_marker(name):
        return "it is a marker, and says that another file is complete"
    if is_hidden_or_temporary(last) or not feed.file_names.match(name):
        return why_ignored(feed, last)
    try:
        feed.partition_key_of(name)
    except PartitionKeyError as error:
        return str(error)
    return ""


def _find_landed(plan: Plan, told: Explanation) -> LandedFile | None:
    if step := plan.steps.get(told.name):
        return step.file
    unchanged = plan.unchanged.list_files([told.partition_key])
    return next((file for file in unchanged if file.name == told.name), None)


def _describe_ledger(plan: Plan, told: Explanation) -> Iterator[str]:
    """Yield what the ledger knows of a file or, if nothing, of its partition."""
    name, of_key = told.name, plan.ledger.by_key.get(told.partition_key, [])
    of_file = [row for row in of_key if row.source_file == name]
    yield from map(_describe_row, of_file or of_key)
    for unchanged in plan.unchanged if not of_key and plan.unchanged.count else ():
        if unchanged.name == name:
            loaded_at = show(unchanged.loaded_at)
            yield f"{name}: loaded, {unchanged.row_count:,} rows, at {loaded_at}"


def _describe_row(row: LedgerRow) -> str:
    parts = [f"{row.source_file}: {row.status}"]
    if row.loaded_at:
        parts.append(f"{row.row_count:,} rows, at {show(row.loaded_at)}")
    if row.rejected_count:
        parts.append(f"{row.rejected_count:,} rejected rows")
    if row.error:
        parts.append(row.error)
    if row.run_id:
        parts.append(f"run {row.run_id}")
    return ", ".join(parts)
