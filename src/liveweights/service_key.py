"""What the processes of one service say to each other so that nobody else can say it.

The gate asks the public API under this identity: what it asks is nobody's traffic, so it is not
recorded, charged or limited. A key is made at every start and kept in the home, for the commands
that ask the API too.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from urllib.parse import urlsplit

from liveweights.file_modes import write_durably

FILE = "service-key"
PREFIX = "liveweights-own-"
"""By which a key of another service, or of an earlier start, is told from a tenant's."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def make_key(home: Path) -> str:
    """A new key, in a file of ``home`` that only its owner reads."""
    key = PREFIX + secrets.token_urlsafe(32)
    write_durably(home / FILE, key.encode())
    return key


def read_key(home: Path) -> str:
    """The key of the service that was last started in ``home``; empty where there was none."""
    try:
        return (home / FILE).read_text()
    except FileNotFoundError:
        return ""


def key_for(url: str, home: Path, host: str) -> str:
    """The key to show at ``url``: empty unless that is on this machine or at the service's own
    address ``host``, for nobody else may see it."""
    return read_key(home) if urlsplit(url).hostname in LOOPBACK | {host} else ""
