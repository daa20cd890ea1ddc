"""Place: what a place must be able to do that files are fetched to, or computed rows written to.

It lets whole files land under their names in a feed's place, and keeps beside the feeds' places
what is known of a feed's source. Each kind is a module; `places.py` lists them. Next: `mirror.py`
fetches, and `computed_rows.py` writes rows.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sources.manifest import Manifest, Mark

MANIFEST = "manifest.jsonl"
"""Its name among what is kept of a source."""
_STATE_FOLDER = ".sources"
"""The folder of the landing for what is kept of sources, beside those of the feeds."""


def state_folder_of(feed: Feed) -> str:
    """Return the folder of a landing for what is kept of a feed's source."""
    return f"{_STATE_FOLDER}/{quote(feed.name, safe='')}"


class FetchPlace(Protocol):
    """Where files of one feed land that are fetched or computed.

    A place that fails raises `OSError`, or `LandedFileError` if it is no folder.
    """

    def check(self) -> None:
        """Make sure that files may land there.

        Raises:
            SourceError: They may not.
        """
        ...

    def read_manifest(self) -> Manifest:
        """Read what was fetched."""
        ...

    def read(self, name: str) -> str:
        """Return a text that is kept beside the manifest; empty if there is none."""
        ...

    def keep(self, name: str, text: str) -> None:
        """Keep a text beside the manifest, in place of the one before; an empty one for none."""
        ...

    def alone(self) -> AbstractContextManager[Path]:
        """Give a folder for files on their way, to one fetch at a time where that is possible.

        What a fetch that was killed left there is removed.
        """
        ...

    def aside(self) -> AbstractContextManager[BinaryIO]:
        """Give a new file on its way, which nobody else removes; many may be at once."""
        ...

    def find_many(self, names: Iterable[str]) -> dict[str, Mark]:
        """Find landed files, by their names; those that are not there are left out."""
        ...

    def find_changed(self, versions: Mapping[str, str]) -> set[str]:
        """Find the landed files that are gone, or have other versions now, as a landing lists them.

        Args:
            versions: The version of each, by its name.
        """
        ...

    def land(self, path: Path, name: str) -> Mark:
        """Let a whole file land under a name, in place of the one before, at one moment.

        Where it lies there already with the same bytes, it may stay.

        Args:
            path: The file, in a folder or of `aside`, which may be gone afterwards.
            name: The name in the feed's place.

        Raises:
            SourceError: It would land elsewhere.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove a landed file, if it is there."""
        ...
