"""Rows of Python values become a file that is read exactly as they are, or are refused."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from partitioned_etl.engine.errors import (
    ContractError,
    FeedDefinitionError,
    PartitionKeyError,
    SourceError,
)
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sources.computed_rows import Rows, land_rows
from partitioned_etl.engine.sources.parameters import Parameters
from support.workbench import NOTES, Workbench, change_feed

COLUMNS = {
    "number": "BIGINT",
    "huge": "HUGEINT",
    "price": "DECIMAL(38, 10)",
    "share": "DOUBLE",
    "is_new": "BOOLEAN",
    "note": "VARCHAR",
    "day": "DATE",
    "at": "TIMESTAMP",
    "zoned": "TIMESTAMPTZ",
    "clock": "TIME",
    "id": "UUID",
    "list": "BIGINT[]",
    "structure": "STRUCT(a BIGINT, b VARCHAR)",
    "map": "MAP(VARCHAR, DOUBLE)",
}
VALUES = Feed(name="values_of_all_types", columns=COLUMNS, source=Parameters())


class Color(str, Enum):  # noqa: UP042 - of a StrEnum, the text is the value
    """Members that are texts; a text of one is its name, and its value another."""

    RED = "red"


class Price(Decimal, Enum):
    """Members that are numbers."""

    LOW = "0.10"


NUMBERS = Feed(name="numbers", columns={"number": "BIGINT", "share": "DOUBLE"}, source=Parameters())
ROW: Mapping[str, Any] = {
    "number": -(2**63),
    "huge": 2**100,
    "price": Decimal("12345678901234567890.0123456789"),
    "share": 0.1 + 0.2,
    "is_new": True,
    "note": "line\nbreak \"quote\" 'x' \\ \u2028 \x7f ä 🙂",
    "day": date(2026, 2, 28),
    "at": datetime.fromisoformat("2026-02-28T23:59:59.123456"),
    "zoned": datetime(2026, 2, 28, 12, 0, tzinfo=UTC),
    "clock": time(1, 2, 3, 4),
    "id": UUID(int=7),
    "list": [1, None, 3],
    "structure": {"a": 1, "b": None},
    "map": {"x": 1e300},
}


@pytest.fixture
def land(bench: Workbench) -> Callable[[Feed, str, Rows], str]:
    """Let rows land in the bench."""
    bench.landing_dir.mkdir()
    return lambda feed, key, rows: land_rows(feed, bench.landing_dir, key, lambda: rows)


Land = Callable[[Feed, str, Rows], str]


def test_values_of_all_types_are_loaded_as_they_are(bench: Workbench, land: Land) -> None:
    empty = dict.fromkeys(reversed(COLUMNS))
    assert land(VALUES, "k", iter([ROW, empty])) == "k.json"
    bench.sync(VALUES)
    [first, second] = bench.rows(VALUES)
    assert [*first] == [*ROW.values(), "k", "k.json"]
    assert [*second] == [*empty.values(), "k", "k.json"]


def test_a_frame_is_loaded_as_it_is_and_what_is_missing_in_it_is_null(
    bench: Workbench, land: Land
) -> None:
    frame = pd.DataFrame(
        {"share": [0.5, np.nan, -0.0], "number": pd.array([1, None, 3], dtype="Int64")},
        index=[5, 5, 5],
    )
    land(NUMBERS, "frame", frame)
    # To pandas, whole numbers beside missing ones are floats.
    land(NUMBERS, "gaps", pd.DataFrame({"number": [2**40, None], "share": [1, 2]}))
    land(NUMBERS, "numpy", [{"number": np.int32(7), "share": np.float32(0.5)}])
    land(NUMBERS, "none", pd.DataFrame({"number": [], "share": []}))
    # DuckDB 1.5 forgets the sign of a zero that it stores or sorts; what landed has it.
    assert '"share": -0.0,' in (bench.landing_dir / NUMBERS.name / "frame.json").read_text()
    bench.sync(NUMBERS)
    assert [row[:3] for row in bench.rows(NUMBERS)] == [
        (1, 0.5, "frame"),
        (3, 0.0, "frame"),
        (7, 0.5, "numpy"),
        (2**40, 1.0, "gaps"),
        (None, 2.0, "gaps"),
        (None, None, "frame"),
    ]
    times = pd.Series([pd.Timestamp("2026-01-02 03:04:05.123456"), pd.NaT])
    land(VALUES, "times", pd.DataFrame({**{name: [None] * 2 for name in COLUMNS}, "at": times}))
    assert [record.rows for record in bench.sync(VALUES).loaded] == [2]
    assert {row[7] for row in bench.rows(VALUES)} == {times[0].to_pydatetime(), None}


def test_members_of_enumerations_and_values_of_numpy_are_loaded_as_what_they_are_worth(
    bench: Workbench, land: Land
) -> None:
    row = dict.fromkeys(COLUMNS) | {
        "note": Color.RED,
        "price": Price.LOW,
        "id": UUID(int=7),
        "map": {Color.RED: np.float32(0.5)},
        "list": np.array([1, None], dtype=object),
        "structure": {"a": np.uint8(1), "b": np.str_("text")},
        "is_new": np.True_,
        "share": np.array(0.5),
        "at": pd.NaT,
        "day": pd.NaT,
    }
    land(VALUES, "k", row)
    bench.sync(VALUES)
    [loaded] = bench.rows(VALUES)
    assert dict(zip(COLUMNS, loaded, strict=False)) == dict.fromkeys(COLUMNS) | {
        "note": "red",
        "price": Decimal("0.10"),
        "id": UUID(int=7),
        "map": {"red": 0.5},
        "list": [1, None],
        "structure": {"a": 1, "b": "text"},
        "is_new": True,
        "share": 0.5,
    }


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (None, "NoneType was returned, and no rows"),
        (3, "int was returned, and no rows"),
        ("text", "str was returned, and no rows"),
        ([{"number": 1}, [2]], "row 2: list is no mapping of column names to values"),
        ([{1: 2}], "row 1: int names no column"),
        ([{"number": {1, 2}}], "row 1, column 'number': a value of type set"),
        ([{"number": {1: 2}}], "row 1, column 'number': a name of type int"),
        ([{"number": 1j}], "row 1, column 'number': a value of type complex"),
        (
            [{"number": np.datetime64(1, "ns")}],
            "row 1, column 'number': a value of type datetime",
        ),
        ([{"number": np.datetime64(1, "s")}], "row 1, column 'number': a value of type datetime"),
        ([{"number": np.datetime64("NaT")}], "row 1, column 'number': a value of type datetime"),
        ([{"number": np.timedelta64(1, "ns")}], "row 1, column 'number': a value of type timedel"),
        ([{"number": np.array([1], "M8[ns]")}], "row 1, column 'number': a value of type ndarray"),
        ([{"share": np.longdouble(1)}], "row 1, column 'share': a value of type longdouble"),
        ([{"share": np.array([1], "g")}], "row 1, column 'share': a value of type longdouble"),
        ([{"share": np.complex64(1)}], "row 1, column 'share': a value of type complex64"),
        ([{"share": Color}], "row 1, column 'share': a value of type EnumType"),
        (
            pd.DataFrame([[1, 2]], columns=["share", "share"]),
            "rows: a column is in the DataFrame more than once",
        ),
    ],
)
def test_what_no_text_stands_for_is_refused_and_lands_nowhere(
    bench: Workbench, land: Land, rows: Any, reason: str
) -> None:
    land(NUMBERS, "k", {"number": 1, "share": 1})
    with pytest.raises(ContractError, match="row") as caught:
        land(NUMBERS, "k", rows)
    assert reason in str(caught.value)
    bench.sync(NUMBERS)
    assert [row[0] for row in bench.rows(NUMBERS)] == [1]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"number": True, "share": 1}, "row 1, column number: true or false, where a number"),
        ({"number": "1", "share": 1}, "row 1, column number: a text, where a number belongs"),
        ({"number": 2**63, "share": 1}, "row 1, column number: not a BIGINT"),
        ({"number": 1, "share": float("nan")}, "row 1, column share: not a DOUBLE"),
        ({"number": 1, "share": Decimal("Infinity")}, "row 1, column share: not a DOUBLE"),
        ({"number": 1, "share": Decimal("sNaN")}, "row 1"),
        ({"number": 1, "share": "\ud800"}, "row 1, column share: a text, where a number belongs"),
        ({"share": 1}, "row 1, column number: missing"),
        ({"share": 1, "number": 1, "x": 1}, "row 1: 1 name(s) that the feed does not have"),
    ],
)
def test_values_that_do_not_belong_into_their_column_are_refused_by_the_contract(
    bench: Workbench, land: Land, row: Mapping[str, Any], reason: str
) -> None:
    land(NUMBERS, "k", row)
    [refused] = bench.sync(NUMBERS).refused
    assert refused.source_file == "k.json"
    assert reason in refused.reason or reason == "row 1"
    assert bench.rows(NUMBERS) == []


def test_what_another_computation_has_renamed_meanwhile_is_nothing_to_remove(
    bench: Workbench, land: Land, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(NUMBERS, "k", ())
    [state] = (path.parent for path in bench.landing_dir.rglob("lock"))
    left = [state / f"rows-{number}" for number in range(3)]
    for path in left:
        path.touch()
    open_path = Path.open

    def open_late(path: Path, mode: str) -> Any:
        if path == left[1]:
            path.unlink()
        return open_path(path, mode)

    monkeypatch.setattr(Path, "open", open_late)
    assert land(NUMBERS, "other", ()) == "other.json"
    assert [path.name for path in state.iterdir() if path.name.startswith("rows-")] == []


def test_computations_of_many_threads_fail_none_of_each_other(bench: Workbench, land: Land) -> None:
    keys = [f"k{number}" for number in range(400)]
    with ThreadPoolExecutor(8) as threads:
        names = list(threads.map(lambda key: land(NUMBERS, key, {"number": 1}), keys))
    assert names == [f"{key}.json" for key in keys]
    assert len([*(bench.landing_dir / "numbers").iterdir()]) == len(keys)


def test_rows_of_a_feed_with_files_of_others_land_nowhere(bench: Workbench) -> None:
    bench.landing_dir.mkdir()
    with pytest.raises(SourceError, match="rows are computed only with source parameters"):
        land_rows(NOTES, bench.landing_dir, "k", lambda: ())
    assert [*bench.landing_dir.iterdir()] == []


def test_a_landing_that_is_not_there_or_leads_elsewhere_takes_no_rows(
    bench: Workbench, tmp_path: Path
) -> None:
    def land() -> str:
        return land_rows(NUMBERS, bench.landing_dir, "k", lambda: ())

    with pytest.raises(SourceError, match="feed numbers: the landing directory "):
        land()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    bench.landing_dir.mkdir()
    (bench.landing_dir / "numbers").symlink_to(elsewhere)
    with pytest.raises(SourceError, match="is linked out of"):
        land()
    (bench.landing_dir / "numbers").unlink()
    (bench.landing_dir / "numbers").write_text("a file")
    with pytest.raises(SourceError, match="cannot be written to: "):
        land()
    assert [*elsewhere.iterdir()] == []


@pytest.mark.parametrize("key", ["a/b", "../a", ".a", "a\n", "a" * 300, "a\\b", "\ud800"])
def test_a_key_that_can_be_no_file_is_refused_before_the_function_is_called(
    bench: Workbench, key: str
) -> None:
    def compute() -> Rows:
        raise AssertionError("was called")

    feed = change_feed(NUMBERS, key_pattern="(?s).+")
    bench.landing_dir.mkdir()
    for one in (feed, NUMBERS):
        with pytest.raises(PartitionKeyError):
            land_rows(one, bench.landing_dir, key, compute)
    assert [*bench.landing_dir.iterdir()] == []


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ({"pattern": "{key}.csv"}, "pattern: a feed with source parameters has no pattern"),
        ({"format": "csv"}, "format: a feed with source parameters has no format"),
        ({"values": {"trim": True}}, "values: a feed with source parameters has no value options"),
        (
            {"columns": {"number": {"type": "BIGINT", "thousands": ","}}},
            "columns: a feed with source parameters has no value options",
        ),
        (
            {"partitioning": "static", "keys": ["a"]},
            "partitioning: keys that people add are",
        ),
        ({"done_suffix": ".done"}, "done_suffix: a feed with source parameters has no done_suffix"),
        ({"done_file": "{key}.ok"}, "done_file: a feed with source parameters has no done_file"),
        (
            {"source": "nothing"},
            "source: needs a type, one of http, rss, remote_folder, p",
        ),
        ({"source": {"type": "parameters", "every_seconds": 5}}, "source.every_seconds: there is"),
    ],
)
def test_a_declaration_that_contradicts_its_source_is_refused(
    declared: dict[str, Any], reason: str
) -> None:
    with pytest.raises(FeedDefinitionError) as caught:
        Feed(**{"name": "n", "columns": {"number": "BIGINT"}, "source": "parameters", **declared})
    assert f"feed n: {reason}" in str(caught.value)


def test_a_feed_with_ad_hoc_keys_needs_no_pattern_and_any_other_does() -> None:
    sources: list[Any] = ["parameters", {"type": "parameters"}]
    named, typed = (
        Feed(name="n", columns={"number": "BIGINT"}, source=source) for source in sources
    )
    assert named == typed == Feed(name="n", columns={"number": "BIGINT"}, source=Parameters())
    assert (named.pattern, named.format.type) == ("{key}.json", "json")
    declared = named.model_dump(mode="json", exclude_unset=True)
    assert declared["source"] == {"type": "parameters"}
    assert Feed(**declared) == named
    with pytest.raises(FeedDefinitionError, match="feed n: pattern: is needed"):
        Feed(name="n", columns={"number": "BIGINT"})
