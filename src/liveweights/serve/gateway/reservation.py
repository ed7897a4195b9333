"""What a passing request may use, before its upstream has said anything."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from liveweights.meter.charges import bound
from liveweights.meter.limits import Permit
from liveweights.serve.gateway.counts import Count, count_bytes
from liveweights.serve.gateway.question import Question


async def reserve(
    permit: Permit,
    question: Question,
    models: Sequence[str],
    longest: int,
    count: Count = count_bytes,
) -> None:
    """Tokens as far as the request limits them; money for its prompt, by ``count``, and for each of
    its choices, of at most ``longest`` tokens where it does not say, by the dearest prices of the
    ``models`` that may answer. Raises LimitReached, LeasesAway."""
    nanos = 0
    if permit.has_budget:
        prompt = question.count_prompt(count)
        output = question.choices * (question.reserved or longest)
        now = datetime.now(UTC)
        nanos = max(bound(permit.find_price(model, now), prompt, output) for model in models)
    await permit.reserve(question.reserved, nanos)
