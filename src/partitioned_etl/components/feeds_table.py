"""Feeds table: all feeds with their state, as the web UI shows a table, and what to look at.

Takes the status of each feed, from `engine/feed_status.py`, or why there is none; returns metadata
of the asset `arrivals`. The web UI shows the cells of a table as they are: no text can act there.
"""

from collections.abc import Iterator, Mapping

import dagster as dg

from partitioned_etl.components.markdown import list_sentences
from partitioned_etl.engine.feed_status import COUNTS, FeedStatus

_COLUMNS = {
    "feed": "string",
    "state": "string",
    "partitions": "int",
    "rows": "int",
    "last load": "string",
    "waiting": "int",
    "refused": "int",
    "unmatched": "int",
    "late": "int",
}


def show_feeds(found: Mapping[str, FeedStatus | str]) -> dg.TableMetadataValue:
    """Return a table with a row for each feed.

    Args:
        found: By the feed's name, its status or why it could not be looked at.
    """
    records = [dg.TableRecord(_describe(name, status)) for name, status in found.items()]
    schema = dg.TableSchema([dg.TableColumn(name, kind) for name, kind in _COLUMNS.items()])
    return dg.MetadataValue.table(records, schema)


def list_what_to_look_at(found: Mapping[str, FeedStatus | str]) -> dict[str, dg.MetadataValue]:
    """Return a list of what a person has to look at, as metadata; none if there is nothing."""
    reasons = [f"{name}: {one}" for name, of in found.items() for one in _list_reasons(of)]
    if not reasons:
        return {}
    return {"look_at": dg.MetadataValue.md(list_sentences("To look at:", reasons))}


def _describe(name: str, status: FeedStatus | str) -> dict[str, str | int | float | bool | None]:
    if isinstance(status, str):
        return {**dict.fromkeys(_COLUMNS, ""), "feed": name, "state": "unknown"}
    counts = {state: count(status) for state, count in COUNTS.items() if count(status)}
    quiet = "loaded" if status.partitions else "nothing has come yet"
    return {
        "feed": name,
        "state": ", ".join(f"{count:,} {state}" for state, count in counts.items()) or quiet,
        "partitions": status.partitions,
        "rows": status.rows,
        "last load": f"{status.last_load:%Y-%m-%d %H:%M} UTC" if status.last_load else "never",
        "waiting": status.waiting,
        "refused": len(status.refused),
        "unmatched": len(status.unmatched),
        "late": len(status.late),
    }


def _list_reasons(status: FeedStatus | str) -> Iterator[str]:
    """Yield what a person has to look at of a feed, and why."""
    if isinstance(status, str):
        yield status
        return
    yield from (one.reason for one in status.refused)
    yield from (f"{one.partition_key}: {one.reason}" for one in status.late)
    yield from (f"{one.file}: {one.reason}" for one in (*status.unmatched, *status.not_fetched))
    yield from (f"{name}: the feed cannot name it any more" for name in status.stale)
