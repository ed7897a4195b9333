"""What the API and the gateway answer alike, as OpenAPI describes it."""

from __future__ import annotations

from typing import Any

from liveweights.serve.api.caller import LANGUAGE, LONGEST, SESSION, SURFACE
from liveweights.serve.api.description import Header, Operation
from liveweights.serve.api.feedback import FeedbackBatch, FeedbackRequest
from liveweights.serve.api.key import KeyState
from liveweights.serve.api.objects import FeedbackList, FeedbackResult
from liveweights.serve.api.usage import LATEST, CostPage, UsagePage

CALLER: dict[str, Header] = {
    "x-session-id": (
        "What the user is at; keeps a session on one side of a canary.",
        {"maxLength": LONGEST[SESSION]},
    ),
    "x-surface": ("Where in the product the answer is shown.", {"maxLength": LONGEST[SURFACE]}),
    "x-language": ("Language of the text or code.", {"maxLength": LONGEST[LANGUAGE]}),
    "x-training-consent": (
        "Whether the answer may be trained on.",
        {"enum": ["yes", "no", "true", "false"]},
    ),
}
"""What they say of who asks."""
_PAGE = (400, 401, 403, 408, 429, 503)


def _page(*widths: str, most: int, keys: str) -> dict[str, dict[str, Any]]:
    """The query of a page of buckets."""
    second: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": LATEST}
    return {
        "start_time": second | {"description": "Seconds since 1970; its bucket is the first."},
        "end_time": second | {"description": "Seconds since 1970, without it: now."},
        "bucket_width": {"enum": [*widths], "default": "1d"},
        "group_by": {"type": "string", "description": f"Among {keys}, several with commas."},
        "limit": {"type": "integer", "minimum": 1, "maximum": most, "description": "Buckets."},
        "page": second | {"description": "The `next_page` of the page before."},
    }


FEEDBACK = Operation(
    "post",
    "/v1/feedback",
    "Say how an answer was received: one reaction, or up to a hundred.",
    (FeedbackResult, FeedbackList),
    (FeedbackRequest, FeedbackBatch),
    statuses=(200, 201, 422),
    errors=(400, 401, 403, 404, 409, 413, 415, 429, 503),
)
KEY = Operation(
    "get",
    "/v1/key",
    "What the key may do, and what is left of its limits and budgets.",
    (KeyState,),
    errors=(401, 429, 503),
)
USAGE = Operation(
    "get",
    "/v1/usage",
    "What the key's tenant used, in buckets of time.",
    (UsagePage,),
    errors=_PAGE,
    query=_page("1m", "1h", "1d", most=1440, keys="`model`, `api_key_id`"),
)
COSTS = Operation(
    "get",
    "/v1/costs",
    "What the key's tenant owes, in days.",
    (CostPage,),
    errors=_PAGE,
    query=_page("1d", most=180, keys="`line_item`"),
)
HEALTH = Operation(
    "get", "/healthz", "Whether a request could be answered.", (dict[str, Any],), errors=()
)
