"""Compression: the text of a landed file, decompressed if its name says so.

Takes an opened file; returns a reader of its text. Next: a format decides what the text must look
like.
"""

import gzip
import zlib
from typing import BinaryIO

from backports import zstd

from partitioned_etl.engine.errors import ContractError
from partitioned_etl.engine.landing.landing import LandedFile, Readable

_MAGIC_BYTES = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}
_DAMAGED = (gzip.BadGzipFile, zlib.error, zstd.ZstdError)


def is_compressed(file: LandedFile) -> bool:
    """Return whether a file's name marks it as compressed."""
    return bool(_suffix_of(file))


def compression_of(file: LandedFile) -> str:
    """Return how a file is compressed, by its name, in DuckDB's words: gzip, zstd or none."""
    return {".gz": "gzip", ".zst": "zstd"}.get(_suffix_of(file), "none")


def _suffix_of(file: LandedFile) -> str:
    return next((suffix for suffix in _MAGIC_BYTES if file.name.endswith(suffix)), "")


def open_text(file: LandedFile, handle: BinaryIO, *, max_bytes: int) -> Readable:
    """Return a reader of an opened file's text, decompressed if its name says so.

    Reading to the end verifies the compressed format's end mark and checksum.

    Args:
        file: The landed file.
        handle: The file, opened.
        max_bytes: The most bytes that the text may have, if the file is compressed.

    Returns:
        The reader. It raises `ContractError` if the compressed data is damaged, cut off, or longer
        than allowed.

    Raises:
        ContractError: The first bytes are not those of the format in the name.
    """
    handle.seek(0)
    start = handle.read(4)
    handle.seek(0)
    suffix = _suffix_of(file)
    for name, magic in _MAGIC_BYTES.items():
        if start.startswith(magic) and name != suffix:
            raise ContractError(f"the file is compressed ({name}), and its name does not say so")
    if suffix not in _MAGIC_BYTES:
        return handle
    if start and not start.startswith(_MAGIC_BYTES[suffix]):
        raise ContractError(f"the file is not compressed ({suffix}) as its name says")
    opened = gzip.GzipFile(fileobj=handle) if suffix == ".gz" else zstd.ZstdFile(handle)
    return _Decompressed(opened, max_bytes)


class _Decompressed:
    """The text of a compressed file, up to a number of bytes."""

    def __init__(self, source: Readable, max_bytes: int) -> None:
        self._source, self._max_bytes, self._given = source, max_bytes, 0

    def seek(self, offset: int, /) -> int:
        self._given = 0
        return self._source.seek(offset)

    def read(self, size: int, /) -> bytes:
        try:
            data = self._source.read(size)
        except EOFError:
            raise ContractError("the compressed data ends early: cut off?") from None
        except _DAMAGED:
            raise ContractError("the compressed data is damaged") from None
        self._given += len(data)
        if self._given > self._max_bytes:
            raise ContractError(f"decompressed, the file is over {self._max_bytes:,} bytes")
        return data
