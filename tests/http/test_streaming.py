"""Clients that go away, and engines that break down, at every point of an answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.serve.api.doubles import BASE, Answer, Api, make_api

from liveweights.engines.protocol import EngineError, PromptTooLong, UnknownCheckpoint
from liveweights.http.streaming import while_connected
from liveweights.record.binary import encode
from liveweights.record.errors import WriterClosed

PATHS = {
    "/v1/completions": {"model": "tiny", "prompt": "say:", "max_tokens": 50},
    "/v1/chat/completions": {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]},
}
EVERY_WAY = [(path, stream) for path in PATHS for stream in (True, False)]


def request(api: Api, path: str, stream: bool, *, n: int = 1, **more: Any) -> Any:
    return api.acall("POST", path, PATHS[path] | {"stream": stream, "n": n}, **more)


@pytest.mark.parametrize(("path", "stream"), EVERY_WAY)
def test_a_client_that_leaves_stops_the_engine_within_a_step(path: str, stream: bool) -> None:
    async def scenario() -> None:
        steps = asyncio.Semaphore(3)  # the fourth token never comes
        api = make_api("hello", pause=steps.acquire)
        hang_up, answer = asyncio.Event(), Answer()
        task = asyncio.create_task(request(api, path, stream, hang_up=hang_up, answer=answer))
        while api.engine.yielded < 3:
            await asyncio.sleep(0)
        assert api.router.in_use(BASE) == 1
        hang_up.set()
        await task
        generation = api.recorder.only()
        assert (generation.output, generation.finish_reason) == ("hel", "cancelled")
        assert len(generation.output_ids) == len(generation.logprobs) == 3
        assert api.engine.open == 0
        assert api.router.in_use(BASE) == 0
        assert bool(answer.status) == stream

    asyncio.run(scenario())


@pytest.mark.parametrize(("path", "stream"), EVERY_WAY)
def test_nothing_is_recorded_when_nothing_was_sampled(path: str, stream: bool) -> None:
    async def scenario() -> None:
        api = make_api("hello", pause=asyncio.Event().wait)
        hang_up = asyncio.Event()
        task = asyncio.create_task(request(api, path, stream, hang_up=hang_up))
        while not api.engine.open:
            await asyncio.sleep(0)
        hang_up.set()
        await task
        assert not api.recorder.generations
        assert (api.engine.open, api.router.in_use(BASE)) == (0, 0)

    asyncio.run(scenario())


@pytest.mark.parametrize(("path", "stream"), EVERY_WAY)
def test_a_server_that_stops_records_what_was_seen(path: str, stream: bool) -> None:
    async def scenario() -> None:
        steps = asyncio.Semaphore(2)
        api = make_api("hello", pause=steps.acquire)
        task = asyncio.create_task(request(api, path, stream))
        while api.engine.yielded < 2:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert api.recorder.only().finish_reason == "cancelled"
        assert (api.engine.open, api.router.in_use(BASE)) == (0, 0)

    asyncio.run(scenario())


@pytest.mark.parametrize(("path", "stream"), EVERY_WAY)
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (EngineError("out of memory"), 503, "engine_unavailable"),
        (UnknownCheckpoint("gone"), 503, "engine_unavailable"),
        (PromptTooLong("by far"), 400, "context_length_exceeded"),
        (ZeroDivisionError(), 500, None),
    ],
)
def test_errors_before_the_first_token_have_a_status(
    path: str, stream: bool, error: Exception, status: int, code: str | None
) -> None:
    api = make_api(fail_at=0, error=error)
    answer = asyncio.run(request(api, path, stream))
    assert answer.status == status
    assert answer.error()["code"] == code
    assert api.router.in_use(BASE) == 0
    if status >= 500:  # a checkpoint is judged by its failures
        generation = api.recorder.only()
        assert (generation.output_ids, generation.finish_reason) == ([], "error")
    else:
        assert not api.recorder.generations


@pytest.mark.parametrize("path", PATHS)
def test_errors_in_the_middle_are_events(path: str) -> None:
    api = make_api("hello", fail_at=2)
    answer = asyncio.run(request(api, path, True))
    assert answer.status == 200
    *tokens, error = answer.events()
    assert len(tokens) == 2
    assert error["error"]["code"] == "engine_unavailable"
    assert "the engine broke down" in error["error"]["message"]
    generation = api.recorder.only()
    assert (generation.output, generation.finish_reason) == ("he", "error")
    assert b'finish_reason="error"' in api.call("GET", "/metrics").body


@pytest.mark.parametrize("path", PATHS)
def test_bugs_in_the_middle_are_events_too_and_reach_the_log(path: str) -> None:
    api = make_api("hello", fail_at=2, error=ZeroDivisionError())
    answer = Answer()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(request(api, path, True, answer=answer))
    assert answer.events()[-1]["error"]["type"] == "server_error"


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_that_broke_off_unstreamed_is_a_failure_in_the_record(path: str) -> None:
    api = make_api("hello", fail_at=2)
    assert asyncio.run(request(api, path, False)).status == 503
    assert api.recorder.only().finish_reason == "error"


def test_the_record_is_made_before_the_last_byte() -> None:
    async def scenario(stream: bool) -> None:
        api = make_api("hi")
        answer = Answer()
        add, seen = api.recorder.add_generation, []

        async def watched(generation: Any, /) -> None:
            seen.append(answer.body)
            await add(generation)

        api.recorder.add_generation = watched  # type: ignore[method-assign]
        await request(api, "/v1/completions", stream, answer=answer)
        assert answer.body
        assert b"[DONE]" not in seen[0]
        assert b"stop" not in seen[0]

    asyncio.run(scenario(True))
    asyncio.run(scenario(False))


def test_no_choice_is_lost_whose_client_leaves_while_they_are_recorded() -> None:
    async def scenario() -> None:
        api = make_api("hi")
        add, room, waiting = api.recorder.add_generation, asyncio.Event(), asyncio.Event()

        async def crowded(generation: Any, /) -> None:
            waiting.set()
            await room.wait()
            await add(generation)

        api.recorder.add_generation = crowded  # type: ignore[method-assign]
        hang_up = asyncio.Event()
        task = asyncio.create_task(request(api, "/v1/completions", False, n=3, hang_up=hang_up))
        await waiting.wait()
        hang_up.set()
        await task
        room.set()
        while len(api.recorder.generations) < 3:
            await asyncio.sleep(0)
        assert {row.output for row in api.recorder.generations.values()} == {"hi"}

    asyncio.run(scenario())


@pytest.mark.parametrize("stream", [True, False])
def test_the_prompt_is_counted_once_though_its_first_choice_had_not_begun(stream: bool) -> None:
    """The client leaves when two of three choices have tokens."""

    async def scenario() -> None:
        pauses, forever = 0, asyncio.Event()

        async def pause() -> None:
            nonlocal pauses
            pauses += 1
            if pauses == 1 or pauses > 5:  # the first choice, and the others after four tokens
                await forever.wait()
            await asyncio.sleep(0)

        api, hang_up = make_api("hello", pause=pause), asyncio.Event()
        task = asyncio.create_task(
            request(api, "/v1/completions", stream, n=3, hang_up=hang_up, answer=Answer())
        )
        while pauses < 7:
            await asyncio.sleep(0)
        hang_up.set()
        await task
        rows = [encode(row).counts for row in api.recorder.generations.values()]
        assert len(rows) == 2
        assert sum(counts.output for counts in rows) == 4
        prompt = len(next(iter(api.recorder.generations.values())).prompt_ids)
        assert sorted((counts.prompt, counts.requests) for counts in rows) == [(0, 0), (prompt, 1)]

    asyncio.run(scenario())


@pytest.mark.parametrize("stream", [True, False])
def test_a_closed_record_is_503_not_500(stream: bool) -> None:
    api = make_api("")

    async def closed(generation: Any, /) -> None:
        raise WriterClosed("the writer is closed")

    api.recorder.add_generation = closed  # type: ignore[method-assign]
    answer = asyncio.run(request(api, "/v1/completions", stream))
    assert answer.status == 503
    assert answer.error()["code"] == "shutting_down"


def test_many_at_once_do_not_mix() -> None:
    async def scenario() -> None:
        api = make_api("hello", pause=lambda: asyncio.sleep(0))
        ways = EVERY_WAY * 10
        answers = await asyncio.gather(*(request(api, path, stream) for path, stream in ways))
        ids = {answer.headers["x-generation-id"] for answer in answers}
        assert ids == set(api.recorder.generations)
        assert len(ids) == len(ways)
        for (_, stream), answer in zip(ways, answers, strict=True):
            bodies = answer.events() if stream else [answer.json()]
            assert {body["id"] for body in bodies} == {answer.headers["x-generation-id"]}

    asyncio.run(scenario())


def test_a_timeout_inside_is_not_taken_for_a_client_that_left() -> None:
    async def scenario() -> None:
        with pytest.raises(TimeoutError, match="mine"):
            async with while_connected(asyncio.Event().wait):  # type: ignore[arg-type]
                raise TimeoutError("mine")

    asyncio.run(scenario())
