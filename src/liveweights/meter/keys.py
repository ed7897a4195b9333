"""Which key is whose."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

NOBODY = "default"
"""The tenant of all requests where no keys are asked for."""


@dataclass(frozen=True, slots=True)
class Client:
    """``key`` is a digest of the API key, empty where none is asked for: what limits are counted
    by. ``own``: a process of this service, such as its gate."""

    tenant: str
    key: str = ""
    own: bool = False


class Keys:
    """API keys and their tenants. Compares digests only: what a comparison takes says nothing
    about a key. Without any key, nobody is asked for one."""

    def __init__(self, tenants: Mapping[str, str]) -> None:
        self._tenants = {digest_of(key): tenant for key, tenant in tenants.items()}

    def __bool__(self) -> bool:
        """Whether every request needs one."""
        return bool(self._tenants)

    def find(self, key: str) -> Client | None:
        """Whose ``key`` it is; None for one that is not known, and for none where one is asked
        for."""
        if not self._tenants:
            return Client(NOBODY)
        digest = digest_of(key)
        tenant = self._tenants.get(digest) if key else None
        return None if tenant is None else Client(tenant, digest)


def digest_of(key: str) -> str:
    """What stands for a key: the same in every process, and nothing to guess the key by that
    guessing the key itself would not be."""
    return hashlib.blake2b(key.encode(errors="replace"), digest_size=16).hexdigest()
