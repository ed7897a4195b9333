"""Which key is whose."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from liveweights.meter.key_rows import SealedKey
from liveweights.meter.rights import EVERYTHING, Rights
from liveweights.meter.secret import Stored, id_of, make_id, make_key, seal

NOBODY = "default"
"""The tenant of all requests where no keys are asked for."""


@dataclass(frozen=True, slots=True)
class Client:
    """``key`` is what limits are counted by: a stored key's id, a digest of one of the settings
    file, empty where none is asked for. ``own``: a process of this service, such as its gate."""

    tenant: str
    key: str = ""
    own: bool = False
    rights: Rights = EVERYTHING


ANYBODY = Client(NOBODY)


class EndedKey(Exception):
    """The key was good, and is not any more; the message says since when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What a key that is shown is compared with, and what it opens. Times are aware ones."""

    tenant: str
    name: str
    current: Stored
    previous: Stored | None = None
    previous_until: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    rights: Rights = EVERYTHING

    def fits(self, given: str, now: datetime) -> bool:
        """Both secrets are looked at, whichever fits."""
        current = self.current.fits(given)
        previous = self.previous is not None and self.previous.fits(given)
        kept = self.previous_until is not None and now < self.previous_until
        return current or (previous and kept)

    def check(self, now: datetime) -> None:
        """Raises EndedKey."""
        if self.revoked_at is not None:
            raise EndedKey(f"This API key was revoked on {self.revoked_at:%Y-%m-%d}.")
        if self.expires_at is not None and now >= self.expires_at:
            raise EndedKey(f"This API key expired on {self.expires_at:%Y-%m-%d %H:%M} (UTC).")


NO_KEY = Key(tenant="", name="", current=seal(make_key(make_id())))
"""What is compared with where there is no such key, so that this takes as long: nobody has it."""


def _now() -> datetime:
    return datetime.now(UTC)


class Keys:
    """API keys and their tenants: those of the settings file, and those that are stored.

    Only hashes are compared: what a comparison takes says nothing about a key. With ``required``,
    or keys of the settings file, every request needs one.
    """

    def __init__(
        self,
        tenants: Mapping[str, str],
        *,
        required: bool = False,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._required = required or bool(tenants)
        self._clock = clock
        self._given = {
            name: Key(tenant=tenant, name=name, current=seal(key))
            for key, tenant in tenants.items()
            if (name := digest_of(key))
        }
        self._stored: dict[str, Key] = {}
        self.closed: frozenset[str] = frozenset()
        """Tenants whose keys open nothing: what they may spend cannot be read."""

    def __bool__(self) -> bool:
        """Whether every request needs one."""
        return self._required

    def replace(self, keys: Iterable[SealedKey]) -> None:
        """All that are stored."""
        self._stored = {one.row.id: _opened(one) for one in keys}

    def update(self, ids: Iterable[str], keys: Iterable[SealedKey]) -> None:
        """What has become of these ids."""
        for id in ids:
            self._stored.pop(id, None)
        self._stored |= {one.row.id: _opened(one) for one in keys}

    def find(self, given: str) -> Client | None:
        """Whose ``given`` it is; None for one that is not known, and for none where one is asked
        for. Where none is, whoever shows no stored key is nobody. Raises EndedKey."""
        id = id_of(given)
        if not self._required and id is None:
            return ANYBODY
        short = self._given.get(digest_of(given)) if self._given else None
        key = short or self._stored.get(id or "") or NO_KEY
        now = self._clock()
        if not (key.fits(given, now) and given and key is not NO_KEY):
            return None
        if key.tenant in self.closed:
            return None
        key.check(now)
        return Client(key.tenant, key.name, rights=key.rights)


def _opened(one: SealedKey) -> Key:
    row = one.row
    return Key(
        tenant=row.tenant,
        name=row.id,
        current=one.current,
        previous=one.previous,
        previous_until=row.previous_until,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        rights=row.rights,
    )


def digest_of(key: str) -> str:
    """What stands for a key: the same in every process, and nothing to guess the key by that
    guessing the key itself would not be."""
    return hashlib.blake2b(key.encode(errors="replace"), digest_size=16).hexdigest()
