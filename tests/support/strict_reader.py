"""Strict reader: what a file holds by its feed's declaration, in plain Python.

Takes a declaration, as the attributes of a feed, and the bytes of a file; returns its rows, or
raises. It shares no code with the package, and reads the whole file at once: it is the other
opinion of the tests that compare. Values belong in `strict_values.py`.
"""

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from backports import zstd

from support.strict_json import JsonObject, read_json, read_records, to_json_text
from support.strict_values import RefusedError, UnsureError, to_value

Declaration = Mapping[str, Any]
Row = tuple[object, ...]


def _unzip(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (member,) = archive.infolist()
        return archive.read(member)


DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".zst": zstd.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".zip": _unzip,
}


def read_file(declared: Declaration, name: str, content: bytes) -> list[Row]:
    """Return the rows of a file.

    Raises:
        RefusedError: It differs from the declaration.
        UnsureError: Whether it does is not certain.
    """
    content = decompress(name, content)
    options = declared["format"]
    text = decode(content, options)
    if not text:
        raise RefusedError("empty")
    if options["type"] == "json":
        rows = [_take_record(declared, one) for one in read_records(text, options)]
    elif options["type"] == "json_lines":
        rows = list(_read_json_lines(declared, text))
    else:
        rows = list(CsvReader(declared, text).read())
    columns = declared["columns"]
    return [
        tuple(
            to_value(row.get(name), column["type"], value_options(declared, name))
            for name, column in columns.items()
        )
        for row in rows
    ]


def decompress(name: str, content: bytes) -> bytes:
    """Return what is compressed in a file, if its name says so.

    Raises:
        RefusedError: It is damaged.
    """
    for suffix, read in DECOMPRESS.items():
        if name.endswith(suffix):
            try:
                return read(content)
            except Exception as error:
                raise RefusedError(f"not {suffix}: {error}") from None
    return content


def value_options(declared: Declaration, column: str) -> dict[str, Any]:
    """Return the value options of a column: those of the feed, and its own."""
    return {**declared.get("values", {}), **declared["columns"][column]}


def decode(content: bytes, options: Mapping[str, Any]) -> str:
    """Return a text without byte order mark.

    Raises:
        RefusedError: It is not in its encoding, or looks like another one.
    """
    encoding = codecs.lookup(options.get("encoding", "utf-8")).name
    if encoding == "utf-16" and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RefusedError("no byte order mark")
    if encoding == "iso8859-1" and not options.get("encoding_is_certain"):
        if re.search(rb"[\x80-\x9f]", content):
            raise RefusedError("windows-1252?")
        if not content.isascii() and _is_utf_8(content):
            raise RefusedError("utf-8?")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise RefusedError("another encoding") from None
    if "\0" in text:
        raise RefusedError("a NUL")
    return text if encoding == "utf-16" else text.removeprefix("\ufeff")


def _is_utf_8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def end_last_line(text: str, options: Mapping[str, Any]) -> tuple[str, bool]:
    """Return a text whose last line has an end, and whether it was added."""
    if text.endswith("\n"):
        return text, False
    if options.get("final_line_end") != "optional":
        raise RefusedError("no line end")
    if text.endswith("\r"):
        raise UnsureError("cut off between CR and LF")
    return f"{text}\n", True


def cut_lines(text: str) -> list[str]:
    """Cut a text whose last line has an end into lines, with their ends."""
    return [f"{line}\n" for line in text.split("\n")[:-1]]


def keep_rows(
    lines: Sequence[str], options: Mapping[str, Any], *, quote: str = "", escape: str = ""
) -> list[str]:
    """Return the lines that are rows, without comments, blank ones and the footer."""
    kept, is_within = [], False
    for line in lines:
        if not is_within and is_no_row(line, options):
            continue
        kept.append(line)
        if quote:
            counted = line if escape in ("", quote) else re.sub(f"{re.escape(escape)}.", "", line)
            is_within ^= counted.count(quote) % 2 == 1
    if count := options.get("footer_lines", 0):
        if len(kept) < count:
            raise RefusedError("no footer")
        del kept[-count:]
    if pattern := options.get("footer"):
        matched = 0
        while kept and (not kept[-1].rstrip("\r\n") or re.match(pattern, kept[-1].rstrip("\r\n"))):
            matched += bool(re.match(pattern, kept.pop().rstrip("\r\n")))
        if not matched:
            raise RefusedError("no footer")
    return kept


def is_no_row(line: str, options: Mapping[str, Any]) -> bool:
    """Return whether a line is a comment or, if these are to be left out, empty."""
    if (comment := options.get("comment")) and line.startswith(comment):
        return True
    bare = line.removesuffix("\n").removesuffix("\r")
    if not bare:
        return options.get("skip_blank_lines", False)
    delimiter = delimiter_of(options)
    is_empty = delimiter in bare and not bare.replace(delimiter, "").strip(" \t")
    return options.get("skip_empty_rows", False) and is_empty


def delimiter_of(options: Mapping[str, Any]) -> str:
    """Return the delimiter of a CSV dialect."""
    return options.get("delimiter", "\t" if options["type"] == "tsv" else ",")


def _read_json_lines(declared: Declaration, text: str) -> Iterator[Mapping[str, str | None]]:
    options = declared["format"]
    text, _ = end_last_line(text, options)
    lines = cut_lines(text)
    if len(lines) < options.get("skip_lines", 0):
        raise RefusedError("fewer lines than are skipped")
    for line in keep_rows(lines[options.get("skip_lines", 0) :], options):
        record = read_json(line)
        yield _take_record(declared, record)


def _take_record(declared: Declaration, record: object) -> Mapping[str, str | None]:
    options = declared["format"]
    if not isinstance(record, JsonObject):
        raise RefusedError("no object")
    names = record.names()
    paths = {name: _path_of(name, one) for name, one in declared["columns"].items()}
    starts = {path[0] for path in paths.values()}
    if options.get("extra_columns") != "ignore" and set(names) - starts:
        raise RefusedError("a name that the feed does not have")
    row: dict[str, str | None] = {}
    for name, column in declared["columns"].items():
        may_be_absent = column.get("optional") or options.get("absent_is_null")
        value: object = record
        for step in paths[name]:
            if value is None:
                break
            if not isinstance(value, JsonObject):
                raise RefusedError("no object on the path")
            members = value.names()
            if step not in members:
                if not may_be_absent:
                    raise RefusedError("missing")
                value = None
                break
            value = members[step]
        row[name] = to_json_text(value, column["type"], value_options(declared, name), options)
    return row


def _path_of(name: str, column: Mapping[str, Any]) -> list[str]:
    path = column.get("from", name)
    return path.split(".")[1:] if path.startswith("$.") else [path]


class CsvReader:
    """Reads one CSV text, from start to end."""

    def __init__(self, declared: Declaration, text: str) -> None:
        self._declared, self._options = declared, declared["format"]
        self._text, self._is_end_added = end_last_line(text, self._options)
        self._delimiter, self._quote = (
            delimiter_of(self._options),
            self._options.get("quote", '"'),
        )
        self._escape = self._options.get("escape") or self._quote

    def read(self) -> Iterator[Mapping[str, str | None]]:
        """Yield the fields of each row by the feed's columns."""
        options = self._options
        at, line_end = self._pass_lines(0, options.get("skip_lines", 0)), ""
        columns: Sequence[str | None] = list(self._declared["columns"])
        if options.get("header", True):
            columns, at, line_end = self._read_header(at)
            at = self._pass_lines(at, options.get("skip_after_header", 0))
        lines = cut_lines(self._text[at:])
        kept = "".join(keep_rows(lines, options, quote=self._quote, escape=self._escape))
        at = 0
        while at < len(kept):
            found = self._read_record(kept, at)
            if found is None:
                raise RefusedError("no record")
            fields, end, has_quotes_last = found
            this_end = "\r\n" if kept.endswith("\r\n", at, end) else "\n"
            line_end = line_end or this_end
            if kept[at:end] in ("\n", "\r\n"):
                raise RefusedError("an empty line")
            if this_end != line_end and not (self._is_end_added and end == len(kept)):
                raise RefusedError("another line end")
            if options.get("trailing_delimiter") and (fields.pop() is not None or has_quotes_last):
                raise RefusedError("something behind the last delimiter")
            if len(fields) != len(columns):
                raise RefusedError("another width")
            yield {name: one for name, one in zip(columns, fields, strict=True) if name}
            at = end

    def _pass_lines(self, at: int, count: int) -> int:
        for _ in range(count):
            at = self._text.find("\n", at) + 1
            if not at:
                raise RefusedError("fewer lines than are skipped")
        return at

    def _read_header(self, at: int) -> tuple[Sequence[str | None], int, str]:
        options, window = self._options, list[tuple[list[str | None], str] | None]()
        rows, looks_for_it = options.get("header_rows", 1), options.get("skip_to_header")
        while at < len(self._text):
            line = self._text[at : self._text.index("\n", at) + 1]
            if is_no_row(line, options) or (looks_for_it and not line.strip("\r\n")):
                at += len(line)
                continue
            found = self._read_record(self._text, at)
            at = found[1] if found else at + len(line)
            line_end = "\r\n" if self._text.endswith("\r\n", 0, at) else "\n"
            if self._is_end_added and at == len(self._text) and window and window[-1]:
                line_end = window[-1][1]
            window = [*window, found and (found[0], line_end)][-rows:]
            sound = [one for one in window if one]
            if len(sound) < len(window) and not looks_for_it:
                raise RefusedError("no header")
            if len(sound) == rows:
                try:
                    if len({end for _, end in sound}) > 1:
                        raise RefusedError("several line ends in the header")
                    columns = self._match_names([fields for fields, _ in sound])
                except RefusedError:
                    if not looks_for_it:
                        raise
                else:
                    return columns, at, line_end
        raise RefusedError("no header")

    def _match_names(self, rows: Sequence[Sequence[str | None]]) -> Sequence[str | None]:
        options, columns = self._options, self._declared["columns"]
        width = max(map(len, rows))
        parts = [[row[place] for row in rows if place < len(row)] for place in range(width)]
        given = [" ".join(filter(None, each)) for each in parts]
        if options.get("trailing_delimiter") and not given[-1]:
            del given[-1]

        def fold(name: str) -> str:
            return name.strip().casefold() if options.get("header_ignores_case") else name

        accepted = {}
        for name, column in columns.items():
            names = column.get("from", name)
            for one in [names] if isinstance(names, str) else names:
                accepted[fold(one)] = name
        found = [accepted.get(fold(name)) for name in given]
        known = [name for name in found if name]
        needed = [name for name, column in columns.items() if not column.get("optional")]
        is_ordered = known == [name for name in columns if name in known]
        if len(set(known)) < len(known) or not set(needed) <= set(known):
            raise RefusedError("names twice or missing")
        if None in found and options.get("extra_columns") != "ignore":
            raise RefusedError("other names")
        if not is_ordered and not options.get("any_column_order"):
            raise RefusedError("another order")
        return found

    def _read_record(self, text: str, at: int) -> tuple[list[str | None], int, bool] | None:
        """Return a record's fields, its end, and whether its last field is quoted."""
        fields: list[str | None] = []
        while True:
            is_quoted = text.startswith(self._quote, at)
            if is_quoted:
                found = self._read_quoted(text, at + 1)
                if found is None:
                    return None
                field, at = found
                fields.append(field)
            else:
                end = at
                while text[end] not in (self._delimiter, self._quote, "\r", "\n"):
                    end += 1
                fields.append(text[at:end] or None)
                at = end
            if text.startswith(self._delimiter, at):
                at += 1
                continue
            if text.startswith(("\n", "\r\n"), at):
                return fields, text.index("\n", at) + 1, is_quoted
            return None

    def _read_quoted(self, text: str, at: int) -> tuple[str, int] | None:
        """Return a quoted field and its end; `at` is behind its first quote."""
        quote, escape, found = self._quote, self._escape, ""
        while at < len(text):
            one, next_one = text[at], text[at + 1 : at + 2]
            if one == escape and (next_one == quote or (escape != quote and next_one == escape)):
                found += next_one
                at += 2
            elif one == quote:
                return found, at + 1
            elif one == escape:
                return None
            else:
                found += one
                at += 1
        return None
