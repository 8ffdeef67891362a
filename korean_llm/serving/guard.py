"""Who may reach a server: the address it binds, its keys, the Host headers it answers to.

What a server itself may reach is checked in korean_llm.answering.writing.endpoint_address.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from korean_llm.errors import KoreanLLMError

KEY_VARIABLE = "KOREAN_LLM_KEY"
MIN_SECRET_CHARS = 16

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_loopback(host: str) -> bool:
    """Whether a server that binds this host can be reached from this machine alone.

    Raises KoreanLLMError where the host has no address.
    """
    return all(address.is_loopback for address in _addresses(host))


def check_bind(host: str, protected: bool, remedy: str) -> None:
    """Raises KoreanLLMError where other machines could reach the server and nothing keeps them out.

    remedy: how to protect it, such as "give a key with --key-file FILE".
    """
    if not protected and not is_loopback(host):
        raise KoreanLLMError(
            f"--host {host} can be reached from other machines, so the server must be locked; {remedy}."
        )


def check_secret(secret: str, name: str) -> None:
    """Raises KoreanLLMError where a key or password is too short, or holds what no HTTP header may hold."""
    if len(secret) < MIN_SECRET_CHARS or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise KoreanLLMError(
            f"{name} holds a secret that is not at least {MIN_SECRET_CHARS} printable ASCII characters without spaces;"
            " make one with `openssl rand -hex 24`."
        )


class Keys:
    """The keys that open a server. Only their hashes are kept, and all are compared in constant time."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._hashes = [_hash(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._hashes)

    @classmethod
    def read(cls, file: Path | None, environment: Mapping[str, str] = os.environ) -> Keys:
        """The keys of a file, one a line, else the one in KOREAN_LLM_KEY, else none.

        Raises KoreanLLMError where the file cannot be read or is empty, or a key is too short.
        """
        if file is None:
            keys, name = [environment[KEY_VARIABLE]] if environment.get(KEY_VARIABLE) else [], KEY_VARIABLE
        else:
            keys, name = _lines(file), f"--key-file {file}"
        for key in keys:
            check_secret(key, name)
        return cls(keys)

    def owner(self, authorization: str | None) -> str | None:
        """The name of the key ("key 1") in an Authorization header; None where it is none of the keys."""
        scheme, _, given = (authorization or "").partition(" ")
        return self.name(given.strip()) if scheme.lower() == "bearer" else None

    def name(self, key: str) -> str | None:
        """The name of a key; None where it is none of these."""
        hashed = _hash(key)
        same = [hmac.compare_digest(hashed, known) for known in self._hashes]
        return f"key {same.index(True) + 1}" if any(same) else None


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise KoreanLLMError(f"--key-file {file} cannot be read; give a text file with one key a line.") from None
    keys = [line.strip() for line in text.splitlines() if line.strip()]
    if not keys:
        raise KoreanLLMError(f"--key-file {file} is empty; write a key into it, `openssl rand -hex 24` makes one.")
    return keys


def is_own_host(header: str | None) -> bool:
    """Whether a Host header names this machine's loopback.

    A web page elsewhere can point its own name at 127.0.0.1 (DNS rebinding) and then talk to what listens there; its
    requests still carry its name.
    """
    try:
        parts = urlsplit(f"//{header or ''}")
        if parts.netloc != header or "@" in header or parts.port == 0:
            return False
        return parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:  # a port that is none, a name that is no address
        return False


def _addresses(host: str) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise KoreanLLMError(f"--host {host} is no address of this machine; use 127.0.0.1.") from None
    return [ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in found]
