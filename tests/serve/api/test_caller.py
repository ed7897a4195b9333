from __future__ import annotations

from typing import Any

import pytest
from starlette.datastructures import Headers

from liveweights.http.errors import ApiError
from liveweights.meter.keys import Client
from liveweights.serve.api.caller import Caller, identify
from liveweights.serve.api.settings import ApiSettings

from .doubles import make_api

SECRET = "secret-0123456789"


def caller(
    metadata: dict[str, str] | None = None,
    *,
    user: str | None = None,
    settings: ApiSettings | None = None,
    **headers: str,
) -> Caller:
    named = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return identify(named, user, metadata, Client("t"), settings or ApiSettings())


def test_headers_win_over_metadata() -> None:
    said = {"session": "s1", "surface": "web", "language": "de", "training": "no", "team": "x"}
    one = caller(said)
    assert (one.session, one.surface, one.language, one.consent) == ("s1", "web", "de", False)
    assert one.metadata == {"team": "x"}
    other = caller(
        said,
        x_session_id="s2",
        x_surface="editor",
        x_language="python",
        x_training_consent="YES",
    )
    assert (other.session, other.surface, other.language) == ("s2", "editor", "python")
    assert other.consent is True


def test_a_session_is_stickier_than_a_user() -> None:
    assert caller(user="u").sticky == "u"
    assert caller(user="u", x_session_id="s").sticky == "s"
    assert caller().sticky is None
    assert caller(x_session_id="").session is None


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (ApiSettings(), True),
        (ApiSettings(consent=False), False),
        (ApiSettings(consent=False, tenant_consent={"t": True}), True),
        (ApiSettings(tenant_consent={"t": False}), False),
    ],
)
def test_consent_that_is_not_said_is_the_tenants(settings: ApiSettings, expected: bool) -> None:
    assert caller(settings=settings).consent is expected
    assert caller(settings=settings, x_training_consent="no").consent is False


def test_unclear_consent_is_not_guessed() -> None:
    with pytest.raises(ApiError, match="say 'yes' or 'no'"):
        caller(x_training_consent="maybe")


@pytest.mark.parametrize(
    ("header", "name", "most"),
    [
        ("x-session-id", "session", 512),
        ("x-surface", "surface", 128),
        ("x-language", "language", 128),
    ],
)
def test_long_words_are_refused_at_our_own_api(header: str, name: str, most: int) -> None:
    for size in (most, most + 1):
        text = "x" * size
        for sent, param in (
            (lambda: caller(**{header.replace("-", "_"): text}), header),  # noqa: B023
            (lambda: caller({name: text}), f"metadata.{name}"),  # noqa: B023
        ):
            if size == most:
                assert getattr(sent(), name) == text
                continue
            with pytest.raises(ApiError, match=f"longer than {most} characters") as raised:
                sent()
            assert raised.value.param == param


def test_where_bytes_only_pass_nothing_is_refused() -> None:
    headers = Headers({"x-session-id": "s" * 9000, "x-training-consent": "perhaps"})
    said = {"surface": "x" * 9000}
    one = identify(headers, "u" * 9000, said, Client("t"), ApiSettings(), strict=False)
    assert (len(one.session or ""), len(one.surface), one.consent) == (9000, 9000, False)


def test_everything_said_is_recorded() -> None:
    api = make_api(settings=ApiSettings(keys={SECRET: "acme"}))
    body = {"model": "tiny", "prompt": "a", "user": "u", "metadata": {"language": "py", "k": "v"}}
    headers: dict[str, Any] = {
        "authorization": f"Bearer {SECRET}",
        "x_session_id": "s",
        "x_training_consent": "no",
    }
    assert api.call("POST", "/v1/completions", body, **headers).status == 200
    generation = api.recorder.only()
    assert (generation.tenant, generation.user, generation.session) == ("acme", "u", "s")
    assert (generation.language, generation.consent) == ("py", False)
    assert generation.metadata == {"k": "v"}


@pytest.mark.parametrize(
    "sent", [None, "Bearer wrong", SECRET, f"Basic {SECRET}", "Bearer", "Bearer "]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/completions"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/feedback"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/tiny"),
    ],
)
def test_unknown_keys_are_401(sent: str | None, method: str, path: str) -> None:
    api = make_api(settings=ApiSettings(keys={SECRET: "acme"}))
    headers = {"authorization": sent} if sent else {}
    answer = api.call(method, path, {}, **headers)
    assert answer.status == 401
    assert answer.error()["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_without_keys_any_key_will_do() -> None:
    api = make_api()
    body = {"model": "tiny", "prompt": "a"}
    assert api.call("POST", "/v1/completions", body, authorization="Bearer x").status == 200
    assert api.recorder.only().tenant == "default"
