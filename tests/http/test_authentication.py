from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.meter.stored import NOW, stored, with_rights
from tests.serve.api.doubles import make_api

from liveweights.app.server import status_routes
from liveweights.config import Config, load_config
from liveweights.http.authentication import Authenticator
from liveweights.http.errors import ApiError
from liveweights.meter.keys import Client, Keys, digest_of
from liveweights.meter.secret import make_key
from liveweights.model_table import ConfigError
from liveweights.serve.api.app import make_authenticator
from liveweights.serve.api.settings import ApiSettings

KEY, OPERATOR = "right-0123456789", "operator:0123456"
KEYED = make_authenticator(ApiSettings(keys={KEY: "acme"}, operator_key=OPERATOR))


def scope(authorization: str | None) -> dict[str, Any]:
    headers = [] if authorization is None else [(b"authorization", authorization.encode("latin-1"))]
    return {"type": "http", "path": "/v1/completions", "headers": headers}


def authenticate(authorization: str | None, by: Authenticator = KEYED) -> Client:
    return asyncio.run(by.authenticate(scope(authorization)))


@pytest.mark.parametrize("sent", [f"Bearer {KEY}", f"bearer  {KEY} ", f"BEARER {KEY}"])
def test_a_key_is_its_tenants(sent: str) -> None:
    assert authenticate(sent) == Client("acme", digest_of(KEY))


def test_without_keys_there_is_one_tenant() -> None:
    for sent in (None, "Bearer x", "Basic ???"):
        assert authenticate(sent, make_authenticator(ApiSettings())) == Client("default")


def test_an_empty_key_opens_nothing() -> None:
    """Settings refuse it; were it there, who shows nothing would still be nobody."""
    for sent in (None, "", "Bearer", "Bearer ", "Bearer  "):
        with pytest.raises(ApiError):
            authenticate(sent, make_authenticator(ApiSettings(keys={"": "acme"})))
    with pytest.raises(ApiError):
        asyncio.run(make_authenticator(ApiSettings()).check_operator(scope("Bearer ")))


@given(st.text(st.characters(max_codepoint=255, blacklist_characters="\r\n"), max_size=40))
def test_whatever_is_sent_is_told_apart(sent: str) -> None:
    fresh = make_authenticator(ApiSettings(keys={KEY: "acme"}, operator_key=OPERATOR))
    with pytest.raises(ApiError) as caught:
        authenticate(sent, fresh)
    assert caught.value.status == 401
    with pytest.raises(ApiError) as caught:
        asyncio.run(fresh.check_operator(scope(sent)))
    assert caught.value.status == 401


@pytest.mark.parametrize("user", ["", "anyone", "ünï"])
def test_the_operators_key_is_a_password_or_a_bearers(user: str) -> None:
    sent = base64.b64encode(f"{user}:{OPERATOR}".encode()).decode()
    asyncio.run(KEYED.check_operator(scope(f"Basic {sent}")))
    asyncio.run(KEYED.check_operator(scope(f"Bearer {OPERATOR}")))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[api.keys]\n"" = "acme"', "api.keys"),
        ('[api.keys]\n"short" = "acme"', "api.keys"),
        ('[api.keys]\n"0123456789 abcdef" = "acme"', "api.keys"),
        ('[api.keys]\n"0123456789abcdef" = ""', "api.keys"),
        ('[api]\noperator_key = "x"', "api.operator_key"),
        ('[api]\noperator_key = "                "', "api.operator_key"),
        ('[api]\nhosts = ["http://here"]', "api.hosts"),
    ],
)
def test_settings_refuse_what_is_no_key(tmp_path: Path, text: str, where: str) -> None:
    file = tmp_path / "liveweights.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=where.replace(".", r"\.")) as caught:
        load_config(file)
    assert "short" not in str(caught.value)  # a secret is not told


def test_settings_take_good_keys(tmp_path: Path) -> None:
    file = tmp_path / "liveweights.toml"
    file.write_text(
        '[api]\noperator_key = "0123456789abcdef"\nhosts = ["*", "*.a.b", "x"]\n'
        '[api.keys]\n"sk-0123456789abcdef" = "acme"'
    )
    assert load_config(file).api.keys == {"sk-0123456789abcdef": "acme"}


def test_pages_about_the_service_need_a_key_where_there_are_keys() -> None:
    keys = {"right-0123456789": "acme"}
    operator = "operator-0123456789"
    for settings, expected in (
        (ApiSettings(), {"": 200, "wrong-0123456789": 200}),
        (ApiSettings(keys=keys), {"": 401, "wrong-0123456789": 401, "right-0123456789": 200}),
        (
            ApiSettings(keys=keys, operator_key=operator),
            {"": 401, "right-0123456789": 401, operator: 200},
        ),
    ):
        api = make_api(settings=settings)
        for key, status in expected.items():
            headers = {"authorization": f"Bearer {key}"} if key else {}
            assert api.call("GET", "/metrics", None, **headers).status == status


OPEN = ApiSettings()
TENANTS = ApiSettings(keys={KEY: "acme"})
OPERATED = ApiSettings(keys={KEY: "acme"}, operator_key=OPERATOR)


@pytest.mark.parametrize(
    ("settings", "key", "admitted"),
    [
        (OPEN, None, True),
        (TENANTS, None, False),
        (TENANTS, "wrong-0123456789", False),
        (TENANTS, KEY, True),
        (OPERATED, None, False),
        (OPERATED, KEY, False),
        (OPERATED, OPERATOR, True),
    ],
)
def test_pages_about_the_whole_service_are_for_those_who_may_read_them(
    settings: ApiSettings, key: str | None, admitted: bool
) -> None:
    """Where keys are asked for: the operator, or any tenant where there is no such key."""
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    metrics = make_api(settings=settings).call("GET", "/metrics", **headers)
    assert metrics.status == (200 if admitted else 401)

    async def read_status() -> int:
        (route,) = status_routes(
            cast(Any, Away()), Path("/nowhere"), make_authenticator(settings), now=Config
        )
        try:
            await route.endpoint(
                {**scope(headers.get("authorization")), "query_string": b""},
                cast(Any, None),
                cast(Any, None),
            )
        except ApiError as error:
            return error.status
        except ConnectionError:
            return 200  # it went on to ask the database
        raise AssertionError

    assert asyncio.run(read_status()) == metrics.status


class Away:
    """A pool without a database."""

    def connection(self) -> Any:
        raise ConnectionError


CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
REACTION = {"signal": "accepted", "generation": "none"}


@pytest.mark.parametrize(
    ("rights", "expected"),
    [
        ({}, (200, 200, 404)),
        ({"uses": ("feedback",)}, (403, 403, 404)),
        ({"uses": ("insight",)}, (403, 403, 403)),
        ({"models": ("other",)}, (403, 403, 404)),
        ({"models": ("tiny",)}, (200, 200, 404)),
        ({"endpoints": ("/v1/completions",)}, (403, 200, 403)),
    ],
)
def test_a_key_is_for_what_was_said_of_it(
    rights: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    key, keys = with_rights(**rights)
    api = make_api(settings=ApiSettings(require_keys=True), keys=keys)
    headers = {"authorization": f"Bearer {key}"}
    answers = [
        api.call("POST", "/v1/chat/completions", CHAT, **headers),
        api.call("POST", "/v1/completions", {"model": "tiny", "prompt": "p"}, **headers),
        api.call("POST", "/v1/feedback", REACTION, **headers),
    ]
    assert tuple(answer.status for answer in answers) == expected
    codes = {answer.error()["code"] for answer in answers if answer.status == 403}
    assert codes <= {"use_not_allowed", "path_not_allowed", "model_not_allowed"}
    assert {row.key for row in api.recorder.generations.values()} <= {"abcdefgh"}
    assert api.call("GET", "/v1/models", **headers).status == 200


def test_pages_about_the_whole_service_are_not_for_a_key_that_may_only_ask() -> None:
    for uses, status in (((), 200), (("insight",), 200), (("answers", "feedback"), 403)):
        key, keys = with_rights(uses=uses)
        api = make_api(settings=ApiSettings(require_keys=True), keys=keys)
        assert api.call("GET", "/metrics", authorization=f"Bearer {key}").status == status


def test_a_key_that_has_ended_says_why() -> None:
    key = make_key("abcdefgh")
    keys = Keys({}, required=True)
    keys.replace([stored(key, "abcdefgh", revoked_at=NOW)])
    by = make_authenticator(ApiSettings(require_keys=True), keys=keys)
    with pytest.raises(ApiError, match="revoked on 2026-03-01") as caught:
        authenticate(f"Bearer {key}", by)
    assert caught.value.status == 401
    with pytest.raises(ApiError, match="Missing or unknown API key"):
        authenticate(f"Bearer {make_key('abcdefgh')}", by)


def test_with_keys_required_and_none_there_nobody_gets_in() -> None:
    by = make_authenticator(ApiSettings(require_keys=True))
    assert by.asks_for_keys
    for sent in (None, "Bearer x", f"Bearer {KEY}"):
        with pytest.raises(ApiError):
            authenticate(sent, by)
