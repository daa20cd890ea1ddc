"""Object listing: which objects below a feed's prefix are its files.

Takes the objects that a bucket lists, whatever their order; returns what was found as in a folder
in which each slash of a key leads into a folder.
"""

from typing import TYPE_CHECKING

from partitioned_etl.engine.landing.bucket import Bucket, StoredObject
from partitioned_etl.engine.landing.landing import PassedOver, Place
from partitioned_etl.engine.landing.names import Bounds, Scan, is_hidden_or_temporary
from partitioned_etl.engine.list_since import find_name_before, is_left_out

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed


def scan_objects(
    feed: "Feed",
    bucket: Bucket,
    prefix: str,
    place: Place,
    bounds: Bounds | None = None,
    first_name: str = "",
) -> Scan:
    """Look at the objects below a prefix as at a feed's files.

    Args:
        feed: The feed.
        bucket: The bucket.
        prefix: What the keys of the feed's files begin with; empty, or with a slash at its end.
        place: The feed's place.
        bounds: What else decides whether the feed takes a file.
        first_name: Names that sort before it are not looked at; empty to look at all.

    Raises:
        LandedFileError: They cannot be listed.
    """
    scan = _ObjectScan(feed, place, len(prefix), bounds, first_name)
    is_empty = not first_name
    after = find_name_before(first_name) if first_name else ""
    for found in bucket.list_objects(prefix, after):
        is_empty = False
        scan.look_at(found)
    for found in bucket.find_empty(scan.doubtful):
        scan.take(found.key[len(prefix) :], found)
    if is_empty:
        scan.ignored.append(PassedOver(place.uri_of(""), "no object lies there"))
    return scan


class _ObjectScan(Scan):
    """One look at the objects below a feed's prefix.

    Attributes:
        doubtful: Empty objects that may be marks of folders.
    """

    def __init__(
        self,
        feed: "Feed",
        place: Place,
        prefix_length: int,
        bounds: Bounds | None,
        first_name: str,
    ) -> None:
        super().__init__(feed, place, bounds, first_name)
        self._prefix_length = prefix_length
        self._folders: dict[str, bool] = {}
        self.doubtful: list[StoredObject] = []

    def look_at(self, found: StoredObject) -> None:
        """Take an object, unless it is in a folder of no concern, or may be the mark of one."""
        name = found.key[self._prefix_length :]
        if is_left_out(name, self.first_name):
            return
        folder = name.rpartition("/")[0]
        # Many objects are in few folders.
        is_reached = self._folders.get(folder) if folder else True
        if name and (self._is_reached(name) if is_reached is None else is_reached):
            if found.size_bytes or self.feed.is_marker(name):
                self.take(name, found)
            else:
                self.doubtful.append(found)

    def _is_reached(self, name: str) -> bool:
        """Return whether all folders that lead to a name are such as may hold files."""
        depth, end = self.feed.file_names.depth, name.find("/")
        while end >= 0:
            folder = name[:end]
            if folder not in self._folders:
                self._folders[folder] = self._enter(folder, depth)
            if not self._folders[folder]:
                return False
            depth, end = depth - 1, name.find("/", end + 1)
        return True

    def _enter(self, folder: str, depth: int) -> bool:
        if self.take_marker(folder):
            return False
        if not depth:  # files are expected here, and it is none
            self.ignore(folder, "folder")
            return False
        return self.take_folder(folder)

    def take(self, name: str, found: StoredObject) -> None:
        """Take an object of a name for a file, a marker or something else."""
        if self.take_marker(name):
            return
        is_deep_enough = name.count("/") == self.feed.file_names.depth
        match = self.feed.file_names.match(name) if is_deep_enough else None
        if match is None or is_hidden_or_temporary(name.rpartition("/")[2]):
            self.ignore(name)
        else:
            self.add(match, found.version, found.size_bytes, found.modified_ns)
