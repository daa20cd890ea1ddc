"""A feed in YAML: every attribute reaches its definitions, and a mistake has file and line."""

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import dagster as dg
import pytest

from partitioned_etl.components import FileFeed
from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.components.isolation import explain_mistake
from partitioned_etl.components.location import DEFAULT_RESOURCES
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.formats.csv import TsvFormat
from partitioned_etl.engine.formats.json_lines import JsonLinesFormat
from partitioned_etl.engine.formats.parquet import ParquetFormat
from support.workbench import Workbench

DAILY = "{name: daily, pattern: '{date:%Y-%m-%d}.csv', columns: {a: DATE}, start: 2018-01-21}"


def build(text: str) -> dg.Definitions:
    """Give the definitions of a feed in YAML."""
    return FileFeed.resolve_from_yaml(text).build_defs(dg.ComponentTree.for_test().load_context)


def find_assets(definitions: dg.Definitions) -> FeedAssets:
    """Give the feed's assets."""
    [definition] = list(definitions.assets or ())
    assert isinstance(definition, dg.AssetsDefinition)
    return FeedAssets.of(definition)


def list_specs(definitions: dg.Definitions) -> list[dg.AssetSpec]:
    """Give the specs of import asset and load asset."""
    return [
        spec
        for one in definitions.assets or ()
        if isinstance(one, dg.AssetsDefinition)
        for spec in one.specs
    ]


def test_names_follow_the_feed_where_none_are_given() -> None:
    definitions = build("{name: stock, pattern: '{key}.csv', columns: {a: DATE}}")
    assets = find_assets(definitions)
    assert (assets.feed.folder, assets.feed.table) == ("stock", "stock")
    keys = {spec.key.to_user_string() for spec in list_specs(definitions)}
    assert keys == {"import_stock", "stock"}
    assert [job.name for job in definitions.jobs or ()] == ["stock_job"]
    assert [sensor.name for sensor in definitions.sensors or ()] == ["stock_sensor"]
    assert assets.partitions.definition == dg.DynamicPartitionsDefinition(name="stock")
    assert not definitions.schedules


def test_every_policy_reaches_the_feed() -> None:
    feed = FileFeed.resolve_from_yaml(
        """
        name: stock
        pattern: "{key}.tsv"
        columns: {a: DOUBLE}
        format: {type: tsv, quote: "'", escape: "'", encoding: latin-1, header: false}
        on_missing: remove
        bad_rows: quarantine
        max_rejected_rows: 3
        max_rejected_percent: 2.5
        done_suffix: .done
        allow_empty: false
        non_finite_columns: [a]
        key_pattern: "[a-z]+"
        max_uncompressed_bytes: 1000
        """
    )
    assert feed.format == TsvFormat(quote="'", escape="'", encoding="latin-1", header=False)
    assert TsvFormat().delimiter == "\t"
    assert (feed.on_missing, feed.bad_rows) == ("remove", "quarantine")
    assert (feed.max_rejected_rows, feed.max_rejected_percent) == (3, 2.5)
    assert (feed.done_suffix, feed.allow_empty, feed.non_finite_columns) == (".done", False, ("a",))
    assert (feed.key_pattern, feed.max_uncompressed_bytes) == ("[a-z]+", 1000)


def test_how_far_ticks_look_back_reaches_the_feed() -> None:
    feed = find_assets(build(DAILY[:-1] + ", list_since_days: 7}")).feed
    assert feed.list_since_days == 7


@pytest.mark.parametrize(
    ("text", "partitions", "declared"),
    [
        (
            "pattern: '{key}.parquet'\nformat: parquet\npartitioning: static\nkeys: [x, y]",
            dg.StaticPartitionsDefinition,
            ParquetFormat(),
        ),
        (
            "pattern: '{date:%G-W%V}.jsonl'\nformat: {type: json_lines}\nstart: 2018-01-22",
            dg.WeeklyPartitionsDefinition,
            JsonLinesFormat(),
        ),
    ],
)
def test_every_partitioning_and_format_can_be_asked_for(
    text: str, partitions: type[dg.PartitionsDefinition], declared: object
) -> None:
    assets = find_assets(build(f"name: stock\ncolumns: {{a: BIGINT}}\n{text}"))
    assert isinstance(assets.partitions.definition, partitions)
    assert assets.feed.format == declared


def test_weekdays_and_two_dimensions_can_be_asked_for() -> None:
    names = "name: stock\ncolumns: {a: BIGINT}\n"
    weekdays = build(
        f"{names}pattern: '{{date:%Y-%m-%d}}.tsv'\nformat: tsv\npartitioning: weekdays\n"
        "start: 2018-01-18\nend: 2018-01-23"
    )
    days = find_assets(weekdays).partitions.definition.get_partition_keys()
    assert days == ["2018-01-18", "2018-01-19", "2018-01-22"]
    both = build(f"{names}pattern: '{{key}}/{{date:%Y-%m-%d}}.csv'\nstart: 2018-01-22")
    assert isinstance(find_assets(both).partitions.definition, dg.MultiPartitionsDefinition)


def test_texts_that_look_like_numbers_stay_texts_and_templates_are_rendered_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LEAST", "10")
    monkeypatch.setenv("YEAR", "2024")
    monkeypatch.setenv("VERSION", "1.10")
    definitions = build(
        """
        name: stock
        pattern: "{key}.csv"
        partitioning: static
        keys: ["101", "1.50", "None"]
        folder: "{{ env.YEAR }}_{{ env.LEAST }}"
        description: "{{ env.VERSION }}"
        tags: {tier: "1"}
        columns: {amount: {type: DOUBLE, description: "At least {{ env.LEAST }}"}}
        max_rejected_rows: "{{ env.LEAST }}"
        row_rules:
          - name: amount_is_large
            column: amount
            expression: amount > {{ env.LEAST }}
            reason: "{{ env.LEAST }}"
        """
    )
    assets = find_assets(definitions)
    assert assets.partitions.definition.get_partition_keys() == ["101", "1.50", "None"]
    feed = assets.feed
    assert (feed.folder, feed.description, feed.max_rejected_rows) == ("2024_10", "1.10", 10)
    assert feed.column_descriptions == {"amount": "At least 10"}
    assert (feed.row_rules[0].expression, feed.row_rules[0].reason) == ("amount > 10", "10")
    assert [spec.tags["tier"] for spec in list_specs(definitions)] == ["1", "1"]


def test_the_clock_can_be_set_and_left_out() -> None:
    def read_cron(text: str) -> list[str]:
        found = dg.Definitions.merge(build(text), dg.Definitions(resources=DEFAULT_RESOURCES))
        names = [schedule.name for schedule in found.schedules or ()]
        return [str(found.resolve_schedule_def(name).cron_schedule) for name in names]

    assert read_cron(DAILY) == ["30 23 * * *"]
    assert read_cron(f"{DAILY[:-1]}, schedule: {{hour: 6, minute: 5}}}}") == ["5 6 * * *"]
    assert read_cron(f"{DAILY[:-1]}, schedule: {{enabled: false}}}}") == []


@pytest.mark.parametrize(
    "pattern",
    ["{date:%Y-%m-%d-%H}.csv", "{date:%G-W%V}.csv", "{key}/{date:%Y-%m}.csv"],
)
def test_a_clock_that_the_feed_cannot_have_is_refused(pattern: str) -> None:
    feed = f"name: s\npattern: '{pattern}'\ncolumns: {{a: DATE}}\nstart: 2018-01-22\nschedule: {{}}"
    with pytest.raises(FeedDefinitionError, match="only daily and monthly feeds have one"):
        build(feed)


def test_tags_are_on_every_asset() -> None:
    specs = list_specs(build(f"{DAILY[:-1]}, tags: {{domain: prices}}}}"))
    assert [spec.tags["domain"] for spec in specs] == ["prices", "prices"]


@pytest.fixture
def write_stock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], dg.ComponentTree]:
    """Write a `defs.yaml` into folder `stock` of a package of its own."""

    def write(text: str) -> dg.ComponentTree:
        name = f"package_{tmp_path.name}"
        (tmp_path / name / "stock").mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "stock" / "defs.yaml").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        return dg.ComponentTree.from_module(import_module(name), tmp_path)

    return write


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        (("{key}.csv", "{nokey}.csv"), 5, "has {nokey}, and placeholders are"),
        (("bad_rows: fail", "bad_rows: fial"), 12, "should be 'fail' or 'quarantine', not 'fial'"),
        (("column: amount", "column: amuont"), 8, "the feed does not have"),
        (("amount: DOUBLE", "amount: DUOBLE"), 6, "column amount: no file can be read"),
        (("bad_rows: fail", "start: 2018-01-21"), 12, "have no start"),
        (("bad_rows: fail", "done_suffix: .csv"), 12, "done_suffix"),
        (("bad_rows: fail", "max_rejected_percent: 101"), 12, "max_rejected_percent"),
        (("bad_rows: fail", "max_rejected_rows: many"), 12, "valid integer"),
        (("bad_rows: fail", "table: file_loads"), 12, "this package's own"),
        (("bad_rows: fail", "format: {encoding: ebcdic}"), 12, "ebcdic"),
        (
            ("bad_rows: fail", "format:\n    any_column_order: true\n    header: false"),
            13,
            "needs a header",
        ),
        (("bad_rows: fail", "format: xlsx"), 12, "is not one of csv, tsv, "),
        (("bad_rows: fail", "format: {type: json_lines, quote: x}"), 12, "no such attribute"),
        (("bad_rows: fail", "format: {type: parquet, header: false}"), 12, "no such attribute"),
        (("bad_rows: fail", "format:\n    type: csv\n    quotes: x"), 14, "no such attribute"),
        (("bad_rows: fail", "load_asset: 'a b'"), 12, "a b"),
        (("bad_rows: fail", "owners: [nobody]"), 12, "nobody"),
        (("bad_rows: fail", "sensor: stock's"), 12, "not made of letters, digits and _ alone"),
        (("bad_rows: fail", "tags: {'a b': x}"), 12, "Found invalid tag keys"),
        (("bad_rows: fail", "key_pattern: '['"), 12, "unterminated character set"),
        (("bad_rows: fail", "timezone: Asia/Tokyo"), 12, "only a file with a date is in a time"),
        (("bad_rows: fail", "due_after_hours: 7"), 12, "only a file of which one comes a period"),
        (("bad_rows: fail", "list_since_days: 7"), 12, "does not begin with a date whose year"),
        (("bad_rows: fail", "list_since_days: 7d"), 12, "valid integer"),
        (("bad_rows: fail", "keys: ['{key}.csv']"), 12, "have no keys"),
        (("bad_rows: fail", "schedule: {hour: 25}"), 12, "less than or equal to 23"),
        (("bad_rows: fail", "schedule: {hour: 5}"), 12, "only daily and monthly feeds have one"),
        (("bad_rows: fail", "max_uncompressed_bytes: 0"), 12, "greater than or equal to 1"),
        (("bad_rows: fail", "values:\n    trim: true\n    nulls: [NULL]"), 14, "put it in quotes"),
        (("amount: DOUBLE", "amount:\n      type: DOUBLE\n      date_format: '%Y'"), 9, "a DOUBLE"),
        (("bad_rows: fail", "colunms: {}"), 12, "such attribute; did you mean 'columns'?"),
        (("bad_rows: fail", "lode_asset: x"), 12, "such attribute; did you mean 'load_asset'?"),
        (("bad_rows: fail", "schedule: {huor: 5}"), 12, "such attribute; did you mean 'hour'?"),
        (("{key}.csv", "{date:%Y-%m-%d}.csv"), 2, "need a start"),
    ],
)
def test_a_wrong_value_is_refused_with_file_and_line(
    change: tuple[str, str],
    line: int,
    reason: str,
    write_stock: Callable[[str], dg.ComponentTree],
    tmp_path: Path,
) -> None:
    text = """type: partitioned_etl.FileFeed
attributes:
  name: stock
  description: Stock levels.
  pattern: "{key}.csv"
  columns:
    amount: DOUBLE
  row_rules:
    - {name: amount_is_positive, column: amount, expression: amount > 0, reason: too small}
  # The lines below are what the feed leaves to its defaults.

  bad_rows: fail
"""
    assert change[0] in text
    tree = write_stock(text.replace(*change))
    with pytest.raises(Exception, match="stock") as failure:
        tree.build_defs("stock")
    cause = failure.value.__cause__
    [written] = tmp_path.glob("*/stock/defs.yaml")
    assert f"{written}:{line}" in str(cause)
    assert reason in str(cause)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("attributes: {name: s, patern: x}", r"stock/defs.yaml:1: .*patern: there is no such"),
        (
            "attributes: {name: s, pattern: x.csv, columns: {a: DATE}}",
            r"stock/defs.yaml:1: .*placeholder",
        ),
        ("attributes: {name: 's", r"stock/defs.yaml\", line 1, column 20"),
        ("type: partitioned_etl.components.FileFed", "FileFed"),
        (
            "attributes: {name: '{{ no }}', pattern: '{key}.csv', columns: {a: DATE}}",
            "stock/defs.yaml:1.*'no' is undef",
        ),
    ],
)
def test_a_mistake_is_told_in_one_sentence(
    text: str, reason: str, write_stock: Callable[[str], dg.ComponentTree], tmp_path: Path
) -> None:
    of_type = "" if "type:" in text else "type: partitioned_etl.FileFeed\n"
    tree = write_stock(f"{text}\n{of_type}")
    with pytest.raises(Exception) as failure:  # noqa: PT011
        tree.build_defs("stock")
    told = explain_mistake(failure.value, tree.defs_module_path, tmp_path)
    assert re.search(reason, told), told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("start: soon", "start: .*'soon'"),
        ("end: 2018-01-21\nstart: 2018-01-21", "end 2018-01-21 is not after start 2018-01-21"),
        ("end: 2018-01-21T00:00Z\nstart: 2018-01-22", "is not after start 2018-01-22"),
        ("due_after_hours: 1.0e+300\nstart: 2018-01-21", "due_after_hours is a time of 0 to 672"),
        ("due_after_hours: .nan\nstart: 2018-01-21", "due_after_hours is a time of 0 to 672"),
        ("due_after_hours: -1\nstart: 2018-01-21", "due_after_hours is a time of 0 to 672"),
        ("timezone: Mars/Base\nstart: 2018-01-21", "timezone 'Mars/Base' is not the IANA name"),
    ],
)
def test_a_wrong_window_is_refused_with_its_line(wrong: str, reason: str) -> None:
    feed = "name: stock\npattern: '{date:%Y-%m-%d}.csv'\ncolumns: {a: DATE}\n"
    with pytest.raises(FeedDefinitionError, match=rf":4: .*{reason}"):
        FileFeed.resolve_from_yaml(f"{feed}{wrong}")


def test_post_processing_reaches_the_assets(
    write_stock: Callable[[str], dg.ComponentTree],
) -> None:
    tree = write_stock(
        """type: partitioned_etl.FileFeed
attributes: {name: stock, pattern: "{key}.csv", columns: {a: DATE}}
post_processing:
  assets: [{target: "*", attributes: {tags: {domain: prices}}}]
"""
    )
    specs = list_specs(tree.build_defs("stock"))
    assert {spec.tags.get("domain") for spec in specs} == {"prices"}
    assert len(specs) == 2


def test_a_wrong_value_without_a_file_is_refused_all_the_same() -> None:
    with pytest.raises(FeedDefinitionError, match="needs a placeholder"):
        FileFeed.resolve_from_yaml("{name: stock, pattern: x.csv, columns: {a: DATE}}")


WITHOUT_CURRENCY = """
name: newcol
pattern: "{date:%Y-%m}.csv"
start: 2024-01-01
end: 2024-12-01
columns: {id: BIGINT, amount: BIGINT}
"""


@pytest.mark.parametrize("may_lack", ["optional: true", "since: 2024-03", "since: 2024-03-01"])
def test_a_column_that_a_later_declaration_adds_is_null_in_what_was_loaded(
    bench: Workbench, may_lack: str
) -> None:
    added = f"amount: BIGINT, currency: {{type: VARCHAR, {may_lack}}}"
    before = FileFeed.resolve_from_yaml(WITHOUT_CURRENCY)
    after = FileFeed.resolve_from_yaml(WITHOUT_CURRENCY.replace("amount: BIGINT", added))
    for month, content in {
        "01": "id,amount\n1,10\n",
        "02": "id,amount\n2,20\n",
        "03": "id,amount,currency\n3,30,EUR\n",
    }.items():
        bench.land(before, f"2024-{month}.csv", content)
    assert [record.source_file for record in bench.sync(before).refused] == ["2024-03.csv"]
    assert [record.source_file for record in bench.sync(after).loaded] == ["2024-03.csv"]
    expected = [(1, 10, None), (2, 20, None), (3, 30, "EUR")]
    assert bench.query("SELECT id, amount, currency FROM newcol ORDER BY ALL") == expected
    with bench.connect() as connection:
        connection.execute("DROP TABLE newcol")
    assert len(bench.sync(after).loaded) == 3
    assert bench.query("SELECT id, amount, currency FROM newcol ORDER BY ALL") == expected


def test_a_date_from_which_a_column_is_needed_is_refused() -> None:
    feed = DAILY.replace("{a: DATE}", "{a: {type: DATE, since: spring}}")
    with pytest.raises(FeedDefinitionError, match="'spring' is no daily partition key"):
        build(feed)
