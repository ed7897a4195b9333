"""What a passing request may use, before its upstream has said anything."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from liveweights.http.errors import bad_request
from liveweights.meter.charges import bound
from liveweights.meter.limits import QUOTA, LimitReached, Permit
from liveweights.serve.gateway.counts import Count, count_bytes
from liveweights.serve.gateway.question import Question


async def reserve(
    permit: Permit,
    question: Question,
    models: Sequence[str],
    longest: int,
    count: Count = count_bytes,
) -> None:
    """Tokens as far as the request limits them; money for what `estimate` says, by the dearest
    prices of the ``models`` that may answer. Raises LimitReached, LeasesAway; ApiError 400 for a
    request that leaves the model to the upstream, where it matters what that costs."""
    if permit.has_budget and not question.model:
        message = "Name the 'model': what its answer may cost is reserved of a budget before."
        raise bad_request(message, "model", "missing_required_parameter")
    nanos = max(_most(permit, question, models, longest, count).values(), default=0)
    await permit.reserve(question.choices * question.reserved, nanos)


async def reserve_affordable(
    permit: Permit, question: Question, models: Sequence[str], longest: int
) -> Sequence[str]:
    """The same for those of the ``models`` that the key's budgets suffice for, in their order: the
    dearest go first. Raises LimitReached, LeasesAway."""
    first: LimitReached | None = None
    left = models
    while left:
        try:
            await reserve(permit, question, left, longest)
            return left
        except LimitReached as error:
            if error.code != QUOTA:
                raise
            first = first or error
            prices = _most(permit, question, left, longest)
            dearest = max(prices.values())
            left = [model for model in left if prices[model] < dearest]
    assert first is not None  # a chain has at least one model
    raise first


def _most(
    permit: Permit,
    question: Question,
    models: Sequence[str],
    longest: int,
    count: Count = count_bytes,
) -> dict[str, int]:
    """Nanos that each can be charged at most; nothing where no budget asks for it."""
    if not permit.has_budget:
        return {}
    tokens, now = estimate(question, longest, count), datetime.now(UTC)
    return {model: bound(permit.find_price(model, now), *tokens) for model in models}


def estimate(question: Question, longest: int, count: Count = count_bytes) -> tuple[int, int]:
    """At most so many tokens: of the prompt, by ``count``, and of all choices, of ``longest`` each
    where the request does not say."""
    prompt = question.count_prompt(count)
    return prompt, question.choices * (question.reserved or longest)
