"""The whole product twice, each with its own Dagster instance, on one landing and one warehouse."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from partitioned_etl.engine.errors import NoWarehouseError
from partitioned_etl.engine.feed import Feed
from support.sample_location import CUSTOMER_PRICES, DAILY_PRICES
from support.samples import price_rows
from support.scale import examples
from support.workbench import CHILD_DEADLINE_S, Child, Workbench

pytestmark = [
    pytest.mark.scale,
    pytest.mark.slow,
    pytest.mark.usefixtures("durable_server"),
]

StartChild = Callable[[str], Child]
Contents = dict[tuple[str, str], list[float]]
"""The prices of a feed's partition."""
FILES: list[tuple[Feed, str]] = [
    *((CUSTOMER_PRICES, key) for key in ("acme", "globex", "initech")),
    *((DAILY_PRICES, day) for day in ("2018-01-21", "2018-01-22")),
]

SYNC_UNTIL_TOLD = """
import os
import select
os.environ["DAGSTER_HOME"] = {home!r}
from click.testing import CliRunner
from partitioned_etl.cli.main import commands

print("ready", flush=True)
while True:
    is_told = select.select([sys.stdin], [], [], 0)[0]
    done = CliRunner().invoke(commands, ["sync", "--feed={customers}", "--feed={daily}"])
    (bench.root / {log!r}).open("a").write(done.output)
    if done.exit_code or is_told:
        break
print(done.exit_code, flush=True)
"""


def read_prices(bench: Workbench) -> Contents:
    """Read all prices; nothing where nothing was loaded yet."""
    found: Contents = {}
    try:
        with bench.warehouse.open_read_only(lock_wait_seconds=CHILD_DEADLINE_S) as opened:
            for feed in (CUSTOMER_PRICES, DAILY_PRICES):
                if not opened.table(feed).exists():
                    continue
                sql = f"SELECT partition_key, share_price FROM {feed.table} ORDER BY 1, 2"
                for key, price in opened.query(sql).rows:
                    found.setdefault((feed.name, str(key)), []).append(float(str(price)))
    except NoWarehouseError:
        pass
    return found


@pytest.mark.parametrize("bench", ["folder-duckdb", "s3-postgres"], indirect=True)
def test_two_instances_leave_what_landed_once_and_whole(
    bench: Workbench,
    start_child: StartChild,
    dagster_storage: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "LANDING_DIR": str(bench.place.address),
        "WAREHOUSE": bench.address,
        "SETTLE_SECONDS": "0",
        "DEFINITIONS_MODULE": "support.sample_location",
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "landing").mkdir(exist_ok=True)
    rng, landed = random.Random(1), Contents()

    def land(changed: list[tuple[Feed, str]]) -> None:
        for feed, key in changed:
            prices = sorted(rng.randint(1, 1_000_000) / 4 for _ in range(rng.randint(1, 28)))
            bench.land(feed, f"{key}.csv", price_rows(*prices))
            landed[feed.name, key] = prices

    land(FILES)
    homes = [tmp_path / f"dagster home {number}" for number in (1, 2)]
    children = []
    for home in homes:
        shutil.copytree(dagster_storage, home)
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
        code = SYNC_UNTIL_TOLD.format(
            home=str(home),
            log=f"{home.name}.log",
            customers=CUSTOMER_PRICES.name,
            daily=DAILY_PRICES.name,
        )
        children.append(start_child(code))
    for child in children:
        child.wait_for("ready")
    for _ in range(examples(2)):
        while read_prices(bench) != landed:
            assert all(child.is_running() for child in children)
        land(rng.sample(FILES, 3))
    for child in children:
        child.go_on()
    logs = [tmp_path / f"{home.name}.log" for home in homes]
    for child, log in zip(children, logs, strict=True):
        assert child.read_line() == "0", log.read_text(encoding="utf-8")[-3000:]
        child.finish()
    assert read_prices(bench) == landed
    for feed in (CUSTOMER_PRICES, DAILY_PRICES):
        bench.assert_level(feed)
    told = [log.read_text(encoding="utf-8") for log in logs]
    print(*(f"{text.count('_job: ')} runs" for text in told))
    assert all("Loaded " in text for text in told), "one of them did nothing"
