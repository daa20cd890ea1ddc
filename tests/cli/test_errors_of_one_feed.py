"""Whatever is wrong with one feed, each command goes on with the others, and says so."""

import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from click.testing import Result

from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.engine.errors import LandedFileError, WarehouseError, WarehouseLockedError
from partitioned_etl.engine.landing.landing import Landing
from partitioned_etl.engine.landing.names import Scan
from support.samples import price_rows

Call = Callable[..., Result]
Break = Callable[[Exception], None]


@pytest.fixture
def landed(landing_dir: Path) -> Path:
    """A sound file of a daily feed, and one of customers."""
    (landing_dir / "daily" / "2018-01-22.csv").write_text(price_rows(1, 2))
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(3))
    return landing_dir


@pytest.fixture
def break_customers(landed: Path, monkeypatch: pytest.MonkeyPatch) -> Break:
    """Let every look at the customers' folder, which is the first, end with an error."""
    scan = FeedAssets.scan

    def break_with(error: Exception) -> None:
        def fail(assets: FeedAssets, landing: Landing, *given: str) -> Scan:
            if assets.feed.name == "customer_prices":
                # One that a parameter holds would keep all that its traceback has.
                raise type(error)(*error.args)
            return scan(assets, landing, *given)

        monkeypatch.setattr(FeedAssets, "scan", fail)

    return break_with


@pytest.mark.parametrize("command", ["plan", "status", "sync", "explain"])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (LandedFileError("cannot list it"), "error: cannot list it"),
        (WarehouseError("no such column"), "error: no such column"),
        (PermissionError(13, "Permission denied"), "error: feed customer_prices: [Errno 13] Perm"),
        (duckdb.IOException("two\nlines"), "error: feed customer_prices: two lines"),
        (dg.DagsterInvariantViolationError("odd"), "error: feed customer_prices: odd"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_of_one_feed_hides_no_other(
    command: str, error: Exception, told: str, break_customers: Break, landed: Path, call: Call
) -> None:
    break_customers(error)
    file = {"explain": [landed / "daily" / "2018-01-22.csv"]}.get(command, [])
    result = call(command, *file, "--json")
    if command == "explain":  # which asks the others by their patterns alone
        assert result.exit_code == 0
        file = [landed / "customers" / "acme.csv"]
        result = call(command, *file, "--json")
    assert result.exit_code == 2
    [line] = [
        line for line in result.stderr.splitlines() if not line.startswith("daily_prices_job")
    ]
    assert line.startswith(told)
    assert "daily_prices" in result.stdout
    json.loads(result.stdout)


@pytest.mark.parametrize("command", ["plan", "status", "sync"])
def test_a_warehouse_that_others_hold_is_waited_for_once(
    command: str, break_customers: Break, call: Call
) -> None:
    break_customers(WarehouseLockedError("another process has it open"))
    result = call(command)
    assert (result.exit_code, result.stderr) == (2, "error: another process has it open\n")
    assert "daily_prices" not in result.stdout
