"""Registry: every kind of workbook that is read, told apart by its bytes."""

import os
from typing import BinaryIO

from partitioned_etl.engine.errors import ContractError
from partitioned_etl.engine.formats.workbooks.compound_file import MAGIC
from partitioned_etl.engine.formats.workbooks.ods import Ods
from partitioned_etl.engine.formats.workbooks.parts import Parts
from partitioned_etl.engine.formats.workbooks.workbook import Workbook
from partitioned_etl.engine.formats.workbooks.xls import Xls
from partitioned_etl.engine.formats.workbooks.xlsx import Xlsx

MAX_BYTES = 4 << 30
"""How large the parts of a workbook may be together; Excel itself opens no larger ones."""
ZIP_MAGIC = b"PK\x03\x04"


def open_workbook(handle: BinaryIO, max_bytes: int) -> Workbook:
    """Return the workbook in an opened file, which must stay open.

    Args:
        handle: The file.
        max_bytes: The most bytes that it may have when it is decompressed.

    Raises:
        ContractError: It is no workbook, is damaged, protected, or larger than allowed.
    """
    handle.seek(0)
    start = handle.read(512)
    if not start:
        raise ContractError("the file is empty")
    handle.seek(0)
    if start.startswith(MAGIC):
        if handle.seek(0, os.SEEK_END) > min(max_bytes, MAX_BYTES):
            raise ContractError(f"the workbook is over {max_bytes:,} bytes")
        handle.seek(0)
        return Xls(handle.read())
    if not start.startswith(ZIP_MAGIC):
        text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        kind = ": it is a text in HTML or XML" if text.startswith(b"<") else ""
        raise ContractError(f"the file is no workbook{kind}")
    parts = Parts(handle, min(max_bytes, MAX_BYTES))
    if "xl/workbook.bin" in parts:
        raise ContractError("the workbook is of the kind .xlsb: save it as .xlsx")
    if "content.xml" in parts:
        return Ods(parts)
    if "[Content_Types].xml" in parts:
        return Xlsx(parts)
    raise ContractError("the file is an archive, and no workbook")
