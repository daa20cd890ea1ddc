"""Source: what every place that files are fetched from must be able to do, and what it offers.

A source is declared in a feed. It lists its items, each with the name under which it lands and what
cheaply tells that it may have changed, and writes the bytes of one to a sink. Next: `mirror.py`
decides what is fetched, and lets it land. Each kind is a module; `registry.py` lists them.
"""

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Protocol

from pydantic import AfterValidator, Field, FiniteFloat

from partitioned_etl.engine.contract import Declared
from partitioned_etl.engine.errors import SourceError
from partitioned_etl.engine.landing.landing import PassedOver

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed

MAX_PAGE_BYTES = 1 << 26
"""The longest document of a list."""
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


def _to_variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise ValueError(
            "must be the name of an environment variable, such as API_TOKEN, in capital letters: "
            "a secret itself does not belong in a declaration"
        )
    return text


Secret = Annotated[str, AfterValidator(_to_variable)]
"""A secret: the name of the environment variable that holds it."""


def read_secret(variable: str) -> str:
    """Return the secret that an environment variable holds.

    Raises:
        SourceError: It is not set.
    """
    if secret := os.environ.get(variable, ""):
        return secret
    raise SourceError(f"environment variable {variable} is not set")


class RemoteItem(NamedTuple):
    """What a source offers.

    Attributes:
        name: The name in the feed's folder under which it lands.
        version: What its listing says of it that changes with it; empty if it says nothing.
        address: Where the source finds it; it may hold a secret, and is never shown.
        size_bytes: Its length; None if the listing does not tell.
    """

    name: str
    version: str
    address: str
    size_bytes: int | None = None


@dataclass
class RemoteListing:
    """The result of one look at a source.

    Attributes:
        items: What it offers.
        passed_over: Items that cannot land, and why.
    """

    items: list[RemoteItem] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)


class Sink:
    """Takes the bytes of one item, up to a size and until a moment.

    Attributes:
        size_bytes: How many it took.
        deadline: When they must be there, by the monotonic clock.
    """

    def __init__(self, write: Callable[[bytes], object], source: "Source") -> None:
        self.size_bytes = 0
        self.deadline = time.monotonic() + source.file_seconds
        self._write, self._source = write, source

    def write(self, chunk: bytes) -> None:
        """Take some bytes.

        Raises:
            SourceError: They are too many, or come too late.
        """
        self.size_bytes += len(chunk)
        self.check_size(self.size_bytes)
        if time.monotonic() > self.deadline:
            raise too_slow(self._source.file_seconds)
        self._write(chunk)

    def check_size(self, size_bytes: int | None) -> None:
        """Refuse what is longer than a file of the source may be.

        Raises:
            SourceError: It is.
        """
        most = self._source.max_file_bytes
        if size_bytes is not None and size_bytes > most:
            raise SourceError(f"is longer than {most:,} bytes: raise max_file_bytes if it may be")


def too_slow(seconds: float) -> SourceError:
    """Return the error for what takes longer than it may."""
    return SourceError(f"took longer than {seconds:g} s", may_pass=True)


class Remote(Protocol):
    """A connection to a source; several threads may fetch by it at once."""

    def list_items(self) -> RemoteListing:
        """List all that the source offers.

        Raises:
            SourceError: It cannot be listed to its end.
        """
        ...

    def fetch(self, item: RemoteItem, sink: Sink, known: str) -> str | None:
        """Write an item to a sink.

        Args:
            item: The item.
            sink: Takes its bytes, which are whole unless an exception is raised.
            known: What this returned when the item was fetched before; empty if it was not.

        Returns:
            What tells a later call that the item is still the same, or an empty text; None if it is
            the one that is known, of which nothing was written.

        Raises:
            SourceError: It cannot be fetched.
        """
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class DeclaredSource(Declared, frozen=True, hide_input_in_errors=True):
    """Where files come from that do not land by themselves, as a feed declares it."""

    implied: ClassVar[Mapping[str, Any]] = {}
    """Attributes that a feed with it need not declare, because it decides them."""
    is_computed: ClassVar[bool] = False
    """Whether rows are computed, for keys that people add, and no files are fetched."""

    def model_post_init(self, context: Any, /) -> None:  # noqa: ARG002
        """Count its type as declared, so that what is written down of it can be read again."""
        self.model_fields_set.add("type")

    @property
    def type_name(self) -> str:
        """The name of its kind."""
        return str(type(self).model_fields["type"].default)

    def check_feed(self, feed: "Feed") -> None:
        """Refuse a feed that could not take what comes from it.

        Raises:
            FeedDefinitionError: It could not.
        """


class Source(DeclaredSource, ABC, frozen=True, hide_input_in_errors=True):
    """A place that files are fetched from, as a feed declares it."""

    every_seconds: Annotated[
        int, Field(description="How often the source is looked at, in seconds.", ge=5)
    ] = 300
    parallel: Annotated[
        int, Field(description="How many files are fetched at once.", ge=1, le=32)
    ] = 4
    max_file_bytes: Annotated[
        int, Field(description="The longest file, in bytes; a longer one is not fetched.", ge=1)
    ] = 1 << 30
    max_items: Annotated[
        int,
        Field(description="The most items; of a source that lists more, none is fetched.", ge=1),
    ] = 100_000
    connect_seconds: Annotated[
        FiniteFloat, Field(description="How long to wait for a connection.", gt=0)
    ] = 10.0
    read_seconds: Annotated[
        FiniteFloat, Field(description="How long to wait for the next bytes.", gt=0)
    ] = 30.0
    file_seconds: Annotated[
        FiniteFloat, Field(description="How long a file, or a page of a list, may take.", gt=0)
    ] = 3600.0

    @property
    def settle_seconds(self) -> float:
        """How long an item must be unchanged before it is fetched; 0 where writes are atomic."""
        return 0.0

    @property
    def recheck_seconds(self) -> float:
        """After how long an item without a version is asked for again; infinite for never."""
        return float("inf")

    @abstractmethod
    def connect(self, feed: "Feed") -> Remote:
        """Return a connection, which begins when it is used.

        Raises:
            SourceError: What it needs is not installed, or not set.
        """
