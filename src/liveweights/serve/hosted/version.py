"""What names the version of a model that an upstream runs."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

LONGEST = 128
"""Characters of a name."""


@dataclass(frozen=True, slots=True)
class Version:
    """What an upstream says of the weights that answered: the model's own name for them, which may
    hold a date, and OpenAI's ``system_fingerprint``. Empty: nothing."""

    model: str = ""
    fingerprint: str = ""


UNSAID = Version()


def checkpoint_id(upstream: str, model: str, version: Version = UNSAID) -> str:
    """``name@<12 hex>``: over the URL of the upstream, the model's name there, and the version that
    it reports. What an upstream changes without a word is not seen."""
    parts = (upstream.rstrip("/").removesuffix("/v1"), model, version.model, version.fingerprint)
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    # It comes from elsewhere, and goes into headers.
    name = re.sub(r"[^\w.:/+-]", "-", version.model or model, flags=re.ASCII)[:LONGEST]
    return f"{name}@{digest[:12]}"
