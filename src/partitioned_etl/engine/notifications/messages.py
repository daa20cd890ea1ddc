"""Messages: what the body of a notification names.

Takes a body as a store, or whatever stands between, sends it; returns buckets and keys. It is only
a hint: what lies there, and in which version, a listing says. The forms are those of Amazon S3
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html),
EventBridge and SNS, MinIO's webhook and SeaweedFS's
(https://github.com/seaweedfs/seaweedfs/wiki/Filer-Notification-Webhook).
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

_WEED_BUCKETS = "/buckets/"
"""The folder of SeaweedFS in which each bucket is a folder."""
_SAYS_NOTHING = ("SubscriptionConfirmation", "UnsubscribeConfirmation")


class NamedObject(NamedTuple):
    """What a message names.

    Attributes:
        bucket: The bucket; empty if the message names none.
        key: Key of an object, or path of a file or a folder; empty for anything.
    """

    bucket: str = ""
    key: str = ""


ANYTHING = NamedObject()
"""What a message names that is understood by nobody: there may be something anywhere."""


def read_message(body: str | bytes) -> Sequence[NamedObject]:
    """Return what a body names, each once; `ANYTHING` if it is empty, or of an unknown form.

    Raises:
        ValueError: It is neither empty nor JSON.
    """
    if not body.strip():
        return [ANYTHING]
    try:
        value = json.loads(body)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return list(dict.fromkeys(_read(value)))


def _read(value: Any) -> Sequence[NamedObject]:
    if not isinstance(value, dict):
        return [ANYTHING]
    if value.get("Event") == "s3:TestEvent" or value.get("Type") in _SAYS_NOTHING:
        return []
    if value.get("Type") == "Notification" and isinstance(value.get("Message"), str):
        return _read_wrapped(value["Message"])
    if isinstance(value.get("Records"), list):
        return [_read_record(record) for record in value["Records"]]
    if found := _read_event(value.get("detail")):
        return [found]
    if isinstance(value.get("Key"), str) and "EventName" in value:
        bucket, _, key = value["Key"].partition("/")
        return [NamedObject(bucket, key)]
    if isinstance(value.get("key"), str) and "event_type" in value:
        return [_of_weed(path) for path in _list_weed_paths(value)]
    return [_read_own(value)]


def _read_wrapped(text: str) -> Sequence[NamedObject]:
    """Read what SNS passes on."""
    try:
        inner = json.loads(text)
    except (ValueError, RecursionError):
        return [ANYTHING]
    is_wrapped_again = isinstance(inner, dict) and inner.get("Type") == "Notification"
    return [ANYTHING] if is_wrapped_again else _read(inner)


def _read_record(record: Any) -> NamedObject:
    """Read an event of S3, or of MinIO, with its key as in a form's field."""
    try:
        bucket, key = record["s3"]["bucket"]["name"], record["s3"]["object"]["key"]
    except (KeyError, TypeError, IndexError):
        return ANYTHING
    is_text = isinstance(bucket, str) and isinstance(key, str)
    return NamedObject(bucket, unquote_plus(key)) if is_text else ANYTHING


def _read_event(detail: Any) -> NamedObject | None:
    """Read an event of EventBridge, with its key as it is."""
    try:
        bucket, key = detail["bucket"]["name"], detail["object"]["key"]
    except (KeyError, TypeError, IndexError):
        return None
    is_text = isinstance(bucket, str) and isinstance(key, str)
    return NamedObject(bucket, key) if is_text else None


def _list_weed_paths(value: dict[str, Any]) -> Iterator[str]:
    """Yield the path of an entry of SeaweedFS and, of one that was moved, where it is now."""
    yield value["key"]
    try:
        parent = value["message"]["new_parent_path"]
        name = value["message"]["new_entry"]["name"]
    except (KeyError, TypeError, IndexError):
        return
    if isinstance(parent, str) and isinstance(name, str) and parent:
        yield f"{parent.rstrip('/')}/{name}"


def _of_weed(path: str) -> NamedObject:
    if not path.startswith(_WEED_BUCKETS):
        return NamedObject("", path)
    bucket, _, key = path.removeprefix(_WEED_BUCKETS).partition("/")
    return NamedObject(bucket, key)


def _read_own(value: dict[str, Any]) -> NamedObject:
    """Read the plainest form: `path` or `key`, and perhaps `bucket`."""
    key, bucket = value.get("path", value.get("key")), value.get("bucket", "")
    if isinstance(key, str) and isinstance(bucket, str):
        return NamedObject(bucket, key)
    return ANYTHING
