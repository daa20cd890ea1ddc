"""Load folder: a folder for what one load writes aside, which is removed with it.

Takes the folder of all; gives one of its own to each load. A lock that ends with its process tells
whose loads live: what others left is removed by the next load.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, mkdtemp

_OF_A_LOAD = "load-"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def load_folder(root: Path) -> Iterator[Path]:
    """Give a folder for the time of one load, and remove what loads of dead processes left.

    Args:
        root: The folder that the folders of all loads are in; it is made if it does not exist.

    Raises:
        OSError: No folder can be made.
    """
    _clear(root)
    folder, lock = _make_locked(root)
    try:
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextmanager
def passing_load_folder(root: Path) -> Iterator[Path]:
    """Give a folder as `load_folder` does, and remove that of all with the last of them.

    Raises:
        OSError: No folder can be made.
    """
    try:
        with load_folder(root) as folder:
            yield folder
    finally:
        with suppress(OSError):  # others are in it
            root.rmdir()


@contextmanager
def folder_within(folder: Path) -> Iterator[Path]:
    """Give a folder in a load's folder, for what is of use to a part of the load."""
    with TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
        yield Path(name)


def _make_locked(root: Path) -> tuple[Path, int]:
    """Make a folder and lock it; another process may take it for a dead one's before the lock."""
    while True:
        root.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            folder = Path(mkdtemp(prefix=_OF_A_LOAD, dir=root))
            lock = os.open(folder, _DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError:  # a file system without locks; then nothing is ever taken for dead
                return folder, lock
            if os.path.lexists(folder):
                return folder, lock
            os.close(lock)


def _clear(root: Path) -> None:
    for folder in root.glob(f"{_OF_A_LOAD}*"):
        try:
            lock = os.open(folder, _DIRECTORY)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            rmtree(folder, ignore_errors=True)
        except OSError:
            pass  # its load is alive
        finally:
            os.close(lock)
