"""Notifications of a real store and a real queue wake a real daemon, which loads at once.

Its sensors look at the landing every ten minutes by themselves, and no test waits that long.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from partitioned_etl.engine.notification_address import QueueAddress
from partitioned_etl.engine.notifications import receiver as receiver_module
from partitioned_etl.engine.notifications.places import place_of
from partitioned_etl.engine.notifications.receiver import Receiver
from partitioned_etl.engine.notifications.sqs import Queue
from support.bucket_bench import BucketBench
from support.dagster_state import list_runs, read_skip_reason
from support.dev_server import DevServer, find_free_port, open_server
from support.notifications import name_in_s3, wait_until
from support.s3_server import BUCKET, S3Server, environment_of, require_weed
from support.sample_location import CUSTOMER_PRICES
from support.samples import price_rows
from support.sqs_server import SqsServer, require_moto
from support.workbench import Workbench

pytestmark = [pytest.mark.scale, pytest.mark.slow]

INTERVAL_S = 600
WOKEN_S = INTERVAL_S / 2
"""Within this time a file is loaded only if something woke the tick."""
TOKEN = "a-token-that-nobody-may-see"
SENSOR, JOB = "customers_sensor", "customer_prices_job"


class Scene(NamedTuple):
    """A daemon that waits for word of a bucket.

    Attributes:
        server: The daemon, and what belongs to it.
        bucket: The bucket.
        tell: Tells of an object by its key, where its store does not.
    """

    server: DevServer
    bucket: BucketBench
    tell: Callable[[str], None]

    def put(self, key: str, price: float) -> None:
        self.bucket.put(CUSTOMER_PRICES, f"{key}.csv", price_rows(price))
        self.tell(self.bucket.key(CUSTOMER_PRICES, f"{key}.csv"))

    def read(self) -> dict[str, float]:
        rows = self.server.read_rows(
            f"SELECT partition_key, share_price FROM {CUSTOMER_PRICES.table}"
        )
        assert len(dict(rows)) == len(rows)
        return dict(rows)

    def wait_for(self, expected: dict[str, float]) -> None:
        self.server.wait_until(
            f"loaded: {expected}", lambda: self.read() == expected, deadline_s=WOKEN_S
        )

    def wait_for_rest(self) -> None:
        self.server.wait_until(
            "the sensor rests",
            lambda: "no notification" in read_skip_reason(self.server, SENSOR),
        )


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[SqsServer]:
    """A queue of this test only."""
    require_moto()
    server = SqsServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def listening_store(tmp_path: Path) -> Iterator[tuple[S3Server, int]]:
    """A store that tells of each object, and the port that it tells it to."""
    require_weed()
    port, folder = find_free_port(), tmp_path / "weed"
    folder.mkdir()
    (folder / "notification.toml").write_text(
        f"""
[notification.webhook]
enabled = true
endpoint = "http://127.0.0.1:{port}/landing"
bearer_token = "{TOKEN}"
event_types = ["create", "update", "delete", "rename"]
path_prefixes = ["/buckets/{BUCKET}/"]
""",
        encoding="utf-8",
    )
    server = S3Server(folder)
    try:
        server.make_bucket(BUCKET)
        yield server, port
    finally:
        server.stop()


@pytest.fixture(params=["sqs", "hook"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    """A daemon with a queue, or with a store that sends to its port."""
    if request.param == "sqs":
        store, queue = (request.getfixturevalue(name) for name in ("s3_server", "queue"))
        address = f"sqs:{queue.url}"

        def tell(key: str) -> None:
            queue.send(json.dumps(name_in_s3(BUCKET, key)))
    else:
        store, port = request.getfixturevalue("listening_store")
        address = f"hook:127.0.0.1:{port}"

        def tell(key: str) -> None:
            pass

    prefix = f"in/{uuid4().hex}"
    bench = Workbench(tmp_path)
    bucket = BucketBench(bench, store.endpoint, BUCKET, prefix, tmp_path / "staging")
    settings = {
        **environment_of(store.endpoint),
        "LANDING_DIR": bucket.url,
        "STAGING_DIR": str(bucket.staging_dir),
        "LANDING_NOTIFICATIONS": address,
        "LANDING_NOTIFICATIONS_TOKEN": TOKEN,
        "SENSOR_INTERVAL_SECONDS": str(INTERVAL_S),
    }
    with open_server(**settings) as server:
        yield Scene(server, bucket, tell)
        log = (server.folder / "dev.log").read_text(encoding="utf-8", errors="replace")
        assert TOKEN not in log
        server.stop()
    bench.close()


def test_an_object_that_is_put_is_loaded_long_before_the_interval_is_over(scene: Scene) -> None:
    """What comes twice, late, or tells of what is not there, starts no run."""
    scene.put("a", 1.0)
    scene.server.start()
    scene.wait_for({"a": 1.0})
    scene.wait_for_rest()
    scene.put("b", 2.0)
    scene.wait_for({"a": 1.0, "b": 2.0})
    scene.put("a", 3.0)
    scene.wait_for({"a": 3.0, "b": 2.0})
    scene.wait_for_rest()
    runs = list_runs(scene.server, JOB)
    for name in ("b.csv", "a.csv", "b.csv", "not-there.csv"):
        scene.tell(scene.bucket.key(CUSTOMER_PRICES, name))
    scene.put("c", 4.0)
    scene.wait_for({"a": 3.0, "b": 2.0, "c": 4.0})
    scene.wait_for_rest()
    assert len(list_runs(scene.server, JOB)) == len(runs) + 1


PLACE = place_of(f"s3://{BUCKET}/in", "daily")


@pytest.fixture
def receive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Receiver]]:
    """Receive from queues; all ends."""
    for name, value in environment_of("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    started: list[Receiver] = []

    def start(url: str) -> Receiver:
        started.append(Receiver(Queue(QueueAddress(url))))
        return started[-1]

    yield start
    for receiver in started:
        receiver.close()


def test_a_message_is_deleted_once_it_is_noted_whatever_it_says(
    queue: SqsServer, receive: Callable[[str], Receiver]
) -> None:
    receiver = receive(queue.url)
    mark = receiver.watch("daily", PLACE)
    queue.send(json.dumps({"Event": "s3:TestEvent", "Bucket": BUCKET}))
    queue.send(json.dumps(name_in_s3(BUCKET, "in/monthly/a.csv")))
    wait_until(lambda: queue.count() == 0)
    assert not receiver.trouble
    assert receiver.watch("daily", PLACE) == mark
    wrapped = {"Type": "Notification", "Message": json.dumps(name_in_s3(BUCKET, "in/daily/ä.csv"))}
    marks = [mark]
    for body in (json.dumps(wrapped), "no JSON", "{}"):
        queue.send(body)
        wait_until(lambda: receiver.watch("daily", PLACE) != marks[-1])
        wait_until(lambda: queue.count() == 0)
        marks.append(receiver.watch("daily", PLACE))


def test_a_queue_that_is_gone_is_told_and_read_again_when_it_is_back(
    queue: SqsServer, receive: Callable[[str], Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_module, "_LONGEST_PAUSE_SECONDS", 0.1)
    receiver = receive(queue.url)
    mark = receiver.watch("daily", PLACE)
    queue.stop()
    wait_until(lambda: bool(receiver.trouble))
    assert receiver.trouble == f"queue {queue.url}: it cannot be reached: check its URL"
    queue.restart()
    wait_until(lambda: not receiver.trouble)
    assert receiver.watch("daily", PLACE) == mark
    queue.send(json.dumps(name_in_s3(BUCKET, "in/daily/a.csv")))
    wait_until(lambda: receiver.watch("daily", PLACE) != mark)


def test_a_queue_that_is_not_there_is_told_without_a_secret(
    queue: SqsServer, receive: Callable[[str], Receiver]
) -> None:
    receiver = receive(f"{queue.url}-of-nobody")
    receiver.watch("daily", PLACE)
    wait_until(lambda: bool(receiver.trouble))
    assert receiver.trouble == f"queue {queue.url}-of-nobody: there is no such queue"
