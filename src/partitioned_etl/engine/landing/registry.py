"""Registry: which landing a directory stands for. A new kind is a module and a line here."""

from pathlib import Path

from partitioned_etl.engine.landing.landing import Landing
from partitioned_etl.engine.landing.local import LocalLanding


def connect_landing(directory: Path, settle_seconds: float) -> Landing:
    """Return the landing of a directory.

    Args:
        directory: The landing directory, with one folder per feed.
        settle_seconds: How long a file must be unchanged before it is loaded.
    """
    return LocalLanding(directory, settle_seconds)
