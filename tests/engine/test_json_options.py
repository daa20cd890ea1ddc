"""What a JSON feed declares of names, paths and kinds of values, in every JSON format alike."""

import gzip
import json
from typing import Any

import pytest

from partitioned_etl.engine.contract import BadRows, Column
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.json_document import JsonFormat
from partitioned_etl.engine.formats.json_lines import JsonLinesFormat
from partitioned_etl.engine.formats.json_stream import to_json_lines
from support.workbench import Workbench

COLUMNS = {"id": "BIGINT", "note": "VARCHAR", "amount": "DECIMAL(9,2)"}


def feed_of(columns: dict[str, Any], form: JsonLinesFormat, **others: Any) -> Feed:
    return Feed(name="j", pattern="{key}.json", columns=columns, format=form, **others)


def path(type_name: str, *names: str, optional: bool = False) -> Column:
    return Column(type=type_name, from_=names, optional=optional)


LOADS: dict[str, tuple[dict[str, Any], dict[str, Any], str, list[tuple[Any, ...]]]] = {
    "absent is NULL": (
        {"id": "BIGINT", "note": "VARCHAR"},
        {"absent_is_null": True},
        '{"id":1}\n{"note":"x"}\n{}',
        [(1, None), (None, "x"), (None, None)],
    ),
    "an optional column": (
        {"id": "BIGINT", "note": Column(type="VARCHAR", optional=True)},
        {},
        '{"id":1}\n{"note":"x","id":2}',
        [(1, None), (2, "x")],
    ),
    "other names": (
        {"id": "BIGINT"},
        {"extra_columns": "ignore"},
        '{"id":1,"x":[1.50,{"id":3}]}\n{"y":null,"id":2}',
        [(1,), (2,)],
    ),
    "numbers as texts": (
        {"id": "BIGINT", "amount": "DECIMAL(9,2)", "code": "VARCHAR"},
        {"numbers_as_texts": True},
        '{"id":"123","amount":"1.50","code":007}\n'.replace("007", "1.50")
        + '{"id":5,"amount":2.5,"code":"x"}',
        [(123, "1.50", "1.50"), (5, "2.50", "x")],
    ),
    "paths": (
        {
            "id": path("BIGINT", "$.device.id"),
            "part": path("VARCHAR", "$['the parts'][1].name", optional=True),
            "when": path("DATE", "at"),
        },
        {},
        '{"device":{"id":1,"x":2},"the parts":[0,{"name":"a"}],"at":"2018-01-22"}\n'
        '{"device":{"id":2},"the parts":[],"at":null}\n{"device":null,"at":"2018-01-23"}',
        [(1, "a", "2018-01-22"), (2, None, None), (None, None, "2018-01-23")],
    ),
    "values of any kind": (
        {"id": "BIGINT", "any": "JSON"},
        {},
        '{"id":1,"any":{"a": [1.50, "\\u00e9", {}], "b" : 1e2}}\n{"id":2,"any":"x"}\n'
        '{"id":3,"any":1.50}\n{"id":4,"any":null}\n{"id":5,"any":true}',
        [
            (1, '{"a":[1.50,"é",{}],"b":1e2}'),
            *((2, '"x"'), (3, "1.50"), (4, None), (5, "true")),
        ],
    ),
    "a structure": (
        {"id": "BIGINT", "of": 'STRUCT(n DECIMAL(9, 2), "a b" VARCHAR, at STRUCT(d DATE))'},
        {},
        '{"id":1,"of":{"a b":"x","n":1.50,"at":{"d":"2018-01-22"}}}\n'
        '{"of":null,"id":2}\n{"id":3,"of":{"n":null,"at":null,"a b":""}}',
        [
            (1, "{'n': 1.50, 'a b': x, 'at': {'d': 2018-01-22}}"),
            (2, None),
            (3, "{'n': NULL, 'a b': '', 'at': NULL}"),
        ],
    ),
    "lists": (
        {"numbers": "BIGINT[]", "truths": "BOOLEAN[][]", "pair": "DOUBLE[2]"},
        {},
        '{"numbers":[9007199254740993,null],"truths":[[true],[],null],"pair":[1,1e-3]}\n'
        '{"numbers":[],"truths":null,"pair":null}',
        [
            ("[9007199254740993, NULL]", "[[true], [], NULL]", "[1.0, 0.001]"),
            ("[]", None, None),
        ],
    ),
    "a map": (
        {"id": "BIGINT", "of": "MAP(VARCHAR, STRUCT(n INTEGER, j JSON)[])"},
        {},
        '{"id":1,"of":{"a":[{"n":1,"j":[1.50, "x"]}],"b c":null}}\n{"id":2,"of":{}}',
        [(1, "{a=[{'n': 1, 'j': '[1.50,\"x\"]'}], b c=NULL}"), (2, "{}")],
    ),
    "absent and other names within a structure": (
        {"of": "STRUCT(n INTEGER, t VARCHAR)[]"},
        {"absent_is_null": True, "extra_columns": "ignore"},
        '{"of":[{"t":"x","u":{"n":1}},{}]}',
        [("[{'n': NULL, 't': x}, {'n': NULL, 't': NULL}]",)],
    ),
    "numbers as texts within a structure": (
        {"of": "STRUCT(n DECIMAL(9, 2), t VARCHAR)"},
        {"numbers_as_texts": True},
        '{"of":{"n":"1.5","t":1.50}}',
        [("{'n': 1.50, 't': 1.50}",)],
    ),
    "a structure on a path": (
        {"of": path("STRUCT(n INTEGER)", "$.a.b[1]", optional=True)},
        {},
        '{"a":{"b":[0,{"n":1}],"c":2}}\n{"a":{"b":[]}}',
        [("{'n': 1}",), (None,)],
    ),
}


@pytest.mark.parametrize("is_document", [False, True], ids=["lines", "document"])
@pytest.mark.parametrize(("columns", "options", "lines", "rows"), LOADS.values(), ids=list(LOADS))
def test_what_is_declared_loads(
    bench: Workbench,
    columns: dict[str, Any],
    options: dict[str, Any],
    lines: str,
    rows: list[tuple[Any, ...]],
    is_document: bool,
) -> None:
    content = f"[{', '.join(lines.splitlines())}]" if is_document else f"{lines}\n"
    form = JsonFormat(**options) if is_document else JsonLinesFormat(**options)
    feed = feed_of(columns, form)
    bench.land(feed, "a.json", content)
    assert bench.load(feed)["a"].reason == ""
    names = ", ".join(f'CAST("{name}" AS VARCHAR)' for name in columns)
    loaded = bench.query(f"SELECT {names} FROM j ORDER BY rowid")
    wanted = [tuple(None if one is None else str(one) for one in row) for row in rows]
    assert loaded == wanted
    assert bench.sync(feed).loaded == []


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "an absent name that is not optional": (
        {"id": "BIGINT", "note": Column(type="VARCHAR", optional=True)},
        {},
        '{"note":"x"}',
        "column id: missing",
    ),
    "a capital letter more": (
        {"id": "BIGINT"},
        {"absent_is_null": True},
        '{"ID":1}',
        "1 name(s) that the feed does not have",
    ),
    "a foreign name twice": (
        {"id": "BIGINT"},
        {"extra_columns": "ignore"},
        '{"id":1,"x":1,"x":2}',
        "a name more than once",
    ),
    "a path through a text": (
        {"id": path("BIGINT", "$.a.id", optional=True)},
        {},
        '{"a":"x"}',
        "column id: a text at $.a, not an object",
    ),
    "a path through an object": (
        {"id": path("BIGINT", "$.a[0]")},
        {},
        '{"a":{"0":1}}',
        "column id: an object at $.a, not an array",
    ),
    "a path that ends early": (
        {"id": path("BIGINT", "$.a.id")},
        {},
        '{"a":{}}',
        "column id: missing",
    ),
    "a name twice on a path": (
        {"id": path("BIGINT", "$.a.id")},
        {},
        '{"a":{"id":1,"id":1}}',
        "column id: a name more than once at $.a",
    ),
    "a text that is no number": (
        {"id": "BIGINT"},
        {"numbers_as_texts": True},
        '{"id":"1.5"}',
        "column id: not a BIGINT",
    ),
    "an empty text for a number": (
        {"id": "BIGINT"},
        {"numbers_as_texts": True},
        '{"id":""}',
        "column id: an empty text, where null belongs",
    ),
    "deep nesting in what is ignored": (
        {"id": "BIGINT"},
        {"extra_columns": "ignore"},
        f'{{"id":1,"x":{"[" * 50_000}{"]" * 50_000}}}',
        "a nested value",
    ),
    "no JSON within a value": (
        {"any": "JSON"},
        {},
        '{"any":[NaN]}',
        "column any: NaN or infinity, which JSON does not have",
    ),
    "an array for a structure": (
        {"of": "STRUCT(n INTEGER)"},
        {},
        '{"of":[{"n":1}]}',
        "column of: an array at $.of, where an object belongs",
    ),
    "an object for a list": (
        {"of": path("INTEGER[]", "$.a")},
        {},
        '{"a":{"0":1}}',
        "column of: an object at $.a, where an array belongs",
    ),
    "a text for a number in a list": (
        {"of": "STRUCT(n INTEGER[])[]"},
        {},
        '{"of":[{"n":[1]},{"n":[1,"2"]}]}',
        "column of: a text at $.of[1].n[1], where a number belongs",
    ),
    "no value of a type in a structure": (
        {"of": "STRUCT(d DATE, n INTEGER)"},
        {},
        '{"of":{"d":"2018-02-30","n":1}}',
        'column of: not a STRUCT("d" DATE, "n" INTEGER)',
    ),
    "an empty text for a day in a list": (
        {"of": "DATE[]"},
        {},
        '{"of":[""]}',
        "column of: an empty text at $.of[0], where null belongs",
    ),
    "an absent name in a structure": (
        {"of": "STRUCT(n INTEGER, t VARCHAR)"},
        {},
        '{"of":{"n":1}}',
        "column of: $.of.t is missing",
    ),
    "another name in a structure": (
        {"of": "STRUCT(n INTEGER)[]"},
        {},
        '{"of":[{"n":1,"N":2}]}',
        "column of: 1 name(s) at $.of[0] that the type does not have",
    ),
    "a name twice in a map": (
        {"of": "MAP(VARCHAR, INTEGER)"},
        {"extra_columns": "ignore"},
        '{"of":{"a":1,"a":2}}',
        "column of: a name more than once at $.of",
    ),
    "a list of another length": (
        {"of": "INTEGER[2]"},
        {},
        '{"of":[1,2,3]}',
        "column of: not an INTEGER[2]",
    ),
    "a text for a number in a map, by its place": (
        {"of": "MAP(VARCHAR, INTEGER)"},
        {},
        '{"of":{"a":1,"Mrs. Smith":"2"}}',
        "column of: a text at $.of[1], where a number belongs",
    ),
    "a NUL character in a name of a map": (
        {"of": "MAP(VARCHAR, INTEGER)"},
        {},
        '{"of":{"a\\u0000":1}}',
        "column of: a NUL character",
    ),
}


@pytest.mark.parametrize(
    ("columns", "options", "line", "problem"), REFUSED.values(), ids=list(REFUSED)
)
def test_what_is_not_declared_is_refused(
    bench: Workbench, columns: dict[str, Any], options: dict[str, Any], line: str, problem: str
) -> None:
    feed = feed_of(columns, JsonLinesFormat(**options))
    bench.land(feed, "a.json", f"{line}\n")
    place = "line 1, " if problem.startswith("column") else "line 1: "
    assert bench.load(feed)["a"].reason == f"a.json: {place}{problem}"
    assert bench.rows(feed) == []


@pytest.mark.parametrize(
    "names",
    [
        *(("$",), ("$.",), ("$.a.",), ("$[0]",), ("$.a[x]",), ("$.a[01]",), ("$['a]",), ("$a",)),
        *(("a", "b"), ("$.a b",), ("$.a[*]",)),
    ],
)
def test_a_path_is_checked_when_the_feed_is_defined(names: tuple[str, ...]) -> None:
    with pytest.raises(FeedDefinitionError, match=r"^feed j: columns.id.from: "):
        feed_of({"id": path("BIGINT", *names)}, JsonLinesFormat())


def test_only_json_has_columns_of_any_value() -> None:
    with pytest.raises(FeedDefinitionError, match="no file can be read into a column of type JSON"):
        Feed(name="c", pattern="{key}.csv", columns={"any": "JSON"})


@pytest.mark.parametrize("type_name", ["MAP(INTEGER, VARCHAR)", "STRUCT(a BLOB)", "STRUCT(a)[]"])
def test_a_nested_type_of_no_json_value_is_refused(type_name: str) -> None:
    with pytest.raises(FeedDefinitionError, match=r"^feed j: column of: .*(texts|type)"):
        feed_of({"of": type_name}, JsonLinesFormat())


DOCUMENT = '{"n": 1.50, "data": {"items": [\n {"id": 1}\n,\n{"id":\n 2}], "more": []}}\n'


def test_records_are_found_by_their_path(bench: Workbench) -> None:
    feed = feed_of({"id": "BIGINT"}, JsonFormat(records="$.data.items"))
    bench.land(feed, "a.json", DOCUMENT)
    bench.land(feed, "b.json", '{"data": {"items": []}}')
    outcomes = bench.load(feed)
    assert [(one.reason, one.row_count) for one in outcomes.values()] == [("", 2), ("", 0)]
    assert [row[0] for row in bench.rows(feed)] == [1, 2]


BROKEN = {
    "no bytes": ("", "the file is empty"),
    "cut off behind a record": (
        '[{"id": 1},\n\n',
        "line 3: the JSON document ends early: cut off?",
    ),
    "cut off within a text": ('[{"id": "x', "line 1: the JSON document ends early: cut off?"),
    "a comma behind the last record": ('[{"id": 1},\n]', "line 2: not JSON from character 1 on"),
    "no comma between records": (
        '[{"id": 1}\n{"id": 2}]',
        "line 2: no comma or bracket behind a record",
    ),
    "text behind the document": (
        '[{"id": 1}]\n[]',
        "line 2: text behind the end of the JSON document",
    ),
    "JSON lines": ('{"id": 1}\n{"id": 2}\n', "line 1: no array at $"),
    "a record that is none": ('[{"id": 1}, 2]', "row 2: not a JSON object"),
    "a name twice": ('[{"id": 1, "id": 2}]', "row 1, column id: there more than once"),
    "a bad value": ('[{"id": 1},\n\n{"id": 1.5}]', "row 2, column id: not a BIGINT"),
    "a long record": (
        f'[{{"id": "{"x" * 600_000}"}}]',
        "line 1: a value of over 500,000 characters",
    ),
}


@pytest.mark.parametrize(("content", "problem"), BROKEN.values(), ids=list(BROKEN))
def test_a_broken_document_changes_no_row(bench: Workbench, content: str, problem: str) -> None:
    feed = feed_of({"id": "BIGINT"}, JsonFormat())
    bench.land(feed, "a.json", '[{"id": 7}]')
    bench.load(feed)
    bench.land(feed, "a.json", content)
    assert bench.load(feed)["a"].reason == f"a.json: {problem}"
    assert [row[0] for row in bench.rows(feed)] == [7]


def test_bad_records_are_put_aside_by_their_number(bench: Workbench) -> None:
    feed = feed_of(
        {"id": "BIGINT"}, JsonFormat(), bad_rows=BadRows.QUARANTINE, max_rejected_percent=100
    )
    bench.land(feed, "a.json", '[{"id": 1}, {"id": "x"},\n\n{"id": 2},\n{"id": 1.5}]')
    assert bench.load(feed)["a"].rejected_count == 2
    assert [row[0] for row in bench.rows(feed)] == [1, 2]
    assert bench.query("SELECT line, column_name, raw_line FROM rejected_rows") == [
        (2, "id", '{"id": "x"}'),
        (4, "id", '{"id": 1.5}'),
    ]


@pytest.mark.parametrize("option", [{"records": "x"}, {"records": "$.a[0]"}, {"skip_lines": 1}])
def test_a_document_has_no_lines_and_its_records_a_path(option: dict[str, Any]) -> None:
    with pytest.raises(FeedDefinitionError):
        JsonFormat(**option)


TEXTS = {
    "a byte order mark": ("\ufeff".encode(), "utf-8", ""),
    "UTF-16": (b"", "utf-16", ""),
    "Latin-1": (b"", "latin-1", ""),
    "another encoding": (b"", "latin-1", "utf-8"),
}


@pytest.mark.parametrize(("before", "written", "declared"), TEXTS.values(), ids=list(TEXTS))
@pytest.mark.parametrize("form", [JsonLinesFormat, JsonFormat])
def test_json_may_be_in_any_encoding(
    bench: Workbench, form: type[JsonLinesFormat], before: bytes, written: str, declared: str
) -> None:
    feed = feed_of({"id": "BIGINT", "note": "VARCHAR"}, form(encoding=declared or written))
    text = '{"id": 1, "note": "naïve"}'
    content = f"[\n{text}\n]" if form is JsonFormat else f"{text}\n"
    bench.land(feed, "a.json.gz", gzip.compress(before + content.encode(written)))
    line = content[: content.index("ï")].count("\n") + 1
    wrong = f"a.json.gz: line {line}: the bytes are not utf-8" if declared else ""
    assert bench.load(feed)["a"].reason == wrong
    assert [row[:2] for row in bench.rows(feed)] == ([] if declared else [(1, "naïve")])


def test_a_document_of_many_records_is_read_in_pieces() -> None:
    records = [json.dumps({"id": n, "of": {"x": [n, "é\n"]}}, indent=n % 3) for n in range(200)]
    document = f'{{"a": [1], "b": [{" , ".join(records)}], "c": "é"}}'.encode()
    for size in (1, 7, 64, 1000, len(document)):
        pieces = (document[at : at + size] for at in range(0, len(document), size))
        lines = b"".join(to_json_lines(pieces, ["b"])).decode().splitlines()
        assert lines[0] == '["b"]'
        assert lines[1:] == [record.replace("\n", " ") for record in records]


def test_an_empty_text_may_be_declared_to_be_null(bench: Workbench) -> None:
    feed = Feed(
        name="readings",
        pattern="{key}.jsonl",
        format=JsonLinesFormat(),
        columns={"id": "BIGINT", "day": Column(type="DATE", nulls=("",))},
    )
    bench.land(feed, "a.jsonl", '{"id": 1, "day": ""}\n{"id": 2, "day": "2024-01-31"}\n')
    assert bench.load(feed)["a"].reason == ""
    assert bench.query("SELECT id, CAST(day AS VARCHAR) FROM readings ORDER BY id") == [
        (1, None),
        (2, "2024-01-31"),
    ]


def test_the_spelling_of_a_number_counts_where_it_stands_for_a_time(bench: Workbench) -> None:
    feed = Feed(
        name="readings",
        pattern="{key}.jsonl",
        format=JsonLinesFormat(),
        columns={"at": Column(type="TIMESTAMP", timestamp_format=("epoch",))},
    )
    bench.land(feed, "a.jsonl", '{"at": 1706659200.000001}\n{"at": 1706659200}\n')
    bench.land(feed, "b.jsonl", '{"at": 1.7066592e9}\n')
    outcomes = bench.load(feed)
    assert outcomes["a"].reason == ""
    assert "b.jsonl: line 1, column at: not a TIMESTAMP" in outcomes["b"].reason
    assert bench.query('SELECT CAST("at" AS VARCHAR) FROM readings ORDER BY 1') == [
        ("2024-01-31 00:00:00",),
        ("2024-01-31 00:00:00.000001",),
    ]
