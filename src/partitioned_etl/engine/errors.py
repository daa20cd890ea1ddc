"""The exceptions of this package. Each message is one actionable sentence.

No message contains a cell value: cells may be personal data, and messages end up in logs.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class PartitionedEtlError(Exception):
    """Base class of every error that this package raises deliberately."""


class FeedDefinitionError(PartitionedEtlError):
    """A feed is declared in a way that cannot work.

    Attributes:
        attribute: The attribute that is to blame, or a path to a part of it, such as
            `format.delimiter`; empty if no single one is.
    """

    def __init__(self, reason: str, *, attribute: str = "") -> None:
        super().__init__(reason)
        self.attribute = attribute


class SettingError(PartitionedEtlError):
    """A setting from the environment cannot be used."""


class PartitionKeyError(PartitionedEtlError):
    """The feed does not accept a name or a partition key."""


class LandedFileError(PartitionedEtlError):
    """A landed file is missing, is not a regular file, or changed while it was read."""


class NotificationError(PartitionedEtlError):
    """Word of what lands cannot be received."""


class ContractError(PartitionedEtlError):
    """A landed file does not match its feed's contract."""


class WarehouseError(PartitionedEtlError):
    """The warehouse cannot be used as requested."""


class NoWarehouseError(WarehouseError):
    """There is no warehouse to read: nothing has ever been loaded."""


class WarehouseLockedError(WarehouseError):
    """Another process held the warehouse for longer than the lock wait."""


class WarehouseConflictError(WarehouseError):
    """A transaction gave way to another one: it changed nothing, and may be run again."""


class QueryError(WarehouseError):
    """A query is none, asks for more than to read, or is refused by the warehouse."""


class SourceError(PartitionedEtlError):
    """A source cannot be listed, or a file cannot be fetched from it.

    Attributes:
        may_pass: Whether it may go well if it is tried again.
        retry_after_seconds: How long the source asks to be left alone first; 0 if it does not say.
    """

    def __init__(
        self, reason: str, *, may_pass: bool = False, retry_after_seconds: float = 0.0
    ) -> None:
        super().__init__(reason)
        self.may_pass = may_pass
        self.retry_after_seconds = retry_after_seconds


def suggest(name: str, known: Iterable[str]) -> str:
    """Return what to say after the refusal of a name that may be misspelled.

    Args:
        name: The name.
        known: The names that there are.

    Returns:
        Which of them is probably meant; empty if none is like it.
    """
    matches = get_close_matches(name, known, n=1)
    return f"; did you mean {matches[0]!a}?" if matches else ""
