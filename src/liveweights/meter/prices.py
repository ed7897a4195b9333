"""What tokens cost."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from liveweights import bounds


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a million tokens, in the currency of your choice."""

    input: Annotated[
        float, Meta(ge=0, le=bounds.WEIGHT, description="Per million tokens of prompt.")
    ] = 0.0
    output: Annotated[
        float, Meta(ge=0, le=bounds.WEIGHT, description="Per million tokens of answer.")
    ] = 0.0


def cost_nanos(price: Price | None, prompt_tokens: int, output_tokens: int) -> int:
    """Billionths of the currency, rounded; 0 without a price."""
    if price is None:
        return 0
    return round(1000 * (price.input * prompt_tokens + price.output * output_tokens))
