from __future__ import annotations

import asyncio
from typing import Any

import pytest

from liveweights.record.clean import InvalidRow
from liveweights.record.feedback import Feedback
from liveweights.serve.api.settings import ApiSettings

from .doubles import Answer, Api, make_api

KEY, OTHER = "key-of-one-012345", "key-of-two-012345"


def served(**options: Any) -> tuple[Api, str]:
    api = make_api(**options)
    key = {"authorization": f"Bearer {KEY}"} if options.get("settings") else {}
    answer = api.call("POST", "/v1/completions", {"model": "tiny", "prompt": "a"}, **key)
    return api, answer.json()["id"]


def react(api: Api, generation: str, /, **fields: Any) -> Answer:
    return api.call("POST", "/v1/feedback", {"generation": generation} | fields)


@pytest.mark.parametrize(
    ("fields", "value", "text"),
    [
        ({"signal": "accepted"}, None, None),
        ({"signal": "accepted", "value": 0.5}, 0.5, None),
        ({"signal": "rejected"}, None, None),
        ({"signal": "shown"}, None, None),
        ({"signal": "edited", "text": ""}, None, ""),
        ({"signal": "edited", "text": "kept"}, None, "kept"),
        ({"signal": "thumbs", "value": 1}, 1.0, None),
        ({"signal": "thumbs", "value": -1.0}, -1.0, None),
        ({"signal": "thumbs", "value": "up"}, 1.0, None),
        ({"signal": "thumbs", "value": "down"}, -1.0, None),
        ({"signal": "reward", "value": -1}, -1.0, None),
        ({"signal": "reward", "value": 0.25}, 0.25, None),
        ({"signal": "comment", "text": "why?"}, None, "why?"),
        ({"signal": "correction", "text": "right"}, None, "right"),
    ],
)
def test_takes_every_signal(fields: dict[str, Any], value: float | None, text: str | None) -> None:
    api, generation = served()
    answer = react(api, generation, **fields)
    assert answer.status == 201
    (feedback,) = api.recorder.feedback.values()
    assert answer.json() == {
        "id": feedback.id,
        "object": "feedback",
        "generation": generation,
        "signal": fields["signal"],
    }
    assert (feedback.value, feedback.text, feedback.generation) == (value, text, generation)
    assert feedback.id.startswith("fb_")


def test_takes_the_id_of_a_response_as_that_of_an_answer() -> None:
    api = make_api()
    body = {"model": "tiny", "input": "hi", "store": False}
    response = api.call("POST", "/v1/responses", body).json()
    answer = react(api, response["id"], signal="accepted")
    assert answer.status == 201
    assert answer.json()["generation"] == api.recorder.only().id == response["generation"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "signal"),
        ({"signal": "liked"}, "signal"),
        ({"signal": "edited"}, "text"),
        ({"signal": "comment"}, "text"),
        ({"signal": "comment", "text": ""}, "text"),
        ({"signal": "correction"}, "text"),
        ({"signal": "accepted", "text": "x"}, "text"),
        ({"signal": "accepted", "value": "much"}, "value"),
        ({"signal": "thumbs"}, "value"),
        ({"signal": "thumbs", "value": 0.5}, "value"),
        ({"signal": "thumbs", "value": "sideways"}, "value"),
        ({"signal": "thumbs", "value": True}, "value"),
        ({"signal": "reward"}, "value"),
        ({"signal": "reward", "value": 1.01}, "value"),
        ({"signal": "reward", "value": "1"}, "value"),
        ({"signal": "comment", "text": "a\0"}, "text"),
        ({"signal": "accepted", "id": ""}, "id"),
        ({"signal": "accepted", "id": "x" * 513}, "id"),
        ({"signal": "accepted", "generation": None}, "generation"),
        ({"signal": "accepted", "generation": 5}, "generation"),
        ({"signal": "accepted", "generation_id": "gen_2"}, "generation"),
        ({"signal": "accepted", "mood": "good"}, "mood"),
    ],
)
def test_refuses_by_name(fields: dict[str, Any], param: str) -> None:
    api, generation = served()
    answer = react(api, generation, **fields)
    assert answer.status == 400
    assert answer.error()["param"] == param
    assert not api.recorder.feedback


def test_the_other_name_of_the_generation_works() -> None:
    api, generation = served()
    body = {"generation_id": generation, "signal": "shown"}
    assert api.call("POST", "/v1/feedback", body).status == 201


def test_unknown_generations_are_404() -> None:
    answer = react(make_api(), "gen_0", signal="shown")
    assert answer.status == 404
    assert answer.error()["code"] == "generation_not_found"


def test_another_tenants_generation_is_404() -> None:
    api, generation = served(settings=ApiSettings(keys={KEY: "one", OTHER: "two"}))
    body = {"generation": generation, "signal": "shown"}
    for key, status in ((OTHER, 404), (KEY, 201), ("wrong", 401)):
        answer = api.call("POST", "/v1/feedback", body, authorization=f"Bearer {key}")
        assert answer.status == status


def test_repeats_are_harmless_and_conflicts_are_told() -> None:
    api, generation = served()
    assert react(api, generation, id="f", signal="accepted").status == 201
    assert react(api, generation, id="f", signal="accepted").status == 200
    answer = react(api, generation, id="f", signal="rejected")
    assert answer.status == 409
    assert answer.error()["code"] == "feedback_conflict"
    assert react(api, generation, id="g", signal="rejected").status == 201


def test_the_idempotency_header_is_the_id() -> None:
    api, generation = served()
    body = {"generation": generation, "signal": "accepted"}
    statuses = [
        api.call("POST", "/v1/feedback", body, idempotency_key="k").status for _ in range(2)
    ]
    assert statuses == [201, 200]
    assert ("default", "k") in api.recorder.feedback
    assert api.call("POST", "/v1/feedback", body, idempotency_key="k" * 513).status == 400


def test_a_batch_is_201_only_if_all_of_it_is_durable() -> None:
    api, generation = served()
    good = {"generation": generation, "signal": "shown"}
    batch = {"feedback": [good, good | {"signal": "accepted"}]}
    answer = api.call("POST", "/v1/feedback", batch, idempotency_key="k")
    assert answer.status == 201
    assert [item["status"] for item in answer.json()["data"]] == [201, 201]
    assert api.call("POST", "/v1/feedback", batch, idempotency_key="k").status == 200
    assert len(api.recorder.feedback) == 2


def test_a_batch_tells_each_items_fate() -> None:
    api, generation = served()
    good = {"generation": generation, "signal": "shown", "id": "a"}
    items = [good, good, {"signal": 5}, good | {"generation": "gen_0", "id": "b"}, 7]
    answer = api.call("POST", "/v1/feedback", {"feedback": items})
    assert answer.status == 422
    assert "3 of 5" in answer.json()["error"]["message"]
    results = answer.json()["data"]
    assert [item["status"] for item in results] == [201, 200, 400, 404, 400]
    assert results[2]["error"]["param"] == "signal"


@pytest.mark.parametrize("items", [[], None, "x", [{"signal": "shown"}] * 101])
def test_refuses_what_is_no_batch(items: Any) -> None:
    answer = make_api().call("POST", "/v1/feedback", {"feedback": items})
    assert answer.status == 400
    assert answer.error()["param"] == "feedback"


def test_feedback_follows_the_answer_at_once() -> None:
    api = make_api()
    generation = api.complete(stream=True).events()[0]["id"]
    assert react(api, generation, signal="accepted").status == 201


def test_texts_are_bounded() -> None:
    api, generation = served()
    text = "x" * 2**18
    assert react(api, generation, signal="comment", text=text).status == 201
    error = react(api, generation, signal="comment", text=text + "x")
    assert (error.status, error.error()["param"]) == (400, "text")


def test_an_answer_that_has_enough_feedback_takes_no_more() -> None:
    api, generation = served()
    api.recorder.most_feedback = 2
    for id in "ab":
        assert react(api, generation, signal="shown", id=id).status == 201
    answer = react(api, generation, signal="shown", id="c")
    assert answer.status == 400
    assert answer.error()["code"] == "feedback_limit_reached"
    assert react(api, generation, signal="shown", id="a").status == 200


def test_what_the_database_refuses_is_the_senders_to_know() -> None:
    api, generation = served()

    async def refuse(feedback: object) -> bool:
        raise InvalidRow("feedback 'f' was refused: 23514 no")

    api.recorder.add_feedback = refuse  # type: ignore[method-assign]
    answer = react(api, generation, signal="shown")
    assert answer.status == 400
    assert "23514 no" in answer.error()["message"]


def episode(api: Api, name: str, count: int) -> list[str]:
    return [
        api.chat(metadata={"episode": name, "session": f"s {name}"}).json()["id"]
        for _ in range(count)
    ]


def outcome(api: Api, /, **fields: Any) -> Answer:
    return api.call("POST", "/v1/feedback", fields)


@pytest.mark.parametrize("kind", ["episode", "session"])
def test_an_outcome_is_of_every_step(kind: str) -> None:
    api = make_api()
    steps = episode(api, "e", 3)
    episode(api, "another", 2)
    name = {"episode": "e", "session": "s e"}[kind]
    answer = outcome(api, signal="success", value=True, id="o", **{kind: name})
    assert answer.status == 201
    told = {"id": "o", "signal": "reward", kind: name, "steps": 3, "object": "feedback"}
    assert answer.json() == told
    kept = api.recorder.feedback.values()
    stored = {"episode": "e", "session": "session:s e"}[kind]
    assert [(f.generation, f.value, f.episode) for f in kept] == [(id, 1.0, stored) for id in steps]


def test_an_outcome_sent_again_reaches_later_steps_and_is_harmless() -> None:
    api = make_api()
    episode(api, "e", 1)
    sent = {"episode": "e", "signal": "reward", "value": -0.5, "id": "o"}
    assert [outcome(api, **sent).status for _ in range(2)] == [201, 200]
    episode(api, "e", 1)
    answer = outcome(api, **sent)
    assert (answer.status, answer.json()["steps"], len(api.recorder.feedback)) == (201, 2, 2)
    assert outcome(api, **{**sent, "value": 1}).status == 409


def test_a_signal_can_be_of_one_step() -> None:
    api = make_api()
    steps = episode(api, "e", 2)
    items = [
        {"episode": "e", "step": place, "signal": "reward", "value": value}
        for place, value in enumerate((1, -1))
    ]
    answer = outcome(api, feedback=items)
    assert [item["generation"] for item in answer.json()["data"]] == steps
    assert all(f.episode is None for f in api.recorder.feedback.values())
    missing = outcome(api, episode="e", step=2, signal="accepted")
    assert (missing.status, missing.error()["code"]) == (404, "step_not_found")


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"episode": "unknown", "signal": "reward", "value": 1}, 404, "episode"),
        ({"session": "unknown", "signal": "reward", "value": 1}, 404, "session"),
        ({"episode": "e", "generation": "gen_1", "signal": "reward", "value": 1}, 400, "episode"),
        ({"episode": "e", "session": "s e", "signal": "reward", "value": 1}, 400, "session"),
        ({"episode": "e", "signal": "accepted"}, 400, "signal"),
        ({"episode": "e", "signal": "edited", "text": "x"}, 400, "signal"),
        ({"episode": "e", "signal": "success", "value": "yes"}, 400, "value"),
        ({"episode": "e", "signal": "success"}, 400, "value"),
        ({"episode": "e", "signal": "reward", "value": True}, 400, "value"),
        ({"episode": "e", "step": -1, "signal": "accepted"}, 400, "step"),
        ({"generation": "gen_1", "step": 0, "signal": "accepted"}, 400, "step"),
    ],
)
def test_refuses_outcomes_by_name(fields: dict[str, Any], status: int, param: str) -> None:
    api = make_api()
    episode(api, "e", 1)
    answer = outcome(api, **fields)
    assert (answer.status, answer.error()["param"]) == (status, param)
    assert not api.recorder.feedback


def test_turns_of_a_conversation_are_steps_of_one_episode() -> None:
    api = make_api()
    first = api.call("POST", "/v1/responses", {"model": "tiny", "input": "hi"}).json()["id"]
    follow = {"model": "tiny", "input": "more", "previous_response_id": first}
    second = api.call("POST", "/v1/responses", follow).json()["id"]
    third = {**follow, "previous_response_id": second}
    api.call("POST", "/v1/responses", third)
    generations = list(api.recorder.generations.values())
    assert [g.metadata.get("episode") for g in generations] == [None, first, first]
    # Without a session or a user, what began it varies together with what went on.
    assert len({g.cluster for g in generations}) == 1


def test_an_episode_stays_together_without_a_session() -> None:
    api = make_api()
    api.chat(metadata={"episode": "e"})
    api.chat(metadata={"episode": "e"}, user="ada")
    assert [(g.cluster, g.session) for g in api.recorder.generations.values()] == [
        ("default/e", "e"),
        ("default/ada", None),
    ]


@pytest.mark.parametrize("kind", ["episode", "session"])
def test_outcomes_of_a_batch_are_spread_one_after_the_other(kind: str) -> None:
    """A hundred of them over a thousand steps would be in memory, and at the database, at once."""
    api = make_api()
    steps = episode(api, "e", 3)
    under_way: list[str] = []
    most = 0
    add = api.recorder.add_feedback

    async def slowly(feedback: Feedback, /) -> bool:
        nonlocal most
        under_way.append(feedback.id)
        most = max(most, len(under_way))
        await asyncio.sleep(0)
        under_way.remove(feedback.id)
        return await add(feedback)

    api.recorder.add_feedback = slowly  # type: ignore[method-assign]
    name = {"episode": "e", "session": "s e"}[kind]
    items = [{kind: name, "signal": "reward", "value": 1, "id": str(n)} for n in range(5)]
    items.insert(2, {kind: "unknown", "signal": "reward", "value": 1, "id": "u"})
    answer = api.call("POST", "/v1/feedback", {"feedback": items})
    assert [one["status"] for one in answer.json()["data"]] == [201, 201, 404, 201, 201, 201]
    assert len(api.recorder.feedback) == 5 * len(steps)
    assert most == len(steps)
