"""A feed in YAML: the same in everything as the feed in Python, and refused with file and line."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from conftest import price_rows
from partitioned_etl.builders.pipelines import FeedPipeline
from partitioned_etl.components import FileFeed
from partitioned_etl.components.mistakes import tell_mistakes
from partitioned_etl.defs import resources as shipped
from partitioned_etl.defs.customer_prices import CUSTOMER_PRICES_PIPELINE
from partitioned_etl.defs.daily_prices import DAILY_PRICES_PIPELINE
from partitioned_etl.defs.monthly_orders import MONTHLY_ORDERS_PIPELINE
from partitioned_etl.ingest.errors import FeedDefinitionError
from partitioned_etl.ingest.formats import CsvFormat, JsonLinesFormat, ParquetFormat

Query = Callable[..., list[tuple[Any, ...]]]

PRICES = """
columns:
  date: {type: DATE, description: "Day of the quotation; it need not be the day of the file."}
  share_price: {type: DOUBLE, description: "Price of one share; more than 0."}
  amount: {type: DOUBLE, description: "Number of shares that changed hands."}
  spend: {type: DOUBLE, description: "What was paid for them, in thousands."}
  shift: {type: DOUBLE, description: "Change of the price since the quotation before."}
  spread: {type: DOUBLE, description: "Difference between the prices asked and offered."}
row_rules:
  - name: share_price_is_positive
    column: share_price
    expression: share_price > 0
    reason: not greater than 0
owners: ["team:data-engineering"]
"""
DAILY = f"""
name: daily_prices
description: Share prices, one file a day.
folder: daily
pattern: "{{date:%Y-%m-%d}}.csv"
table: raw_partition_data
start: 2018-01-21
end: 2018-01-24
due_after_hours: 7
import_asset: import_partition_file
load_asset: duckdb_partition_table
sensor: daily_landing_sensor
{PRICES}"""
CUSTOMERS = f"""
name: customer_prices
description: Share prices, one file a customer.
folder: customers
pattern: "{{key}}.csv"
table: raw_dynamic_partition_data
dynamic_name: customers
import_asset: import_dynamic_partition_file
load_asset: duckdb_dynamic_partition_table
sensor: customers_landing_sensor
{PRICES}"""
MONTHLY = """
name: monthly_orders
description: Orders, one file a month.
folder: monthly
pattern: "{date:%Y-%m}.csv"
columns:
  id: {type: BIGINT, description: Number of the order.}
  user_id: {type: BIGINT, description: Who ordered.}
  order_date: {type: DATE, description: "Day of the order, in the month of the file."}
  status:
    type: VARCHAR
    description: How far the order has come, such as `placed` or `returned`.
table: stg_orders
start: 2018-01-01
row_rules:
  - name: order_date_is_in_file_month
    column: order_date
    expression: strftime(order_date, '%Y-%m-01') = partition_key
    reason: not in the month of the file's name
import_asset: import_monthly_file
sensor: monthly_landing_sensor
owners: ["team:data-engineering"]
"""


def with_resources(pipeline: FeedPipeline) -> dg.Definitions:
    """Give a pipeline's definitions as the code location has them."""
    shared = {"landing": shipped.landing, "warehouse": shipped.warehouse}
    return dg.Definitions.merge(dg.Definitions(resources=shared), pipeline.to_definitions())


def describe(pipeline: FeedPipeline) -> dict[str, object]:
    """Give all that Dagster is told of a feed, in values that can be compared."""
    defs = with_resources(pipeline)
    sensor, reconciliation = pipeline.sensor, pipeline.reconciliation
    graph = defs.resolve_asset_graph()
    schedules = [one for one in (pipeline.schedule, reconciliation.schedule) if one]
    jobs = [defs.resolve_job_def(job.name) for job in (pipeline.job, reconciliation.job)]
    resolved = [defs.resolve_schedule_def(schedule.name) for schedule in schedules]
    return {
        "feed": pipeline.feed,
        "partitions": pipeline.partitions_def,
        "specs": {spec.key: spec for spec in pipeline.assets.specs},
        "checks": {key: graph.get_check_spec(key) for key in graph.asset_check_keys},
        "op": (pipeline.assets.op.name, pipeline.assets.op.pool, pipeline.assets.can_subset),
        "backfills": pipeline.assets.backfill_policy,
        "jobs": [
            (job.name, job.description, job.tags, sorted(job.graph.node_dict)) for job in jobs
        ],
        "selected": [job.asset_layer.selected_asset_keys for job in jobs],
        "sensor": (
            *(sensor.name, sensor.description, sensor.default_status),
            *(sensor.minimum_interval_seconds, [target.job_name for target in sensor.targets]),
        ),
        "schedules": [
            (one.name, one.description, one.cron_schedule, one.execution_timezone, one.job_name)
            for one in resolved
        ],
    }


@pytest.mark.parametrize(
    ("text", "pipeline"),
    [(DAILY, DAILY_PRICES_PIPELINE), (CUSTOMERS, CUSTOMER_PRICES_PIPELINE)],
    ids=["daily", "dynamic"],
)
def test_a_feed_in_yaml_is_the_feed_in_python(text: str, pipeline: FeedPipeline) -> None:
    assert describe(FileFeed.resolve_from_yaml(text).pipeline) == describe(pipeline)


def test_a_monthly_feed_in_yaml_is_the_feed_in_python_without_its_roll_up() -> None:
    alone = replace(MONTHLY_ORDERS_PIPELINE, refresh=None)
    assert describe(FileFeed.resolve_from_yaml(MONTHLY).pipeline) == describe(alone)


def test_both_load_the_same_rows(
    landing_dir: Path, resources: dict[str, object], query: Query
) -> None:
    (landing_dir / "daily" / "2018-01-22.csv").write_text(price_rows(1.5, 2.5))
    tables = []
    for pipeline in (DAILY_PRICES_PIPELINE, FileFeed.resolve_from_yaml(DAILY).pipeline):
        result = dg.materialize([pipeline.assets], partition_key="2018-01-22", resources=resources)
        assert result.success
        tables.append(query("FROM raw_partition_data"))
        assert query("SELECT count(*) FROM file_loads") == [(1,)]
        query("DROP TABLE raw_partition_data")
        query("DROP TABLE file_loads")
    assert len(tables[0]) == 2
    assert tables[0] == tables[1]


def test_names_follow_the_feed_where_none_are_given() -> None:
    feed = FileFeed.resolve_from_yaml("{name: stock, pattern: '{key}.csv', columns: {a: DATE}}")
    pipeline = feed.pipeline
    assert (feed.feed.folder, feed.feed.table) == ("stock", "stock")
    assert {key.to_user_string() for key in pipeline.assets.keys} == {"import_stock", "stock"}
    assert (pipeline.job.name, pipeline.sensor.name) == ("stock_job", "stock_landing_sensor")
    assert pipeline.partitions_def == dg.DynamicPartitionsDefinition(name="stock")
    assert pipeline.schedule is None


def test_every_policy_reaches_the_feed() -> None:
    feed = FileFeed.resolve_from_yaml(
        """
        name: stock
        pattern: "{key}.tsv"
        columns: {a: DOUBLE}
        format: tsv
        csv: {quote: "'", escape: "'", encoding: latin-1, header: false}
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
    ).feed
    assert feed.format == CsvFormat(
        delimiter="\t", quote="'", escape="'", encoding="latin-1", header=False
    )
    assert (feed.on_missing, feed.bad_rows) == ("remove", "quarantine")
    assert (feed.max_rejected_rows, feed.max_rejected_percent) == (3, 2.5)
    assert (feed.done_suffix, feed.allow_empty, feed.non_finite_columns) == (".done", False, ("a",))
    assert (feed.key_pattern, feed.max_uncompressed_bytes) == ("[a-z]+", 1000)


def test_every_partitioning_and_format_can_be_asked_for() -> None:
    names = "name: stock\ncolumns: {a: BIGINT}\n"
    static = FileFeed.resolve_from_yaml(
        f"{names}pattern: '{{key}}.parquet'\nformat: parquet\npartitioning: static\nkeys: [x, y]"
    )
    assert static.pipeline.partitions_def == dg.StaticPartitionsDefinition(["x", "y"])
    assert static.feed.format == ParquetFormat()
    weekly = FileFeed.resolve_from_yaml(
        f"{names}pattern: '{{date:%G-W%V}}.jsonl'\nformat: json_lines\nstart: 2018-01-22"
    )
    assert isinstance(weekly.pipeline.partitions_def, dg.WeeklyPartitionsDefinition)
    assert weekly.feed.format == JsonLinesFormat()
    weekdays = FileFeed.resolve_from_yaml(
        f"{names}pattern: '{{date:%Y-%m-%d}}.tsv'\nformat: tsv\npartitioning: weekdays\n"
        "start: 2018-01-18\nend: 2018-01-23"
    )
    days = weekdays.pipeline.partitions_def.get_partition_keys()
    assert days == ["2018-01-18", "2018-01-19", "2018-01-22"]
    both = FileFeed.resolve_from_yaml(
        f"{names}pattern: '{{key}}/{{date:%Y-%m-%d}}.csv'\nstart: 2018-01-22"
    )
    assert isinstance(both.pipeline.partitions_def, dg.MultiPartitionsDefinition)


def test_texts_that_look_like_numbers_stay_texts_and_templates_are_rendered_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LEAST", "10")
    monkeypatch.setenv("YEAR", "2024")
    monkeypatch.setenv("VERSION", "1.10")
    component = FileFeed.resolve_from_yaml(
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
    assert component.pipeline.partitions_def.get_partition_keys() == ["101", "1.50", "None"]
    feed = component.feed
    assert (feed.folder, feed.description, feed.max_rejected_rows) == ("2024_10", "1.10", 10)
    assert feed.column_descriptions == {"amount": "At least 10"}
    assert (feed.row_rules[0].expression, feed.row_rules[0].reason) == ("amount > 10", "10")
    assert component.pipeline.assets.tags_by_key[dg.AssetKey("stock")]["tier"] == "1"


def test_the_clock_can_be_set_and_left_out() -> None:
    at = FileFeed.resolve_from_yaml(f"{DAILY}\nschedule: {{hour: 6, minute: 5}}").pipeline
    defs = with_resources(at)
    assert defs.resolve_schedule_def("daily_prices_schedule").cron_schedule == "5 6 * * *"
    for text in (DAILY, CUSTOMERS):
        none = FileFeed.resolve_from_yaml(f"{text}\nschedule: {{enabled: false}}").pipeline
        assert none.schedule is None


@pytest.mark.parametrize(
    "pattern",
    ["{date:%Y-%m-%d-%H}.csv", "{date:%G-W%V}.csv", "{key}/{date:%Y-%m}.csv"],
)
def test_a_clock_that_the_feed_cannot_have_is_refused(pattern: str) -> None:
    feed = f"name: s\npattern: '{pattern}'\ncolumns: {{a: DATE}}\nstart: 2018-01-22\nschedule: {{}}"
    with pytest.raises(FeedDefinitionError, match="only daily and monthly feeds have one"):
        FileFeed.resolve_from_yaml(feed)


def test_tags_are_on_every_asset() -> None:
    pipeline = FileFeed.resolve_from_yaml(f"{DAILY}\ntags: {{domain: prices}}").pipeline
    assert [spec.tags["domain"] for spec in pipeline.assets.specs] == ["prices", "prices"]


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
        (("{key}.csv", "{nokey}.csv"), 5, "needs exactly one placeholder"),
        (("bad_rows: fail", "bad_rows: fial"), 12, "should be 'fail' or 'quarantine', not 'fial'"),
        (("column: amount", "column: amuont"), 8, "the feed does not have"),
        (("amount: DOUBLE", "amount: DUOBLE"), 6, "column amount: no file can be read"),
        (("bad_rows: fail", "start: 2018-01-21"), 12, "have no start"),
        (("bad_rows: fail", "done_suffix: .csv"), 12, "done_suffix"),
        (("bad_rows: fail", "max_rejected_percent: 101"), 12, "max_rejected_percent"),
        (("bad_rows: fail", "max_rejected_rows: many"), 12, "valid integer"),
        (("bad_rows: fail", "table: file_loads"), 12, "this package's own"),
        (("bad_rows: fail", "csv: {encoding: ebcdic}"), 12, "ebcdic"),
        (
            ("bad_rows: fail", "any_column_order: true\n  csv: {header: false}"),
            12,
            "needs a header",
        ),
        (("bad_rows: fail", "csv: {quote: x}\n  format: json_lines"), 12, "csv says nothing of"),
        (("bad_rows: fail", "csv: {header: false}\n  format: parquet"), 12, "csv says nothing of"),
        (("bad_rows: fail", "load_asset: 'a b'"), 12, "a b"),
        (("bad_rows: fail", "owners: [nobody]"), 12, "nobody"),
        (("bad_rows: fail", "sensor: stock's"), 12, "not made of letters, digits and _ alone"),
        (("bad_rows: fail", "tags: {'a b': x}"), 12, "Found invalid tag keys"),
        (("bad_rows: fail", "key_pattern: '['"), 12, "unterminated character set"),
        (("bad_rows: fail", "timezone: Asia/Tokyo"), 12, "only a file with a date is in a time"),
        (("bad_rows: fail", "due_after_hours: 7"), 12, "only a file of which one comes a period"),
        (("bad_rows: fail", "keys: ['{key}.csv']"), 12, "have no keys"),
        (("bad_rows: fail", "schedule: {hour: 25}"), 12, "hour is 0 to 23"),
        (("bad_rows: fail", "schedule: {hour: 5}"), 12, "only daily and monthly feeds have one"),
        (("bad_rows: fail", "max_uncompressed_bytes: 0"), 12, "must be 1 or more"),
        (("bad_rows: fail", "colunms: {}"), 12, "Extra inputs are not permitted"),
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
    text = """type: partitioned_etl.components.FileFeed
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
        ("attributes: {name: s, patern: x}", r"patern at .*defs.yaml:1: Extra inputs"),
        (
            "attributes: {name: s, pattern: x.csv, columns: {a: DATE}}",
            r"defs.yaml:1: .*placeholder",
        ),
        ("attributes: {name: 's", r"defs.yaml\", line 1, column 20"),
        ("type: partitioned_etl.components.FileFed", "no attribute `FileFed`"),
        (
            "attributes: {name: '{{ no }}', pattern: '{key}.csv', columns: {a: DATE}}",
            "defs.yaml:1 .*'no' is undef",
        ),
    ],
)
def test_a_mistake_is_told_in_one_sentence(
    text: str, reason: str, write_stock: Callable[[str], dg.ComponentTree]
) -> None:
    of_type = "" if "type:" in text else "type: partitioned_etl.components.FileFeed\n"
    tree = write_stock(f"{text}\n{of_type}")
    with pytest.raises(FeedDefinitionError, match=reason) as failure, tell_mistakes():
        tree.get_all_components(FileFeed)
    assert "\n" not in str(failure.value)


def test_what_is_no_mistake_in_a_file_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), tell_mistakes():
        _ = 1 / 0


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("start: soon", "'soon'"),
        ("end: 2018-01-21\nstart: 2018-01-21", "end 2018-01-21 is not after start 2018-01-21"),
        ("end: 2018-01-21T00:00Z\nstart: 2018-01-22", "is not after start 2018-01-22"),
        ("due_after_hours: 1.0e+300\nstart: 2018-01-21", "due_after_hours 1e.300 is not 0 to 672"),
        ("due_after_hours: .nan\nstart: 2018-01-21", "due_after_hours nan is not 0 to 672"),
        ("due_after_hours: -1\nstart: 2018-01-21", "due_after is a time of 0 to 28 days"),
        ("timezone: Mars/Base\nstart: 2018-01-21", "Mars"),
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
        """type: partitioned_etl.components.FileFeed
attributes: {name: stock, pattern: "{key}.csv", columns: {a: DATE}}
post_processing:
  assets: [{target: "*", attributes: {tags: {domain: prices}}}]
"""
    )
    assets = [
        one for one in tree.build_defs("stock").assets or [] if isinstance(one, dg.AssetsDefinition)
    ]
    specs = [spec for one in assets for spec in one.specs]
    assert {spec.tags.get("domain") for spec in specs} == {"prices"}
    assert len(specs) == 2


def test_a_wrong_value_without_a_file_is_refused_all_the_same() -> None:
    with pytest.raises(FeedDefinitionError, match="needs exactly one placeholder"):
        FileFeed.resolve_from_yaml("{name: stock, pattern: x.csv, columns: {a: DATE}}")
