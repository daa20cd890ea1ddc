"""Prometheus: the status of feeds as text that a collector reads.

Takes statuses; returns metrics in the text format of Prometheus. Each is a gauge with a label for
its feed: they tell how it is now, and whoever collects them keeps what was.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from partitioned_etl.engine.feed_status import FeedStatus

METRICS: Mapping[str, str] = {
    "feed_up": "Whether the feed is declared soundly and could be looked at.",
    "files": "Files by their state in a plan; missing and stale ones are in the ledger alone.",
    "partitions": "Partitions that the table holds.",
    "rows": "Rows that the table holds.",
    "rejected_rows": "Rows of loaded files that went to rejected_rows instead.",
    "refused_files": "Files that are refused, and keys that no file can be named after.",
    "waiting_files": "Files that have landed and are not loaded, and keys to compute.",
    "oldest_waiting_seconds": "For how long the oldest of the files has waited; 0 if none waits.",
    "late_partitions": "Partitions that were due in the last days and of which nothing is loaded.",
    "unmatched_entries": "Entries of the feed's folder that are a file of no feed.",
    "unfetched_files": "Files that the latest fetch from the feed's source could not fetch.",
    "stale_files": "Files in the ledger that the feed cannot name any more.",
    "failed_files": "Files and keys whose runs failed too often; by --fail-on failed.",
    "last_load_timestamp_seconds": "When a file was last loaded, in seconds since 1970.",
    "last_load_age_seconds": "How long ago that was, when this was written.",
}
"""What is told, by its name without the prefix."""
_PREFIX = "partitioned_etl_"


def render_metrics(names: Sequence[str], statuses: Iterable[FeedStatus]) -> str:
    """Return the metrics of feeds.

    Args:
        names: All feeds that were asked for; one without a status is down.
        statuses: The status of those that could be looked at.

    Returns:
        The text, without a line end at its end.
    """
    by_name, now = {status.feed: status for status in statuses}, time.time()
    told = {
        name: dict(_measure(by_name[name], now)) if name in by_name else {("feed_up", ""): 0}
        for name in dict.fromkeys(names)
    }
    lines = []
    for metric, text in METRICS.items():
        of_metric = [
            f"{_PREFIX}{metric}{{{_label(feed=name, state=state)}}} {value}"
            for name, values in told.items()
            for (of, state), value in values.items()
            if of == metric
        ]
        if of_metric:
            lines += [f"# HELP {_PREFIX}{metric} {text}", f"# TYPE {_PREFIX}{metric} gauge"]
            lines += of_metric
    return "\n".join(lines)


def _measure(status: FeedStatus, now: float) -> Iterator[tuple[tuple[str, str], float]]:
    """Yield the values of a feed, by metric and state."""
    for state, count in status.files.items():
        yield ("files", state), count
    values: dict[str, float] = {
        "feed_up": 1,
        "partitions": status.partitions,
        "rows": status.rows,
        "rejected_rows": status.rejected_rows,
        "refused_files": len(status.refused),
        "waiting_files": status.waiting,
        "oldest_waiting_seconds": status.oldest_waiting_seconds or 0,
        "late_partitions": len(status.late),
        "unmatched_entries": len(status.unmatched),
        "unfetched_files": len(status.not_fetched),
        "stale_files": len(status.stale),
    }
    if status.failed is not None:
        values["failed_files"] = len(status.failed)
    if status.last_load:
        loaded_at = status.last_load.timestamp()
        values["last_load_timestamp_seconds"] = round(loaded_at, 3)
        values["last_load_age_seconds"] = round(max(0.0, now - loaded_at), 3)
    for metric, value in values.items():
        yield (metric, ""), value


def _label(**labels: str) -> str:
    return ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items() if text)


def _escape(text: str) -> str:
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    # A lone surrogate, as in an undecodable name, cannot be written.
    return escaped.encode("utf-8", "replace").decode("utf-8")
