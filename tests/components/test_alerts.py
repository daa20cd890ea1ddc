"""Alerts: off unless a setting says to whom, one readable sentence, and never in the way."""

import json
import logging
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from partitioned_etl.components import alerts
from partitioned_etl.components.alerts import (
    build_failure_sensor,
    build_late_file_sensor,
    tell_people,
)
from partitioned_etl.components.assets import find_feeds
from partitioned_etl.components.checks import CHECK_NAMES
from partitioned_etl.components.downstream import find_downstream
from partitioned_etl.components.ranges import range_tags
from partitioned_etl.components.reconcile import RECONCILE_JOB, reconcile_config
from partitioned_etl.components.watch import watch
from partitioned_etl.engine.feed import Feed
from support.define import DefinedFeed, define_feed
from support.sample_location import CUSTOMERS, DAILY, DAILY_PRICES, defs
from support.samples import price_rows
from support.workbench import Child, change_feed

MOST_TRIES = 12
FEEDS = find_feeds(defs)


class WebhookServer(HTTPServer):
    """A server that keeps what is posted to it, and answers with a status."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TakePost)
        self.posted: list[dict[str, object]] = []
        self.answer = 200

    @property
    def url(self) -> str:
        """Its address, for apprise."""
        return f"json://127.0.0.1:{self.server_port}/alerts"

    @property
    def sentences(self) -> list[str]:
        """What was posted."""
        return [str(post["message"]) for post in self.posted]


class _TakePost(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, WebhookServer)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append(json.loads(body))
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class MailServer(socketserver.TCPServer):
    """A server that speaks as much SMTP as it takes to be sent a mail, and keeps it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TakeMail)
        self.mails: list[str] = []

    @property
    def url(self) -> str:
        """Its address, for apprise."""
        port = self.server_address[1]
        addresses = "from=etl@example.com&to=someone@example.com"
        return f"mailto://127.0.0.1:{port}/?mode=insecure&format=text&{addresses}"


class _TakeMail(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, MailServer)
        self.wfile.write(b"220 ready\r\n")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.mails.append(b"".join(lines).decode())
            is_end = line.upper().startswith(b"QUIT")
            self.wfile.write(b"221 bye\r\n" if is_end else b"250 ok\r\n")


@contextmanager
def serve(server: socketserver.BaseServer) -> Iterator[None]:
    """Let a server answer in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebhookServer]:
    """A webhook on this host, set as the one to alert."""
    server = WebhookServer()
    monkeypatch.setenv("ALERT_URLS", server.url)
    with serve(server):
        yield server


@pytest.fixture
def mailbox() -> Iterator[MailServer]:
    """A mail server on this host."""
    server = MailServer()
    with serve(server):
        yield server


def alert_of(
    result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance, definitions: dg.Definitions
) -> None:
    """Let the sensor that alerts see a run that failed."""
    sensor = build_failure_sensor(find_feeds(definitions), find_downstream(definitions))
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor.name,
        dagster_event=result.get_run_failure_event(),
        dagster_instance=instance,
        dagster_run=result.dagster_run,
    ).for_run_failure()
    sensor(context)


def test_without_a_setting_nobody_is_told_of_failed_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def list_sensors() -> set[str]:
        return {sensor.name for sensor in watch(defs, ()).sensors or ()}

    assert list_sensors() >= {"late_file_sensor", "removal_sensor"}
    assert "failure_alert_sensor" not in list_sensors()
    monkeypatch.setenv("ALERT_URLS", "json://127.0.0.1/")
    assert list_sensors() >= {"late_file_sensor", "failure_alert_sensor"}


def test_a_failed_run_is_told_with_feed_partition_reason_and_address(
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    webhook: WebhookServer,
    mailbox: MailServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALERT_URLS", f"{webhook.url} {mailbox.url}")
    instance.add_dynamic_partitions("customers", ["acme"])
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(-1))
    result = defs.resolve_job_def("customer_prices_job").execute_in_process(
        instance=instance, partition_key="acme", raise_on_error=False
    )
    alert_of(result, instance, defs)

    [posted] = webhook.posted
    assert posted["title"] == "partitioned-etl: feed customer_prices"
    text = str(posted["message"])
    assert text.startswith("feed customer_prices, partition acme: ")
    assert "acme.csv: line 2, column share_price: not greater than 0" in text
    assert text.endswith(f" See http://127.0.0.1:3000/runs/{result.run_id}")
    [mail] = mailbox.mails
    assert "To: someone@example.com" in mail
    assert "Subject: partitioned-etl: feed customer_prices" in mail


@pytest.mark.parametrize(
    ("job", "assets", "about"),
    [
        ("", ["raw_customer_prices"], "feed customer_prices"),
        ("", ["import_customer_prices", "customer_copies"], "feed customer_prices"),
        ("", ["customer_copies"], "feed customer_prices"),
        ("copies_job", [], "feed customer_prices"),
        ("own_job", [], "a run"),
    ],
)
def test_an_alert_names_feed_and_partitions_of_a_run_without_a_tag_of_the_feed(
    job: str,
    assets: list[str],
    about: str,
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    webhook: WebhookServer,
) -> None:
    """Runs that a person starts at an asset, and those that compute what is downstream."""

    @dg.asset(partitions_def=CUSTOMERS.assets.partitions.definition)
    def own_asset() -> None:
        raise ValueError

    own = dg.Definitions(assets=[own_asset], jobs=[dg.define_asset_job("own_job", [own_asset])])
    location = dg.Definitions.merge(defs, own)
    instance.add_dynamic_partitions("customers", ["acme"])
    chosen = (
        location.resolve_job_def(job) if job else location.resolve_implicit_global_asset_job_def()
    )
    result = chosen.execute_in_process(
        instance=instance,
        partition_key="acme",
        asset_selection=[dg.AssetKey(name) for name in assets] or None,
        raise_on_error=False,
    )
    alert_of(result, instance, location)
    [posted] = webhook.posted
    assert posted["title"] == f"partitioned-etl: {about}"
    assert str(posted["message"]).startswith(f"{about}, partition acme: ")


def test_an_alert_names_the_ends_of_a_range_of_which_the_feed_is_not_known(
    instance: dg.DagsterInstance, webhook: WebhookServer
) -> None:
    @dg.asset(
        partitions_def=DAILY.assets.partitions.definition,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def own_asset() -> None:
        raise ValueError

    result = dg.materialize(
        [own_asset],
        instance=instance,
        tags=range_tags(["2018-01-21", "2018-01-22", "2018-01-23"]),
        raise_on_error=False,
    )
    alert_of(result, instance, defs)
    [sentence] = webhook.sentences
    assert sentence.startswith("a run, partition 2018-01-21 to 2018-01-23: ")


def test_an_alert_names_the_feed_that_could_not_be_reconciled(
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    webhook: WebhookServer,
) -> None:
    (landing_dir / "daily").rmdir()
    (landing_dir / "daily").write_text("no folder", encoding="utf-8")
    job = defs.resolve_job_def(RECONCILE_JOB)
    for names in ([], ["daily_prices"]):
        result = job.execute_in_process(
            instance=instance,
            run_config=reconcile_config(*names).to_config_dict(),
            raise_on_error=False,
        )
        alert_of(result, instance, defs)
    assert len(webhook.sentences) == 2
    for sentence in webhook.sentences:
        assert sentence.startswith("a run: feed daily_prices: ")
        assert "cannot list" in sentence


def test_a_sentence_names_a_few_partitions_and_no_key_breaks_its_line(
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    webhook: WebhookServer,
) -> None:
    keys = ["a\r\nBcc: x@example.com", *map(str, range(9))]
    instance.add_dynamic_partitions("customers", keys)
    result = defs.resolve_job_def("customer_prices_job").execute_in_process(
        instance=instance, tags=range_tags(keys), raise_on_error=False
    )
    alert_of(result, instance, defs)
    [sentence] = webhook.sentences
    about, _, reason = sentence.partition(": 10 of 10 partitions failed: ")
    assert reason
    assert about.endswith("0, 1, 2, 3 and 5 more: feed customer_prices")
    assert "\n" not in sentence
    assert "\r" not in sentence


def is_told(sentence: str = "No file has come.") -> bool:
    """Tell people a sentence, and whether anybody heard it."""
    return tell_people("feed prices", sentence, logging.getLogger("test"))


def test_everybody_is_told_of_what_is_hostile_as_it_is(
    webhook: WebhookServer, mailbox: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_URLS", f"  {webhook.url}\n{mailbox.url} ")
    hostile = "key <b>a</b> & *c* [d](http://e) \\n &amp; {{f}} :smile:"
    assert is_told(hostile)
    assert webhook.sentences == [hostile]
    [mail] = mailbox.mails
    assert hostile in mail


@pytest.mark.parametrize(
    ("answer", "address"),
    [
        (404, "json://127.0.0.1:{webhook}/"),
        (500, "json://127.0.0.1:{webhook}/"),
        (200, "json://127.0.0.1:{mailbox}/"),
        (200, "json://127.0.0.1:1/"),
    ],
)
def test_an_address_that_fails_is_logged_and_the_others_are_told(
    answer: int,
    address: str,
    webhook: WebhookServer,
    mailbox: MailServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server that refuses, one of another protocol, and one that is not there."""
    ports = {"webhook": webhook.server_port, "mailbox": mailbox.server_address[1]}
    monkeypatch.setenv("ALERT_URLS", f"{address.format(**ports)} {mailbox.url}")
    webhook.answer = answer
    with caplog.at_level(logging.WARNING):
        assert is_told()
    assert caplog.records
    assert len(mailbox.mails) == 1


def test_an_address_that_cannot_be_used_is_logged_without_its_secrets_and_the_others_are_told(
    mailbox: MailServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ALERT_URLS", f"carrier-pigeon://secret@loft {mailbox.url} json://:secret@")
    with caplog.at_level(logging.ERROR, "test"):
        assert is_told()
    assert [record.message for record in caplog.records if record.name == "test"] == [
        "alert: address 1 of ALERT_URLS cannot be used",
        "alert: address 3 of ALERT_URLS cannot be used",
    ]
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize(
    "address",
    [
        "json://127.0.0.1:1/",
        "mailto://127.0.0.1:1/?mode=insecure&from=etl@example.com&to=someone@example.com",
    ],
)
def test_a_server_that_is_not_there_is_logged(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ALERT_URLS", address)
    with caplog.at_level(logging.ERROR, "test"):
        assert not is_told()
    [record] = [record for record in caplog.records if record.name == "test"]
    assert record.message == "alert not delivered to address 1 of ALERT_URLS: No file has come."


class LateSensor:
    """The sensor of late files, evaluated as the daemon does it: events are reported.

    Attributes:
        days: The three days before today.
        cursor: Its cursor.
    """

    def __init__(
        self, feed: Feed, instance: dg.DagsterInstance, resources: dict[str, object]
    ) -> None:
        days = dg.DailyPartitionsDefinition(f"{datetime.now(UTC) - timedelta(days=3):%Y-%m-%d}")
        self.defined: DefinedFeed = define_feed(feed, partitions_def=days)
        self.days = list(days.get_partition_keys())
        self.cursor: str | None = None
        self._sensor = build_late_file_sensor([self.defined.assets, CUSTOMERS.assets])
        self._instance, self._resources = instance, resources

    def tick(self) -> list[dg.AssetCheckEvaluation]:
        """Evaluate it; give the evaluations of checks that it reports."""
        with dg.build_sensor_context(
            instance=self._instance, cursor=self.cursor, resources=self._resources
        ) as context:
            answer = self._sensor.evaluate_tick(context)
        self.cursor = answer.cursor
        assert not answer.run_requests
        evaluations = [
            event for event in answer.asset_events if isinstance(event, dg.AssetCheckEvaluation)
        ]
        assert len(evaluations) == len(answer.asset_events)
        for event in evaluations:
            self._instance.report_runless_asset_event(event)
        return evaluations

    def tick_at_noon(self, monkeypatch: pytest.MonkeyPatch, days_ahead: int) -> list[list[str]]:
        """Evaluate it some days ahead; give the days that each evaluation names."""
        today = datetime.now(UTC).replace(hour=12)

        class Noon(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:
                return (today + timedelta(days=days_ahead)).astimezone(tz)

        with monkeypatch.context() as clock:
            clock.setattr(alerts, "datetime", Noon)
            return [named_in(evaluation) for evaluation in self.tick()]

    def load(self, *days: str) -> None:
        """Load days."""
        dg.materialize(
            [self.defined.definition],
            instance=self._instance,
            partition_key=None if days[1:] else days[0],
            tags=range_tags(days),
            resources=self._resources,
        )


def named_in(evaluation: dg.AssetCheckEvaluation) -> list[str]:
    """Give the days that an evaluation of the check names."""
    assert evaluation.check_name == CHECK_NAMES.file_is_on_time
    reasons = evaluation.metadata["reasons"].value
    assert isinstance(reasons, dict)
    assert evaluation.passed is not bool(reasons)
    return list(reasons)


@pytest.fixture
def make_sensor(
    landing_dir: Path, resources: dict[str, object], instance: dg.DagsterInstance
) -> Callable[..., LateSensor]:
    """Build the sensor of the daily feed, or of one that is declared otherwise."""

    def make(**changes: Any) -> LateSensor:
        return LateSensor(change_feed(DAILY_PRICES, **changes), instance, resources)

    return make


@pytest.fixture
def sensor(make_sensor: Callable[..., LateSensor]) -> LateSensor:
    """The sensor of the daily feed."""
    return make_sensor()


def test_the_check_is_evaluated_once_when_a_file_becomes_late_and_again_when_it_is_history(
    sensor: LateSensor, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if nobody is to be told."""
    key = dg.AssetCheckKey(sensor.defined.assets.load_key, CHECK_NAMES.file_is_on_time)

    def latest() -> dg.AssetCheckEvaluation:
        [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert record.event
        assert record.event.dagster_event
        return record.event.dagster_event.asset_check_evaluation_data

    assert sensor.tick_at_noon(monkeypatch, -1) == [sensor.days[:2]]
    assert (latest().passed, latest().severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "no file has come; it was due at" in str(latest().metadata["reasons"].value)
    assert sensor.tick_at_noon(monkeypatch, -1) == []
    # Since this morning, yesterday's file is late; in five days, the first one is history.
    assert sensor.tick_at_noon(monkeypatch, 0) == [sensor.days]
    assert sensor.tick_at_noon(monkeypatch, 0) == []
    assert sensor.tick_at_noon(monkeypatch, 5) == [sensor.days[1:]]
    assert not latest().passed
    assert sensor.tick_at_noon(monkeypatch, 30) == [[]]
    assert latest().passed
    assert sensor.tick_at_noon(monkeypatch, 31) == []


def test_a_feed_whose_files_are_in_time_is_not_evaluated_by_the_sensor(
    make_sensor: Callable[..., LateSensor], webhook: WebhookServer
) -> None:
    sensor = make_sensor(due_after_hours=600)
    assert sensor.tick() == sensor.tick() == []
    assert webhook.posted == []


def test_a_file_that_is_due_and_has_not_come_is_told_once(
    sensor: LateSensor, landing_dir: Path, webhook: WebhookServer
) -> None:
    day, *_ = sensor.days
    for _ in range(2):
        sensor.tick()
    about = [sentence.partition(": ")[0] for sentence in webhook.sentences]
    assert f"feed daily_prices, partition {day}" in about
    assert len(about) == len(set(about))
    assert "no file has come; it was due at" in webhook.sentences[0]
    assert webhook.posted[0]["title"] == "partitioned-etl: feed daily_prices"
    (landing_dir / "daily" / f"{day}.csv").write_text(price_rows(1))
    sensor.load(day)
    sensor.tick()
    assert len(webhook.sentences) == len(about)


def test_a_due_file_that_cannot_be_loaded_is_told(
    make_sensor: Callable[..., LateSensor], landing_dir: Path, webhook: WebhookServer
) -> None:
    """Two files of one day, and one without its marker, are asked for by nobody."""
    sensor = make_sensor(done_suffix=".done")
    twice, unmarked, *_ = sensor.days
    for name in (f"{twice}.csv", f"{twice}.csv.gz", f"{unmarked}.csv"):
        (landing_dir / "daily" / name).write_text(price_rows(1))
    [evaluation] = sensor.tick()
    assert {twice, unmarked} <= {*named_in(evaluation)}
    told = dict(sentence.split(": ", 1) for sentence in webhook.sentences)
    about = "feed daily_prices, partition {}"
    assert "several files stand for one partition key" in told[about.format(twice)]
    assert "its marker file has not landed" in told[about.format(unmarked)]


def test_a_file_that_was_loaded_before_anybody_looked_is_told_to_nobody(
    sensor: LateSensor, landing_dir: Path, webhook: WebhookServer
) -> None:
    """As when a feed is set up, and loads what has been lying there for days."""
    day, *_ = sensor.days
    (landing_dir / "daily" / f"{day}.csv").write_text(price_rows(1))
    sensor.load(day)
    sensor.tick()
    assert not [sentence for sentence in webhook.sentences if day in sentence.partition(": ")[0]]


def test_a_late_file_that_nobody_could_be_told_of_is_told_again_but_not_for_ever(
    sensor: LateSensor, webhook: WebhookServer
) -> None:
    day, *_ = sensor.days

    def count_posts() -> int:
        about = f"feed daily_prices, partition {day}: "
        return sum(sentence.startswith(about) for sentence in webhook.sentences)

    sensor.cursor = '{"daily_prices": ["2018-01-21"]}'
    sensor.tick()
    first = sensor.cursor
    assert count_posts() == 1
    webhook.answer = 500
    sensor.cursor = None
    assert len(sensor.tick()) == 1
    for _ in range(60):
        posted_before = len(webhook.posted)
        assert sensor.tick() == []
        # A server that does not answer is waited for once in a tick, however many files are late.
        assert len(webhook.posted) - posted_before <= 1
    assert count_posts() == 1 + MOST_TRIES
    webhook.answer = 200
    before = sensor.cursor
    assert sensor.tick() == []
    assert sensor.cursor == before == first
    assert count_posts() == 1 + MOST_TRIES


def test_a_late_file_is_told_once_to_those_who_can_be_told(
    sensor: LateSensor,
    webhook: WebhookServer,
    mailbox: MailServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALERT_URLS", f"{webhook.url} {mailbox.url}")
    webhook.answer = 500
    for _ in range(2 * len(sensor.days)):
        sensor.tick()
    about = f"feed daily_prices, partition {sensor.days[0]}: "
    assert sum(about in mail for mail in mailbox.mails) == 1


def test_a_late_file_is_told_as_soon_as_there_is_somebody_to_tell(
    sensor: LateSensor, webhook: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = webhook.url
    monkeypatch.delenv("ALERT_URLS")
    for _ in range(MOST_TRIES + 1):
        sensor.tick()
    assert webhook.posted == []
    monkeypatch.setenv("ALERT_URLS", url)
    assert sensor.tick() == []
    assert any(sensor.days[0] in sentence for sentence in webhook.sentences)


def test_a_database_in_use_and_a_folder_that_cannot_be_listed_are_looked_at_again(
    sensor: LateSensor,
    landing_dir: Path,
    webhook: WebhookServer,
    start_child: Callable[[str], Child],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    day, *_ = sensor.days
    (landing_dir / "daily" / f"{day}.csv").write_text(price_rows(1))
    sensor.load(day)
    monkeypatch.setattr(alerts, "TICK_LOCK_WAIT_SECONDS", 0.0)
    child = start_child('with bench.open():\n    pause("open")')
    child.wait_for("open")
    assert sensor.tick() == []
    assert "the next tick tries again" in capfd.readouterr().err
    child.go_on()
    child.finish()
    aside = (landing_dir / "daily").rename(landing_dir / "aside")
    (landing_dir / "daily").write_text("no folder", encoding="utf-8")
    assert sensor.tick() == []
    assert "feed daily_prices: cannot list" in capfd.readouterr().err
    assert webhook.posted == []
    (landing_dir / "daily").unlink()
    aside.rename(landing_dir / "daily")
    assert len(sensor.tick()) == 1
