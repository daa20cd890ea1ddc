"""Registry: which source of messages an address stands for. A new kind is a module and a line."""

from partitioned_etl.engine.notification_address import HookAddress, parse_notification_address
from partitioned_etl.engine.notifications.receiver import Receiver


def connect_receiver(address: str, token: str) -> Receiver:
    """Return what receives the messages of an address; it begins when it is asked.

    Args:
        address: The address, as `parse_notification_address` takes it.
        token: What a sender must know; empty for nothing.

    Raises:
        ValueError: The address stands for nothing.
    """
    parsed = parse_notification_address(address)
    if isinstance(parsed, HookAddress):
        from partitioned_etl.engine.notifications.hook import Hook

        return Receiver(Hook(parsed, token))
    from partitioned_etl.engine.notifications.sqs import Queue

    return Receiver(Queue(parsed))
