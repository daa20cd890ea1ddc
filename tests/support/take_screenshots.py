"""Takes the pictures of docs/images from a web UI that runs: `make screenshots`.

A `dagster dev` of its own loads the sample files and refuses one that is added to them; Chromium
opens the pages that README and tour show. Nothing remains but the pictures.
"""

import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from support.dagster_state import read_partition_statuses
from support.dev_server import PROJECT, DevServer, open_server
from support.samples import price_rows
from support.web_browser import open_browser

IMAGES = PROJECT / "docs" / "images"
MAX_BYTES = 300_000
LOADS = "duckdb_dynamic_partition_table"

_VIEWPORT = ViewportSize(width=1440, height=810)
_PIXELS_PER_POINT = 2
_COLORS = 128
_TIMEOUT_MS = 60_000
_LOADED_SQL = "SELECT count(*) FROM file_loads HAVING count(*) = 15"
_COUNTED_SQL = "SELECT count(DISTINCT partition_date) AS n FROM monthly_orders HAVING n = 3"
_REFUSED_SQL = "FROM file_loads WHERE status = 'refused'"


def take_screenshots() -> None:
    """Write every picture anew."""
    IMAGES.mkdir(exist_ok=True)
    expect.set_options(timeout=_TIMEOUT_MS)
    with (
        open_server("sample_feeds.definitions") as server,
        tempfile.TemporaryDirectory() as home,
        open_browser(Path(home)) as browser,
    ):
        load_files(server)
        visit_pages(server, browser)


def load_files(server: DevServer) -> None:
    """Let a server load the sample files, and then refuse one that is dropped again."""
    shutil.copytree(PROJECT / "data" / "source", server.landing_dir, dirs_exist_ok=True)
    server.start()
    server.wait_until("all files are loaded", lambda: server.read_rows(_LOADED_SQL))
    server.wait_until("the orders are counted", lambda: server.read_rows(_COUNTED_SQL))
    server.wait_until(
        "the customers are archived",
        lambda: len(read_partition_statuses(server, "archived_file")) == 3,
    )
    # The calendar is drawn again after a load, which a refused file is not.
    files = {"initech.csv": price_rows(121.66, 123.37, -123.26), "hooli.csv": price_rows(73.98)}
    server.land("customers", files)
    server.wait_until("one is refused", lambda: server.read_rows(_REFUSED_SQL))
    page = server.folder / "reports" / "arrivals.html"
    server.wait_until(
        "the calendar has it",
        lambda: page.exists() and "initech.csv: line" in page.read_text("utf-8"),
    )
    server.wait_until_quiet()


def visit_pages(server: DevServer, browser: Browser) -> None:
    """Take a picture of each page that is shown."""
    page = browser.new_page(
        base_url=server.url,
        viewport=_VIEWPORT,
        device_scale_factor=_PIXELS_PER_POINT,
        color_scheme="light",
    )
    page.set_default_timeout(_TIMEOUT_MS)
    page.goto("/")
    page.get_by_text("Hide navigation").click()
    take_ticks(page)
    take_partitions(page)
    take_checks(page)
    take_arrivals(page)
    take_asset_graph(page)
    page.close()


def take_asset_graph(page: Page) -> None:
    """The feeds, each a chain from its file to what is made of its table."""
    page.set_viewport_size({"width": 1440, "height": 1100})
    page.goto("/asset-groups")
    graph = page.locator("svg")
    for group in ("customer_prices", "daily_prices"):
        graph.get_by_text(group, exact=True).first.click()
        # Then the whole graph is in view again.
        page.reload()
        expect(graph.get_by_text("arrivals", exact=True).first).to_be_visible()
    expect(graph.get_by_text("Loading")).to_have_count(0)
    save(page, "asset-graph")


def take_partitions(page: Page) -> None:
    """An asset with partitions as their files are, and one whose new file is refused."""
    page.goto(f"/assets/{LOADS}?view=partitions")
    page.locator("div[title='initech']").click()
    expect(page.get_by_text("failed, and did not materialize this asset")).to_be_visible()
    save(page, "partitions")


def take_checks(page: Page) -> None:
    """The checks of an asset, and the one whose rule a row breaks."""
    page.goto(f"/assets/{LOADS}?view=checks&checkDetail=share_price_is_positive")
    expect(page.get_by_text("refused_partitions").first).to_be_visible()
    save(page, "checks")


def take_ticks(page: Page) -> None:
    """What a sensor saw, tick by tick."""
    page.goto("/locations/partitioned_etl/sensors/customer_prices_sensor")
    expect(page.get_by_text("1 run requested").first).to_be_visible()
    save(page, "sensor-ticks")


def take_arrivals(page: Page) -> None:
    """The calendar of arrivals, as the asset's page shows it."""
    page.goto("/assets/arrivals?view=events")
    page.get_by_text("Show Markdown").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("img", name="Calendar of arrivals")).to_be_visible()
    save(page, "arrivals", dialog)


def save(page: Page, name: str, part: Locator | None = None) -> None:
    """Write what the page or a part of it shows, in few colours, which its flat areas bear."""
    page.wait_for_load_state("networkidle")
    path = IMAGES / f"{name}.png"
    (part or page).screenshot(path=path, animations="disabled")
    with Image.open(path) as shot:
        reduced = shot.convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)
    assert path.stat().st_size < MAX_BYTES, f"{path.name} has {path.stat().st_size} bytes"


if __name__ == "__main__":
    take_screenshots()
