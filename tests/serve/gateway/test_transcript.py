"""Reading answers of the three endpoints, whole and in events."""

from __future__ import annotations

import json

import pytest

from liveweights.serve.gateway.transcript import CHOICES, Transcript, Unreadable


def test_a_response_in_events() -> None:
    transcript = Transcript()
    whole = {
        "model": "m",
        "status": "completed",
        "output": [
            {"type": "reasoning", "content": [], "summary": [{"text": "A greeting."}]},
            {"type": "message", "content": [{"type": "output_text", "text": "Hi there"}]},
            {"type": "function_call", "name": "f", "arguments": "{}"},
            {"type": "custom_tool_call", "name": "patch", "input": "+ 1"},
            {"type": ["odd"]},
        ],
        "usage": {"input_tokens": 3, "output_tokens": 2, "input_tokens_details": {}},
    }
    for event in (
        {"type": "response.created", "response": {"model": "m", "status": "in_progress"}},
        {"type": "response.reasoning_summary_text.delta", "delta": "A gr"},
        {"type": "response.output_text.delta", "delta": "Hi"},
        {"type": "response.content_part.done", "part": {"text": "Hi"}},
    ):
        transcript.add_event(json.dumps(event).encode())
    assert (transcript.choices[0].text(), transcript.done) == ("Hi", False)
    assert transcript.choices[0].reasoning() == "A gr"
    transcript.add_event(json.dumps({"type": "response.completed", "response": whole}).encode())
    assert transcript.done
    said = transcript.choices[0]
    calls = '[{"name":"f","arguments":"{}"},{"name":"patch","arguments":"+ 1"}]'
    assert said.text() == f'Hi there{{"tool_calls":{calls}}}'
    assert said.reasoning() == "A greeting."
    assert (said.reason, transcript.model) == ("stop", "m")
    assert transcript.usage == {"prompt_tokens": 3, "completion_tokens": 2}


def test_cached_and_thought_tokens_are_counted() -> None:
    transcript = Transcript()
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "requests": 7,  # a word of the record's own
        "sent_tokens": 0,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 3, "cached_tokens": "x"},
    }
    transcript.add_whole(json.dumps({"choices": [], "usage": usage}).encode())
    assert transcript.usage == {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "cached_tokens": 4,
        "reasoning_tokens": 3,
    }


def test_a_whole_response() -> None:
    transcript = Transcript()
    output = [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}]
    transcript.add_whole(json.dumps({"status": "incomplete", "output": output}).encode())
    assert (transcript.choices[0].text(), transcript.choices[0].reason) == ("Hi", "length")


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("streamed", [True, False])
def test_what_is_thought_is_kept_apart(name: str, streamed: bool) -> None:
    transcript = Transcript()
    if streamed:
        for piece in ({name: "Two and "}, {name: "two."}, {"content": "4"}):
            transcript.add_event(json.dumps({"choices": [{"delta": piece}]}).encode())
    else:
        message = {name: "Two and two.", "content": "4"}
        transcript.add_whole(json.dumps({"choices": [{"message": message}]}).encode())
    said = transcript.choices[0]
    assert (said.reasoning(), said.text()) == ("Two and two.", "4")


@pytest.mark.parametrize("indices", [(0, 1, 2), (0, 0, 0), (None, None, None), (0, 0, 1)])
def test_parallel_calls_are_told_apart_by_their_ids(indices: tuple[int | None, ...]) -> None:
    transcript = Transcript()
    for number, index in enumerate(indices):
        known = {} if index is None else {"index": index}
        begin = {"id": f"call_{number}", "function": {"name": f"f{number}", "arguments": ""}}
        pieces = [begin, *({"function": {"arguments": part}} for part in ('{"a"', f": {number}}}"))]
        for piece in pieces:
            choice = {"delta": {"tool_calls": [known | piece]}}
            transcript.add_event(json.dumps({"choices": [choice]}).encode())
    calls = [{"name": f"f{n}", "arguments": f'{{"a": {n}}}'} for n in range(3)]
    said = transcript.choices[0].text()
    assert json.loads(said) == {"tool_calls": calls}


def test_calls_with_a_free_text_are_calls() -> None:
    call = {"id": "c", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    transcript = Transcript()
    transcript.add_whole(json.dumps({"choices": [{"message": {"tool_calls": [call]}}]}).encode())
    told = {"tool_calls": [{"name": "sql", "arguments": "select 1"}]}
    assert json.loads(transcript.choices[0].text()) == told
    streamed = Transcript()
    for piece in ({"name": "sql", "input": "sel"}, {"input": "ect 1"}):
        choice = {"delta": {"tool_calls": [{"index": 0, "custom": piece}]}}
        streamed.add_event(json.dumps({"choices": [choice]}).encode())
    assert json.loads(streamed.choices[0].text()) == told


@pytest.mark.parametrize(
    "entry", [{"token": "token_id:5", "logprob": -1.0}, {"token": "x", "id": 5, "logprob": -1.0}]
)
def test_ids_beside_logprobs(entry: dict[str, object]) -> None:
    choice = {"delta": {"content": "x"}, "logprobs": {"content": [entry]}}
    transcript = Transcript()
    transcript.add_event(json.dumps({"choices": [choice]}).encode())
    assert transcript.choices[0].tokens() == ([5], [-1.0])


def test_logprobs_of_unknown_tokens_are_not_kept() -> None:
    choice = {"delta": {"content": "x"}, "logprobs": {"content": [{"token": "x", "logprob": -1}]}}
    transcript = Transcript()
    transcript.add_event(json.dumps({"choices": [choice]}).encode())
    assert transcript.choices[0].tokens() == ([], [])


@pytest.mark.parametrize("index", [-1, CHOICES, CHOICES + 1, 10**9])
def test_choices_without_end_are_counted(index: int) -> None:
    transcript = Transcript()
    usage = {"prompt_tokens": 3, "completion_tokens": 5}
    choices = [{"index": n, "text": f"{n}", "token_ids": [n]} for n in (0, index, index)]
    transcript.add_whole(json.dumps({"choices": choices, "usage": usage}).encode())
    assert (list(transcript.choices), transcript.usage) == ([0], usage)
    assert [said.text() for said in transcript.said] == ["0", f"{index}{index}"]
    assert transcript.said[1].ids == [index, index]
    assert transcript.unfit == ["choices"]


@pytest.mark.parametrize("size", [1, 7, 50, 1000])
@pytest.mark.parametrize("last", [True, False])
def test_what_a_long_answer_used_is_found_wherever_it_stands(size: int, last: bool) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    said = {"choices": [{"text": json.dumps({"usage": {"completion_tokens": 9}}) * 90}]}
    body = json.dumps(said | {"usage": usage} if last else {"usage": usage} | said).encode()
    transcript = Transcript()
    for start in range(0, len(body), size):
        transcript.skim(body[start : start + size])
    assert (transcript.usage, transcript.unfit) == (usage, ["output"])


@pytest.mark.parametrize("body", [b"", b'"usage"', b'"usage": 3', b'"usage": {"a":', b"\xff" * 99])
def test_a_long_answer_may_say_nothing_of_it(body: bytes) -> None:
    transcript = Transcript()
    transcript.skim(body)
    assert transcript.usage == {}


@pytest.mark.parametrize("wrong", ["NaN", "-Infinity", "1e999", r'"\ud83d"', r'["\ude00 x"]'])
def test_what_is_no_json_anywhere_costs_nothing_else(wrong: str) -> None:
    """Servers in Python write such numbers, and servers in JavaScript such texts."""
    logprobs = '{"content": [{"token": "x", "logprob": %s}]}' % wrong  # noqa: UP031
    choice = r'{"index": 0, "message": {"content": "cut \ud83d"}, "logprobs": ' + logprobs + "}"
    usage = '{"prompt_tokens": 3, "completion_tokens": 5}'
    transcript = Transcript()
    transcript.add_whole(f'{{"x": {wrong}, "choices": [{choice}], "usage": {usage}}}'.encode())
    assert transcript.usage == {"prompt_tokens": 3, "completion_tokens": 5}
    assert transcript.choices[0].text() == "cut \ufffd"


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"choices": 3}', b"\xff"])
def test_what_cannot_be_read_says_so(data: bytes) -> None:
    with pytest.raises(Unreadable):
        Transcript().add_event(data)
