"""Manifest: what was fetched of a source, and as which version; one line a file, in JSON.

It spares fetches, and tells what is gone at the source. It is no truth: if it is lost, everything
is fetched again, and what lies there already stays as it is. A line that a kill cut off counts for
nothing.
"""

import json
from typing import NamedTuple, Protocol

_SPARE_LINES = 1000


class Mark(NamedTuple):
    """What tells that a landed file is as it landed.

    Attributes:
        size_bytes: Its length.
        modified_ns: When it was written, in nanoseconds since 1970, by the place's own clock.
    """

    size_bytes: int
    modified_ns: int


class Noted(NamedTuple):
    """What is known of a file that was fetched.

    Attributes:
        version: What the listing said of it.
        validator: What the source returned for a later call.
        size_bytes: Its length in the landing.
        modified_ns: When it was written there, as in `Mark`.
        asked_at: When the source was last asked for it, in seconds since 1970.
    """

    version: str
    validator: str
    size_bytes: int
    modified_ns: int
    asked_at: float

    @property
    def mark(self) -> Mark:
        """What tells that its file is as it was fetched."""
        return Mark(self.size_bytes, self.modified_ns)


class ManifestStore(Protocol):
    """Where the lines of a manifest are kept."""

    def read(self) -> str:
        """Return all lines; nothing if there is no manifest."""
        ...

    def append(self, text: str) -> None:
        """Append lines, at once or with the next ones."""
        ...

    def replace(self, text: str) -> None:
        """Put lines in the place of all, at one moment."""
        ...

    def flush(self) -> None:
        """Write what was appended and is not written yet."""
        ...


class Manifest(dict[str, Noted]):
    """The files that were fetched, by their names."""

    def __init__(self, store: ManifestStore) -> None:
        super().__init__()
        self._store = store
        self._lines, self._is_cut_off = 0, False
        self._read()

    def note(self, name: str, noted: Noted | None) -> None:
        """Note a file, or with None that it is no more."""
        self.pop(name, None)
        if noted:
            self[name] = noted
        # A line that follows one that was cut off must not be lost with it.
        self._store.append(("\n" if self._is_cut_off else "") + _to_line(name, noted))
        self._lines, self._is_cut_off = self._lines + 1, False

    def compact(self) -> None:
        """Write it anew if most of its lines are of no use."""
        if self._lines <= 2 * len(self) + _SPARE_LINES:
            return
        self._store.replace("".join(_to_line(name, noted) for name, noted in self.items()))
        self._lines = len(self)

    def flush(self) -> None:
        """Have all of it written."""
        self._store.flush()

    def _read(self) -> None:
        text = self._store.read()
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
