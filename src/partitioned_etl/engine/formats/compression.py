"""Compression: the bytes of a landed file, decompressed if its name says so.

Takes an opened file; returns a reader of what is compressed in it. Next: `text.py` decides what the
bytes must look like. A file that is compressed within, such as Parquet, has nothing to do with it.
"""

import bz2
import errno
import gzip
import lzma
import re
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO
from zipfile import BadZipFile, ZipFile

from backports import zstd

from partitioned_etl.engine.errors import ContractError
from partitioned_etl.engine.landing.landing import LandedFile, Readable

_CUT_OFF, _IS_DAMAGED = "the compressed data ends early: cut off?", "the compressed data is damaged"
_DAMAGED = (gzip.BadGzipFile, zlib.error, zstd.ZstdError, lzma.LZMAError, BadZipFile)
_DAMAGED_ZIP = (BadZipFile, EOFError, IndexError, OverflowError, ValueError, struct.error)
"""What is raised for a directory of a zip archive that does not fit the rest of it."""


def _open_member(handle: BinaryIO) -> Readable:
    """Open the one file of a zip archive.

    Raises:
        ContractError: It has none, or several, or needs a password.
    """
    try:
        return _find_member(handle)
    except NotImplementedError:
        raise ContractError("the zip archive is compressed in an unusual way") from None
    except RuntimeError:
        raise ContractError("the zip archive needs a password") from None
    except _DAMAGED_ZIP:
        raise ContractError(_IS_DAMAGED) from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # which a place before the file's start is
            raise
        raise ContractError(_IS_DAMAGED) from None


def _find_member(handle: BinaryIO) -> Readable:
    try:
        archive = ZipFile(handle)
    except BadZipFile:
        raise ContractError(_CUT_OFF) from None
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1:
        raise ContractError(f"the zip archive has {len(members)} files instead of one")
    return archive.open(members[0])


@dataclass(frozen=True)
class _Compression:
    """One way to compress a file.

    Attributes:
        start: What every such file begins with, and no text does.
        open: Opens what is compressed in a file.
    """

    start: re.Pattern[bytes]
    open: Callable[[BinaryIO], Readable]


_BY_SUFFIX = {
    ".gz": _Compression(re.compile(rb"\x1f\x8b"), lambda handle: gzip.GzipFile(fileobj=handle)),
    ".zst": _Compression(re.compile(rb"\x28\xb5\x2f\xfd"), zstd.ZstdFile),
    ".bz2": _Compression(re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.BZ2File),
    ".xz": _Compression(re.compile(rb"\xfd7zXZ\x00"), lzma.LZMAFile),
    ".zip": _Compression(re.compile(rb"PK(\x03\x04|\x05\x06)"), _open_member),
}
COMPRESSED_SUFFIXES = tuple(_BY_SUFFIX)
"""Suffixes, in any case, of files that are decompressed as they are read."""


def suffix_of(name: str) -> str:
    """Return the suffix, in small letters, by which a name says how its file is compressed."""
    return next((suffix for suffix in _BY_SUFFIX if name.lower().endswith(suffix)), "")


def is_compressed(file: LandedFile) -> bool:
    """Return whether a file's name marks it as compressed."""
    return bool(suffix_of(file.name))


def open_sample(name: str, handle: BinaryIO) -> Readable:
    """Return a reader of a file's content, decompressed if its name says so, to look at it.

    It raises `ContractError` if the compressed data is damaged or cut off.

    Raises:
        ContractError: No content is found in a zip archive.
    """
    handle.seek(0)
    suffix = suffix_of(name)
    return _Content(_BY_SUFFIX[suffix].open(handle), sys.maxsize) if suffix else handle


def open_content(file: LandedFile, handle: BinaryIO, *, max_bytes: int) -> Readable:
    """Return a reader of an opened file's content, decompressed if its name says so.

    Reading to the end verifies the compressed format's end mark and checksum.

    Args:
        file: The landed file.
        handle: The file, opened.
        max_bytes: The most bytes that the content may have, if the file is compressed.

    Returns:
        The reader. It raises `ContractError` if the compressed data is damaged, cut off, or longer
        than allowed.

    Raises:
        ContractError: The first bytes are not those of the format in the name.
    """
    handle.seek(0)
    start = handle.read(10)
    handle.seek(0)
    suffix = suffix_of(file.name)
    for name, compression in _BY_SUFFIX.items():
        if name != suffix and compression.start.match(start):
            raise ContractError(f"the file is compressed ({name}), and its name does not say so")
    if not suffix:
        return handle
    compression = _BY_SUFFIX[suffix]
    if start and not compression.start.match(start):
        raise ContractError(f"the file is not compressed ({suffix}) as its name says")
    return _Content(compression.open(handle), max_bytes)


class _Content:
    """What is compressed in a file, up to a number of bytes."""

    def __init__(self, source: Readable, max_bytes: int) -> None:
        self._source, self._max_bytes, self._given = source, max_bytes, 0

    def read(self, size: int, /) -> bytes:
        try:
            data = self._source.read(size)
        except EOFError:
            raise ContractError(_CUT_OFF) from None
        except _DAMAGED:
            raise ContractError(_IS_DAMAGED) from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise ContractError(_IS_DAMAGED) from None  # bz2 has no error of its own
        self._given += len(data)
        if self._given > self._max_bytes:
            raise ContractError(f"decompressed, the file is over {self._max_bytes:,} bytes")
        return data
