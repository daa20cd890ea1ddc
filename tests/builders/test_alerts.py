"""Alerts: off unless a setting says to whom, one readable sentence, and never in the way."""

import json
import logging
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import dagster as dg
import pytest

from conftest import price_rows
from partitioned_etl.builders.alerts import build_alerts
from partitioned_etl.builders.arrivals import build_arrivals
from partitioned_etl.builders.ranges import range_tags
from partitioned_etl.definitions import pipelines
from partitioned_etl.defs.customer_prices import CUSTOMER_PRICES_PIPELINE
from partitioned_etl.defs.daily_prices import DAILY_PRICES, DAILY_PRICES_PIPELINE
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.settings import read_settings
from partitioned_etl.reports.alerts import Alert, send_alert

ALERT = Alert("prices", ["2024-03-09"], "no file has come.", "http://127.0.0.1:3000/runs/1")


class WebhookServer(HTTPServer):
    """A server that keeps what is posted to it, and answers with a status."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TakePost)
        self.posted: list[dict[str, object]] = []
        self.answer = 200


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
    monkeypatch.setenv("ALERT_WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}/alerts")
    with serve(server):
        yield server


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    """A mail server on this host, set as the one that takes alerts."""
    server = MailServer()
    monkeypatch.setenv("ALERT_EMAIL_TO", "someone@example.com")
    monkeypatch.setenv("ALERT_SMTP_SERVER", f"127.0.0.1:{server.server_address[1]}")
    with serve(server):
        yield server


def define() -> dg.Definitions:
    """The shipped pipelines with the alerts that the settings ask for."""
    return dg.Definitions.merge(
        *(pipeline.to_definitions() for pipeline in pipelines),
        build_arrivals(pipelines),
        build_alerts(pipelines),
    )


def alert_of(result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance) -> None:
    """Let the sensor that alerts see a run that failed."""
    [sensor] = [one for one in build_alerts(pipelines).sensors or [] if "failure" in one.name]
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor.name,
        dagster_event=result.get_run_failure_event(),
        dagster_instance=instance,
        dagster_run=result.dagster_run,
    ).for_run_failure()
    sensor(context)


def test_without_a_setting_there_is_no_sensor_that_alerts() -> None:
    assert not list(build_alerts(pipelines).sensors or [])


def test_a_failed_run_is_told_with_feed_partition_reason_and_address(
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    webhook: WebhookServer,
    mailbox: MailServer,
) -> None:
    instance.add_dynamic_partitions("customers", ["acme"])
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(-1))
    location = dg.Definitions.merge(define(), dg.Definitions(resources=resources))
    result = location.resolve_job_def(CUSTOMER_PRICES_PIPELINE.job.name).execute_in_process(
        instance=instance, partition_key="acme", raise_on_error=False
    )
    alert_of(result, instance)

    [posted] = webhook.posted
    assert posted["feed"] == "customer_prices"
    assert posted["partitions"] == ["acme"]
    assert posted["url"] == f"http://127.0.0.1:3000/runs/{result.run_id}"
    text = str(posted["text"])
    assert text.startswith("feed customer_prices, partition acme: ")
    assert "acme.csv: line 2, column share_price: not greater than 0" in text
    [mail] = mailbox.mails
    assert "To: someone@example.com" in mail
    assert "Subject: partitioned-etl: customer_prices" in mail


@pytest.mark.parametrize(
    ("job", "assets", "feed"),
    [
        ("", ["duckdb_dynamic_partition_table"], "customer_prices"),
        ("", ["import_dynamic_partition_file", "archived_file"], "customer_prices"),
        ("", ["archived_file"], "customer_prices"),
        ("customer_prices_archive_job", [], "customer_prices"),
        ("own_job", [], ""),
    ],
)
def test_an_alert_names_feed_and_partitions_of_a_run_without_a_tag_of_the_feed(
    job: str,
    assets: list[str],
    feed: str,
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    webhook: WebhookServer,
) -> None:
    """Runs that a person starts at an asset, and those that refresh what is made from a table."""

    @dg.asset(partitions_def=CUSTOMER_PRICES_PIPELINE.partitions_def)
    def own_asset() -> None:
        raise ValueError

    own = dg.Definitions(
        assets=[own_asset],
        jobs=[dg.define_asset_job("own_job", [own_asset])],
        resources=resources,
    )
    location = dg.Definitions.merge(define(), own)
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
    alert_of(result, instance)
    [posted] = webhook.posted
    assert (posted["feed"], posted["partitions"]) == (feed, ["acme"])


def test_an_alert_names_the_ends_of_a_range_of_which_the_feed_is_not_known(
    instance: dg.DagsterInstance, webhook: WebhookServer
) -> None:
    @dg.asset(
        partitions_def=DAILY_PRICES_PIPELINE.partitions_def,
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
    alert_of(result, instance)
    [posted] = webhook.posted
    assert (posted["feed"], posted["partitions"]) == ("", ["2018-01-21 to 2018-01-23"])
    assert str(posted["text"]).startswith("a run, partition 2018-01-21 to 2018-01-23: ")


def build_late_sensor(feed: Feed) -> tuple[list[str], dg.SensorDefinition]:
    """Give the days of a window that began three days ago, and the sensor of their late files."""
    days = dg.DailyPartitionsDefinition(f"{datetime.now(UTC) - timedelta(days=3):%Y-%m-%d}")
    open_window = replace(DAILY_PRICES_PIPELINE, feed=feed, partitions_def=days)
    [sensor] = [one for one in build_alerts([open_window]).sensors or [] if "late" in one.name]
    return list(days.get_partition_keys()), sensor


def test_a_file_that_is_due_and_has_not_come_is_told_once(
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    webhook: WebhookServer,
) -> None:
    [day, *_], sensor = build_late_sensor(DAILY_PRICES)
    cursor = None
    for _ in range(2):
        with dg.build_sensor_context(
            instance=instance, cursor=cursor, resources=resources
        ) as context:
            cursor = sensor.evaluate_tick(context).cursor
    told = [post["partitions"] for post in webhook.posted]
    assert [day] in told
    assert len(told) == len({str(keys) for keys in told})
    assert "no file has come; it was due at" in str(webhook.posted[0]["text"])


def test_a_due_file_that_cannot_be_loaded_is_told(
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    webhook: WebhookServer,
) -> None:
    """Two files of one day, and one without its marker, are asked for by nobody."""
    [twice, unmarked, *_], sensor = build_late_sensor(replace(DAILY_PRICES, done_suffix=".done"))
    for name in (f"{twice}.csv", f"{twice}.csv.gz", f"{unmarked}.csv"):
        (landing_dir / "daily" / name).write_text(price_rows(1))
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        sensor.evaluate_tick(context)
    told = {str(post["partitions"]): str(post["reason"]) for post in webhook.posted}
    assert "several files stand for one partition key" in told[str([twice])]
    assert "its marker file has not landed" in told[str([unmarked])]


def test_a_late_file_that_nobody_could_be_told_of_is_told_again_but_not_for_ever(
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    webhook: WebhookServer,
) -> None:
    [day, *_], sensor = build_late_sensor(DAILY_PRICES)

    def tick(cursor: str | None) -> str | None:
        with dg.build_sensor_context(
            instance=instance, cursor=cursor, resources=resources
        ) as context:
            return sensor.evaluate_tick(context).cursor

    def count_posts() -> int:
        return sum(post["partitions"] == [day] for post in webhook.posted)

    # The form of a cursor that an earlier version left.
    first = tick('{"daily_prices": ["2018-01-21"]}')
    assert count_posts() == 1
    webhook.answer = 500
    cursor = None
    for _ in range(60):
        posted_before = len(webhook.posted)
        cursor = tick(cursor)
        # A server that does not answer is waited for once in a tick, however many files are late.
        assert len(webhook.posted) - posted_before <= 1
    assert count_posts() == 1 + 12
    webhook.answer = 200
    assert tick(cursor) == cursor == first
    assert count_posts() == 1 + 12


@pytest.mark.parametrize("answer", [404, 500])
def test_a_webhook_that_fails_is_logged_and_the_mail_still_goes(
    answer: int, webhook: WebhookServer, mailbox: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    webhook.answer = answer
    with caplog.at_level(logging.ERROR):
        send_alert(ALERT, read_settings(), logging.getLogger("test"))
    assert "alert not delivered by webhook: HTTPError" in caplog.text
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize("address", ["http://127.0.0.1:port/x", "http://{}"])
def test_a_webhook_that_cannot_be_spoken_to_is_logged_and_the_mail_still_goes(
    address: str,
    mailbox: MailServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A port that is none, and a server of another protocol: here, the one for mail."""
    server = read_settings().alert_smtp_server
    monkeypatch.setenv("ALERT_WEBHOOK_URL", address.format(server))
    with caplog.at_level(logging.ERROR):
        assert send_alert(ALERT, read_settings(), logging.getLogger("test"))
    assert "alert not delivered by webhook: ConnectionError" in caplog.text
    assert len(mailbox.mails) == 1


def test_servers_that_are_not_there_are_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ALERT_WEBHOOK_URL", "http://127.0.0.1:1/")
    monkeypatch.setenv("ALERT_EMAIL_TO", "someone@example.com")
    monkeypatch.setenv("ALERT_SMTP_SERVER", "127.0.0.1:nonsense")
    with caplog.at_level(logging.ERROR):
        send_alert(ALERT, read_settings(), logging.getLogger("test"))
    assert len(caplog.records) == 2


def test_a_sentence_names_a_few_partitions_and_no_key_breaks_its_line() -> None:
    keys = ["a\r\nBcc: x@example.com", *map(str, range(9))]
    sentence = Alert("prices", keys, "2 files refused.").sentence
    assert sentence.endswith("0, 1, 2, 3 and 5 more: 2 files refused.")
    assert "\n" not in sentence
    assert "\r" not in sentence
