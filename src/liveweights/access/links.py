"""The addresses by which people are invited to the console."""

from __future__ import annotations

from urllib.parse import urlencode


def link_of(url: str, token: str) -> str:
    """Of an invitation (its ``token``) to the service at ``url``."""
    return f"{url}/invite?{urlencode({'token': token})}"
