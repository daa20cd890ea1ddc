"""The calendar of arrivals: one asset over all feeds."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import Result

from partitioned_etl.cli.location import open_instance
from partitioned_etl.components import calendar
from partitioned_etl.components.calendar_page import draw_calendar
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sources.parameters import Parameters
from support.define import define_feed, define_location
from support.sample_location import CUSTOMERS, MONTHLY, defs
from support.samples import order_rows, price_rows

ARRIVALS = dg.AssetKey("arrivals")


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the pages."""
    folder = tmp_path / "reports"
    monkeypatch.setenv("REPORTS_DIR", str(folder))
    return folder


def test_the_asset_shows_what_came_of_every_feed(
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    reports: Path,
) -> None:
    instance.add_dynamic_partitions("customers", ["acme", "globex"])
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(1))
    (landing_dir / "customers" / "globex.csv").write_text(price_rows(-1))
    (landing_dir / "monthly" / "2018-01.csv").write_text(order_rows("2018-01", "placed"))
    for assets, key in (
        (CUSTOMERS.definition, "acme"),
        (CUSTOMERS.definition, "globex"),
        (MONTHLY.definition, "2018-01-01"),
    ):
        dg.materialize(
            [assets],
            instance=instance,
            partition_key=key,
            resources=resources,
            raise_on_error=False,
        )
    result = dg.materialize([defs.get_assets_def(ARRIVALS)], instance=instance, resources=resources)

    metadata = result.asset_materializations_for_node("arrivals")[0].metadata
    counts = {name: metadata[f"{name}_files"].value for name in ("loaded", "refused")}
    assert counts == {"loaded": 2, "refused": 1}
    assert str(metadata["calendar"].value).startswith("![Calendar of arrivals](data:image/png;")
    page = (reports / "arrivals.html").read_text(encoding="utf-8")
    assert "<td>globex</td><td>refused</td><td>globex.csv: line 2, column share_price" in page
    assert [path.name for path in reports.iterdir()] == ["arrivals.html"]


def test_a_feed_that_cannot_be_listed_is_said_and_leaves_the_others_in_the_calendar(
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    reports: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (landing_dir / "monthly" / "2018-01.csv").write_text(order_rows("2018-01", "placed"))
    dg.materialize(
        [MONTHLY.definition], instance=instance, partition_key="2018-01-01", resources=resources
    )
    (landing_dir / "customers").rmdir()
    (landing_dir / "customers").write_text("no folder", encoding="utf-8")
    result = dg.materialize([defs.get_assets_def(ARRIVALS)], instance=instance, resources=resources)
    assert result.asset_materializations_for_node("arrivals")[0].metadata["loaded_files"].value == 1
    assert "feed customer_prices: cannot list" in capfd.readouterr().err
    shown = read_feeds(result)
    assert shown["monthly_orders"]["state"] == "loaded"
    customers = shown["customer_prices"]
    assert (customers["state"], customers["rows"]) == ("unknown", "")
    [told] = read_what_to_look_at(result)
    assert told.startswith("- `customer_prices: feed customer_prices: cannot list ")


def read_feeds(result: dg.ExecuteInProcessResult) -> dict[str, Mapping[str, object]]:
    """Give the rows of the table of feeds, by the name of the feed."""
    table = result.asset_materializations_for_node("arrivals")[0].metadata["feeds"]
    assert isinstance(table, dg.TableMetadataValue)
    return {str(record.data["feed"]): record.data for record in table.records}


def read_what_to_look_at(result: dg.ExecuteInProcessResult) -> list[str]:
    """Give the lines of the list below the table of feeds."""
    told = result.asset_materializations_for_node("arrivals")[0].metadata["look_at"]
    assert isinstance(told, dg.MarkdownMetadataValue)
    title, _, *lines = str(told.value).split("\n")
    assert title == "To look at:"
    return lines


def test_all_feeds_are_shown_with_their_state_in_a_table_and_as_status_counts_them(
    landing_dir: Path,
    resources: dict[str, object],
    reports: Path,
    call: Callable[..., Result],
) -> None:
    folder = landing_dir / "customers"
    for name, text in {
        "acme.csv": price_rows(1, 2),
        "globex.csv": price_rows(-1),
        "README.md": "hello",
        "![x](y).txt": "markdown",
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    assert call("sync").exit_code == 1
    (folder / "initech.csv").write_text(price_rows(3), encoding="utf-8")
    with open_instance() as instance:
        arrivals = defs.get_assets_def(ARRIVALS)
        result = dg.materialize([arrivals], instance=instance, resources=resources)
    shown = read_feeds(result)

    told = {feed["feed"]: feed for feed in json.loads(call("status", "--json").stdout)["feeds"]}
    assert list(shown) == list(told)
    for name, row in shown.items():
        status = told[name]
        assert (row["partitions"], row["rows"]) == (status["partitions"], status["rows"])
        assert row["waiting"] == status["waiting"]
        for state in ("refused", "unmatched", "late"):
            assert row[state] == len(status[state])
    customers = shown["customer_prices"]
    assert customers["state"] == "1 refused, 2 unmatched, 1 waiting"
    files = ("globex.csv: line 2, column", "![x](y).txt: the name", "README.md: the name")
    for line, named in zip(read_what_to_look_at(result), files, strict=True):
        assert line.startswith(f"- `customer_prices: {named}")
    assert str(customers["last load"]).endswith(" UTC")
    assert shown["daily_prices"] == {
        "feed": "daily_prices",
        "state": "nothing has come yet",
        "last load": "never",
        **dict.fromkeys(("partitions", "rows", "waiting", "refused", "unmatched", "late"), 0),
    }


def test_keys_that_people_added_wait_and_those_that_can_be_no_file_are_refused(
    resources: dict[str, object], instance: dg.DagsterInstance, reports: Path
) -> None:
    feed = Feed(name="scores", columns={"score": "BIGINT"}, source=Parameters())
    scores = define_feed(feed, compute=lambda key: {"score": len(key)})
    instance.add_dynamic_partitions("scores", ["a", "b", "c", "../d"])
    dg.materialize([scores.definition], instance=instance, partition_key="a", resources=resources)
    arrivals = define_location(scores).get_assets_def(ARRIVALS)
    result = dg.materialize([arrivals], instance=instance, resources=resources)
    shown = read_feeds(result)["scores"]
    told = ("state", "partitions", "waiting", "refused")
    assert [shown[name] for name in told] == ["1 refused, 2 waiting", 1, 2, 1]
    [line] = read_what_to_look_at(result)
    assert line.startswith("- `scores: ../d: partition key '../d' is not made of the characters")


def test_the_asset_depends_on_every_load_asset_and_has_no_partitions() -> None:
    node = defs.resolve_asset_graph().get(ARRIVALS)
    assert node.partitions_def is None
    assert {key.to_user_string() for key in node.parent_keys} == {
        "raw_daily_prices",
        "raw_customer_prices",
        "stg_orders",
    }


@pytest.fixture
def drawn(
    landing_dir: Path, resources: dict[str, object], instance: dg.DagsterInstance, reports: Path
) -> Callable[[], None]:
    """Draw the calendar."""

    def draw() -> None:
        dg.materialize([defs.get_assets_def(ARRIVALS)], instance=instance, resources=resources)

    return draw


def asks(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, moment: datetime) -> bool:
    """Tell whether the sensor asks for the calendar at a moment."""
    with monkeypatch.context() as clock, dg.build_sensor_context(instance=instance) as context:
        now = {"now": classmethod(lambda *_: moment)}
        clock.setattr(calendar, "datetime", type("Clock", (datetime,), now))
        return isinstance(defs.resolve_sensor_def("arrivals_sensor")(context), dg.RunRequest)


def test_it_is_drawn_after_each_load_and_refusal_but_once_a_minute(
    instance: dg.DagsterInstance, drawn: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.combine(datetime.now(UTC), time(12), UTC)
    monkeypatch.setattr(calendar, "_EVERY_DAY_AT", time.max)
    assert not asks(instance, monkeypatch, now)
    instance.report_runless_asset_event(dg.AssetMaterialization("stg_orders", partition="x"))
    assert asks(instance, monkeypatch, now)
    run = instance.create_run_for_job(defs.resolve_job_def("arrivals_job"))
    assert not asks(instance, monkeypatch, now)
    instance.delete_run(run.run_id)
    drawn()
    now = datetime.now(UTC)
    assert not asks(instance, monkeypatch, now + timedelta(minutes=2))
    instance.report_runless_asset_event(dg.AssetObservation("stg_orders", partition="x"))
    assert not asks(instance, monkeypatch, now + timedelta(seconds=30))
    assert asks(instance, monkeypatch, now + timedelta(minutes=2))


def test_a_load_that_ends_while_it_is_drawn_is_drawn_afterwards(
    instance: dg.DagsterInstance, drawn: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calendar, "_EVERY_DAY_AT", time.max)

    def draw(*arguments: Any) -> bytes:
        instance.report_runless_asset_event(dg.AssetMaterialization("stg_orders", partition="x"))
        return draw_calendar(*arguments)

    monkeypatch.setattr(calendar, "draw_calendar", draw)
    drawn()
    assert asks(instance, monkeypatch, datetime.now(UTC) + timedelta(minutes=2))


def test_it_is_drawn_every_morning(
    instance: dg.DagsterInstance, drawn: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn()
    instance.report_runless_asset_event(dg.AssetMaterialization("stg_orders", partition="x"))
    drawn()
    tomorrow = datetime.combine(datetime.now(UTC) + timedelta(days=1), time(7), UTC)
    assert not asks(instance, monkeypatch, tomorrow)
    assert asks(instance, monkeypatch, tomorrow + timedelta(minutes=20))
