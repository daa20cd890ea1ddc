"""Events: what a stranger's file says is shown and cannot act, and a feed may add to it."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partitioned_etl.components.events import FeedEvents
from partitioned_etl.components.markdown import escape_markdown
from support.define import define_feed, define_location
from support.location import Location
from support.sample_location import CUSTOMER_PRICES
from support.samples import price_rows
from support.workbench import NOTES, change_feed

EVENTS = FeedEvents(
    change_feed(NOTES, columns={"a": "VARCHAR", "b": "VARCHAR"}),
    dg.AssetKey("import_notes"),
    dg.AssetKey("raw_notes"),
)
HOSTILE = [
    "![x](/graphql?query=mutation)",
    "[click](javascript:alert(1))",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "https://example.com/x",
    "www.example.com",
    "someone@example.com",
    "a|b",
    "a\\|b",
    "`code`",
    "``` fence",
    "\\`![x](y)",
    "*bold* _em_ ~~del~~",
    "&lt;b&gt;",
]


@pytest.mark.parametrize("cell", HOSTILE)
def test_a_hostile_cell_stays_inside_one_code_span(cell: str) -> None:
    shown = escape_markdown(cell)
    assert re.fullmatch(r"`[^`|\\\n]*`", shown), shown


@given(st.text())
def test_any_text_is_plain_or_one_code_span(cell: str) -> None:
    shown = escape_markdown(cell)
    assert re.fullmatch(r"[A-Za-z0-9 -]*|`[^`|\\\x00-\x1f\x7f]+`", shown), shown


# The first table takes long: pandas is imported for it.
@settings(deadline=None)
@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=4))
def test_a_table_keeps_its_shape_whatever_the_cells(rows: list[tuple[str, str]]) -> None:
    lines = EVENTS.preview(rows).split("\n")
    assert len(lines) == len(rows) + 2
    assert {line.count("|") for line in lines} == {3}


def test_a_table_without_rows_has_its_columns() -> None:
    header, *_ = EVENTS.preview([]).split("\n")
    assert [cell.strip() for cell in header.split("|")] == ["", "a", "b", ""]


def test_numbers_dates_and_nothing_are_shown_as_they_are() -> None:
    assert [escape_markdown(cell) for cell in (1.5, 33597290.0, None, "acme 1")] == [
        "1.5",
        "33597290.0",
        "",
        "acme 1",
    ]
    line = EVENTS.preview([(33597290.0, "007")]).split("\n")[-1]
    assert [cell.strip() for cell in line.split("|")] == ["", "33597290.0", "007", ""]


def test_line_ends_and_control_characters_become_spaces() -> None:
    assert escape_markdown("a\nb\rc\x00d\u202ee") == "a b c d e"


def test_a_long_cell_is_cut() -> None:
    assert len(escape_markdown("x" * 10_000)) <= 82


def test_a_feed_adds_a_value_to_what_is_told_of_its_files_and_partitions(
    landing_dir: Path,
    database: Path,
    query: Callable[..., list[tuple[Any, ...]]],
    instance: dg.DagsterInstance,
) -> None:
    """However a partition is loaded: by a run for it or for a range, or by the reconcile job."""

    def name_sender(partition_key: str, source_file: str) -> Mapping[str, Any]:
        return {"sender": f"{partition_key} sent {source_file}"}

    customers = define_feed(CUSTOMER_PRICES, get_metadata=name_sender)
    location = Location(define_location(customers), customers, instance)

    def senders(asset: dg.AssetKey) -> dict[str, list[Any]]:
        told: dict[str, list[Any]] = {}
        found = instance.fetch_materializations(asset, limit=100, ascending=True)
        for record in found.records:
            event = record.asset_materialization
            assert event
            value = event.metadata.get("sender")
            told.setdefault(event.partition or "", []).append(value and value.value)
        return told

    for key in ("a", "b"):
        (landing_dir / "customers" / f"{key}.csv").write_text(price_rows(1))
    assert location.settle() == [["a", "b"]]
    (landing_dir / "customers" / "a.csv").write_text(price_rows(2))
    assert location.settle() == [["a"]]
    query("DELETE FROM raw_customer_prices WHERE partition_key = 'b'")
    assert location.reconcile().success
    expected = {key: f"{key} sent {key}.csv" for key in ("a", "b")}
    assert senders(customers.assets.load_key) == {
        "a": [expected["a"]] * 2,
        "b": [expected["b"]] * 2,
    }
    # The reconcile job tells of the table alone.
    assert senders(customers.assets.import_key) == {"a": [expected["a"]] * 2, "b": [expected["b"]]}


def test_every_partition_has_its_numbers_as_numbers_however_it_was_loaded(
    landing_dir: Path, database: Path, instance: dg.DagsterInstance
) -> None:
    """The web UI plots them by partition: of a range, of one key, and beside a refused file."""
    customers = define_feed(CUSTOMER_PRICES)
    location = Location(define_location(customers), customers, instance)

    def land(**share_prices: float) -> None:
        for key, share_price in share_prices.items():
            (landing_dir / "customers" / f"{key}.csv").write_text(price_rows(share_price))

    def numbers(asset: dg.AssetKey) -> dict[str | None, set[str]]:
        found = instance.fetch_materializations(asset, limit=100, ascending=True)
        events = [record.asset_materialization for record in found.records]
        kinds = (dg.IntMetadataValue, dg.FloatMetadataValue)
        return {
            event.partition: {
                name for name, value in event.metadata.items() if isinstance(value, kinds)
            }
            for event in events
            if event
        }

    land(a=1, b=1)
    assert location.settle() == [["a", "b"]]
    land(a=2)
    assert location.settle() == [["a"]]
    land(c=3, d=-1)
    assert location.settle() == [["c", "d"]]
    rows = {"dagster/partition_row_count", "rejected_count"}
    rows |= {f"rows_{what}" for what in ("added", "removed", "unchanged")}
    of_load = rows | {"size_bytes", "load_seconds"}
    assert numbers(customers.assets.load_key) == dict.fromkeys(("a", "b", "c"), of_load)
    of_import = {key: {"size_bytes"} for key in ("a", "b", "c", "d")}
    assert numbers(customers.assets.import_key) == of_import
