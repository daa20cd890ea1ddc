"""Dialect writer: random declarations of feeds, and random files in them, some of them damaged.

Takes a source of chance; returns a declaration, as the attributes of a feed, and files with the
rows that they hold. It knows how senders write, and nothing of how the package reads.
"""

import bz2
import gzip
import io
import json
import lzma
import random
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backports import zstd

from support.dialect_values import (
    TEXTS,
    TYPES,
    make_value,
    nearly_spell,
    pick_options,
    spell,
)
from support.strict_json import kind_in_file
from support.strict_reader import Declaration, decode, delimiter_of, value_options
from support.strict_values import RefusedError

ENCODINGS = [
    *["utf-8"] * 8,
    *("utf-16", "utf-16-le", "utf-16-be", "latin-1", "latin-1", "windows-1252", "windows-1252"),
    *("iso8859-15", "cp1250", "cp1251", "cp437", "koi8-r", "shift_jis", "gb18030", "mac-roman"),
    *("cp037", "iso2022_jp", "big5"),
]
NAMES = ["id", "Betrag", "Kunden-Nr.", "note", "Tag", "größe", "a b", "x;y", "Wert (EUR)", "№"]


def _zip(text: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("a.csv"), text)
    return content.getvalue()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda text: gzip.compress(text, mtime=0),
    ".zst": zstd.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zip": _zip,
}


@dataclass(frozen=True)
class WrittenFile:
    """A file as a sender wrote it, or as it arrived.

    Attributes:
        name: Its name.
        content: Its bytes.
        rows: The rows that it holds; None if it was damaged, or is to be refused.
    """

    name: str
    content: bytes
    rows: Sequence[tuple[object, ...]] | None


def _can_encode(text: str, encoding: str) -> bool:
    try:
        return text.encode(encoding).decode(encoding) == text
    except UnicodeError:
        return False


def declare(rng: random.Random, kind: str) -> dict[str, Any]:
    """Return a declaration of a format that may contradict itself, as a person's may."""
    options: dict[str, Any] = {"type": kind}
    if rng.random() < 0.6:
        options["encoding"] = rng.choice(ENCODINGS)
    # The independent reader knows what makes Latin-1 doubtful, and not the other encodings.
    if options.get("encoding") != "latin-1" or rng.random() < 0.7:
        options["encoding_is_certain"] = True
    if kind in ("csv", "tsv", "json_lines"):
        _declare_lines(rng, options)
    if kind in ("csv", "tsv"):
        _declare_csv(rng, options)
    else:
        for name in ("absent_is_null", "numbers_as_texts"):
            if rng.random() < 0.25:
                options[name] = True
        if rng.random() < 0.3:
            options["extra_columns"] = "ignore"
        if kind == "json" and rng.random() < 0.6:
            options["records"] = rng.choice(["$.data", "$.data.items"])
    encoding = options.get("encoding", "utf-8")
    names = [name for name in NAMES if _can_encode(name, encoding)]
    chosen = rng.sample(names, rng.choice([1, 2, 3, 3, 4, 5, 6]))
    columns: dict[str, dict[str, Any]] = {}
    values: dict[str, Any] = {}
    for name in chosen:
        columns[name] = {"type": rng.choice(TYPES)}
        if rng.random() < 0.5:
            columns[name] |= pick_options(rng, columns[name]["type"])
        elif rng.random() < 0.5:
            values |= pick_options(rng, columns[name]["type"])
        if options.get("header", True):
            _declare_place(rng, name, columns[name], options)
        if options.get("header_rows", 1) > 1:
            words = " ".join(["Brutto", "in", "EUR"][: options["header_rows"]])
            columns[name]["from"] = f"{words}{len(columns)}"
    return {"columns": columns, "format": options, "values": values}


def _declare_lines(rng: random.Random, options: dict[str, Any]) -> None:
    for name, share, choices in (
        ("skip_lines", 0.15, [1, 2]),
        ("comment", 0.2, ["#", "--", "//"]),
        ("skip_blank_lines", 0.2, [True]),
        ("final_line_end", 0.3, ["optional"]),
    ):
        if rng.random() < share:
            options[name] = rng.choice(choices)
    if rng.random() < 0.25:
        options |= rng.choice([{"footer": "END|Sum"}, {"footer_lines": 1}, {"footer_lines": 2}])


def _declare_csv(rng: random.Random, options: dict[str, Any]) -> None:
    if options["type"] == "csv" and rng.random() < 0.7:
        options["delimiter"] = rng.choice([",", ";", ";", "\t", "|", ":", "~", " "])
    if rng.random() < 0.15:
        options["quote"] = rng.choice(["'", "^"])
    if rng.random() < 0.15:
        options["escape"] = "\\"
    for name in ("trailing_delimiter", "skip_empty_rows"):
        if rng.random() < 0.15:
            options[name] = True
    if rng.random() < 0.15:
        options["header"] = False
        return
    for name, value in (
        ("any_column_order", True),
        ("header_ignores_case", True),
        ("extra_columns", "ignore"),
        ("header_rows", rng.choice([2, 3])),
        ("skip_after_header", rng.choice([1, 2])),
        ("skip_to_header", True),
    ):
        if rng.random() < 0.2 and not (name == "skip_to_header" and "skip_lines" in options):
            options[name] = value


def _declare_place(
    rng: random.Random, name: str, column: dict[str, Any], options: Mapping[str, Any]
) -> None:
    is_json = options["type"].startswith("json")
    if rng.random() < 0.2:
        column["optional"] = True
    if rng.random() < 0.2:
        inner = "v" + str(len(name)) + str(ord(name[0]))
        column["from"] = (
            rng.choice([f"$.o.{inner}", f"$.{inner}"]) if is_json else [f"Spalte {inner}", inner]
        )


class Writer:
    """Writes files of one declaration."""

    def __init__(self, declared: Declaration, rng: random.Random) -> None:
        self._declared, self._rng = declared, rng
        self._options, self._columns = declared["format"], declared["columns"]
        self._encoding = self._options.get("encoding", "utf-8")
        self._values = {name: value_options(declared, name) for name in self._columns}
        texts = [text for text in TEXTS if _can_encode(text, self._encoding)]
        self._alphabet = "\0".join(texts)

    def write(self, name: str, *, is_damaged: bool) -> WrittenFile:
        """Write a file; a damaged one may be sound by chance."""
        rng = self._rng
        options = self._options
        may_be_empty = options["type"] != "json_lines" and options.get("header", True)
        fewest = 0 if may_be_empty else 1
        rows = [self._make_row() for _ in range(rng.choice([fewest, 1, 2, 3, 3, 5, 8]))]
        while True:
            try:
                text = self._write_text(rows, is_damaged=is_damaged and rng.random() < 0.5)
                if is_damaged and rng.random() < 0.7:
                    text = self._damage_text(text)
                content = self._encode(text)
            except UnicodeError:
                continue
            break
        is_doubtful = self._is_doubtful(content)
        if is_damaged and rng.random() < 0.2:
            content = damage_bytes(rng, content)
        suffix = rng.choice([*[""] * 6, *COMPRESS])
        if suffix:
            content = COMPRESS[suffix](content)
            if is_damaged and rng.random() < 0.15:
                content = damage_bytes(rng, content)
        expected = [tuple(value for _, value in row.values()) for row in rows]
        has_others = is_damaged or is_doubtful
        return WrittenFile(f"{name}.csv{suffix}", content, None if has_others else expected)

    def _encode(self, text: str) -> bytes:
        if self._encoding.startswith("utf-16-") and self._rng.random() < 0.5:
            text = f"\ufeff{text}"
        mark = b"\xef\xbb\xbf" if self._encoding == "utf-8" and self._rng.random() < 0.1 else b""
        return mark + text.encode(self._encoding)

    def _is_doubtful(self, content: bytes) -> bool:
        """Return whether a text looks as if it were in another encoding, and so is refused."""
        if self._options.get("encoding_is_certain"):
            return False
        try:
            decode(content, self._options)
        except RefusedError:
            return True
        return False

    def _make_row(self) -> dict[str, tuple[str | None, object]]:
        """Make a text and its value for each column."""
        row = {name: self._make_cell(name) for name in self._columns}
        if all(text is None for text, _ in row.values()):  # a line that may be taken for empty
            return self._make_row()
        return row

    def _make_cell(self, name: str) -> tuple[str | None, object]:
        rng, options, type_name = self._rng, self._values[name], self._columns[name]["type"]
        nulls = options.get("nulls", [])
        if rng.random() < 0.15:
            texts = [one for one in nulls if not (options.get("trim") and one != one.strip())]
            return rng.choice([None, *texts]), None
        while True:
            value = make_value(rng, type_name, options, self._alphabet)
            text = spell(rng, value, type_name, options)
            if not _can_encode(text, self._encoding):
                continue
            if type_name != "VARCHAR" and (text in nulls or text != text.strip()):
                continue
            if type_name == "VARCHAR":
                if options.get("trim"):
                    value = text.strip() or None
                if value in nulls:
                    value = None
                if value is None and not text:
                    continue
            elif options.get("trim") and rng.random() < 0.3:
                text = f" {text}{rng.choice(['', ' '])}"
            return text, value

    def _write_text(
        self, rows: Sequence[Mapping[str, tuple[str | None, object]]], *, is_damaged: bool
    ) -> str:
        texts = [{name: text for name, (text, _) in row.items()} for row in rows]
        if is_damaged and texts:
            row = self._rng.choice(texts)
            name = self._rng.choice([*row])
            row[name] = nearly_spell(self._rng, row[name] or "")
        write = {"json": self._write_document, "json_lines": self._write_json_lines}
        return write.get(self._options["type"], self._write_csv)(texts)

    def _line_end(self) -> str:
        return self._rng.choice(["\n", "\n", "\r\n"])

    def _any_line(self) -> str:
        """Return a line without meaning."""
        lines = ["Report 31.01.2024", "a,b;c", 'made by "us"', '5" pipes', "", "x", "sep=;", "-,-"]
        return self._rng.choice(lines)

    def _end_text(self, lines: Sequence[str], line_end: str) -> str:
        text = "".join(f"{line}{line_end}" for line in lines)
        if self._options.get("final_line_end") == "optional" and self._rng.random() < 0.5:
            text = text.removesuffix(line_end)
        return text

    def _with_no_rows(self, lines: Sequence[str], *, has_commas: bool) -> Iterator[str]:
        """Yield lines that are rows, and among them those that are declared to be none."""
        options, rng = self._options, self._rng
        for line in [*lines, None]:
            while rng.random() < 0.25:
                kinds = []
                if comment := options.get("comment"):
                    kinds += [f"{comment} made, at;night", comment, f'{comment},"5']
                if options.get("skip_blank_lines"):
                    kinds.append("")
                if options.get("skip_empty_rows") and has_commas:
                    kinds.append(delimiter_of(options) * max(1, len(self._columns) - 1))
                if not kinds:
                    break
                yield rng.choice(kinds)
            if line is not None:
                yield line

    def _footer(self) -> list[str]:
        options, rng = self._options, self._rng
        if count := options.get("footer_lines"):
            return [f"{rng.choice(['Total', 'made at', '3;4,5'])} {n}" for n in range(count)]
        if options.get("footer"):
            lines = rng.choice([["END"], ["Sum,3", "END;4"], ["Sum"]])
            return [*lines, *[""] * rng.choice([0, 0, 1])]
        return []

    def _write_csv(self, rows: Sequence[Mapping[str, str | None]]) -> str:
        options, rng = self._options, self._rng
        is_named = options.get("header", True)
        names = [
            name
            for name, column in self._columns.items()
            if not (is_named and column.get("optional") and rng.random() < 0.3 and not rows)
        ] or [*self._columns]
        if options.get("any_column_order"):
            rng.shuffle(names)
        places: list[str | None] = [*names]
        if options.get("extra_columns") == "ignore":
            for _ in range(rng.choice([0, 1, 2])):
                places.insert(rng.randint(0, len(places)), None)
        line_end = self._line_end()
        lines = [self._any_line() for _ in range(options.get("skip_lines", 0))]
        if options.get("skip_to_header"):
            lines += [self._any_line() for _ in range(rng.choice([0, 1, 3]))]
        if is_named:
            header = self._write_header(places, rng.randint(0, 99))
            lines += [*self._with_no_rows(header, has_commas=False)][: len(header) * 9]
            if lines[-1:] != header[-1:]:
                lines = lines[: len(lines) - lines[::-1].index(header[-1])]
            lines += [self._any_line() for _ in range(options.get("skip_after_header", 0))]
        made = [
            self._write_row([self._extra() if one is None else row[one] for one in places])
            for row in rows
        ]
        lines += [*self._with_no_rows(made, has_commas=True), *self._footer()]
        return self._end_text(lines, line_end)

    def _extra(self) -> str:
        return self._rng.choice(["", "x", "NULL", "1,5", 'a"b', "\n"])

    def _write_header(self, places: Sequence[str | None], seed: int) -> list[str]:
        options, rng = self._options, self._rng
        count, names = options.get("header_rows", 1), list[str]()
        for place in places:
            given = "neu" if place is None else self._columns[place].get("from", place)
            name = given if isinstance(given, str) else given[seed % len(given)]
            if options.get("header_ignores_case") and place is not None:
                cased = rng.choice([name.upper(), name.lower(), name.title(), name])
                cased = cased if _can_encode(cased, self._encoding) else name
                name = cased if cased.casefold() == name.casefold() else name
                name = rng.choice([name, f" {name}", f"{name} "]) if count == 1 else name
            names.append(name)
        rows = []
        for row in range(count):
            parts = [name.split(" ") if count > 1 else [name] for name in names]
            rows.append(
                [
                    part[row] if row < len(part) and row < count - 1 else " ".join(part[row:])
                    for part in parts
                ]
            )
        lines = [self._write_row(row, is_header=True) for row in rows]
        if options.get("trailing_delimiter") and rng.random() < 0.5:
            lines = [line.removesuffix(delimiter_of(options)) for line in lines]
        return lines

    def _write_row(self, fields: Sequence[str | None], *, is_header: bool = False) -> str:
        delimiter = delimiter_of(self._options)
        line = delimiter.join(
            self._write_field(field, is_first=place == 0, is_header=is_header)
            for place, field in enumerate(fields)
        )
        return line + (delimiter if self._options.get("trailing_delimiter") else "")

    def _write_field(self, text: str | None, *, is_first: bool, is_header: bool) -> str:
        options = self._options
        quote = options.get("quote", '"')
        escape = options.get("escape") or quote
        if text is None or (is_header and not text):
            return ""
        needs_quotes = any(mark in text for mark in (delimiter_of(options), quote, "\n", "\r"))
        needs_quotes |= not text.strip() or (is_first and text[0] in "#-/ES")
        if not needs_quotes and self._rng.random() < 0.85:
            return text
        for mark in dict.fromkeys((escape, quote)):
            text = text.replace(mark, escape + mark)
        return f"{quote}{text}{quote}"

    def _write_json_lines(self, rows: Sequence[Mapping[str, str | None]]) -> str:
        lines = [self._any_line() for _ in range(self._options.get("skip_lines", 0))]
        made = [self._write_record(row) for row in rows]
        lines += [*self._with_no_rows(made, has_commas=False), *self._footer()]
        return self._end_text(lines or [""], self._line_end()) if lines else ""

    def _write_document(self, rows: Sequence[Mapping[str, str | None]]) -> str:
        rng = self._rng
        space = rng.choice(["", "\n", " ", "\r\n  "])
        text = f"[{f',{space}'.join(self._write_record(row) for row in rows)}{space}]"
        for name in reversed(self._options.get("records", "$").split(".")[1:]):
            around = rng.choice(["", '"meta": {"data": [1, "}"]}, ', '"n":1,'])
            behind = rng.choice(["", ', "next": null'])
            text = f'{{{around}"{name}":{space}{text}{behind}}}'
        return text + rng.choice(["", "\n"])

    def _write_record(self, row: Mapping[str, str | None]) -> str:
        options, rng = self._options, self._rng
        found: dict[str, Any] = {}
        inner: dict[str, str] = {}
        for name, column in self._columns.items():
            may_lack = column.get("optional") or options.get("absent_is_null")
            if row[name] is None and may_lack and rng.random() < 0.5:
                continue
            value = self._write_json(name, row[name])
            path = column.get("from", name).removeprefix("$.")
            if path.startswith("o."):
                inner[path[2:]] = value
            else:
                found[path] = value
        if inner or any(str(c.get("from")).startswith("$.o.") for c in self._columns.values()):
            found["o"] = self._write_object(inner)
        if options.get("extra_columns") == "ignore" and rng.random() < 0.5:
            found["more"] = rng.choice(["1", '"x"', "[1, 2]", '{"id": 5}', "null"])
        return self._write_object(found)

    def _write_object(self, members: Mapping[str, str]) -> str:
        rng = self._rng
        pairs = [*members.items()]
        if rng.random() < 0.2:
            rng.shuffle(pairs)
        colon, comma = rng.choice([":", ": "]), rng.choice([",", ", "])
        names = {name: json.dumps(name, ensure_ascii=rng.random() < 0.2) for name in members}
        return f"{{{comma.join(f'{names[name]}{colon}{value}' for name, value in pairs)}}}"

    def _write_json(self, name: str, text: str | None) -> str:
        if text is None:
            return "null"
        column, options = self._columns[name], self._values[name]
        kind = kind_in_file(column["type"], options)
        if kind is not str and text in options.get("nulls", ()):
            return "null"
        if kind is bool:
            return {"1": "true", "0": "false"}.get(text.strip(), text.lower())
        if kind is not str:
            is_text = self._options.get("numbers_as_texts") and self._rng.random() < 0.5
            return json.dumps(text) if is_text else text
        return json.dumps(text, ensure_ascii=self._rng.random() < 0.2)

    def _damage_text(self, text: str) -> str:
        rng = self._rng
        for _ in range(rng.choice([1, 1, 1, 2])):
            lines, place = text.splitlines(keepends=True) or [""], rng.randint(0, len(text))
            line = rng.randrange(len(lines))
            mark = rng.choice(
                [
                    *([delimiter_of(self._options), self._options.get("quote", '"')] * 3),
                    *("\n", "\r\n", "\r", " ", '"', "\\", "#", ",", ";", "\0", "}", "{", ":", "0"),
                    *("\ufeff", "x", "END", "-", ".", "[", "]"),
                ]
            )
            text = rng.choice(
                [
                    text[:place],
                    text[:place] + mark + text[place:],
                    text[:place] + mark + text[place:],
                    text[:place] + mark + text[place + 1 :],
                    text[:place] + text[place + 1 :],
                    "".join(lines[:line] + lines[line + 1 :]),
                    "".join(lines[:line] + lines[line:] + lines[line : line + 1]),
                    "".join(lines[:line] + lines[line : line + 1] + lines[line:]),
                    "".join(lines[:line] + lines[line:][::-1]),
                    text.replace("\n", "\r\n", 1),
                    text.replace("\r\n", "\n", rng.choice([1, -1])),
                    text.rstrip("\r\n"),
                    text + rng.choice(["\n", "\r\n", "END\n", "x\n", " "]),
                ]
            )
        return text


def damage_bytes(rng: random.Random, content: bytes) -> bytes:
    """Flip a bit, or lose, add or repeat some bytes."""
    place = rng.randint(0, len(content))
    flipped = bytes([content[place] ^ (1 << rng.randrange(8))]) if place < len(content) else b""
    return rng.choice(
        [
            content[:place] + flipped + content[place + 1 :],
            content[:place] + bytes([rng.randrange(256)]) + content[place:],
            content[:place] + content[place + 1 :],
            content[:place],
            content[:place] + content[place : place + 4] + content[place:],
        ]
    )
