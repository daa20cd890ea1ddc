"""JSON that DuckDB reads at once says exactly what it says when it is read record by record.

The lines are made at random, of what JSON parsers are known to differ on. Python's parser, which
keeps the spelling of numbers, is the truth. DuckDB may leave a line to it, and never read another
value than it, or a line that it refuses.
"""

import random
from collections.abc import Mapping
from typing import Any

import duckdb
import pytest

from partitioned_etl.engine.contract import Column
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.format import LINE, Problem, TextsRecord
from partitioned_etl.engine.formats.json_columns import list_json_columns
from partitioned_etl.engine.formats.json_lines import JsonLinesFormat
from partitioned_etl.engine.formats.json_records import read_texts
from partitioned_etl.engine.formats.json_sql import LEFT_SQL, LINE_TEXT, select_texts
from partitioned_etl.engine.formats.rows import VALID, bind_records, validate_rows
from partitioned_etl.engine.sql import Query, quote_identifier
from support.scale import IS_SEEDED, examples, quick_and_long

NUMBERS = [
    *("0", "-0", "1", "-1", "1.5", "1.50", "-0.0", "0.0", "0.00", "1e5", "1E-5", "1e22", "-0e1"),
    *("1e400", "-1e400", "1e-400", "-1e-400", "5e-324", "2e-324", "1.7976931348623159e308"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "1.23456", "1.10000"),
    *("18446744073709551616", "12345678901234567890", "123456789012345678901234567890", "0.1e1"),
    *("0.1000000000000000055", "1.00000000000000000001", "16777217", "16777217.0000001", "4.35"),
    *("01", "1.", ".5", "+1", "-", "1e", "1-2", "--1", "1_000", "0x1", "100", "1.0", "NaN", "nan"),
    *("NAN", "Infinity", "-Infinity", "-NaN", "inf", "-inf", "infinity", "INFINITY"),
    f"0.{'0' * 330}1",
]
TEXTS = [
    *('"x"', '""', '"\\u0061"', '"\\u0000"', '"\\ud83d"', '"\\ud83d\\ude00"', '"\\"id\\": 5"'),
    *('"a\\\\"', '"\\\\\\": 5"', '": 5"', '"\x7f"', '"\x7f5"', '"\\u007f5"', '"\\u007F5"'),
    *('"2018-01-22"', '"1.50"', '"1"', '"true"', '"NaN"', '"a, 5, 1.50"', '"[1.50]"', '"\x01"'),
    *('"\t"', '"\\n"', '"\\/"', '"\\x"', "'x'", '"é"', '"😀"', '"{"', '"},"', '",}"', '"x', '"'),
    *('"\u2028"', '": nan,"', '", inf,"', '"\\u001f\\u0008"', '"1e5"', '" 1"', '"a" b"'),
]
WORDS = ["null", "true", "false", "True", "None", "nul", "undefined", ""]
SOUND = {
    "BIGINT": ["1", "-5", "null", "9007199254740993", "0"],
    "INTEGER": ["1", "2", "null"],
    "HUGEINT": ["1", "123456789012345678901234567890"],
    "DOUBLE": ["1.5", "null", "0.0", "1e5", "-3", "0", "4.35", "-1.7976931348623157e308"],
    "FLOAT": ["1.5", "0", "16777217.0000001"],
    "DECIMAL(18,4)": ["1.5", "1.50", "0.0001", "12345678901234.5678"],
    "VARCHAR": ['"x"', '""', "null", '"\\u00e9"', '"a\\"b: 5"', '"a, 1.50"'],
    "BOOLEAN": ["true", "false", "null"],
    "DATE": ['"2018-01-22"', "null"],
    "JSON": ["[1,2]", '{"a": [1.50, "x"], "b":{}}', '"x"', "1.50", "null", "[0, -0]", "[[],[1e5]]"],
}
TIMES = [
    *('"2018-01-22 12:30:00"', '"2018-01-22T12:30:00.123456"', '"2018-01-22T12:30:00.1234567"'),
    *('"2018-01-22T12:30:00Z"', '"2018-01-22 24:00:00"', '"18-01-22"', '"2018-02-30"', '"12:30"'),
    *('"24:00"', '"12:30:00.5"', '"infinity"', '"b6a3c2f0-8d1e-4a4b-9c38-0d8b3f1f3c11"', '" "'),
    *('"2018-01-22T12:30:00+02:00"', '"0000-01-01"', '"2018-01-22 BC"', '"epoch"', '"today"'),
]
PLAIN = {"id": "BIGINT", "amount": "DOUBLE", "note": "VARCHAR", "flag": "BOOLEAN", "day": "DATE"}
SPELLED = {
    "id": "INTEGER",
    "price": "DECIMAL(18,4)",
    "size": "FLOAT",
    "long": "HUGEINT",
    "note": "VARCHAR",
}
NESTED: dict[str, str | Column] = {
    "id": "BIGINT",
    "number": Column(type="BIGINT", optional=True, from_=("$.a.b",)),
    "text": Column(type="VARCHAR", from_=("$.a['c d'][1]",)),
    "price": Column(type="DECIMAL(18,4)", optional=True, from_=("$.p[0].q",)),
}
ANY: dict[str, str | Column] = {
    "id": "BIGINT",
    "note": "VARCHAR",
    "j": "JSON",
    "k": Column(type="JSON", optional=True, from_=("$.a.b",)),
}
FEEDS: dict[str, tuple[Mapping[str, str | Column], dict[str, Any], tuple[str, ...]]] = {
    "numbers by value": (PLAIN, {}, ()),
    "numbers by spelling": (SPELLED, {}, ()),
    "NaN and infinity": (PLAIN, {}, ("amount",)),
    "NaN and infinity by spelling": (SPELLED, {}, ("size",)),
    "absent is NULL": (PLAIN, {"absent_is_null": True}, ()),
    "other names": (PLAIN, {"extra_columns": "ignore", "absent_is_null": True}, ()),
    "numbers as texts": (PLAIN, {"numbers_as_texts": True}, ("amount",)),
    "numbers as texts by spelling": (
        SPELLED,
        {"numbers_as_texts": True, "extra_columns": "ignore"},
        (),
    ),
    "paths": (NESTED, {}, ()),
    "any values": (ANY, {"extra_columns": "ignore"}, ()),
}


class Writer:
    """Writes lines that a sender might have written, and some that only an attacker would."""

    def __init__(self, seed: str | None, columns: Mapping[str, str | Column]) -> None:
        self._random, self._columns = random.Random(seed), columns

    def _happens(self, share: float) -> bool:
        return self._random.random() < share

    def _one(self, *choices: str) -> str:
        return self._random.choice(choices)

    def line(self) -> str:
        columns = self._columns
        types = {name: one if isinstance(one, str) else one.type for name, one in columns.items()}
        members = {name: self._sound(type_name) for name, type_name in types.items()}
        if columns is NESTED:
            members = {"id": members["id"], "a": self._inner(members), "p": self._parts(members)}
        if columns is ANY:
            members["a"] = self._object({"b": members.pop("k")})
        text = self._object(members)
        if self._happens(0.02):
            wrong = [f"{text} x", f"[{text}]", text + text, f"/*c*/{text}", f"{text}//c", text[:-1]]
            wrong += ["", "  ", "{}", "null", "5", '"x"', f"\x0b{text}", f"{text}\x01", f" {text} "]
            text = self._one(*wrong, f"\ufeff{text}", f"\t{text}", f"{text}\r")
        elif self._happens(0.03):
            at = self._random.randrange(len(text))
            text = (
                text[:at]
                + self._one(*'"\\,}{ \x7f0\x01:', "")
                + text[at + self._random.choice([0, 1]) :]
            )
        return text

    def _sound(self, type_name: str) -> str:
        return self._one(*SOUND[type_name]) if self._happens(0.9) else self._value()

    def _inner(self, members: Mapping[str, str]) -> str:
        text = members["text"]
        shapes = [f'["u",{text}]', f'["u",{text},3]', f"[{text}]", text, f'{{"1":{text}}}']
        inner = self._object({"b": members["number"], "c d": self._one(*shapes, *shapes[:2])})
        return inner if self._happens(0.9) else self._value()

    def _parts(self, members: Mapping[str, str]) -> str:
        parts = f"[{self._object({'q': members['price']})}]"
        return parts if self._happens(0.9) else self._value()

    def _value(self, depth: int = 0) -> str:
        share = self._random.random()
        if share < 0.4:
            return self._number()
        if share < 0.7:
            return self._one(*TEXTS)
        if share < 0.8 or depth > 2:
            return self._one(*WORDS)
        values = [self._value(depth + 1) for _ in range(self._random.randint(0, 3))]
        if share < 0.9:
            return f"[{self._one(',', ', ', ' , ').join(values)}{self._one(*[''] * 9, ',')}]"
        return self._object({self._one("a", "b", "c d", "x"): value for value in values})

    def _number(self) -> str:
        one = self._random.random()
        made = [repr(one), repr(one * 10.0 ** self._random.randint(-320, 300)), f"{one:.20f}"]
        return self._one(*NUMBERS, *made, str(self._random.randint(-(2**70), 2**70)))

    def _object(self, values: Mapping[str, str]) -> str:
        members = [(self._key(name), value) for name, value in values.items()]
        if self._happens(0.03) and members:
            members.append(self._random.choice(members))
        if self._happens(0.03):
            members.append((self._one('"new"', '"a"', '""', '"x\\\\"'), self._value(2)))
        if self._happens(0.03) and members:
            members.pop(self._random.randrange(len(members)))
        if self._happens(0.1):
            self._random.shuffle(members)
        colon = self._one(":", ":", ": ", " : ", ":\t")
        written = self._one(",", ", ", ",\t").join(f"{name}{colon}{one}" for name, one in members)
        end = self._one(*[""] * 40, ",", " , ") + self._one("", " ")
        return f"{{{self._one('', ' ')}{written}{end}}}"

    def _key(self, name: str) -> str:
        if self._happens(0.01):
            name = self._one(name.upper(), f"{name} ", f'{name}\\"', "x\x7f", "\\u0000")
        if self._happens(0.02) and name[:1].isalpha():
            name = f"\\u{ord(name[0]):04x}{name[1:]}"
        return f'"{name}"'


@pytest.mark.scaled
@pytest.mark.parametrize(("columns", "options", "non_finite"), FEEDS.values(), ids=list(FEEDS))
def test_duckdb_reads_a_line_as_it_is_read_by_itself_or_not_at_all(
    columns: Mapping[str, str | Column], options: dict[str, Any], non_finite: tuple[str, ...]
) -> None:
    feed = Feed(
        name="f",
        pattern="{key}",
        columns=columns,
        format=JsonLinesFormat(**options),
        non_finite_columns=non_finite,
    )
    seed = str(columns) + str(options) if IS_SEEDED else None
    writer = Writer(seed, columns)
    lines = [writer.line() for _ in range(examples(1500))]
    truth, found = read_by_themselves(feed, lines), read_at_once(feed, lines)
    wrong = {
        lines[line]: (values, truth.get(line))
        for line, values in found.items()
        if repr(truth.get(line)) != repr(values)
    }
    assert wrong == {}
    assert len(truth) > len(lines) / 5
    # Within a value of any kind, DuckDB leaves most numbers in arrays.
    assert len(found) > len(truth) * (0.3 if columns is ANY else 0.9)


WITHIN = {
    "STRUCT(a {}[])[]": '[null,{{"a":[null,{}]}}]',
    "{}[]": "[{}]",
    "STRUCT(a {})": '{{"a":{}}}',
    "MAP(VARCHAR, {})": '{{"b":{}}}',
}


@pytest.mark.parametrize("type_name", [*SOUND, "TIMESTAMP", "TIMESTAMPTZ", "TIME", "UUID"])
@pytest.mark.parametrize("nested", quick_and_long({one: [one] for one in WITHIN}))
def test_a_value_within_another_is_read_as_that_of_a_column(type_name: str, nested: str) -> None:
    literals = [*NUMBERS, *TEXTS, *WORDS, *SOUND.get(type_name, []), *TIMES]
    literals = [one for one in [*literals, *(f'"{text}"' for text in NUMBERS)] if one]

    def read(wanted: str, form: str) -> Rows:
        feed = Feed(name="f", pattern="{key}", columns={"a": wanted}, format=JsonLinesFormat())
        return read_by_themselves(feed, [f'{{"a":{form.format(one)}}}' for one in literals])

    alone, within = read(type_name, "{}"), read(nested.format(type_name), WITHIN[nested])
    inner = {line: _innermost(value) for line, (value,) in within.items()}
    assert {line: repr(value) for line, value in inner.items()} == {
        line: repr(value) for line, (value,) in alone.items()
    }
    assert len(alone) > 1


def _innermost(value: object) -> object:
    while isinstance(value, list | dict):
        value = [*(value.values() if isinstance(value, dict) else value)][-1]
    return value


Rows = dict[int, tuple[object, ...]]


def read_by_themselves(feed: Feed, lines: list[str]) -> Rows:
    options = JsonLinesFormat.model_validate(feed.format)
    columns = list_json_columns(feed, options)
    found = [read_texts(columns, options, line, text) for line, text in enumerate(lines)]
    records = [
        TextsRecord(line, lines[line], None, texts)
        for line, texts in enumerate(found)
        if not isinstance(texts, Problem)
    ]
    return keep_valid(feed, bind_records(records, list(feed.columns)))


def read_at_once(feed: Feed, lines: list[str]) -> Rows:
    """Read lines as DuckDB does; those that it leaves are not among them."""
    numbered = f"(SELECT unnest(range(len(?))) AS {LINE}, unnest(?) AS {LINE_TEXT})"
    options = JsonLinesFormat.model_validate(feed.format)
    columns = list_json_columns(feed, options)
    sql = select_texts(columns, options, numbered)
    assert sql.count(LEFT_SQL) == len(columns)
    sql = sql.replace(LEFT_SQL, "'left'")
    kept = f"(SELECT * FROM {sql} WHERE id IS DISTINCT FROM 'left')"
    return keep_valid(feed, Query(kept, [lines, lines]))


def keep_valid(feed: Feed, texts: Query) -> Rows:
    """Give the values of the rows whose texts their columns take, by line."""
    rows = Query(
        f"(SELECT *, '' AS partition_key, '' AS source_file FROM {texts.sql})", texts.bound
    )
    validated = validate_rows(feed, rows, [LINE])
    names = ", ".join(map(quote_identifier, feed.columns))
    with duckdb.connect() as duck:
        found = duck.execute(
            f"SELECT {LINE}, {names} FROM {validated.sql} WHERE NOT list_contains({VALID}, false)",
            validated.bound,
        ).fetchall()
    return {line: tuple(values) for line, *values in found}
