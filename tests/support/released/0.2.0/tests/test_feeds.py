"""The feeds load what they should, and refuse the rest, in folders of the test's own."""

from pathlib import Path

import dagster as dg
import duckdb
import pytest

from my_feeds.definitions import defs, location

HEADER = "id,ordered_on,amount\n"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose `landing` and `test.duckdb` the settings name for the time of a test."""
    monkeypatch.setenv("LANDING_DIR", str(tmp_path / "landing"))
    monkeypatch.setenv("WAREHOUSE", f"duckdb:{tmp_path / 'test.duckdb'}")
    monkeypatch.setenv("SETTLE_SECONDS", "0")
    return tmp_path


def land_and_load(places: Path, feed: str, path: str, key: str, text: str) -> bool:
    """Land a file of a feed, load its partition, and tell whether it was loaded.

    Args:
        places: The folder of this test.
        feed: The feed's name, which is also that of its asset, unless it is declared otherwise.
        path: Where the file lands, from the landing directory on.
        key: Its partition key.
        text: What is in it.
    """
    landed = places / "landing" / path
    landed.parent.mkdir(parents=True, exist_ok=True)
    landed.write_text(text, encoding="utf-8")
    with dg.DagsterInstance.ephemeral() as instance:
        # The keys of dates are there; for other names, the landing sensor would do this.
        instance.add_dynamic_partitions(feed, [key])
        asset = defs.resolve_assets_def(feed)
        return dg.materialize(
            [asset], partition_key=key, instance=instance, raise_on_error=False
        ).success


def read(places: Path, sql: str) -> list[tuple[object, ...]]:
    """Run a query on the test's database."""
    with duckdb.connect(places / "test.duckdb", read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_every_feed_can_be_loaded() -> None:
    assert not location.mistakes


def test_a_file_becomes_the_rows_of_its_partition(places: Path) -> None:
    assert land_and_load(places, "orders", "orders/acme.csv", "acme", HEADER + "1,2026-01-05,9.50\n")
    assert read(places, "SELECT partition_key, id FROM orders") == [("acme", 1)]


def test_a_file_that_breaks_a_rule_is_refused_and_its_rows_stay(places: Path) -> None:
    assert land_and_load(places, "orders", "orders/acme.csv", "acme", HEADER + "1,2026-01-05,9.50\n")
    assert not land_and_load(places, "orders", "orders/acme.csv", "acme", HEADER + "2,2026-01-05,-9.50\n")
    assert read(places, "SELECT partition_key, id FROM orders") == [("acme", 1)]
