"""Which addresses an endpoint may have. Settings of a server must not become a way into the machine's own network.

Cloud machines hand out credentials at link-local addresses (169.254.169.254, fd00:ec2::254 and names for them); no
language model lives there. Loopback and private addresses are allowed: that is where most endpoints are.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from urllib.parse import SplitResult, urlsplit

from korean_llm.errors import KoreanLLMError

_METADATA_NAMES = re.compile(r"(?:.*\.)?(?:metadata|metadata\.google\.internal|instance-data(?:\..*)?)\.?")
_METADATA = {ipaddress.ip_address(known) for known in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200")}
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_endpoint(url: str) -> str:
    """The base URL of an endpoint without a slash at its end. Looks nothing up.

    Raises KoreanLLMError for what is no http(s) address, holds a user name or password, a query or a fragment, or
    leads to a link-local or metadata address, in whatever notation.
    """
    parts = _split(url)
    host = _ascii_like(parts.hostname or "")
    if parts.username is not None or parts.password is not None:
        raise KoreanLLMError(
            f"the endpoint at {host!r} has a user name or password in its address; take it out and put the key into"
            " OPENAI_API_KEY."
        )
    if parts.query or parts.fragment:
        raise KoreanLLMError(f"the endpoint at {host!r} has a query in its address; expected a base URL alone.")
    if _METADATA_NAMES.fullmatch(host.lower()):
        raise _refused(host)
    if (address := literal_address(host)) is not None:
        check_address(address, host)
    return url.strip().rstrip("/")


def _ascii_like(host: str) -> str:
    """The host as a client reads it: wide digits are digits, and every full stop of IDNA (RFC 3490, 3.1) is a dot."""
    return re.sub("[\u3002\uff0e\uff61]", ".", unicodedata.normalize("NFKC", host))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is none, brackets that do not close
        good = False
    if not good or re.search(r"[\s\\\x00-\x1f\x7f]", url.strip()):
        shown = re.sub(r"//[^/]*@", "//…@", url)
        raise KoreanLLMError(
            f"the endpoint {shown[:200]!r} is no address; expected a base URL such as http://127.0.0.1:8000/v1."
        )
    return parts


def literal_address(host: str) -> Address | None:
    """The address that a host is written as (127.1, 0x7f000001, ::1%lo and the like); None for a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))  # as the system reads short, octal and hexadecimal forms
    except (OSError, UnicodeEncodeError):
        return None


def check_address(address: Address, host: str) -> None:
    """Raises KoreanLLMError for an address that no endpoint has; host: what it was found for."""
    for inner in (address, *_embedded(address)):
        if inner.is_link_local or inner.is_multicast or inner in _METADATA:
            raise _refused(host)


def _embedded(address: Address) -> list[Address]:
    """IPv4 addresses inside an IPv6 one: mapped, 6to4 and NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    nat64 = ipaddress.ip_network("64:ff9b::/96")
    found: list[Address | None] = [address.ipv4_mapped, address.sixtofour]
    found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in nat64 else None)
    return [inner for inner in found if inner is not None]


def check_host(host: str) -> None:
    """Look a host up and check every address found. Raises KoreanLLMError; an unknown name is left for the client."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    for *_, place in found:
        address = literal_address(str(place[0]))
        if address is not None:
            check_address(address, host)


def _refused(host: str) -> KoreanLLMError:
    return KoreanLLMError(
        f"the endpoint's host {host!r} is a link-local or metadata address, where no model is served; name another."
    )
