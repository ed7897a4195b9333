"""What a tenant uses answers for."""

from __future__ import annotations

from collections.abc import Mapping

from liveweights.catalog.filters import UNKNOWN

OTHERS = "*"
"""Every tenant that has no purpose of its own."""


def find_purpose(purposes: Mapping[str, str], tenant: str | None) -> str:
    """By tenant, else by ``*``; ``unknown`` where neither is said. ``tenant`` None: nobody's in
    particular."""
    others = purposes.get(OTHERS, UNKNOWN)
    return others if tenant is None else purposes.get(tenant, others)
