"""Places: where a file lies that a person named, by a path, a name or a URL.

Takes the text and a landing's address; returns the file's path from the landing on, and its name in
a feed's folder. A path is one as the shell means it, if there is such a file, and otherwise one
from the landing on. What the name stands for belongs to the feed.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from partitioned_etl.engine.feed import Feed


def find_elsewhere(addresses: Iterable[Path | str], text: str) -> Path | None:
    """Return the path of a file that lies in none of these landings; None if it lies in one."""
    path = Path(text)
    if "://" in text or not path.is_file():
        return None
    if any(find_path_in(address, text) is not None for address in addresses):
        return None
    return Path(os.path.normpath(path.absolute()))


def find_path_in(address: Path | str, text: str) -> str | None:
    """Return a file's path from a landing on; None if it does not lie in it."""
    if isinstance(address, str):
        if "://" not in text:
            return None if Path(text).exists() else text
        return text.removeprefix(f"{address}/") if text.startswith(f"{address}/") else None
    path = Path(text)
    if "://" in text:
        return None
    if path.exists() or path.is_absolute():
        # The name itself may be a link, which is not followed: none is ever loaded.
        path, root = path.parent.resolve() / path.name, address.resolve()
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else None
    return os.path.normpath(text)


def is_file(address: Path | str, path: str) -> bool:
    """Return whether a landing is a folder, and has a file of this path in it."""
    return isinstance(address, Path) and os.path.lexists(address / path)


def find_name(feed: Feed, path: str | None) -> tuple[str, str]:
    """Return the file's name in a feed's folder, or why it has none."""
    if path is None:
        return "", "the file lies outside of its landing"
    folder = os.path.normpath(feed.folder)
    folder = "" if folder == "." else f"{folder}/"
    if not path.startswith(folder):
        return "", f"the file lies outside of its folder {folder}"
    return path.removeprefix(folder), ""
