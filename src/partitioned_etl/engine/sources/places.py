"""Places: which place a landing's address stands for that files are fetched to.

A new kind is a module and a line here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from partitioned_etl.engine.errors import LandedFileError, SettingError, SourceError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.object_store import ObjectLanding
from partitioned_etl.engine.landing.registry import connect_landing
from partitioned_etl.engine.landing_address import parse_address
from partitioned_etl.engine.settings import Settings
from partitioned_etl.engine.sources.bucket_place import BucketPlace
from partitioned_etl.engine.sources.folder_place import FolderPlace
from partitioned_etl.engine.sources.place import FetchPlace


def find_place(feed: Feed, address: Path | str) -> FetchPlace:
    """Return where files of a feed land that are fetched or computed.

    Args:
        feed: The feed.
        address: Its landing, a folder or a URL of object storage.

    Raises:
        SourceError: The address makes no sense, or what it needs is not installed, or not set.
    """
    if isinstance(address, Path):
        return FolderPlace.of(feed, address)
    try:
        landing = connect_landing(address, 0.0)
        if isinstance(landing, ObjectLanding):
            return BucketPlace.of(feed, landing)
    except (SettingError, LandedFileError) as error:
        reason = str(error).removeprefix(f"feed {feed.name}: ")
        raise SourceError(f"feed {feed.name}: {reason}") from None
    return FolderPlace.of(feed, Path(address))


@contextmanager
def landing_may_fail(feed: Feed, address: Path | str) -> Iterator[None]:
    """Say of an error of a feed's landing whose and which landing it is; all others pass by.

    Raises:
        SourceError: The landing failed. A bucket may be reached again by itself.
    """
    try:
        yield
    except OSError as error:
        is_url = isinstance(parse_address(str(address)), str)
        where = Settings().staging_dir if is_url else address
        what = error.strerror or type(error).__name__
        raise SourceError(f"feed {feed.name}: {where} cannot be written to: {what}") from None
    except LandedFileError as error:
        raise SourceError(f"feed {feed.name}: {error}", may_pass=True) from None
