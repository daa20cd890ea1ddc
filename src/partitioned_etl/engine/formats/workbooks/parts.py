"""Parts: the files in the zip archive that a workbook of the kinds .xlsx and .ods is.

Takes an opened workbook; returns its parts as bytes, texts or XML. How large they become is known,
and limited, before any is read; reading one to its end verifies its checksum.
"""

import codecs
import posixpath
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO
from xml.etree import ElementTree
from xml.parsers import expat
from zipfile import BadZipFile, ZipFile

from partitioned_etl.engine.errors import ContractError

MAX_WHOLE_BYTES = 1 << 29
"""How large a part may be that is read as a whole, such as the texts that cells share."""
_IS_ENCRYPTED = 1
_DAMAGED = (
    BadZipFile,
    EOFError,
    NotImplementedError,  # a way to compress that Python does not know
    LookupError,
    ValueError,
    ElementTree.ParseError,
    expat.ExpatError,
    zlib.error,
)
PROTECTED = "the workbook is protected by a password"


@contextmanager
def damage_is_told() -> Iterator[None]:
    """Make a `ContractError` of what is raised for a damaged part.

    Raises:
        ContractError: A part is damaged.
    """
    try:
        yield
    except _DAMAGED as error:
        raise ContractError(f"the workbook is damaged ({type(error).__name__})") from None


class Parts:
    """The parts of a workbook, by their names.

    Args:
        handle: The opened file, which must stay open.
        max_bytes: The most bytes that all parts together may have.

    Raises:
        ContractError: It is no such archive, is damaged, encrypted, or larger than allowed.
    """

    def __init__(self, handle: BinaryIO, max_bytes: int) -> None:
        with damage_is_told():
            self._archive = ZipFile(handle)
        entries = self._archive.infolist()
        self._names = {entry.filename.lower().replace("\\", "/"): entry for entry in entries}
        if len(self._names) != len(entries):
            raise ContractError("the workbook has two parts of one name")
        if any(entry.flag_bits & _IS_ENCRYPTED for entry in entries):
            raise ContractError(PROTECTED)
        if sum(entry.file_size for entry in entries) > max_bytes:
            raise ContractError(f"decompressed, the workbook is over {max_bytes:,} bytes")

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._names

    def read_texts(self, name: str, size: int) -> Iterator[str]:
        """Yield a part's text in chunks of about so many bytes.

        Raises:
            ContractError: It is missing or damaged, or declares entities.
        """
        entry = self._names.get(name.lower())
        if entry is None:
            raise ContractError(f"the workbook is damaged: it has no part {name}")
        decoder, is_first = codecs.getincrementaldecoder("utf-8-sig")(), True
        with damage_is_told(), self._archive.open(entry) as part:
            while chunk := part.read(size):
                if is_first and chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    decoder = codecs.getincrementaldecoder("utf-16")()
                text = decoder.decode(chunk)
                if is_first and "<!DOCTYPE" in text:
                    raise ContractError("the workbook declares entities, which no program writes")
                is_first = False
                yield text
            yield decoder.decode(b"", final=True)

    def read_text(self, name: str) -> str:
        """Return a part's text.

        Raises:
            ContractError: It is missing, damaged or too large, or declares entities.
        """
        entry = self._names.get(name.lower())
        if entry and entry.file_size > MAX_WHOLE_BYTES:
            raise ContractError(f"part {name} of the workbook is over {MAX_WHOLE_BYTES:,} bytes")
        return "".join(self.read_texts(name, 1 << 22))

    def read_xml(self, name: str) -> ElementTree.Element:
        """Return the root of a part.

        Raises:
            ContractError: It is missing or damaged, or declares entities.
        """
        with damage_is_told():
            return ElementTree.fromstring(self.read_text(name))

    def read_relations(self, name: str) -> dict[str, tuple[str, str]]:
        """Return what a part refers to: by identifier, the last part of its type, and its name."""
        folder, _, file = name.rpartition("/")
        path = posixpath.join(folder, "_rels", f"{file}.rels")
        if path not in self:
            return {}
        return {
            each.get("Id", ""): (
                each.get("Type", "").rpartition("/")[2],
                posixpath.normpath(posixpath.join("/", folder, each.get("Target", "")))[1:],
            )
            for each in self.read_xml(path)
        }


def local_name(element: ElementTree.Element) -> str:
    """Return an element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def find_all(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Return the elements of a name, in any namespace, at any depth."""
    return [each for each in root.iter() if local_name(each) == name]
