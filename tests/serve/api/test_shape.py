"""Events of a response, and what it becomes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.effort import at_most

from liveweights.engines.protocol import Token
from liveweights.http.errors import internal
from liveweights.serve.api.responses.objects import make_response
from liveweights.serve.api.responses.request import ResponsesRequest
from liveweights.serve.api.responses.shape import ResponseShape
from liveweights.serve.api.syntax.thinking import Tags
from liveweights.serve.api.thinking import Thinking
from liveweights.serve.api.toolbox import Toolbox

from .doubles import make_tokenizer

DRAFT: Any = SimpleNamespace(reason=None)
TAGS = Tags("<think>", "</think>")


def make_shape(*, thinks: bool) -> ResponseShape:
    request = ResponsesRequest(model="m", input="a")
    response = make_response(request, "resp_1", 0, "c", "gen_1")
    toolbox = Toolbox(thinking=Thinking(TAGS, "open") if thinks else None)
    return ResponseShape(response, make_tokenizer(), toolbox, logprobs=False)


@pytest.mark.parametrize("thinks", [False, True])
def test_a_long_answer_takes_no_longer_for_each_token(thinks: bool) -> None:
    shape, piece = make_shape(thinks=thinks), "a" * 2000
    with at_most(20.0):  # with all before it copied each time it would take minutes
        for _ in range(30_000):
            shape.token(DRAFT, Token(1, piece, 0, 0))
        last = shape.broken(internal())
    assert len(last) > 30_000 * 2000


@pytest.mark.parametrize("thinks", [False, True])
def test_what_broke_off_has_what_was_said(thinks: bool) -> None:
    shape = make_shape(thinks=thinks)
    for text in ("one ", "two ", "three"):
        shape.token(DRAFT, Token(1, text, 0, 0))
    assert b'"one two three"' in shape.broken(internal())
