"""Inputs of kinds that users have reported, how a feed declares them, and what happens.

`engine/test_reported_cases.py` tries them; `docs/generate.py` makes the tables of `odd-inputs.md`
from them, which is why this module imports nothing of the project.
"""

# ruff: noqa: RUF001

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

JSON = "{key}.jsonl"
PARQUET = "{key}.parquet"
TEXT = "{key}.txt"
PLACES = (
    "columns: {id: {type: BIGINT, start: 1, length: 3}, note: {type: VARCHAR, start: 4, length: 5}}"
)
HOURS = "start: 2024-03-01, timezone: America/New_York"
INT96 = b64decode(
    "UEFSMRUEFRgVHEwVAhUAEgAADCwVTeRkWiEAAJiKJQAVABUSFRYsFQIVEBUGFQYcAAAACSACAAAAAgEBAgAV"
    "BBksNQAYBnNjaGVtYRUCABUGJQIYAXQAFgIZHBkcJgAcFQYZNQAGEBkYAXQVAhYCFmwWdCZAJggpLBUEFQAV"
    "AgAVABUQFQIAPCkGGSYAAgAAABZsFgImCBZ0ABkcGAxBUlJPVzpzY2hlbWEYoAEvLy8vLzNBQUFBQVFBQUFB"
    "QUFBS0FBd0FCZ0FGQUFnQUNnQUFBQUFCQkFBTUFBQUFDQUFJQUFBQUJBQUlBQUFBQkFBQUFBRUFBQUFVQUFB"
    "QUVBQVVBQWdBQmdBSEFBd0FBQUFRQUJBQUFBQUFBQUVLRUFBQUFCZ0FBQUFFQUFBQUFBQUFBQUVBQUFCMEFB"
    "WUFDQUFHQUFZQUFBQUFBQU1BABggcGFycXVldC1jcHAtYXJyb3cgdmVyc2lvbiAyNi4wLjEZHBwAAAA4AQAA"
    "UEFSMQ=="
)
"""A Parquet file with one column `t` of type INT96, as old writers write times, in nanoseconds."""


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        kind: What is odd about it.
        declared: What its feed declares, as YAML, without name, pattern and, if they are those of
            most, columns; empty if that is nothing.
        file: What is in it: a text in UTF-8, bytes or, for Parquet, the query whose rows it has.
        rows: What the table then holds; empty if the file is refused.
        error: Why it is refused, or passed over.
        note: What the page says of the rows, or of a feed that is refused.
        pattern: The feed's pattern.
        name: The file's name; empty for one that fits most patterns.
    """

    kind: str
    declared: str
    file: str | bytes
    rows: Sequence[tuple[Any, ...]] = ()
    error: str = ""
    note: str = ""
    pattern: str = "{key}.csv"
    name: str = ""

    @property
    def outcome(self) -> str:
        """What the page says of it."""
        if self.error:
            return f"{self.note or 'refused'}: `{self.error}`"
        return f"loaded{': ' if self.note else ''}{self.note}"


@dataclass(frozen=True)
class Sample:
    """A file that `infer` is asked about.

    Attributes:
        kind: What is odd about it.
        file: What is in it.
        proposed: Some attributes of the proposal.
        said: A part of what is said of it.
        note: What the page says of the proposal.
        name: The file's name.
    """

    kind: str
    file: str
    proposed: Mapping[str, Any] = field(default_factory=dict)
    said: str = ""
    note: str = ""
    name: str = "a.csv"

    @property
    def outcome(self) -> str:
        """What the page says of it."""
        return f"{self.note}: `{self.said}`" if self.said else self.note


def _numbers(*texts: str) -> str:
    """Return a file of numbers in quotes."""
    return "v\n" + "".join(f'"{text}"\n' for text in texts)


def _decimals(*texts: str) -> list[tuple[Decimal]]:
    return [(Decimal(text),) for text in texts]


X, Y = (1, "x"), (2, "y")
XY = [X, Y]
MONEY = 'columns: {v: "DECIMAL(10, 2)"}'
MOMENT = datetime(2024, 1, 31, 10, 11, 12, 123456)  # noqa: DTZ001, a TIMESTAMP has no time zone

CASES: Mapping[str, Sequence[Case]] = {
    "Bytes": [
        Case(
            "Windows-1252: curly quotes, dashes, €",
            "format: {type: csv, encoding: windows-1252}",
            "id,note\n1,“it’s” – € 5\n".encode("windows-1252"),
            [(1, "“it’s” – € 5")],
        ),
        Case(
            "the same in a feed that says Latin-1",
            "format: {type: csv, encoding: latin-1}",
            "id,note\n1,“it’s” – € 5\n".encode("windows-1252"),
            error="line 2: byte 0x93, which latin-1 does not use: windows-1252? If it is right, "
            "set encoding_is_certain",
        ),
        Case(
            "UTF-8 in a feed that says Windows-1252",
            "format: {type: csv, encoding: windows-1252}",
            "id,note\n1,Müller\n",
            error="line 2: what is not ASCII would also be sound in utf-8: utf-8? If it is right, "
            "set encoding_is_certain",
        ),
        Case(
            "Latin-1",
            "format: {type: csv, encoding: latin-1}",
            "id,note\n1,é\n".encode("latin-1"),
            [(1, "é")],
        ),
        Case(
            "UTF-16 with a byte order mark, as Excel writes it",
            "format: {type: tsv, encoding: utf-16}",
            "id\tnote\r\n1\té 🍵\r\n".encode("utf-16"),
            [(1, "é 🍵")],
        ),
        Case(
            "no line end after the last line",
            "format: {type: csv, final_line_end: optional}",
            "id,note\n1,x\n2,y",
            XY,
        ),
        Case(
            "the same below CRLF in quotes",
            "format: {type: csv, final_line_end: optional, header: false}",
            '1,"two\r\nlines"\n2,y',
            [(1, "two\r\nlines"), Y],
        ),
        Case(
            "the same with CRLF",
            "format: {type: csv, final_line_end: optional}",
            "id,note\r\n1,x\r\n2,y",
            XY,
        ),
        Case(
            "the same, cut off between CR and LF",
            "format: {type: csv, final_line_end: optional}",
            "id,note\r\n1,x\r\n2,y\r",
            error="line 3: a carriage return without a line feed",
        ),
        Case(
            "the same where nothing is declared",
            "",
            "id,note\r\n1,x\r\n2,y",
            error="line 3: no line end after the last line: cut off? If not, set final_line_end: "
            "optional",
        ),
    ],
    "Lines that are no rows": [
        Case(
            "`sep=;` above the header",
            'format: {type: csv, delimiter: ";", skip_to_header: true}',
            "sep=;\nid;note\n1;x\n2;y\n",
            XY,
        ),
        Case(
            "the same, counted",
            'format: {type: csv, delimiter: ";", skip_lines: 1}',
            "sep=;\r\nid;note\r\n1;x\r\n2;y\r\n",
            XY,
        ),
        Case(
            "a title and an empty line above the header",
            "format: {type: csv, skip_to_header: true}",
            "Report,31.01.2024\n\nid,note\n1,x\n2,y\n",
            XY,
        ),
        Case(
            "the same with LF, above a header and rows with CRLF",
            "format: {type: csv, skip_to_header: true}",
            "Report,31.01.2024\n\nid,note\r\n1,x\r\n2,y\r\n",
            XY,
        ),
        Case(
            "comments, anywhere",
            'format: {type: csv, comment: "#"}',
            "# made on 2024-01-31\nid,note\n1,x\n# half\n2,y\n",
            XY,
        ),
        Case(
            "a row of units below the header",
            "format: {type: csv, skip_after_header: 1}",
            "id,note\n[n],[text]\n1,x\n2,y\n",
            XY,
        ),
        Case(
            "a header of two rows",
            "format: {type: csv, header_rows: 2}, columns: {order id: BIGINT, order note: VARCHAR}",
            "order,order\nid,note\n1,x\n2,y\n",
            XY,
        ),
        Case(
            "empty lines, and rows of delimiters alone",
            "format: {type: csv, skip_blank_lines: true, skip_empty_rows: true}",
            "id,note\n1,x\n\n,\n2,y\n,\n",
            XY,
        ),
        Case(
            "a total in the last line",
            "format: {type: csv, footer: Total}",
            "id,note\n1,x\n2,y\nTotal,,3.50\n",
            XY,
        ),
        Case(
            "the same, counted",
            "format: {type: csv, footer_lines: 1}",
            "id,note\n1,x\n2,y\nTotal,,3.50\n",
            XY,
        ),
        Case(
            "the same, cut off",
            "format: {type: csv, footer: Total}",
            "id,note\n1,x\n2,y\n",
            error="the last line is no footer: cut off?",
        ),
        Case(
            "a total that must be the sum of a column",
            "format: {type: csv, footer: 'Total,(?P<id>.*)'}",
            "id,note\n1,x\n2,y\nTotal,3\n",
            XY,
        ),
        Case(
            "the same, and it is not",
            "format: {type: csv, footer: 'Total,(?P<id>.*)'}",
            "id,note\n1,x\n2,y\nTotal,4\n",
            error="column id: the footer's total is not the sum of the rows that were loaded",
        ),
        Case(
            "a number of rows in the last line, and one is missing",
            "format: {type: csv, footer: 'END (?P<row_count>.*)'}",
            "id,note\n1,x\nEND 2\n",
            error="the footer tells of another number of rows than 1",
        ),
        Case(
            "a total that nobody declared",
            "",
            "id,note\n1,x\nTotal,2\n",
            error="line 3, column id: not a BIGINT",
        ),
        Case(
            "a delimiter at the end of each row, but not of the header",
            'format: {type: csv, delimiter: "|", trailing_delimiter: true}',
            "id|note\n1|x|\n2|y|\n",
            XY,
        ),
        Case(
            "the same, at the end of the header, too",
            'format: {type: csv, delimiter: "|", trailing_delimiter: true}',
            "id|note|\n1|x|\n2||\n",
            [X, (2, None)],
        ),
        Case(
            "the same, missing from a row",
            'format: {type: csv, delimiter: "|", trailing_delimiter: true}',
            "id|note|\n1|x|\n2|y\n",
            error="line 3: no delimiter at the end of the row",
        ),
    ],
    "Header and quotes": [
        Case(
            "a byte order mark before a quoted header",
            "",
            b'\xef\xbb\xbf"id","note"\r\n"1","x"\r\n"2","y"\r\n',
            XY,
        ),
        Case(
            "LF in quotes, CRLF at the end of lines",
            "",
            'id,note\r\n1,"two\nlines"\r\n',
            [(1, "two\nlines")],
            note="as it is written",
        ),
        Case(
            "CRLF in quotes, LF at the end of lines",
            "",
            'id,note\n1,"two\r\nlines"\n',
            [(1, "two\r\nlines")],
            note="as it is written",
        ),
        Case(
            "names in capitals, or with white space around them",
            "format: {type: csv, header_ignores_case: true}",
            "ID,Note \n1,x\n2,y\n",
            XY,
        ),
        Case(
            "a no-break space behind a name",
            "format: {type: csv, header_ignores_case: true}",
            "id,note\u00a0\n1,x\n2,y\n",
            XY,
        ),
        Case(
            "the same where nothing is declared",
            "",
            "id,note\u00a0\n1,x\n",
            error="line 1: header: column note is missing: one has U+00A0 NO-BREAK SPACE in its "
            "name",
        ),
        Case(
            "a second byte order mark",
            "",
            "\ufeff\ufeffid,note\n1,x\n",
            error="line 1: header: column id is missing: one has U+FEFF ZERO WIDTH NO-BREAK SPACE "
            "in its name",
        ),
        Case(
            "names of the sender's own, which change",
            "columns: {id: {type: BIGINT, from: [Nr., No.]}, note: {type: VARCHAR, from: Text}}",
            "No.,Text\n1,x\n2,y\n",
            XY,
        ),
        Case(
            "another quote, doubled within",
            'format: {type: csv, quote: "\'"}',
            "id,note\n1,'it''s, ok'\n2,'say \"\"hi\"\"'\n",
            [(1, "it's, ok"), (2, 'say ""hi""')],
        ),
        Case(
            "a backslash before a quote",
            "format: {type: csv, escape: '\\'}",
            'id,note\n1,"say \\"hi\\""\n',
            [(1, 'say "hi"')],
        ),
        Case(
            "quotes that are characters like any other",
            'format: {type: tsv, quote: ""}',
            'id\tnote\n1\t5" pipe\n2\t"y\n',
            [(1, '5" pipe'), (2, '"y')],
        ),
        Case(
            "the same around whole fields, in CSV",
            'format: {type: csv, quote: ""}',
            'id,note\n1,"x"\n2,""\n3,"\n4,""x\n5,\'\\\n6,\n',
            [(1, '"x"'), (2, '""'), (3, '"'), (4, '""x'), (5, "'\\"), (6, None)],
            note="as it is written",
        ),
        Case(
            "the same around a delimiter",
            'format: {type: csv, quote: ""}',
            'id,note\n1,"x,y"\n',
            error="line 2: 3 fields instead of 2",
        ),
    ],
    "Columns by their place": [
        Case(
            "lines without delimiters",
            f"format: fixed_width, {PLACES}",
            "  1x    \n  2y    \n",
            XY,
            pattern=TEXT,
        ),
        Case(
            "the same, with the spaces at the end cut off",
            f"format: {{type: fixed_width, short_lines: true}}, {PLACES}",
            "  1x\n  2y\n",
            XY,
            pattern=TEXT,
        ),
        Case(
            "the same where nothing is declared",
            f"format: fixed_width, {PLACES}",
            "  1x    \n  2y\n",
            error="line 2: 4 characters instead of 8",
            pattern=TEXT,
        ),
        Case(
            "EBCDIC",
            f"format: {{type: fixed_width, encoding: cp273}}, {PLACES}",
            "001x    \n002y    \n".encode("cp273"),
            XY,
            pattern=TEXT,
        ),
        Case(
            "the same, with the mainframe's own line end, NEL",
            f"format: {{type: fixed_width, encoding: cp273}}, {PLACES}",
            "001x    \x85002y    \x85".encode("cp273"),
            error="line 1: no line end after the last line: cut off? If not, set final_line_end: "
            "optional",
            pattern=TEXT,
        ),
    ],
    "Values": [
        Case(
            "a decimal comma",
            'columns: {v: "DECIMAL(10, 2)"}, values: {decimal: ","}',
            _numbers("1299,99", "-0,5"),
            _decimals("-0.5", "1299.99"),
        ),
        Case(
            "the same in a DOUBLE",
            'columns: {v: DOUBLE}, values: {decimal: ","}',
            _numbers("1299,5"),
            [(1299.5,)],
        ),
        Case(
            "a decimal comma, points between thousands, and a sign of money",
            'columns: {v: "DECIMAL(10, 2)"}, values: {decimal: ",", thousands: ".", strip: ["€"]}',
            _numbers("1.299,99 €", "€5"),
            _decimals("5", "1299.99"),
        ),
        Case(
            "apostrophes between thousands",
            'columns: {v: "DECIMAL(10, 2)"}, values: {thousands: "\'"}',
            _numbers("1'299.99"),
            _decimals("1299.99"),
        ),
        Case(
            "a decimal comma that nobody declared",
            'columns: {v: "DECIMAL(10, 2)"}',
            _numbers("1299,99"),
            error="line 2, column v: not a DECIMAL(10, 2)",
        ),
        Case(
            "`31/01/2024`",
            'columns: {v: DATE}, values: {date_format: "%d/%m/%Y"}',
            _numbers("31/01/2024"),
            [(date(2024, 1, 31),)],
        ),
        Case(
            "`20240131`",
            'columns: {v: DATE}, values: {date_format: "%Y%m%d"}',
            _numbers("20240131"),
            [(date(2024, 1, 31),)],
        ),
        Case(
            "`45322`, a day of Excel",
            "columns: {v: DATE}, values: {date_format: excel}",
            _numbers("45322"),
            [(date(2024, 1, 31),)],
        ),
        Case(
            "`2024-01-31 00:00:00`",
            'columns: {v: DATE}, values: {date_format: "%Y-%m-%d %H:%M:%S"}',
            _numbers("2024-01-31 00:00:00"),
            [(date(2024, 1, 31),)],
        ),
        Case(
            "several of them in one column",
            'columns: {v: DATE}, values: {date_format: ["%d/%m/%Y", "%Y%m%d"]}',
            _numbers("31/01/2024", "20240131"),
            [(date(2024, 1, 31),)] * 2,
        ),
        Case(
            "a day first that nobody declared",
            "columns: {v: DATE}",
            _numbers("31/01/2024"),
            error="line 2, column v: not a DATE",
        ),
        Case(
            "texts for NULL",
            "columns: {id: BIGINT, note: VARCHAR, v: DATE}, values: {nulls: ['\\N', 'NULL', NA]}",
            'id,note,v\n\\N,"NULL",NA\n1,x,2024-01-31\n2,"",\n',
            [(1, "x", date(2024, 1, 31)), (2, "", None), (None, None, None)],
            note="NULL in all types, quoted or not",
        ),
        Case(
            "the same in a text column that does not declare them",
            "",
            "id,note\n1,NA\n2,\\N\n",
            [(1, "NA"), (2, "\\N")],
            note="as it is written",
        ),
        Case(
            "the same in a number column that does not declare them",
            "",
            "id,note\n\\N,x\n",
            error="line 2, column id: not a BIGINT",
        ),
        *(
            Case(
                f"two signs in a {type_name}",
                f'columns: {{v: "{type_name}"}}',
                _numbers("1", "+-2.5" if type_name != "BIGINT" else "+-2"),
                error=f"line 3, column v: not a {type_name}",
            )
            for type_name in ("DOUBLE", "FLOAT", "BIGINT", "DECIMAL(10, 2)")
        ),
        Case(
            "`1e-400`, which a DOUBLE cannot hold",
            "columns: {v: DOUBLE}",
            _numbers("1e-400"),
            error="line 2, column v: not a DOUBLE",
        ),
        Case(
            "`1e-50`, which a FLOAT cannot hold",
            "columns: {v: FLOAT}",
            _numbers("1e-50"),
            error="line 2, column v: not a FLOAT",
        ),
        Case(
            "`1e-5` in a DECIMAL with two decimals",
            'columns: {v: "DECIMAL(10, 2)"}',
            _numbers("1e-5"),
            error="line 2, column v: not a DECIMAL(10, 2)",
        ),
        Case(
            "`1e-400` in JSON",
            "format: json_lines, columns: {v: DOUBLE}",
            '{"v": 1e-400}\n',
            error="line 1, column v: not a DOUBLE",
            pattern=JSON,
        ),
        Case(
            "zeros before a number that is none",
            "columns: {v: VARCHAR}",
            _numbers("0012"),
            [("0012",)],
        ),
    ],
    "JSON": [
        Case(
            "a name that a record lacks",
            "format: json_lines, columns: {id: BIGINT, note: {type: VARCHAR, optional: true}}",
            '{"id": 1, "note": "x"}\n{"id": 2}\n',
            [X, (2, None)],
            note="NULL",
            pattern=JSON,
        ),
        Case(
            "the same, in any column",
            "format: {type: json_lines, absent_is_null: true}",
            '{"id": 1, "note": "x"}\n{"id": 2}\n',
            [X, (2, None)],
            note="NULL",
            pattern=JSON,
        ),
        Case(
            "the same where nothing is declared",
            "format: json_lines",
            '{"id": 1, "note": "x"}\n{"id": 2}\n',
            error="line 2, column note: missing",
            pattern=JSON,
        ),
        Case(
            "a name that the feed does not have",
            "format: {type: json_lines, extra_columns: ignore}",
            '{"id": 1, "note": "x", "more": [1]}\n',
            [X],
            pattern=JSON,
        ),
        Case(
            "the same where nothing is declared",
            "format: json_lines",
            '{"id": 1, "note": "x", "more": [1]}\n',
            error="line 1: 1 name(s) that the feed does not have",
            pattern=JSON,
        ),
        Case(
            "a value within a value",
            "format: json_lines, columns: {id: BIGINT, note: {type: VARCHAR, from: $.note.text}}",
            '{"id": 1, "note": {"text": "x"}}\n',
            [X],
            pattern=JSON,
        ),
        Case(
            "any value, as it is",
            "format: json_lines, columns: {id: BIGINT, note: JSON}",
            '{"id": 1, "note": {"a": [1, 2.50]}}\n',
            [(1, '{"a":[1,2.50]}')],
            note="a column of type JSON",
            pattern=JSON,
        ),
        Case(
            "a list of structures",
            "format: json_lines, columns: {id: BIGINT, note: 'STRUCT(n DECIMAL(9, 2), d DATE)[]'}",
            '{"id": 1, "note": [{"n": 2.5, "d": "2026-01-31"}]}\n',
            [(1, [{"n": Decimal("2.50"), "d": date(2026, 1, 31)}])],
            pattern=JSON,
        ),
        Case(
            "a value in it that is not of its type",
            "format: json_lines, columns: {id: BIGINT, note: 'STRUCT(n DECIMAL(9, 2), d DATE)[]'}",
            '{"id": 1, "note": [{"n": "2.5", "d": null}]}\n',
            error="line 1, column note: a text at $.note[0].n, where a number belongs",
            pattern=JSON,
        ),
        Case(
            "the same in a text column",
            "format: json_lines",
            '{"id": 1, "note": {"a": 1}}\n',
            error="line 1, column note: an object, where a text belongs",
            pattern=JSON,
        ),
        Case(
            "numbers in quotes, as BigQuery writes its integers",
            "format: {type: json_lines, numbers_as_texts: true}",
            '{"id": "1", "note": "x"}\n',
            [X],
            pattern=JSON,
        ),
        Case(
            "one array of records",
            "format: {type: json, records: $.data}",
            '{"data": [{"id": 1, "note": "x"}, {"id": 2, "note": "y"}]}',
            XY,
            pattern="{key}.json",
        ),
    ],
    "Parquet": [
        *(
            Case(
                f"times in {unit}",
                f"format: parquet, columns: {{v: {type_name}}}",
                f"SELECT '2024-01-31 10:11:12.123456'::TIMESTAMP::{written} AS v",
                [(value,)],
                pattern=PARQUET,
            )
            for unit, written, type_name, value in (
                ("milliseconds", "TIMESTAMP_MS", "TIMESTAMP", MOMENT.replace(microsecond=123000)),
                ("microseconds", "TIMESTAMP", "TIMESTAMP", MOMENT),
                ("UTC", "TIMESTAMPTZ", "TIMESTAMPTZ", MOMENT.replace(tzinfo=UTC)),
            )
        ),
        Case(
            "times in nanoseconds",
            "format: parquet, columns: {v: TIMESTAMP_NS}",
            "SELECT '2024-01-31 10:11:12.123456'::TIMESTAMP_NS AS v",
            [(MOMENT,)],
            pattern=PARQUET,
        ),
        Case(
            "the same, of which none is finer than a microsecond",
            "format: parquet, columns: {v: TIMESTAMP}",
            "SELECT '2024-01-31 10:11:12.123456'::TIMESTAMP_NS AS v",
            [(MOMENT,)],
            pattern=PARQUET,
        ),
        Case(
            "the same, of which one is",
            "format: parquet, columns: {v: TIMESTAMP}",
            "SELECT '2024-01-31 10:11:12.123456789'::TIMESTAMP_NS AS v",
            error="row 1, column v: a time finer than the microseconds of a TIMESTAMP",
            pattern=PARQUET,
        ),
        Case(
            "times of type INT96, with nanoseconds",
            "format: parquet, columns: {t: TIMESTAMP}",
            INT96,
            error="column t: INT96 in the file, TIMESTAMP in the feed",
            pattern=PARQUET,
        ),
        Case(
            "whole numbers that are stored as DOUBLE, because some are NULL",
            "format: {type: parquet, whole_doubles: true}, columns: {v: BIGINT}",
            "SELECT unnest([1.0, NULL])::DOUBLE AS v",
            [(1,), (None,)],
            pattern=PARQUET,
        ),
        Case(
            "the same where nothing is declared",
            "format: parquet, columns: {v: BIGINT}",
            "SELECT 1.0::DOUBLE AS v",
            error="column v: DOUBLE in the file, BIGINT in the feed",
            pattern=PARQUET,
        ),
        Case(
            "the same name twice, of which DuckDB makes two names",
            "format: parquet, columns: {a1: INTEGER, a1_1: INTEGER}",
            "SELECT 1 AS a1, 2 AS a2",
            error="column a1 is there more than once; column a1_1 is missing",
            pattern=PARQUET,
        ),
    ],
    "Names and keys": [
        Case(
            "`no` in a list of names, which YAML takes for false",
            "partitioning: static, keys: [se, no, dk]",
            "id,note\n1,x\n",
            error="keys.1: YAML takes no, yes, on and off for true or false, and never for a text: "
            "put it in quotes",
            note="the feed is refused",
        ),
        Case(
            "the same in quotes",
            'partitioning: static, keys: [se, "no", dk]',
            "id,note\n1,x\n",
            [X],
            name="no.csv",
        ),
        Case(
            "a file of the hour that the clocks skip",
            HOURS,
            "id,note\n1,x\n",
            error="partition key 2024-03-10-02:00: in America/New_York, the clock skips this hour",
            pattern="{date:%Y-%m-%d-%H}.csv",
            name="2024-03-10-02.csv",
        ),
        Case(
            "a file of the hour that is there twice",
            HOURS,
            "id,note\n1,x\n2,y\n",
            XY,
            note="one file with the rows of both",
            pattern="{date:%Y-%m-%d-%H}.csv",
            name="2024-11-03-01.csv",
        ),
    ],
}
"""By heading of the page."""

SAMPLES: Sequence[Sample] = [
    Sample(
        "a day with two digits of its year in the name",
        "id\n1\n",
        {"pattern": "{key}.csv"},
        note="it is a name",
        name="sales_241201.csv",
    ),
    Sample(
        "one line of another width",
        "a,b\n" + "".join(f"{number},x\n" for number in range(300)) + "300,x,y\n",
        {"columns": {"a": "BIGINT", "b": "VARCHAR"}},
        "1 line(s) have not as many fields as the others",
        "the sample would be refused for that line",
    ),
    Sample(
        "a total in the last line",
        "a,b\n" + "".join(f"{number},1.50\n" for number in range(300)) + "450.00\n",
        {"columns": {"a": "BIGINT", "b": "DOUBLE"}},
        "so many lines at the end do not look like rows",
        "a footer of one line",
    ),
    Sample(
        "zeros before the last of 30,000 numbers",
        "v\n" + "".join(f"{number}\n" for number in range(30_000)) + "0012\n",
        {"columns": {"v": "VARCHAR"}},
        note="a text",
    ),
    *(
        Sample(f"`{text}`", f"v\n{text}\n{text}\n", {"columns": {"v": type_name}}, note=note)
        for text, type_name, note in (
            ("1:30", "TIME", "a time of the form `%-H:%M`"),
            ("2024-1-2", "DATE", "a day of the form `%Y-%-m-%-d`"),
            ("0x1F", "VARCHAR", "a text"),
            (" 1", "BIGINT", "a number, with `trim`"),
        )
    ),
    Sample(
        "a column of a name that every table has",
        "partition_key,x\na,1\n",
        {"columns": {"partition_key_in_file": "VARCHAR", "x": "BIGINT"}},
        note="a column of another name, with `from`",
    ),
    Sample(
        "columns of fixed width that touch",
        "0000123ACME      20260131\n0000124ZETA WORKS20260201\n",
        {"columns": {"column1": "VARCHAR", "column2": "VARCHAR", "day": "DATE"}},
        "check start and length against the sender's description",
        "what digits and letters tell of columns, to be checked",
        name="stock.dat",
    ),
    Sample(
        "a name of 2,000 characters",
        f"{'x' * 2000}\n1\n",
        {"columns": {"x" * 2000: "BIGINT"}},
        note="a declaration that YAML can read",
    ),
]
