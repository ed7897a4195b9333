"""What a tenant used and owes, as ``/v1/usage`` and ``/v1/costs`` send it: OpenAI's pages of
``/v1/organization/usage/completions`` and ``/v1/organization/costs``. Times are seconds since
1970."""

from __future__ import annotations

from typing import Literal

import msgspec

LATEST = 7_258_118_400
"""The latest time that may be asked about: the year 2200."""


class UsageResult(msgspec.Struct, frozen=True, kw_only=True):
    """``model`` and ``api_key_id`` where the page is grouped by them. Nothing is known of what is
    null in every result."""

    object: Literal["organization.usage.completions.result"] = (
        "organization.usage.completions.result"
    )
    input_tokens: int
    output_tokens: int
    input_cached_tokens: int
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    num_model_requests: int
    project_id: None = None
    user_id: None = None
    api_key_id: str | None
    model: str | None
    batch: None = None


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    """``value`` in units of ``currency``, a code of ISO 4217 in small letters."""

    value: float
    currency: str


class CostResult(msgspec.Struct, frozen=True, kw_only=True):
    """``line_item`` is the model, where the page is grouped by it."""

    object: Literal["organization.costs.result"] = "organization.costs.result"
    amount: Amount
    line_item: str | None
    project_id: None = None


class UsageBucket(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["bucket"] = "bucket"
    start_time: int
    end_time: int
    results: list[UsageResult]


class CostBucket(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["bucket"] = "bucket"
    start_time: int
    end_time: int
    results: list[CostResult]


class UsagePage(msgspec.Struct, frozen=True, kw_only=True):
    """With ``has_more`` the next page is that of ``page=next_page``."""

    object: Literal["page"] = "page"
    data: list[UsageBucket]
    has_more: bool
    next_page: str | None


class CostPage(msgspec.Struct, frozen=True, kw_only=True):
    """With ``has_more`` the next page is that of ``page=next_page``."""

    object: Literal["page"] = "page"
    data: list[CostBucket]
    has_more: bool
    next_page: str | None
