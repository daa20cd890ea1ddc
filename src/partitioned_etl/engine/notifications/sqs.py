"""SQS: a queue of Amazon's, or of what speaks its protocol, that S3 puts word of objects into.

Takes a queue's URL; takes note of its messages, and deletes them then. A message that is lost
between the two changes nothing. Credentials come from the environment, as boto3 takes them.
"""

import os
import re
from typing import Any

from partitioned_etl.engine.errors import NotificationError
from partitioned_etl.engine.notification_address import QueueAddress
from partitioned_etl.engine.notifications.messages import ANYTHING, NamedObject, read_message
from partitioned_etl.engine.notifications.receiver import Inbox

_MESSAGES_AT_ONCE = 10
_WAIT_SECONDS = 20
"""How long the server waits for a message before it answers that there is none: its longest."""
_NO_QUEUE = ("NonExistentQueue", "QueueDoesNotExist")


class Queue:
    """A queue.

    Attributes:
        address: Its URL.
    """

    def __init__(self, address: QueueAddress) -> None:
        self.address = address

    def receive(self, inbox: Inbox) -> None:
        """Take messages out of the queue for as long as the inbox is wanted.

        Raises:
            NotificationError: It cannot be read, or boto3 is not installed.
        """
        try:
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError:
            raise NotificationError(
                "a queue needs more than is installed: pip install 'partitioned-etl[sqs]'"
            ) from None
        url = self.address.url
        try:
            client = _connect(self.address)
            # The first answer is asked for at once: it tells whether the queue can be read.
            wait_seconds = 0
            while inbox.is_wanted:
                answer = client.receive_message(
                    QueueUrl=url,
                    MaxNumberOfMessages=_MESSAGES_AT_ONCE,
                    WaitTimeSeconds=wait_seconds,
                )
                if not wait_seconds:
                    inbox.open(has_missed=False)
                wait_seconds = _WAIT_SECONDS
                messages = answer.get("Messages") or []
                inbox.note([named for message in messages for named in _read(message)])
                if messages:
                    handles = [message["ReceiptHandle"] for message in messages]
                    client.delete_message_batch(
                        QueueUrl=url,
                        Entries=[
                            {"Id": str(number), "ReceiptHandle": handle}
                            for number, handle in enumerate(handles)
                        ],
                    )
        except (BotoCoreError, ClientError) as error:
            raise NotificationError(f"queue {url}: {_explain(error)}") from None


def _connect(address: QueueAddress) -> Any:
    import boto3
    from botocore.config import Config

    # AWS_ENDPOINT_URL may be that of the objects, and boto3 itself does not read AWS_REGION.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_SQS") or address.endpoint
    of_amazon = re.match(r"https://(?:sqs\.)?([a-z]+(?:-[a-z]+)+-\d)\.", address.url)
    return boto3.client(
        "sqs",
        endpoint_url=endpoint,
        region_name=of_amazon[1] if of_amazon else os.environ.get("AWS_REGION"),
        config=Config(
            connect_timeout=5, read_timeout=_WAIT_SECONDS + 10, retries={"max_attempts": 2}
        ),
    )


def _read(message: dict[str, Any]) -> "list[NamedObject]":
    try:
        return [*read_message(message.get("Body") or "")]
    except ValueError:
        return [ANYTHING]


def _explain(error: Any) -> str:
    """Return why it failed, without what a server or an environment says: it may be secret."""
    response = getattr(error, "response", None)
    if not response:
        name = type(error).__name__
        if "Credential" in name:
            return "no credentials were found in the environment"
        if "Region" in name:
            return "its region is not known: set AWS_REGION"
        if "Connect" in name or "Timeout" in name or "Connection" in name:
            return "it cannot be reached: check its URL"
        return f"it failed ({name})"
    code = re.sub(r"[^\w.]", "", str(response.get("Error", {}).get("Code", "")))[:60]
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
    if any(name in code for name in _NO_QUEUE):
        return "there is no such queue"
    if status in (401, 403) or "Denied" in code or "Token" in code:
        return f"access is denied ({code}): check the credentials and what they may do"
    return f"the server answers {status} {code}"
