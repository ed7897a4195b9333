"""Licences of models, and what each asks of whoever uses one. Paraphrases, not legal advice."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

DutyKind = Literal[
    "acceptable-use",
    "attribution",
    "derivative-naming",
    "derivative-terms",
    "display-name",
    "exempt",
    "guardrail",
    "hosting-agreement",
    "indemnity",
    "jurisdiction",
    "non-commercial",
    "notice",
    "output-training",
    "patent",
    "region",
    "registration",
    "revenue-threshold",
    "runtime",
    "security-review",
    "termination",
    "user-threshold",
]
"""What a duty is about. ``exempt`` says what is outside the duties; ``revenue-threshold`` and
``user-threshold`` say in their text what crossing it does, from showing a name to no rights."""

Text = Annotated[str, Meta(min_length=1)]
DISPLAY = "{display_name}"
"""In a duty's text: the name that the card says is to be shown."""


class Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A threshold for code: the duty applies where ``metric op value`` holds.

    ``value`` is people or, with ``unit``, money; ``period`` is what it is counted over.
    """

    metric: Literal["monthly_active_users", "revenue"]
    op: Literal["<", "<=", ">", ">="]
    value: Annotated[int, Meta(ge=0)]
    unit: Literal["USD"] | None = None
    period: Literal["month", "year"] | None = None


class Duty(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that a licence asks for.

    ``threshold`` says for people when it applies, ``limits`` for code; any of them is enough.
    Without either it applies always.
    """

    kind: DutyKind
    text: Text
    threshold: str | None = None
    limits: tuple[Limit, ...] = ()


class Licence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A licence and its duties. ``id`` is SPDX's, or ``LicenseRef-...`` where it has none.

    ``verified`` says how far the paraphrase was compared with the licence's own text.
    """

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$")]
    name: Text
    url: str | None = None
    osi_approved: bool | None = None
    verified: str = "unknown"
    source: str | None = None
    used_by: str | None = None
    duties: tuple[Duty, ...] = ()
    notes: tuple[Text, ...] = ()
