"""Opening: the bytes of one landed file, and its text if it is compressed.

Takes a landed file; returns it opened, never through a link, or its content hash. Next:
`contract.py` decides what its text must look like. Finding files belongs in `landing.py`.
"""

import gzip
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import BinaryIO, Protocol

from backports import zstd

from partitioned_etl.ingest.errors import ContractError, LandedFileError
from partitioned_etl.ingest.landing import LandedFile, Signature

CHUNK_BYTES = 1 << 22
_MAGIC_BYTES = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}
_DAMAGED = (gzip.BadGzipFile, zlib.error, zstd.ZstdError)


class Readable(Protocol):
    """A source of bytes that can be read again from its start."""

    def read(self, size: int, /) -> bytes:
        """Return that many bytes; fewer only at the end."""
        ...

    def seek(self, offset: int, /) -> int:
        """Move to an offset; only 0 is used."""
        ...


@contextmanager
def open_landed_file(file: LandedFile) -> Iterator[BinaryIO]:
    """Open a landed file for reading, never through a link and never a pipe or a device.

    Args:
        file: The landed file.

    Yields:
        Its bytes, opened on exactly the file that was listed.

    Raises:
        LandedFileError: It is gone, is no longer a regular file, or changed since it was listed.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.fdopen(os.open(file, flags), "rb", buffering=0)
    except OSError as error:
        raise LandedFileError(f"{file.name}: cannot be opened: {error.strerror}") from error
    with handle:
        status = os.fstat(handle.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise LandedFileError(f"{file.name}: is not a regular file")
        if Signature.of(status) != file.signature:
            raise LandedFileError(f"{file.name}: changed since it was listed")
        yield handle


def changed_while_read(file: LandedFile) -> LandedFileError:
    """Return the error for a file whose bytes are no longer those read before."""
    return LandedFileError(f"{file.name}: changed while it was read; it will be read again")


def list_changed_while_read(files: Iterable[LandedFile]) -> list[LandedFile]:
    """Return the files whose signature has changed since they were listed."""
    return [file for file in files if not _has_signature(file)]


def _has_signature(file: LandedFile) -> bool:
    try:
        return Signature.of(os.lstat(file)) == file.signature
    except OSError:
        return False


def read_chunks(handle: Readable) -> Iterator[bytes]:
    """Read a file in chunks of a few MiB."""
    while chunk := handle.read(CHUNK_BYTES):
        yield chunk


def hash_landed_file(file: LandedFile) -> str:
    """Return the sha256 of a landed file's bytes, in hexadecimal.

    Raises:
        LandedFileError: The file is gone or changed since it was listed.
    """
    digest = sha256()
    with open_landed_file(file) as handle:
        for chunk in read_chunks(handle):
            digest.update(chunk)
    return digest.hexdigest()


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
