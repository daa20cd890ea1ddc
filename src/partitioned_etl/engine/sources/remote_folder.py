"""Remote folder: a folder on another machine, by SFTP, FTP, SMB or what else fsspec can.

What matches the feed's pattern lands under the name that it has there. fsspec and the libraries
that it takes speak the protocols.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from posixpath import join
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, FiniteFloat, model_validator

from partitioned_etl.engine.errors import FeedDefinitionError, SourceError
from partitioned_etl.engine.landing.names import is_hidden_or_temporary
from partitioned_etl.engine.sources.retries import retry
from partitioned_etl.engine.sources.source import (
    RemoteItem,
    RemoteListing,
    Secret,
    Sink,
    Source,
    read_secret,
)

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed

_CHUNK_BYTES = 1 << 20
_MOST_IDLE_SECONDS = 20.0
_REQUESTS_AHEAD = 64
"""How many blocks of a file SFTP asks for before the first has come: each takes a round trip."""
_VERSIONS = ("size", "ETag", "etag", "md5", "mtime", "modify", "last_write_time", "LastModified")
"""What file systems say of a file that changes with it."""
_SECRETIVE = ("pass", "secret", "token", "key", "credential")
_NO_SECRETS = ("key_filename", "look_for_keys", "known_hosts")
_OF_HTTP = ("http", "https")
_Option = str | int | float | bool


class RemoteFolder(Source, frozen=True):
    """A folder on another machine: `sftp://`, `ftp://`, `smb://` or another file system of fsspec.

    What matches the feed's pattern lands under the name that it has there.
    """

    type: Literal["remote_folder"] = "remote_folder"
    url: Annotated[
        str, Field(description="The folder, such as `sftp://files.example.org/outgoing`.")
    ]
    secrets: Annotated[
        Mapping[str, Secret],
        Field(
            description="Options of the file system, each with the environment variable that holds "
            "it, such as `{username: SFTP_USER, password: SFTP_PASSWORD}`. Default: none.",
            default_factory=dict,
        ),
    ]
    options: Annotated[
        Mapping[str, _Option],
        Field(
            description="Other options of the file system, as fsspec takes them, such as "
            "`{tls: true}` for FTP or `{key_filename: /etc/keys/etl}` for SFTP. Default: none.",
            default_factory=dict,
        ),
    ]
    known_hosts: Annotated[
        str,
        Field(
            description="For SFTP, the file with the keys of known hosts; any other host is "
            "refused."
        ),
    ] = "~/.ssh/known_hosts"
    unchanged_seconds: Annotated[
        FiniteFloat,
        Field(description="How long a file must be unchanged there before it is fetched.", ge=0),
    ] = 5.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError:
            raise _wrong("url", "is no URL") from None
        if "::" in self.url or not parts.scheme:
            raise _wrong("url", "must be one URL with a protocol, such as sftp://host/folder")
        if parts.scheme in _OF_HTTP:
            raise _wrong("url", "a server of HTTP has no folders: use type http")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise _wrong("url", "must not hold a user, a password or a query: see secrets")
        for name in self.options:
            if name not in _NO_SECRETS and any(part in name.lower() for part in _SECRETIVE):
                raise _wrong(f"options.{name}", "belongs to secrets, by the name of a variable")
        return self

    @property
    def protocol(self) -> str:
        """The protocol, as fsspec names it."""
        return urlsplit(self.url).scheme

    @property
    def settle_seconds(self) -> float:
        """How long a file must be unchanged before it is fetched."""
        return self.unchanged_seconds

    def connect(self, feed: "Feed") -> "FolderRemote":
        """Return a connection."""
        try:
            import fsspec
        except ImportError:
            raise _not_installed() from None
        options = {name: read_secret(variable) for name, variable in self.secrets.items()}
        options = {**self._own_options(), **self.options, **options}

        def open_file_system() -> Any:
            try:
                return fsspec.filesystem(self.protocol, skip_instance_cache=True, **options)
            except (ImportError, ValueError):
                raise _not_installed() from None

        return FolderRemote(self, feed, open_file_system)

    def _own_options(self) -> dict[str, Any]:
        parts = urlsplit(self.url)
        where = {"host": parts.hostname} | ({"port": parts.port} if parts.port else {})
        match self.protocol:
            case "sftp" | "ssh":
                return {
                    **where,
                    **dict.fromkeys(
                        ("timeout", "banner_timeout", "auth_timeout"), self.connect_seconds
                    ),
                    "host_key_policy": _known_hosts_only(self.known_hosts),
                    "look_for_keys": not self.secrets and "key_filename" not in self.options,
                    "allow_agent": not self.secrets and "key_filename" not in self.options,
                }
            case "ftp":
                return {**where, "timeout": self.read_seconds}
            case "smb":
                return {**where, "timeout": int(max(1, self.connect_seconds))}
            case _:
                return {}


class FolderRemote:
    """A remote folder. Each thread that reads has a connection of its own."""

    def __init__(self, source: RemoteFolder, feed: "Feed", open_file_system: Any) -> None:
        self._source, self._feed, self._open = source, feed, open_file_system
        self._idle: SimpleQueue[tuple[Any, float]] = SimpleQueue()
        self._listed: dict[str, dict[str, str]] = {}
        parts = urlsplit(source.url)
        path = unquote(parts.path)
        # Of object storage and the like, what stands for the host is a part of the path.
        has_host = source.protocol in ("sftp", "ssh", "ftp", "smb", "file", "local")
        self._root = (path if has_host else f"{parts.netloc}{path}").rstrip("/") or "/"

    def close(self) -> None:
        """Close all idle connections."""
        with suppress(Empty):
            while True:
                _close(self._idle.get_nowait()[0])

    def list_items(self) -> RemoteListing:
        """List the files that match the feed's pattern, in as many folders as it has."""
        found = RemoteListing(retry(self._list_all))
        if len(found.items) > self._source.max_items:
            raise SourceError(f"lists more than {self._source.max_items:,} items")
        return found

    def _list_all(self) -> list[RemoteItem]:
        with self._file_system() as files:
            files.invalidate_cache()
            return [*self._list(files, "", self._feed.file_names.depth)]

    def _list(self, files: Any, folder: str, depth: int) -> Iterator[RemoteItem]:
        names = self._feed.file_names
        for info in files.ls(join(self._root, folder) if folder else self._root, detail=True):
            last = str(info["name"]).rstrip("/").rpartition("/")[2]
            name = join(folder, last)
            if is_hidden_or_temporary(last):
                continue
            if depth:
                if info["type"] == "directory" and names.matches_folder(name):
                    yield from self._list(files, name, depth - 1)
            elif info["type"] == "file" and names.match(name):
                size = info.get("size")
                facts = self._listed[name] = _facts_in(info)
                yield RemoteItem(
                    name,
                    sha256(repr(facts).encode()).hexdigest()[:16],
                    join(self._root, name),
                    size if isinstance(size, int) else None,
                )

    def fetch(self, item: RemoteItem, sink: Sink, known: str) -> str | None:  # noqa: ARG002
        """Write a file to a sink; afterwards, it must still be the one that was listed."""
        sink.check_size(item.size_bytes)
        with self._file_system() as files:
            if self._source.protocol == "ftp":
                # To open a file would ask for each of its blocks anew.
                files.get_file(item.address, _Writable(sink))
            else:
                with files.open(item.address, "rb") as file:
                    if prefetch := getattr(file, "prefetch", None):
                        prefetch(item.size_bytes, _REQUESTS_AHEAD)
                    while chunk := file.read(_CHUNK_BYTES):
                        sink.write(chunk)
            files.invalidate_cache()
            self._check_version(files, item)
        return ""

    def _take_idle(self) -> Any:
        """Return a connection that was used lately: a server may have ended an older one."""
        with suppress(Empty):
            while True:
                files, since = self._idle.get_nowait()
                if time.monotonic() - since < _MOST_IDLE_SECONDS:
                    return files
                _close(files)
        return None

    def _check_version(self, files: Any, item: RemoteItem) -> None:
        info, listed = files.info(item.address), self._listed.get(item.name, {})
        if info["type"] != "file":
            raise SourceError("is no regular file")
        # A file system may say more of a file in a list than of one alone.
        facts = _facts_in(info)
        if any(facts[name] != listed[name] for name in facts.keys() & listed.keys()):
            raise SourceError("changed since it was listed: a later look fetches it")

    @contextmanager
    def _file_system(self) -> Iterator[Any]:
        """Give a connection that no other thread has, and keep it if nothing went wrong."""
        try:
            files = self._take_idle()
            if files is None:
                files = self._open()
                _limit(files, self._source.read_seconds)
            try:
                yield files
            except BaseException:
                _close(files)
                raise
            self._idle.put((files, time.monotonic()))
        except SourceError:
            raise
        except Exception as error:
            raise _explain(error) from None


class _Writable:
    """A sink as fsspec takes a file: it asks for all of these, and calls `write` alone."""

    def __init__(self, sink: Sink) -> None:
        self.write = sink.write

    def read(self) -> bytes:
        return b""

    def tell(self) -> int:
        return 0

    def close(self) -> None:
        """Do nothing."""


def _facts_in(info: Mapping[str, Any]) -> dict[str, str]:
    """Return what a file system says of a file that changes with it."""
    return {name: str(info[name]) for name in _VERSIONS if info.get(name) is not None}


def _limit(files: Any, read_seconds: float) -> None:
    """Let no read over SSH wait for ever."""
    channel = getattr(getattr(files, "ftp", None), "get_channel", None)
    if channel and (opened := channel()):
        opened.settimeout(read_seconds)


def _close(files: Any) -> None:
    with suppress(Exception):
        for connection in (getattr(files, name, None) for name in ("client", "ftp")):
            if close := getattr(connection, "close", None):
                close()


def _known_hosts_only(path: str) -> Any:
    """Return what makes SFTP refuse a host whose key is not in a file."""
    try:
        import paramiko
    except ImportError:
        raise _not_installed() from None
    keys = paramiko.HostKeys()
    with suppress(OSError):
        keys.load(str(Path(path).expanduser()))

    class KnownHostsOnly(paramiko.MissingHostKeyPolicy):
        """Takes the key of a host only if it is in the file."""

        def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:  # noqa: ARG002
            """Refuse a host, unless its key is known."""
            if not keys.check(hostname, key):
                raise SourceError(
                    f"the key of host {hostname} is not in {path}: ask who runs it for its key"
                )

    return KnownHostsOnly()


def _explain(error: Exception) -> SourceError:
    """Return what happened, without what a server says."""
    name = type(error).__name__
    if isinstance(error, FileNotFoundError):
        return SourceError("is not there, or not any more")
    if "Authentication" in name or "Logon" in name or isinstance(error, PermissionError):
        return SourceError("access is denied: check the secrets and what they allow")
    if isinstance(error, TimeoutError):
        return SourceError("sent nothing in time", may_pass=True)
    if name == "error_perm":
        return SourceError("the server refuses it: check the secrets, and whether it is there")
    return SourceError(f"cannot be read ({name})", may_pass=isinstance(error, OSError | EOFError))


def _not_installed() -> SourceError:
    return SourceError(
        "a remote folder of this protocol needs more than is installed: pip install "
        "'partitioned-etl[remote-folders]', or what fsspec names for it"
    )


def _wrong(attribute: str, reason: str) -> FeedDefinitionError:
    path = f"source.{attribute}"
    return FeedDefinitionError(f"{path}: {reason}", attribute=path)
