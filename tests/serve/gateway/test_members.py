"""What servers would read otherwise than it was checked."""

from __future__ import annotations

import pytest

from liveweights.http.errors import ApiError
from liveweights.serve.gateway.members import check_members


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"model": "cheap", "MODEL": "dear"}', "MODEL"),
        (b'{"model": "cheap", "model": "dear"}', "model"),
        (b'{"model": "cheap", "mod\\u0065l": "dear"}', "model"),
        (b'{"model": "cheap", "max_tokens": 1, "Max_Tokens": 9}', "Max_Tokens"),
        (b'{"model": "cheap", "max_to\xe2\x84\xaaens": 9}', "max_to\u212aens"),
        (b'{"n": 1, "n" : 9}', "n"),
        (b'{"BACKGROUND": true}', "BACKGROUND"),
        (b'{"model": "cheap", "models": ["dear"]}', "models"),
        (b'{"model": "cheap", "Provider": {}}', "Provider"),
        (b'{"user": "\\ud83d", "service_tier": "priority"}', "service_tier"),
    ],
)
def test_what_is_read_otherwise_is_refused_by_name(body: bytes, named: str) -> None:
    with pytest.raises(ApiError) as refused:
        check_members(body, ())
    assert (refused.value.status, refused.value.param) == (400, named)
    assert repr(named) in str(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "cheap", "max_tokens": 1, "n": 1, "Temperature": 1, "temperature": 0}',
        b'{"model": "a", "tools": [{"model": 1, "MODEL": 2, "n": 1}], "n": 2, "user": "\\ud83d"}',
        b'{"model": "a", "messages": [{"content": "\\"model\\": {\\"n\\": 1}"}]}',
        b'{"web_search_options": {}}',
        b'{"model": "a", "service_tier": "auto", "provider": null}',
        b'{"user": "\\ud83d", "service_tier": "default", "models": null}',
    ],
)
def test_all_else_passes(body: bytes) -> None:
    check_members(body, ["web_search_options"])
