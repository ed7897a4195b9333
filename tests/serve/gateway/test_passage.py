"""One answer on its way through."""

from __future__ import annotations

import json

from liveweights.serve.api.caller import Caller
from liveweights.serve.gateway.passage import Passage
from liveweights.serve.gateway.question import CHATS, read_question

CALLER = Caller(tenant="t", user=None, session=None, surface="", language="", consent=True)


def test_what_is_estimated_is_counted_again_only_where_more_was_said() -> None:
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return len(text)

    question = read_question(b'{"model": "m", "prompt": "ask"}', CHATS)
    passage = Passage(question, "completion", CALLER, count=count)

    def say(text: str) -> None:
        choice = json.dumps({"choices": [{"text": text}]})
        passage.add_chunk(f"data: {choice}\n\n".encode())
        passage.add_chunk(b"")

    say("yes")
    first = {"prompt_tokens": 3, "completion_tokens": 3, "estimated": 1}
    assert [passage.usage(), passage.usage()] == [first, first]
    assert counted == ["ask", "yes"]
    say(" no")
    (row,) = passage.finish()
    assert row.usage == passage.usage() == first | {"completion_tokens": 6}
    assert counted == ["ask", "yes", "yes no"]
