"""A person at the web UI sees the feeds, starts loads by clicking, and finds out why one failed.

Headless Chromium drives the pages of a plain `dagster dev`; what a click did is then looked up in
the database. Every page also has to do without the internet and without an error in its console.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, ViewportSize, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from support.dagster_state import (
    count_materialized_partitions,
    list_runs,
    read_partition_statuses,
    read_sensor_status,
    wait_for_run,
)
from support.dev_server import DEADLINE_S, LOCATION, SAMPLE, DevServer
from support.ledger_of_server import read_share_prices
from support.samples import LOAD_ASSETS, ORDER_HEADER, SAMPLES_PER_FEED, price_rows
from support.web_browser import CHROMIUM, open_browser

TIMEOUT_MS = 300_000
VIEWPORT = ViewportSize(width=2000, height=1400)

CHAINS = {
    "customer_prices": ("import_customer_prices", "raw_customer_prices", "customer_copies"),
    "daily_prices": ("import_daily_prices", "raw_daily_prices"),
    "monthly_orders": ("import_monthly_orders", "stg_orders"),
}

HOSTILE_CELLS = [
    "![x](/graphql?query=mutation{setNuxSeen})",
    "<img src=//evil.example/x onerror=alert(1)>",
    "[a](javascript:alert(1)) <b>bold</b> **bold**",
    "http://evil.example/ www.evil.example &lt;b&gt;",
    "</td></table><script>alert(1)</script>",
]

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    if CHROMIUM is None:
        reason = "chromium is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    expect.set_options(timeout=TIMEOUT_MS)
    with open_browser(tmp_path_factory.mktemp("home")) as browser:
        yield browser


@pytest.fixture(scope="module")
def loaded(server: DevServer) -> DevServer:
    """The server, once Dagster knows of every sample: else a click is asked what is missing."""

    def has_samples() -> bool:
        counts = [count_materialized_partitions(server, asset) for asset in LOAD_ASSETS]
        return min(counts) >= SAMPLES_PER_FEED

    server.wait_until("the samples are loaded", has_samples)
    return server


@pytest.fixture(scope="module")
def visitor(browser: Browser, loaded: DevServer) -> Iterator[BrowserContext]:
    """One visitor of the web UI, whose browser keeps its scripts from page to page."""
    context = browser.new_context(base_url=loaded.url, viewport=VIEWPORT)
    context.set_default_timeout(TIMEOUT_MS)
    yield context
    context.close()


@pytest.fixture
def page(visitor: BrowserContext) -> Iterator[Page]:
    """A page of the web UI; at its end it may not have left this host nor reported an error."""
    addresses: list[str] = []
    errors: list[str] = []
    page = visitor.new_page()
    page.on("request", lambda request: addresses.append(request.url))
    page.on("websocket", lambda socket: addresses.append(socket.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda message: errors.append(message.text) if message.type == "error" else None,
    )
    yield page
    page.close()
    assert addresses
    assert {urlsplit(address).hostname for address in addresses} <= {"127.0.0.1", None}
    assert errors == []


def test_the_asset_graph_shows_the_chain_of_each_feed(page: Page, tmp_path: Path) -> None:
    page.goto("/asset-groups")
    graph = page.locator("svg")
    for group, assets in CHAINS.items():
        graph.get_by_text(group, exact=True).click()
        expect(graph.get_by_text(assets[0], exact=True)).to_be_visible()
    page.reload()
    expect(graph.get_by_text("Latest event")).to_have_count(7)
    expect(graph.get_by_text("Loading")).to_have_count(0)
    page.screenshot(path=tmp_path / "asset_graph.png")

    for assets in CHAINS.values():
        positions = [find_position(graph.get_by_text(name, exact=True)) for name in assets]
        assert positions == sorted(positions)
        # The last of a chain gives way to the arrow that leads on to the calendar of arrivals.
        assert len({round(top) for _, top in positions[:2]}) == 1


def find_position(names: Locator) -> tuple[float, float]:
    """Give left and top of an asset's name; a group of the same name stands more to the left."""
    boxes = [name.bounding_box() for name in names.all()]
    return max((box["x"], box["y"]) for box in boxes if box)


def test_the_automation_page_lists_the_landing_sensors_as_running(
    page: Page, tmp_path: Path
) -> None:
    page.goto("/automation")
    for sensor in ("daily", "customers", "monthly", "removal", "late_file"):
        expect(find_switch(page, f"{sensor}_sensor")).to_be_checked()
    page.screenshot(path=tmp_path / "automation.png")


def test_a_sensor_is_switched_off_and_on_by_clicking(
    page: Page, server: DevServer, tmp_path: Path
) -> None:
    sensor = "copies_sensor"
    server.wait_until("the sensor is off", lambda: turn(page, server, sensor, on=False))
    page.screenshot(path=tmp_path / "sensor_off.png")
    server.wait_until("the sensor is on", lambda: turn(page, server, sensor, on=True))


def turn(page: Page, server: DevServer, sensor: str, *, on: bool) -> bool:
    """Click a sensor's switch if it is not as wanted, and tell whether it has become so.

    A tick that begins at the moment of the click undoes it, and a person clicks again: Dagster's
    daemon writes the state back that it had read (https://github.com/dagster-io/dagster/pull/7738).
    """
    wanted, mutation = ("RUNNING", "startSensor") if on else ("STOPPED", "stopSensor")
    if read_sensor_status(server, sensor) != wanted:
        page.goto("/automation", wait_until="networkidle")
        switch = find_switch(page, sensor)
        expect(switch).to_be_checked(checked=not on)
        # Until the page knows the state, the switch looks off and does nothing.
        with contextlib.suppress(PlaywrightTimeoutError):
            # The checkbox is out of sight; the label around it is what is drawn.
            click_and_read_answer(page, switch.locator(".."), mutation, timeout_ms=5_000)
    return read_sensor_status(server, sensor) == wanted


def find_switch(page: Page, sensor: str) -> Locator:
    """Give the switch in a sensor's row of the automation page."""
    name = page.get_by_text(sensor, exact=True)
    boxes = page.locator("div", has=name).filter(has=page.get_by_role("checkbox")).last
    # The first is for selecting the row, the other is the switch.
    expect(boxes.get_by_role("checkbox")).to_have_count(2)
    return boxes.get_by_role("checkbox").last


def test_the_page_of_a_failed_partition_leads_to_the_reason(
    page: Page, server: DevServer, tmp_path: Path
) -> None:
    asset = "raw_customer_prices"
    server.wait_until(
        "the bad file has failed",
        lambda: read_partition_statuses(server, asset).get("broken") == "FAILED",
    )
    page.goto(f"/assets/{asset}?view=partitions")
    page.locator("div[title='broken']").click()
    expect(page.get_by_text("failed, and did not materialize this asset")).to_be_visible()
    page.get_by_role("button", name="View all historical events").click()
    history = page.get_by_role("dialog")
    expect(history.get_by_role("row").filter(has_text="broken")).to_contain_text("Observation")
    page.screenshot(path=tmp_path / "failed_partition_history.png")
    page.goto(f"/assets/{asset}?view=partitions")
    page.locator("div[title='broken']").click()
    expect(page.get_by_text("failed, and did not materialize this asset")).to_be_visible()
    page.screenshot(path=tmp_path / "failed_partition.png")

    page.get_by_text("View logs").click()
    reason = page.get_by_role("dialog").get_by_text(
        "broken.csv: line 3, column share_price: not greater than 0"
    )
    expect(reason.last).to_be_visible()
    reason.last.scroll_into_view_if_needed()
    page.screenshot(path=tmp_path / "failed_partition_reason.png")


def test_the_page_of_a_check_says_why_it_fails(
    page: Page, server: DevServer, tmp_path: Path
) -> None:
    asset = "raw_customer_prices"
    server.wait_until(
        "the bad file has failed",
        lambda: read_partition_statuses(server, asset).get("broken") == "FAILED",
    )
    for check in ("share_price_is_positive", "matches_contract"):
        page.goto(f"/assets/{asset}?view=checks&checkDetail={check}")
        expect(page.get_by_text("Refused partitions: 1").first).to_be_visible()
        reason = "broken: broken.csv: line 3, column share_price: not greater than 0"
        expect(page.get_by_role("listitem").filter(has_text=reason).first).to_be_visible()
        page.screenshot(path=tmp_path / f"{check}.png")


def test_the_arrivals_page_shows_the_feeds_as_a_table_and_the_calendar_as_a_picture(
    page: Page, server: DevServer, tmp_path: Path
) -> None:
    page.goto("/assets/arrivals")
    run_id = click_and_read_answer(
        page, page.get_by_role("button", name="Materialize"), "launchPipelineExecution"
    )["run"]["id"]
    assert wait_for_run(server, run_id)["status"] == "SUCCESS"
    # From a feed's overview it is one click to the table of all feeds, and another to the picture.
    page.goto("/assets/raw_customer_prices")
    page.locator("a[href^='/assets/arrivals']").filter(has_text="arrivals").first.click()
    # The row of the metadata has the whole table in it.
    named = page.get_by_role("cell", name="customer_prices", exact=True)
    row = page.get_by_role("row").filter(has=named).last
    expect(row).to_contain_text("1 refused")
    reason = "broken.csv: line 3, column share_price: not greater than 0"
    expect(page.get_by_role("listitem").filter(has_text=reason)).to_be_visible()
    page.screenshot(path=tmp_path / "feeds.png", full_page=True)
    page.get_by_text("Show Markdown").first.click()
    picture = page.get_by_role("dialog").get_by_role("img", name="Calendar of arrivals")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") == 720
    page.screenshot(path=tmp_path / "arrivals.png")

    # The web UI goes on asking its server, which the calendar's own page forbids.
    page.goto("about:blank")
    page.set_content((server.folder / "reports" / "arrivals.html").read_text(encoding="utf-8"))
    expect(page.get_by_role("img", name="Calendar of arrivals")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="broken")).to_contain_text("refused")
    page.screenshot(path=tmp_path / "arrivals_page.png")


def test_runs_of_commands_are_shown_under_their_jobs_and_in_the_timeline(
    page: Page, server: DevServer, tmp_path: Path
) -> None:
    """The latest run of one job is a command's, and all runs of the other one are."""
    server.land("customers", {"left.csv": price_rows(1)})
    server.wait_until("it is loaded", lambda: read_share_prices(server, "left").get("left"))
    (server.landing_dir / "customers" / "left.csv").unlink()
    server.wait_until_quiet()
    call_command(server, "sync", "--feed", "daily_prices", "--partition=2018-01-22", "--reload")
    call_command(server, "forget", "customer_prices", "--partition", "left", "--yes")
    for job in ("daily_prices_job", "forget_job"):
        run = list_runs(server, job)[0]
        assert run["status"] == "SUCCESS"
        page.goto(f"/locations/{LOCATION}/jobs/{job}/runs")
        expect(page.get_by_text(run["runId"][:8]).first).to_be_visible()
        expect(page.get_by_text("Latest run:")).to_be_visible()
        page.screenshot(path=tmp_path / f"{job}.png")
    page.goto("/jobs", wait_until="networkidle")
    page.screenshot(path=tmp_path / "jobs.png")
    page.goto("/overview")
    expect(page.get_by_role("link", name="forget_job")).to_be_visible()
    page.screenshot(path=tmp_path / "timeline.png")


def test_one_partition_is_loaded_by_clicking_materialize(
    page: Page, server: DevServer, tmp_path: Path
) -> None:
    page.goto("/assets/raw_daily_prices?view=partitions")
    page.locator("div[title='2018-01-22']").click()
    page.get_by_role("button", name="Materialize…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_placeholder("ex: 2018-01-21, 2018-01-22")).to_have_value("2018-01-22")
    page.screenshot(path=tmp_path / "materialize.png")
    run_id = click_and_read_answer(
        page, dialog.get_by_role("button", name="Launch 1 run"), "launchPipelineExecution"
    )["run"]["id"]

    run = wait_for_run(server, run_id)
    assert run["status"] == "SUCCESS"
    assert run["tags"]["dagster/partition"] == "2018-01-22"
    page.goto(f"/runs/{run_id}")
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible()
    page.screenshot(path=tmp_path / "materialized_run.png")
    assert read_loads(server)["2018-01-22"] == (run_id, 21)


def test_a_range_of_partitions_is_loaded_by_clicking_a_backfill(
    page: Page, server: DevServer, tmp_path: Path
) -> None:
    page.goto("/assets/raw_daily_prices?view=partitions")
    page.get_by_role("button", name="Materialize…").click()
    dialog = page.get_by_role("dialog")
    selection = dialog.get_by_placeholder("ex: 2018-01-21, 2018-01-22")
    selection.fill("[2018-01-21...2018-01-22]")
    selection.press("Enter")
    expect(dialog.get_by_text("2 partitions", exact=True)).to_be_visible()
    expect(dialog.get_by_text("Loading")).to_have_count(0)
    page.screenshot(path=tmp_path / "backfill.png")
    backfill_id = click_and_read_answer(
        page, dialog.get_by_role("button", name="Launch backfill"), "launchPartitionBackfill"
    )["backfillId"]

    def find_runs() -> list[str]:
        runs = list_runs(server)
        return [r["runId"] for r in runs if r["tags"].get("dagster/backfill") == backfill_id]

    (run_id,) = server.wait_until("the backfill has started a run", find_runs)
    assert wait_for_run(server, run_id)["status"] == "SUCCESS"
    page.goto(f"/runs/b/{backfill_id}")
    expect(page.get_by_text(backfill_id).first).to_be_visible()
    expect(page.get_by_text("2018-01-21...2018-01-22")).to_be_visible()
    expect(page.get_by_text("Partitions targeted")).to_be_visible()
    page.screenshot(path=tmp_path / "backfill_page.png")
    loads = read_loads(server)
    assert loads["2018-01-21"] == (run_id, 20)
    assert loads["2018-01-22"] == (run_id, 21)


def test_a_partition_key_is_added_by_hand_and_loaded_when_its_file_comes(
    page: Page, server: DevServer, tmp_path: Path
) -> None:
    asset = "raw_customer_prices"
    page.goto(f"/assets/{asset}?view=partitions")
    page.get_by_role("button", name="Materialize…").click()
    page.get_by_text("Add a partition", exact=True).click()
    dialog = page.get_by_role("dialog").filter(has_text="Add a partition for customers")
    dialog.get_by_placeholder("name").fill("umbrella")
    page.screenshot(path=tmp_path / "add_partition.png")
    click_and_read_answer(page, dialog.get_by_role("button", name="Save"), "addDynamicPartition")
    page.goto(f"/assets/{asset}?view=partitions")
    expect(page.locator("div[title='umbrella']")).to_be_visible()
    page.screenshot(path=tmp_path / "added_partition.png")
    server.land("customers", {"umbrella.csv": price_rows(8)})
    server.wait_until(
        "the file is loaded",
        lambda: read_partition_statuses(server, asset).get("umbrella") == "MATERIALIZED",
    )
    sql = "SELECT share_price FROM raw_customer_prices WHERE partition_key = ?"
    assert server.read_rows(sql, "umbrella") == [(8.0,)]


def test_a_partition_that_was_added_by_hand_without_a_file_leads_to_why_it_is_red(
    page: Page, server: DevServer, tmp_path: Path
) -> None:
    """Dagster shows on the page itself what was told with a materialization, and here is none."""
    asset, key = "raw_customer_prices", "vandelay"
    page.goto(f"/assets/{asset}?view=partitions")
    page.get_by_role("button", name="Materialize…").click()
    page.get_by_text("Add a partition", exact=True).click()
    dialog = page.get_by_role("dialog").filter(has_text="Add a partition for customers")
    dialog.get_by_placeholder("name").fill(key)
    click_and_read_answer(page, dialog.get_by_role("button", name="Save"), "addDynamicPartition")
    page.goto(f"/assets/{asset}?view=partitions&partition={key}")
    page.get_by_role("button", name="Materialize…").click()
    launch = page.get_by_role("dialog").get_by_role("button", name="Launch 1 run")
    run_id = click_and_read_answer(page, launch, "launchPipelineExecution")["run"]["id"]
    assert wait_for_run(server, run_id)["status"] == "FAILURE"
    assert read_partition_statuses(server, asset)[key] == "FAILED"

    reason = f"partition key '{key}': no file in {server.landing_dir}/customers matches the pattern"
    page.goto(f"/assets/{asset}?view=partitions&partition={key}")
    page.get_by_role("button", name="View all historical events").click()
    history = page.get_by_role("dialog")
    history.get_by_role("row").filter(has_text="Observation").click()
    expect(history.get_by_text("Not loaded; it has no rows yet.")).to_be_visible()
    expect(history.get_by_text(reason)).to_be_visible()
    page.screenshot(path=tmp_path / "partition_without_file_history.png")
    page.goto(f"/assets/{asset}?view=partitions&partition={key}")
    page.get_by_text("View logs").click()
    expect(page.get_by_role("dialog").get_by_text(reason).last).to_be_visible()
    page.screenshot(path=tmp_path / "partition_without_file_reason.png")


@pytest.mark.parametrize("asset", ["raw_customer_prices", "stg_orders"])
def test_the_numbers_of_partitions_are_plotted(page: Page, tmp_path: Path, asset: str) -> None:
    page.goto(f"/assets/{asset}")
    page.get_by_role("button", name="Plots").click()
    for name in ("dagster/partition_row_count", "rows_added", "size_bytes", "load_seconds"):
        expect(page.get_by_text(name, exact=True)).to_be_visible()
    expect(page.locator("canvas")).to_have_count(7)
    page.screenshot(path=tmp_path / "plots.png", full_page=True)


def test_hostile_cells_are_shown_as_text_in_the_preview_and_ask_for_nothing(
    page: Page, server: DevServer, tmp_path: Path
) -> None:
    rows = "".join(f"{n},7,2018-04-15,{cell}\n" for n, cell in enumerate(HOSTILE_CELLS))
    server.land("monthly", {"2018-04.csv": ORDER_HEADER + rows})
    sql = "SELECT run_id FROM file_loads WHERE source_file = '2018-04.csv' AND status = 'loaded'"
    ((run_id,),) = server.wait_until("the month is loaded", lambda: server.read_rows(sql))
    assert wait_for_run(server, run_id)["status"] == "SUCCESS"

    requests: list[str] = []
    page.on("request", lambda request: requests.append(f"{request.method} {request.url}"))
    page.goto("/assets/stg_orders?view=partitions&partition=2018-04-01")
    expect_text_only(page.get_by_role("table"))
    page.screenshot(path=tmp_path / "hostile_partition.png")
    page.goto(f"/runs/{run_id}")
    page.get_by_text("Show Markdown").click()
    expect_text_only(page.get_by_role("dialog").get_by_role("table"))
    page.screenshot(path=tmp_path / "hostile_preview.png")
    page.wait_for_load_state("networkidle")
    assert f"GET {server.url}/runs/{run_id}" in requests
    assert not [
        request for request in requests if request.startswith("GET") and "graphql?" in request
    ]
    assert not [request for request in requests if "evil.example" in request]


def expect_text_only(tables: Locator) -> None:
    """Wait until the preview is there, with each hostile cell as text and nothing else."""
    preview = tables.filter(has=tables.page.get_by_role("columnheader", name="user_id")).last
    expect(preview.locator("td:nth-child(4)")).to_have_text(HOSTILE_CELLS)
    expect(preview.locator("td").locator("a, b, iframe, img, script, strong")).to_have_count(0)


def click_and_read_answer(
    page: Page, button: Locator, mutation: str, *, timeout_ms: float | None = None
) -> dict[str, Any]:
    """Click, and give what the server answered to the mutation that the click sent."""
    with page.expect_response(
        lambda response: f"{mutation}(" in (response.request.post_data or ""), timeout=timeout_ms
    ) as answer:
        button.click()
    return answer.value.json()["data"][mutation]


def call_command(server: DevServer, *arguments: str) -> None:
    """Call the command line on a server's folder and instance."""
    places = {"DAGSTER_HOME": str(server.folder), "DEFINITIONS_MODULE": SAMPLE}
    command = [sys.executable, "-W", "ignore", "-m", "partitioned_etl", *arguments]
    environment = server.environment | places
    subprocess.run(command, cwd=server.folder, env=environment, check=True, timeout=DEADLINE_S)


def read_loads(server: DevServer) -> dict[str, tuple[str, int]]:
    """Give run and number of rows in the table, per partition of the daily feed."""
    rows = server.read_rows(
        "SELECT partition_key, run_id, count(*) FROM file_loads "
        "JOIN raw_daily_prices USING (partition_key) WHERE feed = 'daily_prices' GROUP BY ALL"
    )
    return {key: (run_id, count) for key, run_id, count in rows}
