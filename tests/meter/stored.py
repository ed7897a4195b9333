"""Keys as they are stored, without a database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from liveweights.meter.key_rows import KeyRow, SealedKey
from liveweights.meter.keys import Keys
from liveweights.meter.rights import Rights
from liveweights.meter.secret import make_key, seal, visible

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def stored(key: str, id: str, previous: str | None = None, **said: Any) -> SealedKey:
    given = {
        "tenant": "acme",
        "name": "",
        "created_at": NOW,
        "expires_at": None,
        "revoked_at": None,
        "revoked_why": None,
        "rotated_at": None,
        "previous_until": None,
        "rights": Rights(models=("code",)),
    }
    row = KeyRow(id=id, prefix=visible(id), **(given | said))
    return SealedKey(row, seal(key), None if previous is None else seal(previous))


def with_rights(**said: Any) -> tuple[str, Keys]:
    """A stored key with these rights."""
    key = make_key("abcdefgh")
    keys = Keys({}, required=True)
    keys.replace([stored(key, "abcdefgh", rights=Rights(**said))])
    return key, keys
