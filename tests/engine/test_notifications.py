"""What a notification names, in each form that it comes in, and which feeds that concerns."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from partitioned_etl.engine.notification_address import (
    HookAddress,
    QueueAddress,
    parse_notification_address,
)
from partitioned_etl.engine.notifications.messages import ANYTHING, NamedObject, read_message
from partitioned_etl.engine.notifications.places import FeedPlace, place_of
from support.notifications import name_in_s3

KEYS = ["in/daily/a.csv", "in/dai ly/a+b%2F.csv", "in/Zürich/日本.csv", "in/a%zz\u0001.csv"]


def read(value: Any) -> list[NamedObject]:
    return list(read_message(json.dumps(value)))


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_s3_is_read_as_it_is_encoded(key: str) -> None:
    for encode in (quote, quote_plus):
        body = name_in_s3("landing", key, encode=encode)
        assert read(body) == [("landing", key)]


def test_a_message_may_have_several_records_and_names_each_object_once() -> None:
    records = [name_in_s3("landing", key)["Records"][0] for key in ("a", "b", "a")]
    assert read({"Records": records}) == [("landing", "a"), ("landing", "b")]
    assert read({"Records": []}) == []
    assert read({"Records": [*records, {"eventSource": "aws:ses"}]})[-1] == ANYTHING


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_eventbridge_is_as_it_is(key: str) -> None:
    detail = {"bucket": {"name": "landing"}, "object": {"key": key, "size": 5}, "version": "0"}
    event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
    assert read(event) == [("landing", key)]
    assert read(event | {"detail": {"instance-id": "i-1"}}) == [ANYTHING]


def wrap(text: str) -> dict[str, str]:
    return {"Type": "Notification", "TopicArn": "arn:aws:sns:…", "Message": text}


def test_what_sns_passes_on_is_unwrapped() -> None:
    inner = json.dumps(name_in_s3("landing", "in/ä.csv"))
    assert read(wrap(inner)) == [("landing", "in/ä.csv")]
    assert read(wrap("not JSON")) == [ANYTHING]
    assert read(wrap(json.dumps(wrap(inner)))) == [ANYTHING]


@pytest.mark.parametrize(
    "said",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "landing"},
        wrap('{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "landing"}'),
        {"Type": "SubscriptionConfirmation", "SubscribeURL": "https://sns.example", "Message": "x"},
    ],
)
def test_what_is_no_word_of_an_object_names_none(said: dict[str, Any]) -> None:
    assert read(said) == []


@pytest.mark.parametrize("key", KEYS)
def test_minio_names_an_object_in_its_records_or_beside_them(key: str) -> None:
    body = {"EventName": "s3:ObjectCreated:Put", "Key": f"landing/{key}"}
    assert read(body) == [("landing", key)]
    assert read(body | name_in_s3("landing", key)) == [("landing", key)]
    assert read(body | {"Records": None}) == [("landing", key)]


def test_seaweedfs_names_a_path_and_where_it_was_moved_to() -> None:
    entry = {"name": "b c+.csv", "attributes": {"mtime": 1}}
    made = {"new_entry": entry, "new_parent_path": "/buckets/landing/in/daily", "signatures": [1]}
    body = {"key": "/buckets/landing/in/daily/b c+.csv", "event_type": "create", "message": made}
    assert read(body) == [("landing", "in/daily/b c+.csv")]
    moved = {**body, "key": "/buckets/other/tmp", "event_type": "rename"}
    assert read(moved) == [("other", "tmp"), ("landing", "in/daily/b c+.csv")]
    assert read({**body, "key": "/topics/x", "message": {"old_entry": entry}}) == [
        ("", "/topics/x")
    ]


def test_a_script_names_a_path_or_a_bucket_and_a_key() -> None:
    assert read({"path": "daily/a.csv"}) == [("", "daily/a.csv")]
    assert read({"key": "in/daily/a.csv", "bucket": "landing"}) == [("landing", "in/daily/a.csv")]


UNKNOWN = [{}, {"path": 5}, [], [1], "x", 5, None, True, {"detail": []}, {"Records": [[]]}]


@pytest.mark.parametrize("value", UNKNOWN)
def test_what_has_an_unknown_form_may_mean_anything(value: Any) -> None:
    assert read(value) == [ANYTHING]


@pytest.mark.parametrize("body", ["", b"", " \n"])
def test_an_empty_body_may_mean_anything(body: str | bytes) -> None:
    assert read_message(body) == [ANYTHING]


@pytest.mark.parametrize(
    "body", ["{", "a=b", b"\xff\xfe\x00", "[" * 100_000, "9" * 10_000, b"\x80"]
)
def test_what_is_no_json_is_refused(body: str | bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_message(body)


def test_rubbish_in_known_places_is_never_an_error() -> None:
    values = [None, 5, "x", [], {}, [None], {"x": 1}]
    for value in values:
        for form in (
            {"Records": value},
            {"Records": [value]},
            {"Records": [{"s3": value}]},
            {"Records": [{"s3": {"bucket": value, "object": {"key": value}}}]},
            {"Records": [{"s3": {"bucket": {"name": value}, "object": {"key": value}}}]},
            {"detail": value},
            {"detail": {"bucket": {"name": value}, "object": {"key": value}}},
            {"Type": "Notification", "Message": value},
            {"Key": value, "EventName": value},
            {"key": value, "event_type": value, "message": value},
            {"key": "/x", "event_type": "rename", "message": {"new_parent_path": value}},
            {
                "key": "/x",
                "event_type": "x",
                "message": {"new_parent_path": "/", "new_entry": value},
            },
            {"path": value, "bucket": value},
        ):
            for named in read(form):
                assert isinstance(named.bucket, str)
                assert isinstance(named.key, str)


BUCKET = place_of("s3://landing/in", "daily")
FOLDER = place_of(Path("/data/source"), "daily")


@pytest.mark.parametrize(
    ("place", "named", "is_held"),
    [
        (BUCKET, ("landing", "in/daily/2018/a.csv"), True),
        (BUCKET, ("landing", "in/daily"), True),
        (BUCKET, ("landing", "in/"), True),
        (BUCKET, ("landing", ""), True),
        (BUCKET, ("", "in/daily/a.csv"), True),
        (BUCKET, ("", "daily/a.csv"), True),
        (BUCKET, ("", ""), True),
        (BUCKET, ("other", "in/daily/a.csv"), False),
        (BUCKET, ("other", ""), False),
        (BUCKET, ("landing", "in/daily2/a.csv"), False),
        (BUCKET, ("landing", "daily/a.csv"), False),
        (BUCKET, ("landing", "in/daily.csv"), False),
        (FOLDER, ("", "daily/a.csv"), True),
        (FOLDER, ("", "/data/source/daily/a.csv"), True),
        (FOLDER, ("", "/data/source"), True),
        (FOLDER, ("", ""), True),
        (FOLDER, ("", "monthly/a.csv"), False),
        (FOLDER, ("", "/data/source/monthly/a.csv"), False),
        (FOLDER, ("landing", "daily/a.csv"), False),
        (place_of("gs://landing", "."), ("landing", "a.csv"), True),
        (place_of("s3://landing", "x/../daily/"), ("landing", "daily/a.csv"), True),
    ],
)
def test_a_message_concerns_the_feeds_whose_place_it_names(
    place: FeedPlace, named: tuple[str, str], is_held: bool
) -> None:
    assert place.may_hold(NamedObject(*named)) is is_held


def test_an_address_is_a_queue_or_a_port() -> None:
    url = "https://sqs.eu-central-1.amazonaws.com/123456789012/landing"
    assert parse_notification_address(f"sqs:{url}") == QueueAddress(url)
    assert QueueAddress(url).endpoint == "https://sqs.eu-central-1.amazonaws.com"
    for host, is_loopback in {
        "127.0.0.1": True,
        "localhost": True,
        "[::1]": True,
        "0.0.0.0": False,
        "[::]": False,
        "hooks.internal": False,
    }.items():
        address = parse_notification_address(f"hook:{host}:8099")
        assert isinstance(address, HookAddress)
        assert address == (host.strip("[]"), 8099)
        assert address.is_loopback is is_loopback


@pytest.mark.parametrize(
    "address",
    [
        *("sqs", "sqs:", "sqs:landing", "sqs:https://", "sqs:https://sqs.example"),
        *("sqs:https://me:secret@sqs.example/1/q", "sqs:https://sqs.example/1/q?secret"),
        *("hook:", "hook:8099", "hook::8099", "hook:localhost:0", "hook:localhost:65536"),
        *(
            "hook:localhost:\uff18\uff10",
            "hook:a b:80",
            "hook:::1:80",
            "http://localhost:80",
            "secret",
        ),
    ],
)
def test_an_address_that_is_none_is_refused_without_a_secret(address: str) -> None:
    with pytest.raises(ValueError, match=r"^must ") as caught:
        parse_notification_address(address)
    assert "secret" not in str(caught.value)
