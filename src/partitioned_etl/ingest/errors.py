"""The exceptions of this package. Each message is one sentence that a person can act on.

No message carries a cell of a file: cells may be personal data, and messages end up in logs.
"""


class PartitionedEtlError(Exception):
    """Base of every error that this package raises on purpose."""


class FeedDefinitionError(PartitionedEtlError):
    """A feed is declared in a way that cannot work.

    Attributes:
        attribute: The attribute that is to blame, as `Feed` or `build_pipeline` calls it; empty if
            no single one is.
    """

    def __init__(self, reason: str, *, attribute: str = "") -> None:
        super().__init__(reason)
        self.attribute = attribute


class SettingError(PartitionedEtlError):
    """A setting from the environment cannot be used."""


class PartitionKeyError(PartitionedEtlError):
    """A name or a partition key that the feed does not accept."""


class LandedFileError(PartitionedEtlError):
    """A landed file is missing, is not a regular file, or changed while it was read."""


class ContractError(PartitionedEtlError):
    """A landed file does not match its feed's contract."""


class WarehouseError(PartitionedEtlError):
    """The DuckDB database cannot be used as asked."""


class NoDatabaseError(WarehouseError):
    """There is no DuckDB database to read: nothing was ever loaded."""


class WarehouseLockedError(WarehouseError):
    """Another process held the DuckDB database for longer than the lock wait."""
