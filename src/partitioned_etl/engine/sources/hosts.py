"""Hosts: with which hosts and addresses a source may speak.

Takes a declared URL and declared hosts; refuses every other one, and a name that stands for an
address of this machine or of its link, unless the address itself is declared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias
from urllib.parse import urlsplit

from partitioned_etl.engine.errors import FeedDefinitionError, SourceError

_PORTS = {"http": 80, "https": 443}
_OF_THIS_MACHINE = "localhost"
Address: TypeAlias = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port of a URL."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin":
        """Return the origin of a URL.

        Raises:
            ValueError: It is no URL of HTTP, or holds a user or a password; it is not repeated.
        """
        try:
            parts = urlsplit(url)
            scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
        except ValueError:
            raise ValueError("is no URL") from None
        if scheme not in _PORTS:
            raise ValueError("must begin with https:// or http://")
        if not host:
            raise ValueError("has no host")
        if "@" in parts.netloc:
            raise ValueError("must not hold a user or a password")
        return cls(scheme, host.lower(), _PORTS[scheme] if port is None else port)


@dataclass(frozen=True)
class AllowedHosts:
    """The hosts that a source may speak with.

    Attributes:
        own: Where its declared URL leads.
        others: Other hosts: a name, `*.` and the end of names, or either with a port.
    """

    own: Origin
    others: Sequence[str] = ()

    def check(self, origin: Origin) -> None:
        """Refuse another host, or another port of one.

        Raises:
            SourceError: It is not declared.
        """
        is_own_host = origin.host == self.own.host
        is_own = is_own_host and origin.port in (self.own.port, *_PORTS.values())
        if not (is_own or any(_matches(one, origin) for one in self.others)):
            where = origin.host if not is_own_host else f"{origin.host}, port {origin.port}"
            raise SourceError(f"leads to {where!a}, which is not among the declared hosts")

    def check_address(self, host: str, text: str) -> None:
        """Refuse an address that a host's name must not stand for.

        Raises:
            SourceError: It is of this machine or its link, or of no single one.
        """
        address = _to_address(text)
        if address is None or not _is_delicate(address):
            return
        names = {self.own.host, *(_split(one)[0] for one in self.others)}
        declared = {_to_address(name) for name in names}
        is_local = address.is_loopback and _OF_THIS_MACHINE in names
        if address not in declared and not is_local:
            raise SourceError(
                f"{host} stands for {address}, an address of this machine or its link, which is "
                "not among the declared hosts"
            )


def check_hosts(hosts: Sequence[str]) -> None:
    """Refuse what is no host.

    Raises:
        FeedDefinitionError: One is none.
    """
    for one in hosts:
        host, port = _split(one)
        name = host.removeprefix("*.")
        if not name or set(name) & set("/@?#*[] ") or (port and not port.isdecimal()):
            raise FeedDefinitionError(
                "source.hosts: a host is a name such as cdn.example.org, *.example.org or "
                "cdn.example.org:8443",
                attribute="source.hosts",
            )


def _split(host: str) -> tuple[str, str]:
    name, _, port = host.lower().partition(":") if host.count(":") == 1 else (host.lower(), "", "")
    return name, port


def _matches(declared: str, origin: Origin) -> bool:
    name, port = _split(declared)
    is_host = (
        origin.host.endswith(name.removeprefix("*"))
        if name.startswith("*.")
        else origin.host == name
    )
    return is_host and (origin.port == int(port) if port else origin.port in _PORTS.values())


def _to_address(text: str) -> Address | None:
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_delicate(address: Address) -> bool:
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or (address.is_reserved and not address.is_global)
    )
