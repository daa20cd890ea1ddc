"""The receiver: which marks a message changes, and what becomes of a source that fails."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from partitioned_etl.engine.notification_address import QueueAddress
from partitioned_etl.engine.notifications import receiver as receiver_module
from partitioned_etl.engine.notifications.places import place_of
from partitioned_etl.engine.notifications.receiver import Receiver
from partitioned_etl.engine.notifications.sqs import Queue
from support.notifications import TestSource, wait_until

DAILY, MONTHLY = (place_of("s3://landing/in", folder) for folder in ("daily", "monthly"))


@pytest.fixture
def source() -> TestSource:
    return TestSource()


@pytest.fixture
def receiver(source: TestSource) -> Iterator[Receiver]:
    receiver = Receiver(source)
    yield receiver
    receiver.close()


def test_a_message_changes_the_marks_of_the_feeds_that_it_is_about(
    source: TestSource, receiver: Receiver
) -> None:
    daily, monthly = receiver.watch("daily", DAILY), receiver.watch("monthly", MONTHLY)
    assert receiver.watch("daily", DAILY) == daily
    for named in (("landing", "in/daily/a.csv"), ("landing", "in/daily/a.csv"), ("", "daily/b")):
        source.send(named)
        assert receiver.watch("daily", DAILY) != daily
        daily = receiver.watch("daily", DAILY)
        assert receiver.watch("monthly", MONTHLY) == monthly
    for named in (("other", "in/daily/a.csv"), ("landing", "in/weekly/a.csv")):
        source.send(named)
        source.send()
    assert receiver.watch("daily", DAILY) == daily
    source.send(("", ""))
    assert receiver.watch("daily", DAILY) != daily
    assert receiver.watch("monthly", MONTHLY) != monthly


def test_no_mark_is_given_twice(source: TestSource, receiver: Receiver) -> None:
    """Not to another feed, another place or another process, either."""
    marks = [receiver.watch("daily", DAILY), receiver.watch("daily", MONTHLY)]
    other = Receiver(TestSource())
    marks.append(other.watch("daily", DAILY))
    other.close()
    assert len(set(marks)) == 3


def test_a_source_that_fails_is_tried_again_and_what_it_may_have_missed_is_looked_for(
    source: TestSource,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(receiver_module, "_LONGEST_PAUSE_SECONDS", 0.01)
    source.trouble = "the port is taken"
    mark = receiver.watch("daily", DAILY)
    assert receiver.trouble == "the port is taken"
    wait_until(lambda: source.begun > 3)
    assert receiver.watch("daily", DAILY) == mark
    with caplog.at_level(logging.DEBUG):
        source.trouble = ""
        wait_until(lambda: not receiver.trouble)
    assert receiver.watch("daily", DAILY) != mark
    told = [record.message for record in caplog.records]
    assert [text for text in told if "port" in text] == [
        "notifications cannot be received: the port is taken"
    ]


def test_what_nobody_foresaw_is_told_without_its_text_and_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch, source: TestSource, receiver: Receiver
) -> None:
    monkeypatch.setattr(receiver_module, "_LONGEST_PAUSE_SECONDS", 0.01)

    def fail(_: object) -> None:
        source.begun += 1
        raise RuntimeError("secret")

    monkeypatch.setattr(source, "receive", fail)
    receiver.watch("daily", DAILY)
    assert receiver.trouble == "something unforeseen happened (RuntimeError)"
    wait_until(lambda: source.begun > 2)


def test_who_is_not_asked_any_more_ends_and_begins_again_when_asked(
    source: TestSource, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = receiver.watch("daily", DAILY)
    monkeypatch.setattr(receiver_module, "IDLE_SECONDS", 0.0)
    wait_until(lambda: receiver._thread is None)
    monkeypatch.setattr(receiver_module, "IDLE_SECONDS", 60.0)
    assert receiver.watch("daily", DAILY) != mark
    assert source.begun == 2


def test_a_queue_without_its_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    receiver = Receiver(Queue(QueueAddress("https://sqs.example/1/landing")))
    receiver.watch("daily", place_of(Path("/data"), "daily"))
    receiver.close()
    assert "pip install 'partitioned-etl[sqs]'" in receiver.trouble
