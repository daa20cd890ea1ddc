"""Archive: a compressed Parquet copy of each loaded partition, for readers without the database.

Takes a table on a warehouse that is open for the archive's folder; returns one file per partition,
replaced as a whole. It is made from the table, not from the landed file.
"""

import hashlib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from partitioned_etl.engine.feed import Feed, OnMissing
from partitioned_etl.engine.warehouse.warehouse import FeedTable

SUFFIX = ".parquet"
_MAX_NAME_CHARS = 150


@dataclass(frozen=True)
class ArchivedFile:
    """The copy of one partition.

    Attributes:
        path: Its path.
        row_count: Its number of rows.
        size_bytes: Its size.
    """

    path: Path
    row_count: int
    size_bytes: int


def archive_file_name(partition_key: str) -> str:
    """Return the file name of a partition's copy, for any key.

    Letters, digits, `.`, `_`, `-` and `~` are kept, except a leading dot; everything else is
    escaped, as in `%2F`. No two keys share a name, and no name leaves its folder or is hidden.

    Args:
        partition_key: Any text.
    """
    name = quote(partition_key.encode("utf-8", "surrogatepass"), safe="")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) > _MAX_NAME_CHARS:
        # No key yields a plus sign, so a short key cannot get the name of a long one.
        digest = hashlib.sha256(name.encode()).hexdigest()
        name = f"{name[:_MAX_NAME_CHARS]}+{digest}"
    return name + SUFFIX


def write_archive(table: FeedTable, keys: Sequence[str], folder: Path) -> dict[str, ArchivedFile]:
    """Write copies of partitions, each atomically: a reader finds the old one or the new one.

    Args:
        table: The feed's table, on a warehouse whose sandbox is the archive's folder.
        keys: Keys of loaded partitions.
        folder: The feed's folder in the archive; it is created if it does not exist.

    Returns:
        What was written, by partition key.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for key in keys:
        path = folder / archive_file_name(key)
        temporary = path.with_name(f".{path.name}.part")
        row_count = table.write_parquet(key, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        size_bytes = temporary.stat().st_size
        temporary.replace(path)
        written[key] = ArchivedFile(path, row_count, size_bytes)
    return written


def remove_archived_files(feed: Feed, folder: Path, keep: Collection[str]) -> list[Path]:
    """Remove copies of partitions that no longer exist, if the feed's policy removes partitions.

    Args:
        feed: The feed; under its policy `keep`, copies stay forever.
        folder: The feed's folder in the archive.
        keep: Keys of all partitions that are loaded or have a landed file.

    Returns:
        What was removed.
    """
    if feed.on_missing is OnMissing.KEEP or not folder.is_dir():
        return []
    kept = {archive_file_name(key) for key in keep}
    gone = [path for path in sorted(folder.glob(f"*{SUFFIX}")) if path.name not in kept]
    for path in gone:
        path.unlink(missing_ok=True)
    return gone
