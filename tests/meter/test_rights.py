from __future__ import annotations

import msgspec
import pytest

from liveweights.meter.rights import EVERYTHING, Rights


def read(**said: object) -> Rights:
    return msgspec.convert(said, Rights)


def test_what_was_not_said_binds_nothing() -> None:
    assert EVERYTHING.allow_use("insight")
    assert EVERYTHING.allow_model("any")
    assert EVERYTHING.allow_path("/v1/completions")


def test_a_key_is_for_what_was_said() -> None:
    rights = read(uses=["feedback"], models=["code"])
    assert rights.allow_use("feedback")
    assert not rights.allow_use("answers")
    assert rights.allow_model("code")
    assert not rights.allow_model("code2")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/chat", True),
        ("/v1/chat/completions", True),
        ("/v1/chats", False),
        ("/v1", False),
        ("/infill", True),
        ("/infill/more", True),
        ("/infilling", False),
    ],
)
def test_paths_are_allowed_by_whole_segments(path: str, allowed: bool) -> None:
    assert read(endpoints=["/v1/chat", "/infill/"]).allow_path(path) is allowed


@pytest.mark.parametrize(
    "said",
    [
        {"uses": ["everything"]},
        {"models": [""]},
        {"models": ["a\0b"]},
        {"endpoints": ["v1/chat"]},
        {"limits": {"requests_per_minute": -1}},
        {"budgets": [{"period": "hour", "nanos": 1}]},
        {"budgets": [{"period": "day", "nanos": -1}]},
        {"budgets": [{"period": "day", "nanos": 1}, {"period": "day", "nanos": 2}]},
        {"unknown": 1},
    ],
)
def test_what_no_key_can_have_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(**said)
