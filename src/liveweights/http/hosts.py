"""Under which names the service may be asked for.

A page of another site can have its own name point at this machine (DNS rebinding); its scripts
then may read what they ask for. They cannot choose the name that the browser sends.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from functools import lru_cache

from starlette.types import Scope

from liveweights.http.errors import ApiError, bad_request

INTERNAL = (".localhost", ".local", ".internal", ".svc")
"""Endings that nobody can register: of this machine, its network, or its cluster."""


class Hosts:
    """Names that nobody else can have, and those that are ``named`` in the settings: ``*`` for
    all, ``*.example.com`` for all below one."""

    def __init__(self, named: Iterable[str], own: str = "") -> None:
        names = {name.lower() for name in named}
        self._any = "*" in names
        self._names = names | {own.lower(), socket.gethostname().lower()}
        self._endings = (*INTERNAL, *(name[1:] for name in names if name.startswith("*.")))
        self._allowed = lru_cache(1024)(self._decide)

    def check(self, scope: Scope) -> None:
        """Raises ApiError 421 for another name, 400 for several. Who sends none is no browser."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if not hosts:
            return
        if len(hosts) > 1:
            raise bad_request("A request has one 'Host' header, not several.", "host")
        if not self._allowed(hosts[0]):
            shown = hosts[0].decode("latin-1")[:100]
            message = (
                f"This service is not known as {shown!r}. If it is to be, its operator adds that "
                "name to 'hosts' in the [api] settings."
            )
            raise ApiError(421, message, param="host", code="unknown_host")

    def _decide(self, sent: bytes) -> bool:
        if self._any:
            return True
        name = host_of(sent.decode("latin-1"))
        return (
            "." not in name
            or name in self._names
            or name.endswith(self._endings)
            or _is_address(name)
        )


def host_of(sent: str) -> str:
    """The name or address in a ``Host`` header, without port."""
    if sent.startswith("["):
        return sent[1:].partition("]")[0]
    return sent.partition(":")[0].lower().rstrip(".")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
