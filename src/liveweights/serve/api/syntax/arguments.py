"""A call's arguments as JSON text, and back: nothing that is no JSON, and nothing that UTF-8 cannot
spell."""

from __future__ import annotations

import json
import math
from typing import Any

from liveweights.http.wire import is_deep
from liveweights.record.clean import clean_text


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"{number[:50]} is beyond all floats")
    return value


class _Decoder(json.JSONDecoder):
    def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
        value, end = super().raw_decode(s, idx)
        if is_deep(s[idx:end].encode(errors="replace")):
            raise ValueError("it is nested too deeply")  # for whoever writes it again
        return value, end


JSON = _Decoder(parse_constant=_refuse, parse_float=_finite)
"""Takes neither NaN nor infinities, as Python's does, nor what no request's body may nest. Its
methods raise ValueError and RecursionError."""


def write_arguments(arguments: dict[str, Any]) -> str:
    """As JSON text. Half a surrogate, which models can write as an escape, becomes U+FFFD: no
    encoding of Unicode can say it."""
    return clean_text(json.dumps(arguments, ensure_ascii=False))


def write_value(value: Any) -> str:
    """A text as it is, anything else as JSON text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
