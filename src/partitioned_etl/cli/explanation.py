"""Explanation: what one feed makes of one file, and how a person reads it.

Takes what `explain.py` found out; prints it, feed by feed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import click

from partitioned_etl.cli.output import print_table, show
from partitioned_etl.engine.trial import RuleVerdict, Verdict


@dataclass(frozen=True)
class Explanation:
    """What one feed makes of the file.

    Attributes:
        feed: The feed.
        takes: Whether the file is one of the feed's, by its folder and name.
        reason: Why not; or why the feed, although it takes it, does not load it.
        name: The file's name in the feed's folder.
        partition_key: Its partition.
        part: Which part of the partition it is, if the feed has parts.
        size_bytes: Its length.
        landed_at: When it last changed, in UTC.
        ready: Whether it may be read: settled, and with its marker; or why not.
        window: Begin and end of its partition's period, in UTC.
        due_at: When it is due, in UTC.
        ledger: What the ledger knows of the file or, if nothing, of its partition.
        state: How it compares with the ledger.
        next: What the next tick does with it.
        row_count: Its rows.
        rejected_rows: Those of them that a load would put aside.
        verdicts: What became of each rule of the contract.
        sample: Its first rows, if it can be loaded.
    """

    feed: str
    takes: bool = False
    reason: str = ""
    name: str = ""
    partition_key: str = ""
    part: str = ""
    size_bytes: int | None = None
    landed_at: datetime | None = None
    ready: str = ""
    window: tuple[datetime, datetime] | None = None
    due_at: datetime | None = None
    ledger: list[str] = field(default_factory=list)
    state: str = ""
    next: str = ""
    row_count: int | None = None
    rejected_rows: int | None = None
    verdicts: list[RuleVerdict] = field(default_factory=list)
    sample: list[dict[str, object]] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether the feed takes the file, and loads it or has loaded it."""
        would_load = self.takes and self.row_count is not None and self.next != "refuse"
        return would_load and self.state not in ("refused", "ignored")


def print_explanations(text: str, told: Sequence[Explanation]) -> None:
    """Print what feeds make of a file; those that take it come first."""
    takers = [one for one in told if one.takes]
    if not takers:
        click.echo(show(f"{text}: no feed takes it."))
    for one in takers:
        click.echo(show(f"{text}: feed {one.feed} takes it."))
        for label, value in _list_facts(one):
            click.echo(show(f"  {label:<14} {value}"))
        if one.verdicts:
            click.echo("\nRules:")
        for verdict in one.verdicts:
            is_failed = verdict.verdict is Verdict.FAILED
            mark = str(verdict.verdict).upper() if is_failed else str(verdict.verdict)
            click.echo(show(f"  {mark:<12} {verdict.rule}: {verdict.about}"))
            for problem in verdict.problems:
                click.echo(show(f"  {'':<12}   {problem}"))
        if one.sample:
            click.echo(f"\nThe first of {one.row_count or 0:,} rows:")
            print_table([[*row.values()] for row in one.sample], [*one.sample[0]])
    if others := [one for one in told if not one.takes]:
        click.echo("\nOther feeds do not take it:" if takers else "")
        for one in others:
            click.echo(show(f"  {one.feed}: {one.reason}"))


def _list_facts(one: Explanation) -> Iterator[tuple[str, object]]:
    """Yield what there is to say of a file, each with a label."""
    window = " to ".join(map(show, one.window)) if one.window else ""
    facts: list[tuple[str, object]] = [
        ("partition key", one.partition_key),
        ("part", one.part),
        ("period", window),
        ("due at", show(one.due_at)),
        ("landed at", show(one.landed_at)),
        ("bytes", "" if one.size_bytes is None else f"{one.size_bytes:,}"),
        ("ready", one.ready),
        *(("ledger", row) for row in one.ledger),
        ("state", one.state),
        ("next", f"{one.next}: {one.reason}" if one.reason else one.next),
        ("rows", "" if one.row_count is None else f"{one.row_count:,}"),
        ("rejected rows", f"{one.rejected_rows:,}" if one.rejected_rows else ""),
    ]
    yield from ((label, value) for label, value in facts if value != "")
