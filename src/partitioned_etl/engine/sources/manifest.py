"""Manifest: what was fetched of a source, and as which version; one line a file, in JSON.

It spares fetches, and tells what is gone at the source. It is no truth: if it is lost, everything
is fetched again, and what lies there already stays as it is. A line that a kill cut off counts for
nothing.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

_SPARE_LINES = 1000


class Noted(NamedTuple):
    """What is known of a file that was fetched.

    Attributes:
        version: What the listing said of it.
        validator: What the source returned for a later call.
        size_bytes: Its length in the landing.
        modified_ns: When it was written there, by its own mtime.
        asked_at: When the source was last asked for it, in seconds since 1970.
    """

    version: str
    validator: str
    size_bytes: int
    modified_ns: int
    asked_at: float


class Manifest(dict[str, Noted]):
    """The files that were fetched, by their names.

    Attributes:
        path: The file that it is kept in.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._lines, self._is_cut_off = 0, False
        self._read()

    def note(self, name: str, noted: Noted | None) -> None:
        """Note a file, or with None that it is no more."""
        self.pop(name, None)
        if noted:
            self[name] = noted
        with self.path.open("a", encoding="utf-8") as file:
            # A line that follows one that was cut off must not be lost with it.
            file.write(("\n" if self._is_cut_off else "") + _to_line(name, noted))
        self._lines, self._is_cut_off = self._lines + 1, False

    def compact(self) -> None:
        """Write it anew if most of its lines are of no use."""
        if self._lines <= 2 * len(self) + _SPARE_LINES:
            return
        aside = self.path.with_suffix(".new")
        with aside.open("w", encoding="utf-8") as file:
            file.writelines(_to_line(name, noted) for name, noted in self.items())
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.path)
        self._lines = len(self)

    def _read(self) -> None:
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        self._is_cut_off = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            self._lines += 1
            try:
                name, *values = json.loads(line)
                self.pop(name, None)
                if values:
                    self[name] = _to_noted(*values)
            except (ValueError, TypeError):
                continue


def _to_noted(
    version: object, validator: object, size_bytes: int, modified_ns: int, asked_at: float
) -> Noted:
    return Noted(str(version), str(validator), int(size_bytes), int(modified_ns), float(asked_at))


def _to_line(name: str, noted: Noted | None) -> str:
    return json.dumps([name, *(noted or ())]) + "\n"
