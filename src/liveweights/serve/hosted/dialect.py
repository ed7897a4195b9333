"""What upstreams do otherwise than OpenAI, and how a request is put to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Raw

Quirk = Literal[
    "max_tokens", "max_completion_tokens", "system_role", "no_stream_options", "no_metadata",
    "api_key_header",
]  # fmt: skip
"""``max_tokens``: it knows no `max_completion_tokens`, and is told the same as `max_tokens`;
``max_completion_tokens``: the other way round. ``system_role``: messages of a `developer` are those
of the `system`. ``no_stream_options``, ``no_metadata``: it refuses `stream_options`, or `metadata`
and `store`, which are left out. ``api_key_header``: its key goes in the header `api-key`."""
_LIMITS = ("max_tokens", "max_completion_tokens")
_REFUSED = {"no_stream_options": ("stream_options",), "no_metadata": ("metadata", "store")}
_DEVELOPER, _SYSTEM = b'"developer"', Raw(b'"system"')
_messages = msgspec.json.Decoder(list[dict[str, Raw]]).decode


def adapt(members: Mapping[str, Raw], quirks: Sequence[Quirk]) -> dict[str, Raw]:
    """The members of a request as the upstream takes them; the values of those that need not
    change are the same bytes."""
    adapted = dict(members)
    for quirk in quirks:
        for name in _REFUSED.get(quirk, ()):
            adapted.pop(name, None)
        if quirk in _LIMITS:
            (other,) = (name for name in _LIMITS if name != quirk)
            limit = adapted.pop(other, None)
            if limit is not None and _is_null(adapted.get(quirk)):
                adapted[quirk] = limit
        if quirk == "system_role" and "messages" in adapted:
            adapted["messages"] = _without_developers(adapted["messages"])
    return adapted


def _is_null(value: Raw | None) -> bool:
    """Whether a member is left to the default: it is null, or is not there."""
    return value is None or bytes(value).strip() == b"null"


def _without_developers(messages: Raw) -> Raw:
    """As they are where they are no messages: the upstream will say so."""
    try:
        told = _messages(messages)
    except (msgspec.DecodeError, RecursionError):
        return messages
    if not any(_is_developer(one) for one in told):
        return messages
    changed = [one | {"role": _SYSTEM} if _is_developer(one) else one for one in told]
    return Raw(msgspec.json.encode(changed))


def _is_developer(message: Mapping[str, Raw]) -> bool:
    return bytes(message.get("role", b"")).strip() == _DEVELOPER


def key_header(key: str, quirks: Sequence[Quirk]) -> tuple[str, str]:
    """Name and value of the header by which the upstream knows us."""
    if "api_key_header" in quirks:
        return "api-key", key
    return "authorization", f"Bearer {key}"
