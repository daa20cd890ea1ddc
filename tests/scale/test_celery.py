"""Steps on Celery's workers: the services of `deploy/celery`, some of which are killed.

They work in one checkout as if it were several machines. The loads of all feeds wait for a lock
that the test holds, so that each worker is in the middle of one when something is killed.
"""

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import psutil
import psycopg
import pytest
import redis
from obstore.store import S3Store

from support.dev_server import (
    DEADLINE_S,
    PROJECT,
    UNFINISHED,
    default_environment,
    find_free_port,
)
from support.postgres_server import PostgresServer
from support.redis_server import require_redis, run_redis
from support.runnable_page import Block, make_checkout, run_blocks
from support.s3_server import BUCKET, S3Server, environment_of
from support.scale import examples
from support.services import WHERE, start_service, wait_until

pytestmark = [pytest.mark.scale, pytest.mark.scaled, pytest.mark.slow]

HOME = PROJECT / "deploy" / "celery"
FEEDS = ("orders", "prices", "stock")
WORKERS = ("one", "two", "three")
FILES_PER_FEED = min(334, examples(40))
"""1,000 objects in all if TEST_SCALE is large."""
ROWS_PER_FILE = 10
FEED = """\
type: partitioned_etl.FileFeed
attributes:
  {{name: {0}, table: {0}, folder: {0}, pattern: "{{key}}.csv", columns: {{id: BIGINT}}}}
"""
IS_UNFINISHED = dg.RunsFilter(statuses=[dg.DagsterRunStatus[name] for name in UNFINISHED])


def key_of(number: int) -> str:
    return f"key-{number:04d}"


def list_ids(number: int) -> Sequence[int]:
    return range(number * ROWS_PER_FILE, (number + 1) * ROWS_PER_FILE)


class Machines:
    """A checkout with feeds of its own, and its services.

    Attributes:
        folder: The checkout.
        environment: The environment of its services.
        workers: The running workers, by name.
        store: Where files land.
        instance: The Dagster instance of all.
    """

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        make_checkout(folder)
        defs = folder / "src" / "sample_feeds" / "defs"
        for path in defs.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "__init__.py":
                path.unlink()
        for name in FEEDS:
            (defs / name).mkdir()
            (defs / name / "defs.yaml").write_text(FEED.format(name), encoding="utf-8")
        self._port = str(find_free_port())
        workspace = folder / "deploy" / "celery" / "workspace.yaml"
        text = workspace.read_text(encoding="utf-8")
        assert text.count("4000") == 1
        workspace.write_text(text.replace("4000", self._port), encoding="utf-8")
        example = (HOME / "env.example").read_text(encoding="utf-8").splitlines()
        named = dict(line.split("=", 1) for line in example if not line.startswith("#"))
        settings = {**settings, "DAGSTER_HOME": str(folder / "deploy" / "celery")}
        assert named.keys() <= settings.keys()
        lines = [f"{name}={text}\n" for name, text in settings.items()]
        (folder / ".env").write_text("".join(lines), encoding="utf-8")
        self.environment = {
            **{name: text for name, text in os.environ.items() if "DAGSTER" not in name},
            **default_environment(),
            **settings,
        }
        self.store = S3Store.from_url(
            settings["LANDING_DIR"],
            endpoint=settings["AWS_ENDPOINT_URL"],
            access_key_id=settings["AWS_ACCESS_KEY_ID"],
            secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
            region=settings["AWS_REGION"],
            client_options={"allow_http": True},
        )

    @contextlib.contextmanager
    def run(self) -> Iterator["Machines"]:
        """Make all tables by a first file of each feed, and start the services."""
        self.drop(range(1))
        run_blocks([Block(0, "make run", [])], self.folder, DEADLINE_S)
        with contextlib.ExitStack() as stack:
            self._warehouse = stack.enter_context(self._connect())
            home = self.environment["DAGSTER_HOME"]
            self.instance = stack.enter_context(dg.DagsterInstance.from_config(home))
            for name in WORKERS:
                self.start_worker(stack, name)
            for unit in ("partitioned-etl-code", "partitioned-etl"):
                stack.enter_context(self._start(unit))
            yield self

    def start_worker(self, stack: contextlib.ExitStack, name: str) -> None:
        """Start a worker, which stops with the others."""
        self.workers[name] = stack.enter_context(self._start("partitioned-etl-worker@", name))

    def _start(
        self, unit: str, name: str = ""
    ) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        text = (HOME / f"{unit}.service").read_text(encoding="utf-8")
        text = text.replace("PYTHONPATH=", f"PYTHONPATH={self.folder}/src:")
        text = text.replace(WHERE, str(self.folder)).replace("%i", name)
        text = text.replace("--port 4000", f"--port {self._port}")
        return start_service(text, self.folder, self.environment)

    def drop(self, numbers: Sequence[int]) -> None:
        """Let files of all feeds land."""
        paths = {f"{name}/{key_of(number)}.csv": number for name in FEEDS for number in numbers}

        def put(path: str) -> None:
            ids = "".join(f"{number}\n" for number in list_ids(paths[path]))
            self.store.put(path, f"id\n{ids}".encode())

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(put, paths))

    def wait_until(self, what: str, condition: Callable[[], bool]) -> None:
        wait_until(what, condition, self.folder / "service.log")

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        password = self.environment["PGPASSWORD"]
        return psycopg.connect(self.environment["WAREHOUSE"], password=password, autocommit=True)

    def ask(self, query: str) -> list[tuple[object, ...]]:
        """Query the warehouse."""
        return self._warehouse.execute(query.encode()).fetchall()

    @contextlib.contextmanager
    def in_the_middle(self, numbers: Sequence[int]) -> Iterator[dict[str, dg.DagsterRun]]:
        """Let files land, and let each worker be in the middle of a load of them.

        Yields:
            The runs whose steps the workers execute, by the worker's name.
        """
        waiting = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        with self._connect() as other, other.transaction():
            other.execute(f"LOCK TABLE {', '.join(FEEDS)} IN SHARE MODE".encode())
            self.drop(numbers)
            self.wait_until("all workers wait", lambda: self.ask(waiting) == [(len(WORKERS),)])
            runs = self.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            yield {worker: run for run in runs for worker in self.list_workers_of(run)}

    def list_workers_of(self, run: dg.DagsterRun) -> list[str]:
        """Give the names of the workers that began the step of a run."""
        told = (event.get("Celery worker") for event in self._list_engine_events(run))
        return [str(one.value).removeprefix("worker-").partition("@")[0] for one in told if one]

    def let_time_pass(self, run: dg.DagsterRun) -> None:
        """Let it be long ago that a worker took the step of a run, and has not ended it."""
        with redis.Redis.from_url(self.environment["CELERY_BROKER_URL"]) as broker:
            taken: dict[bytes, bytes] = broker.hgetall("unacked")  # pyright: ignore
            [tag] = (
                tag
                for tag, text in taken.items()
                if run.run_id.encode() in base64.b64decode(json.loads(text)[0]["body"])
            )
            broker.zadd("unacked_index", {tag: 1})

    def list_failed_runs(self) -> set[str]:
        """Give the ids of all runs that failed."""
        failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])
        return {run.run_id for run in self.instance.get_runs(failed)}

    def read_process_id(self, run: dg.DagsterRun) -> int:
        """Give the only process that a run names as its own: not its worker's, on any machine."""
        told = (event.get("pid") for event in self._list_engine_events(run))
        [number] = (int(str(one.value)) for one in told if one)
        return number

    def _list_engine_events(self, run: dg.DagsterRun) -> Iterator[dict[str, dg.MetadataValue]]:
        for entry in self.instance.all_logs(run.run_id, dg.DagsterEventType.ENGINE_EVENT):
            if entry.dagster_event:
                yield dict(entry.dagster_event.engine_event_data.metadata)

    def check_all_is_loaded(self, count: int) -> None:
        """Wait until so many files of each feed are loaded, and compare every row."""
        rows = [(key_of(number), one) for number in range(count) for one in list_ids(number)]
        files = [(key_of(number), ROWS_PER_FILE) for number in range(count)]

        def is_done(name: str) -> bool:
            told = self.instance.get_materialized_partitions(dg.AssetKey(name))
            is_loaded = self.ask(f"SELECT count(*) FROM {name}") == [(len(rows),)]
            return is_loaded and told == {key_of(number) for number in range(count)}

        self.wait_until(
            "all is loaded and told",
            lambda: all(map(is_done, FEEDS)) and not self.instance.get_runs(IS_UNFINISHED),
        )
        for name in FEEDS:
            assert self.ask(f"SELECT partition_key, id FROM {name} ORDER BY id") == rows
            assert files == self.ask(
                "SELECT partition_key, row_count FROM file_loads "
                f"WHERE feed = '{name}' AND status = 'loaded' ORDER BY partition_key"
            )


@pytest.fixture(scope="module")
def machines(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, s3_server: S3Server
) -> Iterator[Machines]:
    require_redis()
    folder = tmp_path_factory.mktemp("celery")
    secret = f":{postgres_server.password}@"
    dagster, warehouse = (postgres_server.make_database().replace(secret, "@") for _ in range(2))
    with run_redis() as broker, pytest.MonkeyPatch.context() as monkeypatch:
        settings = {
            "DAGSTER_POSTGRES_URL": dagster.replace("postgresql://", "postgresql+psycopg2://"),
            "WAREHOUSE": warehouse,
            "PGPASSWORD": postgres_server.password,
            "CELERY_BROKER_URL": broker,
            "LANDING_DIR": f"s3://{BUCKET}/{folder.name}",
            **environment_of(s3_server.endpoint),
            "SENSOR_INTERVAL_SECONDS": "5",
            "MAX_FILES_PER_RUN": "100",
            "LOCK_WAIT_SECONDS": str(DEADLINE_S),
        }
        for name in ("DAGSTER_POSTGRES_URL", "PGPASSWORD"):
            monkeypatch.setenv(name, settings[name])
        with Machines(folder / "partitioned-etl", settings).run() as machines:
            yield machines


def test_what_a_lost_worker_had_is_executed_by_another(machines: Machines) -> None:
    with machines.in_the_middle(range(1, FILES_PER_FEED)) as runs:
        lost, process_id = runs["one"], machines.read_process_id(runs["one"])
        os.killpg(machines.workers["one"].pid, signal.SIGKILL)
        machines.let_time_pass(lost)
    machines.check_all_is_loaded(FILES_PER_FEED)
    assert machines.list_failed_runs() == set()
    assert machines.read_process_id(lost) == process_id
    first, second = machines.list_workers_of(lost)
    assert first == "one"
    assert second in {"two", "three"}


def test_a_step_and_a_run_that_are_killed_are_requested_again(machines: Machines) -> None:
    with contextlib.ExitStack() as stack:
        machines.start_worker(stack, "one")
        with machines.in_the_middle(range(FILES_PER_FEED, FILES_PER_FEED + 2)) as runs:
            [of_step] = psutil.Process(machines.workers["one"].pid).children()
            of_step.kill()
            os.kill(machines.read_process_id(runs["two"]), signal.SIGKILL)
        machines.check_all_is_loaded(FILES_PER_FEED + 2)
    assert machines.list_failed_runs() == {runs["one"].run_id, runs["two"].run_id}
