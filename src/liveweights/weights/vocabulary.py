"""The tokens of a base as bytes, kept in the database: what was asked can be read there.

Prompts are recorded as token ids, which is what is learnt from and counted. The function
``prompt_text`` puts them together again where somebody looks.
"""

from __future__ import annotations

import re
from typing import Any

from liveweights.store.database import Connection
from liveweights.weights.byte_level import is_byte_level, token_bytes

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
"""How sentencepiece writes a byte that is no character of its own."""


def spell_tokens(tokenizer: Any) -> dict[int, bytes]:
    """The bytes that each token of a vocabulary stands for."""
    added: dict[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
    byte_level = is_byte_level(tokenizer)
    spelled: dict[int, bytes] = {}
    for token, id_ in tokenizer.get_vocab().items():
        if id_ in added:
            spelled[id_] = str(added[id_]).encode(errors="replace")
        elif byte_level:
            spelled[id_] = token_bytes(token)
        elif match := _BYTE.fullmatch(token):
            spelled[id_] = bytes.fromhex(match[1])
        else:
            spelled[id_] = token.replace("\u2581", " ").encode(errors="replace")
    return spelled


async def has_vocabulary(conn: Connection, root: str) -> bool:
    cursor = await conn.execute("select exists (select from vocabularies where root = %s)", (root,))
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def keep_vocabulary(conn: Connection, root: str, spelled: dict[int, bytes]) -> None:
    """Store what ``spell_tokens`` made for a registered base; what is known stays."""
    await conn.execute(
        "insert into vocabularies (root, token, bytes)"
        " select %s, token, bytes from unnest(%s::int[], %s::bytea[]) as v (token, bytes)"
        " on conflict do nothing",
        (root, list(spelled), list(spelled.values())),
    )
