"""What can be set about keys and their limits."""

from __future__ import annotations

from typing import Annotated

import msgspec

from liveweights import bounds

Key = Annotated[str, msgspec.Meta(min_length=16, max_length=512, pattern=r"^[!-~]*$")]
Tenant = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class RateLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Per API key; 0 means no limit."""

    requests_per_minute: Annotated[
        int, msgspec.Meta(ge=0, le=bounds.COUNT, description="Requests for answers per minute.")
    ] = 0
    tokens_per_minute: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=bounds.COUNT,
            description="Tokens of prompts and answers per minute. A request is counted with the "
            "fewest that its length allows when it comes in, then with its prompt and max_tokens, "
            "and with what it used when it has been answered.",
        ),
    ] = 0
    feedback_per_minute: Annotated[
        int, msgspec.Meta(ge=0, le=bounds.COUNT, description="Reactions per minute.")
    ] = 0
    reads_per_minute: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=bounds.COUNT,
            description="Questions to /insight, and models and stored responses that are looked up "
            "or deleted, per minute.",
        ),
    ] = 0
    concurrency: Annotated[
        int, msgspec.Meta(ge=0, le=bounds.COUNT, description="Requests being answered at once.")
    ] = 0


def show_limits(limits: RateLimits | None) -> str:
    """In words; empty for those of the settings (None)."""
    if limits is None:
        return ""
    given = {name: value for name, value in msgspec.structs.asdict(limits).items() if value}
    return ", ".join(f"{name}={value}" for name, value in given.items()) or "none"


class WarningSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[warnings]`` table."""

    url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^(https?://[^\s@]+)?$",
            description="Where a POST goes once when most of a budget is spent; empty: it is only "
            "logged.",
        ),
    ] = ""
    secret: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^([!-~]{16,512})?$",
            description="Key of at least 16 characters by which the POST is signed, see "
            "docs/keys.md; empty: it is not.",
        ),
    ] = ""
    share: Annotated[
        float,
        msgspec.Meta(gt=0, le=1, description="Of a budget that is spent when it is time to warn."),
    ] = 0.8
