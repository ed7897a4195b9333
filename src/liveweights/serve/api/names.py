"""Public names of models in headers."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

_PRINTABLE = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")


@lru_cache(maxsize=1024)
def model_header(name: str) -> tuple[bytes, bytes]:
    """``x-model``: what answered. What is not printable ASCII is percent-encoded."""
    return b"x-model", quote(name, safe=_PRINTABLE).encode()
