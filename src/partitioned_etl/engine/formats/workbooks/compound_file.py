"""Compound files: the streams in a file of the kind that .xls is (MS-CFB).

Takes the bytes of a file; returns those of one stream. The file may be damaged in any way: every
chain of sectors ends after at most as many as the file has.
"""

from struct import error, unpack_from

from partitioned_etl.engine.errors import ContractError

MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_END = 0xFFFFFFFA
"""This and all above it are no sectors."""
_STREAM, _ROOT = 2, 5


class CompoundFile:
    """The streams of a compound file.

    Raises:
        ContractError: The file is damaged.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        try:
            self._read()
        except (error, IndexError, ValueError):
            raise damaged() from None

    def _read(self) -> None:
        data = self._data
        shift, mini_shift = unpack_from("<HH", data, 30)
        if shift not in (9, 12) or mini_shift != 6:
            raise damaged()
        self._size, self._mini_size = 1 << shift, 1 << mini_shift
        directory, self._cutoff, mini_fat, _, more, count = unpack_from("<I4xIIIII", data, 48)
        sectors = [each for each in unpack_from("<109I", data, 76) if each < _END]
        for _ in range(min(count, self._sector_count)):
            if more >= _END:
                break
            *found, more = unpack_from(f"<{self._size // 4}I", data, self._offset(more))
            sectors += [each for each in found if each < _END]
        self._fat: list[int] = []
        for each in sectors[: self._sector_count]:
            self._fat += unpack_from(f"<{self._size // 4}I", data, self._offset(each))
        mini = self._read_chain(mini_fat)
        self._mini_fat = unpack_from(f"<{len(mini) // 4}I", mini)
        self.streams: dict[str, tuple[int, int]] = {}
        self._mini_stream = b""
        entries = self._read_chain(directory)
        for start in range(0, len(entries) - 127, 128):
            (name_bytes,) = unpack_from("<H", entries, start + 64)
            kind = entries[start + 66]
            first, size = unpack_from("<II", entries, start + 116)
            name = entries[start : start + max(0, min(name_bytes, 64) - 2)].decode("utf-16-le")
            if kind == _ROOT:
                self._mini_stream = self._read_chain(first)[:size]
            elif kind == _STREAM:
                self.streams[name] = first, size

    @property
    def _sector_count(self) -> int:
        return len(self._data) // self._size

    def _offset(self, sector: int) -> int:
        return (sector + 1) * self._size

    def _read_chain(self, sector: int) -> bytes:
        pieces = []
        while sector < _END:
            if len(pieces) > self._sector_count:
                raise damaged()
            start = self._offset(sector)
            pieces.append(self._data[start : start + self._size])
            sector = self._fat[sector]
        return b"".join(pieces)

    def read(self, name: str) -> bytes:
        """Return the bytes of a stream.

        Raises:
            ContractError: It is damaged.
        """
        sector, size = self.streams[name]
        try:
            if size >= self._cutoff:
                found = self._read_chain(sector)
            else:
                pieces = []
                while sector < _END and len(pieces) <= len(self._mini_fat):
                    start = sector * self._mini_size
                    pieces.append(self._mini_stream[start : start + self._mini_size])
                    sector = self._mini_fat[sector]
                found = b"".join(pieces)
        except IndexError:
            raise damaged() from None
        if len(found) < size:
            raise ContractError("the workbook is cut off or damaged")
        return found[:size]


def damaged() -> ContractError:
    """Return the error for a damaged file."""
    return ContractError("the workbook is damaged")
