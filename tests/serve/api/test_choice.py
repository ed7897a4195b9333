"""Which model answers a request: by the rules of use, and by what the request asks of it."""

from __future__ import annotations

from typing import Any

import pytest

from liveweights.catalog.licences import Duty
from liveweights.http.errors import ApiError
from liveweights.meter.keys import Client
from liveweights.meter.rights import Rights
from liveweights.serve.api.app import create_app, make_authenticator
from liveweights.serve.api.choice import Choices
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router
from liveweights.terms.criteria import Candidate
from liveweights.terms.current import Terms
from liveweights.terms.facts import Facts, Origin
from liveweights.terms.route import Origins, Route
from liveweights.terms.rules import Conditions, Rule

from .doubles import (
    BASE,
    NEXT,
    Answer,
    Api,
    MemoryRecorder,
    MemoryResponses,
    ScriptedEngine,
    TemplateHere,
    make_tokenizer,
)

ACME, LAB = "acme-0123456789abc", "lab-0123456789abcde"
SERVICE = "liveweights-own-0123456789"
SHOWN = Duty(kind="display-name", text="Show 'Built with Dear'\nwhere it is used – always.")
DEAR = {"chat": True, "tools": True, "json": True}
RULES = (
    Rule(
        name="no-acme",
        when=("route",),
        on=Conditions(model=("dear",), tenant=("acme",)),
        then="deny",
        reason="agreed with them",
    ),
    Rule(name="young", on=Conditions(model=("dear",)), then="warn", reason="not tried yet"),
)


def candidate(name: str, country: str, price: float, *duties: Duty, **more: Any) -> Candidate:
    origin = Origin(
        name=f"o/{name}", country=country, licence="MIT", licence_kind="open", duties=duties
    )
    facts = Facts(name=name, origins=(origin,), context=512)
    return Candidate(facts=facts, input=price, output=price, local=True, **more)


def make(**settings: Any) -> Api:
    """The models ``dear`` (US) and ``cheap`` (FR); ``cheap`` stands in for ``dear``."""
    keys = {ACME: "acme", LAB: "lab"}
    given = ApiSettings(keys=keys, **settings)
    tokenizer, models = make_tokenizer(), []
    engine = None
    for name, checkpoint in (("dear", BASE), ("cheap", NEXT)):
        engine, router = ScriptedEngine(tokenizer, f"from {name}"), Router()
        engine._resident = {checkpoint}
        router.set(name, checkpoint)
        models.append(make_model(engine, router, tokenizer, template=TemplateHere(tokenizer)))
    terms = Terms(
        [
            candidate("dear", "US", 2.0, SHOWN, can=DEAR),
            candidate("cheap", "FR", 1.0, can={"tools": False}),
        ],
        RULES,
    )
    recorder, responses = MemoryRecorder(), MemoryResponses()
    app = create_app(
        Models(*models),
        recorder,
        given,
        terms=terms,
        responses=responses,
        authenticator=make_authenticator(given, SERVICE),
    )
    assert engine is not None
    return Api(engine, recorder, models[0].router, app, responses)


@pytest.fixture(scope="module")
def api() -> Api:
    return make()


def ask(api: Api, model: str, key: str = LAB, path: str = "completions", **more: Any) -> Answer:
    asked: dict[str, Any] = {
        "completions": {"prompt": "a"},
        "chat/completions": {"messages": [{"role": "user", "content": "a"}]},
        "responses": {"input": "a"},
    }[path]
    body = {"model": model} | asked | more
    return api.call("POST", f"/v1/{path}", body, authorization=f"Bearer {key}")


PATHS = ("completions", "chat/completions", "responses")


@pytest.mark.parametrize("path", PATHS)
def test_what_terms_deny_is_refused_by_the_name_of_the_rule(api: Api, path: str) -> None:
    refused = ask(api, "dear", ACME, path)
    assert refused.status == 403
    assert refused.error() == {
        "message": "The model 'dear' may not be used for this: agreed with them (model o/dear). "
        "The rule is terms.no-acme.",
        "type": "permission_error",
        "param": "model",
        "code": "model_denied",
    }
    assert ask(api, "dear", LAB, path).status == 200


@pytest.mark.parametrize("path", PATHS)
def test_another_model_answers_where_one_is_named(api: Api, path: str) -> None:
    answer = ask(api, "dear", ACME, path, route={"fallback": ["cheap"]})
    assert (answer.status, answer.headers["x-model"]) == (200, "cheap")
    assert answer.json()["model"] == "cheap"
    assert b"from cheap" in answer.body


@pytest.mark.parametrize("path", PATHS)
def test_auto_is_the_cheapest_that_fits(api: Api, path: str) -> None:
    assert ask(api, "auto", path=path).headers["x-model"] == "cheap"
    answer = ask(api, "auto", path=path, route={"deny": {"countries": ["FR"]}})
    assert (answer.headers["x-model"], answer.json()["model"]) == ("dear", "dear")
    streamed = ask(api, "auto", path=path, stream=True)
    assert streamed.headers["x-model"] == "cheap"


TOOLS = [{"type": "function", "function": {"name": "f"}}]
SCHEMA = {"name": "a", "schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("chat/completions", {"tools": TOOLS}),
        ("responses", {"tools": [{"type": "function", "name": "f"}]}),
        ("chat/completions", {"response_format": {"type": "json_schema", "json_schema": SCHEMA}}),
        ("responses", {"text": {"format": {"type": "json_schema", **SCHEMA}}}),
    ],
)
def test_auto_can_do_what_the_request_needs(api: Api, path: str, asked: dict[str, Any]) -> None:
    assert ask(api, "auto", path=path, **asked).headers["x-model"] == "dear"
    assert ask(api, "cheap", path=path, **asked).headers["x-model"] == "cheap"
    refused = ask(api, "auto", ACME, path, **asked)
    assert (refused.status, refused.error()["code"]) == (422, "no_model_fits")
    assert "needs." in refused.error()["message"]


def test_auto_has_the_context_that_the_request_needs(api: Api) -> None:
    for more in ({"prompt": "a" * 4000}, {"max_tokens": 600}):
        refused = ask(api, "auto", **more)
        assert refused.status == 422
        message = refused.error()["message"]
        assert "needs.context removed cheap (its context is 512 tokens of about" in message


def test_where_none_fits_it_is_said_which_rule_removed_which(api: Api) -> None:
    route = {"deny": {"countries": ["FR"]}, "max_price": 1.5}
    refused = ask(api, "auto", ACME, route=route)
    assert (refused.status, refused.error()["code"]) == (422, "no_model_fits")
    message = refused.error()["message"]
    assert "route.deny.countries removed cheap (its country is FR)" in message
    assert "terms.no-acme removed dear (agreed with them (model o/dear))" in message
    assert "route.max_price removed dear (a million tokens of prompts cost 2 USD)" in message
    named = ask(api, "dear", route={"max_price": 1})
    assert (named.status, named.error()["param"]) == (422, "route")


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ({"deni": {}}, "Route: there is no member 'deni'; did you mean 'deny'?"),
        ({"deny": {"countries": ["usa"]}}, "Route: deny.countries[0]: it must be text like"),
        ({"min_score": 0.5}, "Route: min_score needs suite beside it"),
        (["local_only"], "Route: expected `object`, got `array`"),
        ({"fallback": ["none"]}, "Route.fallback names 'none'; there are"),
    ],
)
def test_a_route_that_is_not_understood_is_a_clear_error(api: Api, route: Any, said: str) -> None:
    refused = ask(api, "dear", route=route)
    assert refused.status == 400
    assert refused.error()["message"].startswith(said)
    assert refused.error()["param"].startswith("route")


def test_a_tenant_has_a_route_of_its_own() -> None:
    api = make(
        route=Route(deny=Origins(countries=("FR",))), tenant_routes={"lab": Route(local_only=True)}
    )
    assert ask(api, "auto", ACME).status == 422
    assert ask(api, "auto", LAB).headers["x-model"] == "cheap"
    # The request's own word counts, member by member.
    answer = ask(api, "auto", ACME, route={"deny": {}})
    assert answer.headers["x-model"] == "cheap"


def test_what_is_owed_and_what_warns_stands_beside_the_answer(api: Api) -> None:
    for stream in (False, True):
        answer = ask(api, "dear", stream=stream)
        notice = "Show 'Built with Dear' where it is used ? always."
        assert answer.headers["x-model-notice"] == notice
        assert answer.headers["x-terms-warning"] == "young"
    assert "x-model-notice" not in ask(api, "cheap").headers


def test_a_checkpoint_is_used_as_its_model_may_be(api: Api) -> None:
    assert ask(api, BASE, ACME).status == 403
    answer = ask(api, BASE, LAB)
    assert (answer.status, answer.headers["x-model"]) == (200, BASE)
    assert answer.headers["x-terms-warning"] == "young"


def test_the_service_itself_is_asked_for_no_terms(api: Api) -> None:
    refused = ask(api, "auto", SERVICE)
    assert refused.status == 404
    assert ask(api, "dear", SERVICE, route={"local_only": True}).status == 200


def test_a_model_that_nobody_knows_is_not_found(api: Api) -> None:
    assert ask(api, "none").error()["code"] == "model_not_found"


def test_editors_are_asked_the_same(api: Api) -> None:
    def infill(model: str, key: str) -> Answer:
        body = {"model": model, "input_prefix": "a", "input_suffix": "b"}
        return api.call("POST", "/infill", body, authorization=f"Bearer {key}")

    assert infill("dear", ACME).status == 403
    assert infill("cheap", ACME).json()["model"] == "cheap"
    lacking = infill("auto", ACME)
    assert lacking.status == 422
    assert "needs.infill removed cheap (it is not known whether" in lacking.error()["message"]


def test_a_model_that_is_not_ready_is_passed_over() -> None:
    api = make()
    api.router.resident(())
    assert ask(api, "dear").status == 503
    assert ask(api, "dear", route={"fallback": ["cheap"]}).headers["x-model"] == "cheap"


def test_defaults_of_keys_may_come_from_elsewhere() -> None:
    tokenizer, router = make_tokenizer(), Router()
    router.set("dear", BASE)
    model = make_model(ScriptedEngine(tokenizer), router, tokenizer)
    asked: list[Client] = []

    def route_of(client: Client) -> Route:
        asked.append(client)
        return Route(max_price=1.0)

    terms = Terms([candidate("dear", "US", 2.0)])
    recorder = MemoryRecorder()
    app = create_app(Models(model), recorder, terms=terms, route_of=route_of)
    api = Api(ScriptedEngine(tokenizer), recorder, router, app)
    assert ask(api, "dear").status == 422
    assert [client.tenant for client in asked] == ["default"]


def test_a_key_has_models_and_a_route_of_its_own() -> None:
    listed = Models()
    choices = Choices(Terms([candidate("dear", "US", 2.0), candidate("cheap", "FR", 1.0)]), listed)
    narrow = Client("lab", "k", rights=Rights(models=("dear",)))
    assert choices.choose(narrow, "auto") == ("dear",)
    with pytest.raises(ApiError, match="This API key is for dear"):
        choices.choose(narrow, "cheap")
    settings = ApiSettings(tenant_routes={"lab": Route(max_price=5.0)})
    routed = Client("lab", "k", rights=Rights(route={"deny": {"countries": ["FR"]}}))
    own = Route(max_price=5.0, deny=Origins(countries=("FR",)))
    assert settings.route_of(routed) == own
    scored = ApiSettings(route=Route(suite="code", min_score=0.5))
    for stored in ({"suite": None}, {"min_score": None}):
        freed = Client("lab", "k", rights=Rights(route=stored))
        assert scored.route_of(freed) == Route()
        choices = Choices(Terms([candidate("dear", "US", 2.0)]), listed, scored.route_of)
        assert choices.choose(freed, "dear") == ("dear",)
        assert choices.choose(Client("lab", "k"), "dear", stored) == ("dear",)
    assert Choices(Terms([candidate("dear", "US", 2.0)]), listed, settings.route_of).choose(
        routed, "dear"
    ) == ("dear",)
