"""Whatever is sent to whatever path of the whole service, on a real database: no 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.record.rows import make_feedback, make_generation
from tests.record.test_window import record
from tests.release.test_aliases import A, B, with_alias

from liveweights.app.server import describe_subject, status_routes
from liveweights.app.sources import make_sources
from liveweights.config import Config
from liveweights.console.entry import Entry
from liveweights.console.models import model_routes
from liveweights.console.pages import Console
from liveweights.insight.catalogue import QUESTIONS
from liveweights.insight.endpoint import insight_routes
from liveweights.insight.lookups import lookup_routes
from liveweights.insight.worths import Worths
from liveweights.learn.rewards import RewardMap
from liveweights.record.conversations import ConversationStore
from liveweights.record.responses import ResponseStore
from liveweights.record.writer import Writer
from liveweights.release import moves
from liveweights.serve.api.app import create_app, make_authenticator, make_limiter
from liveweights.serve.api.models import Listing
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.hosted.models import HostedModels
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router
from liveweights.store.database import open_pool
from liveweights.terms.current import Terms

from .doubles import BASE, Answer, ScriptedEngine, TemplateHere, make_tokenizer

OPERATOR = "operator-0123456"
CONFIG = Config(alias="m", api=ApiSettings(operator_key=OPERATOR))
ROUTES = (
    *("/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/responses/", "/v1/feedback"),
    *("/infill", "/v1/generations/", "/v1/episodes/", "/v1/conversations", "/v1/conversations/"),
    *("/v1/models", "/v1/models/", "/v1/embeddings", "/insight/", "/releases", "/releases/"),
    *("/models", "/models/"),
    *("/answers", "/answers/", "/checkpoints", "/checkpoints/", "/cycles", "/cycles/"),
    *("/home.json", "/assets/"),
    *("/releases/rollback", "/status", "/healthz", "/metrics", "/openapi.json", "/"),
)
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")
EVIL = (
    *("\0", "%00", "x%00", "%2500", "x\0y", "\ud800", "😀", "%ff", "..", "../..", "a" * 3000),
    *("' or 1=1 --", "999999w", "0001-01-01", "9999-12-31", "2026-01-01T00:00+23:59", "1e400"),
    *("-1", "99999999999999999999", "nan", "infinity", "NaN", "true", "null", "", " ", "\x7f"),
    *("{}", "[]", "Ａ", "٣", "٣d", "m", A, B, f"{B}.json", f"{B}.md", "tiny", BASE),
)
TEXT = st.one_of(st.sampled_from(EVIL), st.text(max_size=20))
PARAMETERS = (
    *("since", "until", "step", "by", "alias", "tenant", "to", "version", "reason", "x"),
    *("model", "before", "checkpoint", "user", "session"),
)
KNOWN = {
    "model": ("m",),
    "before": ("1", "1~g"),
    "by": ("checkpoint", "tenant", "surface", "alias"),
    "step": ("5m", "1h", "1d"),
}
FIELDS = st.lists(
    st.sampled_from(PARAMETERS).flatmap(
        lambda name: st.tuples(
            st.just(name), st.one_of(TEXT, st.sampled_from(KNOWN.get(name, EVIL)))
        )
    ),
    max_size=4,
)
JSON_VALUE = st.recursive(
    st.one_of(
        TEXT.filter(lambda text: "\ud800" not in text),
        st.none(),
        st.booleans(),
        st.integers(-(10**30), 10**30),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = (
    *(
        "model",
        "route",
        "prompt",
        "messages",
        "input",
        "instructions",
        "metadata",
        "user",
        "store",
        "stop",
    ),
    *("tools", "text", "response_format", "generation", "signal", "value", "id", "feedback"),
    *("previous_response_id", "temperature", "seed", "max_tokens", "n", "logit_bias", "include"),
)
PART = {"type": "output_text", "text": "hi"}
GOOD: dict[str, dict[str, Any]] = {
    "/v1/completions": {"model": "tiny", "prompt": "say:"},
    "/v1/chat/completions": {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses": {"model": "tiny", "input": [{"role": "user", "content": [PART]}]},
    "/v1/feedback": {"generation": "g", "signal": "accepted"},
}
PLACES = ("annotations", "logprobs", "detail", "filename")
many = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
JSON = (b"content-type", b"application/json")
FORM = (b"content-type", b"application/x-www-form-urlencoded")
Ask = Callable[..., Answer]


async def _ask(
    app: Any,
    method: str,
    path: str,
    query: bytes = b"",
    body: bytes = b"",
    headers: list[tuple[bytes, bytes]] | None = None,
) -> Answer:
    answer, messages = Answer(), [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return messages.pop() if messages else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            answer.parts.append(message["body"])

    escaped = quote_from_bytes(path.encode("utf-8", "surrogatepass"), safe="/%@.")
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(escaped),  # as the server makes it
        "raw_path": escaped.encode(),
        "query_string": query,
        "headers": [(b"authorization", b"Bearer " + OPERATOR.encode()), *(headers or ())],
    }
    await app(scope, receive, send)
    return answer


@pytest.fixture
def service(database_dsn: str) -> Any:
    """A function that asks the whole service, and checks what every answer is."""
    with_alias(database_dsn, lambda conn: moves.promote(conn, "m", B, reason="better"))
    record(database_dsn, make_generation("g"), make_feedback("f", "g"))
    with asyncio.Runner() as runner:

        async def start() -> tuple[Any, Writer, Any]:
            pool = await open_pool(database_dsn)
            writer = await Writer(pool, linger=0, gather=0).__aenter__()
            tokenizer, router = make_tokenizer(), Router()
            router.set("tiny", BASE)
            authenticator = make_authenticator(CONFIG.api)
            entry = Entry(pool, authenticator, CONFIG.api)
            home = Path("/nowhere")
            subject = describe_subject(CONFIG, home, make_sources(lambda: CONFIG, home))
            models = Models(
                make_model(
                    ScriptedEngine(tokenizer, "hello"),
                    router,
                    tokenizer,
                    template=TemplateHere(tokenizer),
                )
            )
            app = create_app(
                models,
                writer,
                CONFIG.api,
                responses=ResponseStore(pool),
                conversations=ConversationStore(pool),
                authenticator=authenticator,
                pages=[
                    *insight_routes(
                        pool, authenticator, make_limiter(CONFIG.api), lambda: Worths(RewardMap())
                    ),
                    *lookup_routes(pool, authenticator, make_limiter(CONFIG.api)),
                    *Console(pool, lambda: subject, entry, writer).routes(),
                    *model_routes(Listing(models, HostedModels(), Terms()), entry),
                    *status_routes(pool, home, authenticator, now=lambda: CONFIG),
                ],
            )
            return app, writer, pool

        async def stop() -> None:
            await writer.__aexit__(None, None, None)
            await pool.close()

        app, writer, pool = runner.run(start())

        def ask(*what: Any, **more: Any) -> Answer:
            asking: Coroutine[Any, Any, Answer] = _ask(app, *what, **more)
            answer = runner.run(asking)
            assert 200 <= answer.status < 500, (what, more, answer.body)
            return answer

        yield ask
        runner.run(stop())


def test_the_questions_of_the_whole_service_are_answered(service: Ask) -> None:
    for path in ("/status", "/releases", f"/checkpoints/{B}", "/answers/g.json", "/", "/healthz"):
        assert service("GET", path).status == 200
    for name in QUESTIONS:
        assert service("GET", f"/insight/{name}").status == 200


LOOKUPS = (
    ("GET", "/insight/usage", b"since=999999w", 400),
    ("GET", "/insight/usage", b"alias=%00", 400),
    ("GET", "/insight/usage", b"alias=x&alias=y", 400),
    ("GET", "/insight/usage", b"since=0001-01-01", 400),
    ("GET", "/insight/silence", b"since=1970-01-01&until=9999-12-31", 400),
    ("GET", "/insight/silence", b"since=1970-01-01&until=2199-12-31", 200),
    ("GET", "/insight/usage", b"since=2026-01-01T00:00%2B23:59", 200),
    ("GET", "/insight/usage", b"&".join(b"since=1d" for _ in range(99)), 400),
    ("GET", "/checkpoints/x%00", b"", 400),
    ("GET", "/checkpoints/x%2500", b"", 404),
    ("GET", "/answers", b"before=x", 400),
    ("GET", "/answers", b"before=9999999999999999~x", 200),
    ("GET", "/answers", b"before=1~%00", 400),
    ("GET", "/answers/x", b"", 404),
    ("GET", "/cycles", b"before=999999999999999999", 200),
    ("GET", "/cycles", b"before=" + b"9" * 1000, 400),
    ("GET", "/cycles/" + "9" * 5000, b"", 404),
    ("GET", "/cycles/0", b"", 404),
    ("GET", "/v1/responses/%00", b"", 400),
    ("DELETE", "/v1/responses/%00", b"", 400),
    ("GET", "/v1/models/%00", b"", 400),
    ("GET", "/%00", b"", 400),
)


def test_what_cannot_be_looked_up_is_told(service: Ask) -> None:
    for method, path, query, status in LOOKUPS:
        answer = service(method, path, query)
        assert answer.status == status, (path, query, answer.body)
        if status >= 400:
            assert answer.error()["message"]


def test_a_conversation_that_cannot_be_stored_is_refused(service: Ask) -> None:
    for text in ('["\\u0000"]', '["a", {"b": "\\u0000"}]', '[{"\\u0000": 1}]'):
        for place in PLACES:
            part = json.dumps(PART)[:-1] + f', "{place}": {text}}}'
            body = f'{{"model": "tiny", "input": [{{"role": "user", "content": [{part}]}}]}}'
            answer = service("POST", "/v1/responses", body=body.encode(), headers=[JSON])
            assert answer.status == 400
            assert f"content[0].{place}[" in answer.error()["param"]
            kept = body.replace("\\u0000", "\\\\u0000")  # a text that only looks like it
            answer = service("POST", "/v1/responses", body=kept.encode(), headers=[JSON])
            assert answer.status == 200


def test_feedback_that_cannot_be_stored_is_refused(service: Ask) -> None:
    for body in (
        b'{"generation": "g", "signal": "comment", "text": "a\\u0000"}',
        b'{"generation": "g\\u0000", "signal": "accepted"}',
        b'{"generation": "g", "signal": "accepted", "value": 1e400}',
    ):
        assert service("POST", "/v1/feedback", body=body, headers=[JSON]).status == 400
    good = b'{"generation": "g", "signal": "accepted"}'
    headers = [JSON, (b"idempotency-key", b"\0")]
    assert service("POST", "/v1/feedback", body=good, headers=headers).status == 400
    largest = b'{"generation": "g", "signal": "accepted", "value": 1.7e308}'
    assert service("POST", "/v1/feedback", body=largest, headers=headers[:1]).status == 201


FORMS = (
    (b"to=%00", 400),
    (b"reason=%00", 400),
    (b"version=99999999999999999999", 400),
    (b"version=999999999999999999", 409),
    (b"version=%D9%A3", 400),
    (b"version=" + b"9" * 5000, 400),
    (b"else=1", 400),
    (b"to=nothing", 409),
)


def test_forms_that_make_no_sense_are_told(service: Ask) -> None:
    for form, status in FORMS:
        answer = service("POST", "/releases/rollback", body=form, headers=[FORM])
        assert answer.status == status, (form, answer.body)


def test_what_is_nested_too_deeply_is_told(service: Ask) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        deep = opening * 500 + "1" + closing * 500
        for path, name in (
            ("/v1/responses", "metadata"),
            ("/v1/chat/completions", "functions"),
            ("/v1/feedback", "feedback"),
        ):
            body = json.dumps(GOOD[path])[:-1] + f', "{name}": {deep}}}'
            answer = service("POST", path, body=body.encode(), headers=[JSON])
            assert answer.status == 400
    schema = '{"type": "object", "properties": {"a": ' * 500 + "{}" + "}}" * 500
    tool = f'{{"type": "function", "function": {{"name": "f", "parameters": {schema}}}}}'
    body = json.dumps(GOOD["/v1/chat/completions"])[:-1] + f', "tools": [{tool}]}}'
    answer = service("POST", "/v1/chat/completions", body=body.encode(), headers=[JSON])
    assert "nested" in answer.error()["message"]


def test_any_path_and_query(service: Ask) -> None:
    @many
    @given(
        st.sampled_from(METHODS),
        st.one_of(
            st.sampled_from(ROUTES),
            st.tuples(st.sampled_from(ROUTES), TEXT).map("".join),
            st.sampled_from(tuple(QUESTIONS)).map("/insight/".__add__),
        ),
        FIELDS,
        st.booleans(),
    )
    @example("GET", "/insight/usage", [("since", "999999w")], True)
    def check(method: str, path: str, fields: list[tuple[str, str]], escape: bool) -> None:
        def write(text: str) -> bytes:
            data = text.encode("utf-8", "surrogatepass")
            return quote_from_bytes(data).encode() if escape else data

        query = b"&".join(write(name) + b"=" + write(value) for name, value in fields)
        if path == "/releases/rollback":
            service("POST", path, body=query, headers=[FORM])
        else:
            service(method, path, query)

    check()


def test_any_body(service: Ask) -> None:
    @many
    @given(
        st.sampled_from(tuple(GOOD)),
        st.dictionaries(st.sampled_from(NAMES), JSON_VALUE, max_size=3),
        st.dictionaries(st.sampled_from(PLACES), JSON_VALUE, max_size=2),
        st.dictionaries(
            st.sampled_from(("x-session-id", "x-surface", "idempotency-key", "x-request-timeout")),
            st.text(st.characters(max_codepoint=255), max_size=600),
            max_size=2,
        ),
    )
    def check(
        path: str, changes: dict[str, Any], inside: dict[str, Any], said: dict[str, str]
    ) -> None:
        body = GOOD[path] | changes
        if inside and "input" not in changes and path == "/v1/responses":
            body["input"] = [{"role": "user", "content": [PART | inside]}]
        named = [(name.encode(), value.encode("latin-1")) for name, value in said.items()]
        service("POST", path, body=json.dumps(body).encode(), headers=[JSON, *named])

    check()
