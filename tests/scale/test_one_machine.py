"""The services of one machine, with Dagster's storage in PostgreSQL, through its pooler."""

from pathlib import Path

import pytest

from support.postgres_pooler import require_pgbouncer, run_pooler
from support.postgres_server import PostgresServer
from support.services import check_services

pytestmark = [pytest.mark.scale, pytest.mark.slow]


def test_the_services_load_what_lands_with_dagster_in_postgresql(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    import psycopg

    require_pgbouncer()
    home = "deploy/one-machine"
    with run_pooler(postgres_server, postgres_url) as pooled:
        url = pooled.replace("postgresql://", "postgresql+psycopg2://")
        check_services(tmp_path / "partitioned-etl", home, {"DAGSTER_POSTGRES_URL": url})
    with psycopg.connect(postgres_url) as connection:
        told = connection.execute(
            "SELECT DISTINCT partition FROM event_logs WHERE partition IN ('acme', 'umbrella')"
        ).fetchall()
    assert sorted(told) == [("acme",), ("umbrella",)]
