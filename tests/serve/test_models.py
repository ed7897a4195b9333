"""Several models in one API: each request meets one, with all that belongs to it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from liveweights.serve.api.app import create_app
from liveweights.serve.api.models import Listing
from liveweights.serve.api.profile import Profile
from liveweights.serve.hosted.models import HostedModels
from liveweights.serve.memory.memory import Memory
from liveweights.serve.models import Model, Models, make_model
from liveweights.serve.router import NotReady, Router, UnknownModel
from liveweights.terms.criteria import Candidate
from liveweights.terms.current import Terms
from liveweights.terms.facts import unknown_facts

from .api.doubles import (
    BASE,
    NEXT,
    Answer,
    Api,
    MemoryRecorder,
    ScriptedEngine,
    TemplateHere,
    make_tokenizer,
)


def make(name: str, checkpoint: str, text: str, *, infill: bool = False, chat: bool = False) -> Any:
    tokenizer, router = make_tokenizer(infill=infill), Router()
    engine = ScriptedEngine(tokenizer, text, context_length=100 if infill else 512)
    engine._resident = {checkpoint}
    router.set(name, checkpoint)
    template = TemplateHere(tokenizer) if chat else None
    return make_model(engine, router, tokenizer, template=template)


@pytest.fixture
def models() -> tuple[Model, Model]:
    return make("code", BASE, "code!", infill=True), make("talk", NEXT, "talk!", chat=True)


@pytest.fixture
def api(models: tuple[Model, Model]) -> Api:
    recorder = MemoryRecorder()
    app = create_app(Models(*models), recorder)
    engine: Any = models[0].engine
    return Api(engine, recorder, models[0].router, app)


def test_a_request_meets_the_model_that_it_names(api: Api) -> None:
    for model, checkpoint, text in (("code", BASE, "code!"), ("talk", NEXT, "talk!")):
        answer = api.complete(model=model).json()
        assert (answer["checkpoint"], answer["choices"][0]["text"]) == (checkpoint, text)
    assert [(g.alias, g.checkpoint) for g in api.recorder.generations.values()] == [
        *(("code", BASE), ("talk", NEXT)),
    ]


def test_what_a_model_can_is_its_own(api: Api) -> None:
    assert api.complete(model="code", suffix="x").status == 200
    asked = {"model": "talk", "prompt": "a", "suffix": "x"}
    refused = api.call("POST", "/v1/completions", asked, x_strict="1")
    assert (refused.status, refused.error()["param"]) == (400, "suffix")
    assert api.chat(model="talk").status == 200
    assert api.chat(model="code").status == 400
    assert api.complete("x" * 60, model="talk").status == 200
    assert api.complete("x" * 60, model="code").error()["code"] == "context_length_exceeded"


def test_all_are_listed_and_each_with_its_own_context(api: Api) -> None:
    listed = api.call("GET", "/v1/models").json()["data"]
    assert [(m["id"], m["context_length"]) for m in listed] == [("code", 100), ("talk", 512)]
    assert api.call("GET", f"/v1/models/{NEXT}").json()["context_length"] == 512
    assert api.call("GET", "/v1/models/none").status == 404
    assert api.complete(model="none").error()["code"] == "model_not_found"


def test_health_and_metrics_know_all(api: Api, models: tuple[Model, Model]) -> None:
    health = api.call("GET", "/healthz").json()
    assert {name: m["ready"] for name, m in health["models"].items()} == {
        "code": True,
        "talk": True,
    }
    text = api.call("GET", "/metrics").body.decode()
    for checkpoint in (BASE, NEXT):
        assert f'liveweights_resident_checkpoint{{checkpoint="{checkpoint}"}} 1.0' in text
    asyncio.run(models[1].engine.close())
    answer = api.call("GET", "/healthz")
    assert answer.status == 200  # some model can answer
    assert answer.json()["models"]["talk"]["ready"] is False


def test_who_names_no_model_is_told_that_there_are_several(api: Api) -> None:
    answer = api.call("POST", "/infill", {"input_prefix": "a", "input_suffix": "b"})
    assert (answer.status, answer.error()["param"]) == (400, "model")
    assert "code, talk" in answer.error()["message"]


def test_nobody_is_told_of_a_model_that_is_not_visible(models: tuple[Model, Model]) -> None:
    """As /v1/models tells: of those that are, the only one is meant."""
    both, recorder = Models(*models), MemoryRecorder()
    hidden = {"talk": Profile(visible=False)}
    app = create_app(
        both, recorder, listing=Listing(both, HostedModels(), Terms(), profiles=hidden)
    )
    engine: Any = models[0].engine
    api = Api(engine, recorder, models[0].router, app)
    assert [m["id"] for m in api.call("GET", "/v1/models").json()["data"]] == ["code"]
    asked = {"input_prefix": "a", "input_suffix": "b", "n_predict": 8}
    answer = api.call("POST", "/infill", asked)
    assert (answer.status, answer.json()["model"]) == (200, "code")


def test_a_pin_holds_a_checkpoint_of_one_model(models: tuple[Model, Model]) -> None:
    both = Models(*models)
    with both.pin("talk", None) as (model, pin):
        assert (model, pin.checkpoint) == (models[1], NEXT)
        assert both.in_use() == {BASE: 0, NEXT: 1}
    assert both.in_use() == {BASE: 0, NEXT: 0}
    with pytest.raises(UnknownModel), both.pin("none", None):
        pass
    models[0].router.resident(())
    with pytest.raises(NotReady), both.pin("code", None):
        pass


def test_a_request_for_a_model_that_is_not_loaded_waits_or_is_refused() -> None:
    async def test(waiting: int) -> Answer:
        memory = Memory(1, most_waiting=waiting, seconds=5.0)
        share = memory.share("code", lambda: 0)
        model = replace(make("code", BASE, "code!"), share=share)
        share.sleep()
        model.router.resident(())
        models = Models(model)
        assert models.states() == {"code": "cold"}
        assert models.can_answer("code")
        app = create_app(models, MemoryRecorder())
        api = Api(model.engine, MemoryRecorder(), model.router, app)

        def load() -> None:
            model.router.resident({BASE})
            share.settle(there=True, warm=False, failure=None)

        share.wake = lambda: asyncio.get_running_loop().call_soon(load) and None
        listed = await api.acall("GET", "/v1/models/code", None)
        assert listed.json()["state"] == "cold"
        health = await api.acall("GET", "/healthz", None)
        assert health.status == 200  # it can answer, after it is loaded
        return await api.acall("POST", "/v1/completions", {"model": "code", "prompt": "a"})

    waited = asyncio.run(test(1))
    assert waited.status == 200
    assert int(waited.headers["x-load-wait-ms"]) >= 0
    refused = asyncio.run(test(0))
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert "0 requests wait for it to be loaded" in refused.error()["message"]


def test_the_next_that_may_answer_does_where_the_first_is_not_loaded(
    models: tuple[Model, Model],
) -> None:
    memory = Memory(1, most_waiting=0, seconds=5.0)
    share = memory.share("code", lambda: 0)
    share.sleep()
    cold = replace(models[0], share=share)
    cold.router.resident(())
    terms = Terms(
        [
            Candidate(facts=unknown_facts("code"), fallback=("talk",)),
            Candidate(facts=unknown_facts("talk")),
        ]
    )
    app = create_app(Models(cold, models[1]), MemoryRecorder(), terms=terms)
    api = Api(cold.engine, MemoryRecorder(), cold.router, app)
    asked = {"model": "code", "prompt": "a"}
    answer = asyncio.run(api.acall("POST", "/v1/completions", asked))
    assert (answer.status, answer.headers["x-model"]) == (200, "talk")
    assert share.users == 0


def test_models_come_and_go(models: tuple[Model, Model]) -> None:
    both = Models(models[0])
    with pytest.raises(UnknownModel):
        both.find("talk")
    both.add(models[1])
    other = make("talk", "talk@222222222222", "other!")
    with both.pin("talk", None) as (held, _):
        both.add(other, in_place_of=models[1])
        assert both.find("talk") is other
        assert held is models[1]
        assert held.router.in_use(NEXT) == 1
    both.remove(other)
    assert not both.can_answer("talk")
    assert both.states() == {"code": "ready"}


def test_a_canary_on_another_base_is_another_models(models: tuple[Model, Model]) -> None:
    """Its prompt is of its own tokens, and the answer is the alias's."""
    code, talk = models
    talk.router.remove("talk")
    both = Models(code, talk)
    code.router.set("code", BASE, NEXT, 1.0, elsewhere=True)
    recorder = MemoryRecorder()
    api = Api(code.engine, recorder, code.router, create_app(both, recorder))
    answer = api.complete(model="code").json()
    assert (answer["checkpoint"], answer["choices"][0]["text"]) == (NEXT, "talk!")
    assert [(g.alias, g.checkpoint) for g in recorder.generations.values()] == [("code", NEXT)]
    talk.router.resident(())
    assert api.complete(model="code").json()["checkpoint"] == BASE
    code.router.set("code", BASE, NEXT, 0.0, 1.0, elsewhere=True)
    assert both.draw_shadow("code", BASE) is None
    talk.router.resident([NEXT])
    assert both.draw_shadow("code", BASE) == NEXT


def test_a_name_that_goes_over_has_one_route(models: tuple[Model, Model]) -> None:
    code, talk = models
    talk.router.remove("talk")
    talk.router.set("code", NEXT)
    both = Models(code, talk)
    assert [route.live for route in both.routes()] == [BASE]
    code.router.remove("code")
    assert [route.live for route in both.routes()] == [NEXT]
    assert both.states() == {"code": "ready"}


def test_a_shadow_is_drawn_by_the_model_that_was_asked(models: tuple[Model, Model]) -> None:
    models[1].router.set("talk", NEXT, "talk@222222222222", share=0.0, shadow=1.0)
    both = Models(*models)
    assert both.draw_shadow("talk", NEXT) == "talk@222222222222"
    assert both.draw_shadow("code", BASE) is None
