"""The services of one machine, with Dagster's storage in PostgreSQL."""

from pathlib import Path

import pytest
import yaml

from support.dev_server import PROJECT
from support.services import check_services

pytestmark = [pytest.mark.scale, pytest.mark.slow]


def test_the_services_load_what_lands_with_dagster_in_postgresql(
    tmp_path: Path, postgres_url: str
) -> None:
    import psycopg

    url = postgres_url.replace("postgresql://", "postgresql+psycopg2://")
    home = "deploy/one-machine"
    check_services(tmp_path / "partitioned-etl", home, {"DAGSTER_POSTGRES_URL": url})
    with psycopg.connect(postgres_url) as connection:
        told = connection.execute(
            "SELECT DISTINCT partition FROM event_logs WHERE partition IN ('acme', 'umbrella')"
        ).fetchall()
    assert sorted(told) == [("acme",), ("umbrella",)]


def test_the_instance_differs_from_that_of_a_checkout_only_in_its_storage() -> None:
    instances = [
        yaml.safe_load((PROJECT / name).read_text(encoding="utf-8"))
        for name in ("dagster.yaml", "deploy/one-machine/dagster.yaml")
    ]
    storages = [instance.pop("storage") for instance in instances]
    assert instances[0] == instances[1]
    assert [*storages[1]] == ["postgres"]
