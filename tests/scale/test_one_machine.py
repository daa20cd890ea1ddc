"""The services of one machine, with Dagster's storage in PostgreSQL."""

from pathlib import Path

import pytest

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
