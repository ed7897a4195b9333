from __future__ import annotations

import json
import socket

import pytest
from tests.serve.api.doubles import make_api

from liveweights.http.hosts import Hosts, host_of, is_loopback
from liveweights.serve.api.settings import ApiSettings


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8090", "LOCALHOST.", "x.localhost:1", "127.0.0.1:8090"),
        *("[::1]:8090", "[::1]", "0.0.0.0:1", "192.168.1.7", "liveweights:8090", "box.local"),
        *("api.prod.svc.cluster.local", "lw.prod.svc", "host.docker.internal", ""),
        *("api.example.com", "API.example.com:443", "own.example.net", socket.gethostname()),
        *("a.tenants.example.org", "b.a.tenants.example.org"),
    ],
)
def test_names_that_nobody_else_can_have(host: str) -> None:
    settings = ApiSettings(
        host="own.example.net", hosts=["api.example.com", "*.tenants.example.org"]
    )
    answer = make_api(settings=settings).call("GET", "/v1/models", host=host)
    assert answer.status == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example.com", "evil.example.com:8090", "127.0.0.1.evil.example", "1.2.3"),
        *("localhost.evil.example", "api.example.com.evil.example", "tenants.example.org"),
        *("xlocalhost.example", "notlocal.example:80", "evil.example."),
    ],
)
def test_another_name_is_refused_everywhere(host: str) -> None:
    settings = ApiSettings(hosts=["api.example.com", "*.tenants.example.org"])
    api = make_api(settings=settings)
    for path in ("/v1/models", "/healthz", "/metrics", "/nowhere"):
        answer = api.call("GET", path, host=host)
        assert answer.status == 421
        assert answer.error()["code"] == "unknown_host"
        assert "'hosts'" in answer.error()["message"]


def test_any_name_where_the_settings_say_so() -> None:
    api = make_api(settings=ApiSettings(hosts=["*"]))
    assert api.call("GET", "/v1/models", host="evil.example").status == 200


def test_several_hosts_are_none() -> None:
    scope = {"headers": [(b"host", b"localhost"), (b"host", b"evil.example")]}
    with pytest.raises(Exception, match="one 'Host' header"):
        Hosts(()).check(scope)


@pytest.mark.parametrize(
    ("sent", "host"), [("A.b:80", "a.b"), ("[::1]:80", "::1"), ("[::1", "::1"), ("a.", "a")]
)
def test_ports_are_left_out(sent: str, host: str) -> None:
    assert host_of(sent) == host


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "json"]
)
@pytest.mark.parametrize(
    "path", ["/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/feedback"]
)
def test_what_a_page_of_another_site_can_send_is_refused(kind: str, path: str) -> None:
    api = make_api()
    answer = api.call("POST", path, {"model": "tiny"}, content_type=kind)
    assert answer.status == 415
    assert "application/json" in answer.error()["message"]
    assert not api.engine.calls


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/x+json"]
)
def test_json_is_json(kind: str) -> None:
    body = json.dumps({"model": "tiny", "prompt": "a"}).encode()
    assert make_api().call("POST", "/v1/completions", body, content_type=kind).status == 200


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.com", "")))
