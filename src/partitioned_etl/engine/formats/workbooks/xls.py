"""XLS: the cells of a workbook of the kind .xls, of Excel 97 and later (MS-XLS, BIFF8)."""

from collections.abc import Iterator
from struct import error, pack, unpack, unpack_from

from partitioned_etl.engine.errors import ContractError
from partitioned_etl.engine.formats.workbooks.compound_file import CompoundFile, damaged
from partitioned_etl.engine.formats.workbooks.number_formats import find_kind, find_kind_of_id
from partitioned_etl.engine.formats.workbooks.parts import PROTECTED
from partitioned_etl.engine.formats.workbooks.workbook import Area, Block, Kind, Sheet, gather_cells

_FORMULA, _EOF, _DATE_MODE, _FILE_PASS, _CONTINUE = 0x06, 0x0A, 0x22, 0x2F, 0x3C
_BOUND_SHEET, _MULTI_RK, _XF, _MERGED, _SST, _LABEL_SST = 0x85, 0xBD, 0xE0, 0xE5, 0xFC, 0xFD
_NUMBER, _LABEL, _BOOL_ERROR, _STRING, _RK, _FORMAT, _BOF = (
    *(0x203, 0x204, 0x205, 0x207, 0x27E, 0x41E, 0x809),
)
_BIFF8 = 0x0600
_NOT_A_NUMBER = b"\xff\xff"
_BATCH_CELLS = 100_000


class Xls:
    """A workbook of the kind .xls.

    Attributes:
        names: The names of its sheets, without charts and macros.
        hidden: Those that are hidden.
    """

    def __init__(self, data: bytes) -> None:
        file = CompoundFile(data)
        names = {name.lower(): name for name in file.streams}
        if "encryptedpackage" in names:
            raise ContractError(PROTECTED)
        if "workbook" not in names:
            raise ContractError("the file is no workbook of Excel 97 or later")
        self._stream = file.read(names["workbook"])
        self._starts: dict[str, int] = {}
        self.hidden: set[str] = set()
        self._texts: list[str] = []
        self._counts_from_1904 = False
        self._kinds: list[Kind] = []
        try:
            self._read_globals()
        except (error, IndexError, UnicodeError):
            raise damaged() from None

    @property
    def names(self) -> list[str]:
        """The names of its sheets, without charts and macros."""
        return list(self._starts)

    def open_sheet(self, name: str) -> Sheet:
        """Begin to read a sheet."""
        sheet = Sheet(counts_from_1904=self._counts_from_1904)
        sheet.blocks = self._read_blocks(self._starts[name], sheet)
        return sheet

    def _read_blocks(self, start: int, sheet: Sheet) -> Iterator[Block]:
        found: list[tuple[int, int, Kind, str]] = []
        try:
            for cell in self._read_cells(start, sheet):
                if len(found) >= _BATCH_CELLS and cell[0] != found[-1][0]:
                    yield gather_cells(found)
                    found = []
                found.append(cell)
        except (error, IndexError, UnicodeError):
            raise damaged() from None
        yield gather_cells(found)

    def _records(self, start: int) -> Iterator[tuple[int, bytes]]:
        """Yield the records of one part of the stream, up to its end, without what is within."""
        depth, stream = 0, self._stream
        while True:
            kind, size = unpack_from("<HH", stream, start)
            body = stream[start + 4 : start + 4 + size]
            start += 4 + size
            if len(body) < size:
                raise damaged()
            if kind == _BOF:
                depth += 1
            elif kind == _EOF:
                depth -= 1
                if not depth:
                    return
            elif depth == 1:
                yield kind, body
            elif not depth:
                raise damaged()

    def _read_globals(self) -> None:
        kind, _, version = unpack_from("<HHH", self._stream)
        if kind != _BOF or version != _BIFF8:
            raise ContractError("the file is no workbook of Excel 97 or later")
        formats: dict[int, Kind] = {}
        numbers: list[int] = []
        shared: list[bytes] = []
        is_shared = False
        for kind, body in self._records(0):
            if kind == _FILE_PASS:
                raise ContractError(PROTECTED)
            if kind == _DATE_MODE:
                self._counts_from_1904 = body[0] == 1
            elif kind == _BOUND_SHEET and body[5] == 0:
                name = _read_text(body, 6, 1)
                (self._starts[name],) = unpack_from("<I", body)
                if body[4] & 3:
                    self.hidden.add(name)
            elif kind == _FORMAT:
                formats[unpack_from("<H", body)[0]] = find_kind(_read_text(body, 2, 2))
            elif kind == _XF:
                numbers.append(unpack_from("<H", body, 2)[0])
            if kind == _SST or (kind == _CONTINUE and is_shared):
                shared.append(body)
            is_shared = kind == _SST or (kind == _CONTINUE and is_shared)
        self._kinds = [formats.get(each) or find_kind_of_id(each) for each in numbers]
        if shared:
            self._texts = _SharedTexts(shared).read()

    def _read_cells(self, start: int, sheet: Sheet) -> Iterator[tuple[int, int, Kind, str]]:
        waiting: tuple[int, int] | None = None
        for kind, body in self._records(start):
            if kind == _STRING and waiting:
                if text := _read_text(body, 0, 2):
                    yield *waiting, Kind.TEXT, text
                waiting = None
            elif kind in (_NUMBER, _RK, _LABEL, _LABEL_SST, _BOOL_ERROR, _FORMULA):
                row, column, style = unpack_from("<HHH", body)
                place = row + 1, column + 1
                if kind == _NUMBER:
                    yield *place, self._kinds[style], _spell(unpack_from("<d", body, 6)[0])
                elif kind == _RK:
                    yield *place, self._kinds[style], _spell(_from_rk(body, 6))
                elif kind == _LABEL_SST:
                    if text := self._texts[unpack_from("<I", body, 6)[0]]:
                        yield *place, Kind.TEXT, text
                elif kind == _LABEL:
                    if text := _read_text(body, 6, 2):
                        yield *place, Kind.TEXT, text
                elif kind == _BOOL_ERROR:
                    yield *place, *_to_truth(body[6], is_error=body[7] != 0)
                elif body[12:14] != _NOT_A_NUMBER:
                    yield *place, self._kinds[style], _spell(unpack_from("<d", body, 6)[0])
                elif body[6] == 0:
                    waiting = place
                elif body[6] in (1, 2):
                    yield *place, *_to_truth(body[8], is_error=body[6] == 2)
            elif kind == _MULTI_RK:
                row, first = unpack_from("<HH", body)
                for number, offset in enumerate(range(4, len(body) - 2, 6)):
                    (style,) = unpack_from("<H", body, offset)
                    value = _spell(_from_rk(body, offset + 2))
                    yield row + 1, first + number + 1, self._kinds[style], value
            elif kind == _MERGED:
                for number in range(unpack_from("<H", body)[0]):
                    top, bottom, left, right = unpack_from("<HHHH", body, 2 + 8 * number)
                    sheet.merged.append(Area(top + 1, left + 1, bottom + 1, right + 1))


def _spell(number: float) -> str:
    """Return a number in its shortest spelling."""
    return repr(number).removesuffix(".0")


def _to_truth(value: int, *, is_error: bool) -> tuple[Kind, str]:
    return (Kind.ERROR, "error") if is_error else (Kind.TRUTH, "true" if value else "false")


def _from_rk(body: bytes, offset: int) -> float:
    """Return a number that is stored in 30 bits: a whole one, or the first bits of a double."""
    (raw,) = unpack_from("<i", body, offset)
    if raw & 2:
        number = float(raw >> 2)
    else:
        (number,) = unpack("<d", pack("<ii", 0, raw & ~3))
    return number / 100 if raw & 1 else number


def _read_text(body: bytes, offset: int, size_bytes: int) -> str:
    """Return a text without fonts, whose length is given in so many bytes before it."""
    size = int.from_bytes(body[offset : offset + size_bytes], "little")
    flags, start = body[offset + size_bytes], offset + size_bytes + 1
    width = 2 if flags & 1 else 1
    raw = body[start : start + size * width]
    if len(raw) < size * width:
        raise IndexError
    return raw.decode("utf-16-le" if flags & 1 else "latin-1")


class _SharedTexts:
    """Reads the texts of a workbook, which go on from one record to the next."""

    def __init__(self, records: list[bytes]) -> None:
        self._records, self._record, self._offset = records, 0, 0

    def read(self) -> list[str]:
        _, count = unpack("<II", self._take(8))
        texts = []
        # Some programs count other texts than they write.
        while len(texts) < count and not self._is_at_end:
            texts.append(self._read_one())
        return texts

    @property
    def _is_at_end(self) -> bool:
        is_last = self._record == len(self._records) - 1
        return is_last and self._offset >= len(self._records[self._record])

    def _read_one(self) -> str:
        size, flags = unpack("<HB", self._take(3))
        runs = unpack("<H", self._take(2))[0] if flags & 8 else 0
        extra = unpack("<I", self._take(4))[0] if flags & 4 else 0
        text = self._take_text(size, flags & 1)
        self._take(4 * runs + extra)
        return text

    def _take(self, size: int) -> bytes:
        pieces = []
        while size:
            piece = self._records[self._record][self._offset : self._offset + size]
            pieces.append(piece)
            self._offset += len(piece)
            size -= len(piece)
            if size:
                self._record, self._offset = self._record + 1, 0
        return b"".join(pieces)

    def _take_text(self, size: int, is_wide: int) -> str:
        texts = []
        while size:
            record = self._records[self._record]
            width = 2 if is_wide else 1
            count = min(size, (len(record) - self._offset) // width)
            raw = record[self._offset : self._offset + count * width]
            texts.append(raw.decode("utf-16-le" if is_wide else "latin-1"))
            self._offset += count * width
            size -= count
            if size:
                # What follows in the next record may be of another width.
                self._record += 1
                is_wide, self._offset = self._records[self._record][0] & 1, 1
        return "".join(texts)
