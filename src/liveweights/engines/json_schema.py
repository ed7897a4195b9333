"""How JSON is written under a schema."""

from __future__ import annotations

import json
from typing import Any

# One way to write JSON, so that a small model cannot lose itself in white space.
JSON_STYLE: dict[str, Any] = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}


def json_rule(schema: Any) -> str:
    """A JSON schema as an expression inside a Lark grammar."""
    if isinstance(schema, dict):
        schema = {**schema, "x-guidance": JSON_STYLE}
    return f"%json {json.dumps(schema)}"
