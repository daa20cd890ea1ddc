"""Web: what sources of HTTP have in common: a URL, hosts, secrets, and names by a template."""

from base64 import b64encode
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from partitioned_etl.engine.contract import Declared
from partitioned_etl.engine.errors import FeedDefinitionError, SourceError
from partitioned_etl.engine.sources.hosts import AllowedHosts, Origin, check_hosts
from partitioned_etl.engine.sources.source import Secret, Source, read_secret
from partitioned_etl.engine.sources.templates import Template, parse_path

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed
    from partitioned_etl.engine.sources.http_client import Client


class BasicSecrets(Declared, frozen=True):
    """User and password, each as the name of an environment variable."""

    user: Annotated[Secret, Field(description="The variable that holds the user.")]
    password: Annotated[Secret, Field(description="The variable that holds the password.")]


class WebSource(Source, frozen=True):
    """A source that speaks HTTP."""

    url: Annotated[str, Field(description="The URL of the list.")]
    name: Annotated[
        str,
        Field(
            description="The name under which an item lands, made of its fields, such as "
            "`{id}.json` or `{updated:%Y-%m-%d}.csv`; the feed's `pattern` reads the key back."
        ),
    ]
    hosts: Annotated[
        tuple[str, ...],
        Field(
            description="Other hosts that items or redirects may lead to, such as "
            "`cdn.example.org` or `*.example.org`. Default: only the host of `url`."
        ),
    ] = ()
    bearer: Annotated[
        Secret | None,
        Field(description="The environment variable that holds a bearer token. Default: none."),
    ] = None
    basic: Annotated[
        BasicSecrets | None,
        Field(description="The variables that hold `user` and `password`. Default: none."),
    ] = None
    headers: Annotated[
        Mapping[str, Secret],
        Field(
            description="Headers, each with the variable that holds its value, such as "
            "`{X-Api-Key: API_KEY}`. Default: none.",
            default_factory=dict,
        ),
    ]

    @model_validator(mode="after")
    def _check(self) -> Self:
        with telling("url"):
            self.check_url()
        check_hosts(self.hosts)
        with telling("name"):
            Template(self.name)
        return self

    def check_url(self) -> None:
        """Refuse what is no URL of HTTP.

        Raises:
            ValueError: It is none.
        """
        Origin.of(self.url)

    @cached_property
    def name_template(self) -> Template:
        """How an item's name is made."""
        return Template(self.name)

    def check_feed(self, feed: "Feed") -> None:
        """Refuse a template whose names never match the feed's pattern."""
        samples = list(self.name_template.list_samples())
        if not any(feed.file_names.match(sample) for sample in samples):
            raise FeedDefinitionError(
                f"source.name: {self.name!r} makes names such as {samples[0]!r}, which pattern "
                f"{feed.pattern!r} does not match",
                attribute="source.name",
            )

    def connect_client(self) -> "Client":
        """Return what gets documents and files.

        Raises:
            SourceError: httpx is not installed, or a secret is not set.
        """
        try:
            from partitioned_etl.engine.sources.http_client import Client
        except ImportError:
            raise SourceError(
                "a source of HTTP needs more than is installed: pip install "
                f"'partitioned-etl[{self.extra_name}]'"
            ) from None
        self._read_headers()
        hosts = AllowedHosts(Origin.of(self.url), self.hosts)
        return Client(self, hosts, self._read_headers)

    @property
    def extra_name(self) -> str:
        """The extra of this package that the source needs."""
        return "http"

    def _read_headers(self) -> dict[str, str]:
        headers = {name: read_secret(variable) for name, variable in self.headers.items()}
        if self.bearer:
            headers["Authorization"] = f"Bearer {read_secret(self.bearer)}"
        if self.basic:
            pair = f"{read_secret(self.basic.user)}:{read_secret(self.basic.password)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        if any(not text.isascii() or not text.isprintable() for text in headers.values()):
            raise SourceError("a secret holds what no header can: check its environment variable")
        return headers


class telling:  # noqa: N801
    """Say which part of a source is wrong, without repeating it."""

    def __init__(self, attribute: str) -> None:
        self._path = f"source.{attribute}"

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _: object, error: object, __: object) -> None:
        """Turn a ValueError into the error of a declaration."""
        if isinstance(error, ValueError):
            raise FeedDefinitionError(f"{self._path}: {error}", attribute=self._path) from None


def check_path(attribute: str, path: str) -> None:
    """Refuse what is no path into JSON.

    Raises:
        FeedDefinitionError: It is none.
    """
    with telling(attribute):
        parse_path(path)
