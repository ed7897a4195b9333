"""Lines of old logs, read as the gateway reads what passes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.gateway.logs import LogError, LogReader
from liveweights.store.partitions import day_of

READER = LogReader("code", "team-a", ApiSettings())


def chat(**changes: Any) -> dict[str, Any]:
    line: dict[str, Any] = {
        "created_at": "2026-03-01T12:00:00Z",
        "request": {
            "model": "big",
            "messages": [{"role": "user", "content": "Capital of France?"}],
            "temperature": 0.7,
            "user": "u-1",
            "metadata": {"session": "s-1", "ticket": "17"},
        },
        "response": {
            "model": "big-2026",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Paris."},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 9, "completion_tokens": 2},
        },
        "feedback": [{"signal": "thumbs", "value": "up", "at": "2026-03-01T12:00:40Z"}],
    }
    return {**line, **changes}


def read(line: dict[str, Any]) -> Any:
    return READER.read(json.dumps(line).encode())


def test_a_chat_becomes_an_answer_and_its_feedback() -> None:
    logged = read(chat())
    (answer,), (feedback,) = logged.generations, logged.feedback
    assert (answer.alias, answer.checkpoint) == ("code", "big-2026@import")
    assert (answer.endpoint, answer.output, answer.finish_reason) == ("chat", "Paris.", "stop")
    assert (answer.tenant, answer.user, answer.session) == ("team-a", "u-1", "s-1")
    assert answer.metadata == {"ticket": "17"}
    assert json.loads(answer.prompt)["messages"][0]["content"] == "Capital of France?"
    assert answer.consent
    assert str(day_of(answer.id)) == "2026-03-01"
    assert (feedback.generation, feedback.signal, feedback.value) == (answer.id, "thumbs", 1.0)
    assert (feedback.received_at - answer.created_at).total_seconds() == 40


def test_what_the_log_does_not_have_is_not_made_up() -> None:
    (answer,) = read(chat()).generations
    assert answer.prompt_ids == answer.output_ids == answer.logprobs == answer.raw_logprobs == []


def test_tokens_are_kept_where_the_log_has_them() -> None:
    own = {"temperature": 1, "top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1}
    line = chat(request={"model": "m", "prompt": [1, 2], **own})
    line["response"] = {
        "choices": [
            {
                "text": "ab",
                "finish_reason": "stop",
                "logprobs": {"tokens": ["token_id:5", "token_id:6"], "token_logprobs": [-0.5, -1]},
            }
        ]
    }
    (answer,) = read(line).generations
    assert (answer.prompt_ids, answer.output_ids) == ([1, 2], [5, 6])
    assert answer.logprobs == answer.raw_logprobs == [-0.5, -1.0]


def test_the_same_line_has_the_same_ids_also_when_feedback_was_added() -> None:
    once, again = read(chat()), read(chat())
    assert once == again
    more = read(chat(feedback=[*chat()["feedback"], {"signal": "accepted"}]))
    assert more.generations == once.generations
    assert more.feedback[0].id == once.feedback[0].id


@pytest.mark.parametrize(
    "changes",
    [
        {"user": "somebody else"},
        {"created_at": "2026-03-01T12:00:01Z"},
        {"session": "s-2"},
        {"id": "row-2"},
    ],
)
def test_other_lines_have_other_ids(changes: dict[str, Any]) -> None:
    other = chat(**changes, feedback=[])
    assert read(other).generations[0].id != read(chat()).generations[0].id


def test_several_choices_are_several_answers() -> None:
    line = chat()
    line["response"]["choices"].append(
        {"index": 1, "message": {"content": "Lyon."}, "finish_reason": "stop"}
    )
    line["feedback"] = [{"signal": "rejected", "choice": 1}]
    logged = read(line)
    assert [answer.output for answer in logged.generations] == ["Paris.", "Lyon."]
    assert logged.feedback[0].generation == logged.generations[1].id


def test_consent_is_the_lines_else_the_tenants() -> None:
    assert not read(chat(training=False)).generations[0].consent
    strict = LogReader("code", "team-a", ApiSettings(tenant_consent={"team-a": False}))
    assert not strict.read(json.dumps(chat()).encode()).generations[0].consent
    assert strict.read(json.dumps(chat(training=True)).encode()).generations[0].consent


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "truncated"),
        (chat(created_at="2026-03-01T12:00:00"), "timezone"),
        (chat(created_at="1970-01-21T00:00:00Z"), "since 2015"),
        (chat(created_at="2999-01-01T00:00:00Z"), "since 2015"),
        (chat(request={"model": "m"}), "'messages', 'input' or 'prompt'"),
        (chat(request=[]), "request"),
        (chat(response={"error": "busy"}), "no choices"),
        (chat(response="Paris."), "no choices"),
        (chat(feedback=[{"signal": "liked"}]), "signal"),
        (chat(feedback=[{"signal": "thumbs", "value": 5}]), "thumbs"),
        (chat(feedback=[{"signal": "correction"}]), "what the user wrote instead"),
        (chat(feedback=[{"signal": "accepted", "choice": 3}]), "choice 3"),
        (chat(feedback=[{"signal": "accepted", "at": "2026-02-01T00:00:00Z"}]), "between"),
        (chat(unheard=1), "unheard"),
        (chat(request={"model": "m", "prompt": "a", "seed": 2 * 10**19}), "seed"),
        (chat(user="x" * 600), "512"),
    ],
)
def test_a_bad_line_says_what_is_wrong(line: Any, why: str) -> None:
    text = line if isinstance(line, str) else json.dumps(line)
    with pytest.raises(LogError, match=why):
        READER.read(text.encode())
