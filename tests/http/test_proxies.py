from __future__ import annotations

import pytest

from liveweights.http.proxies import find_proxy

PROXY, OTHER = "http://ada:key@proxy.example:3128", "http://other.example:80"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no"):
        for variable in (f"{name}_proxy", f"{name}_PROXY".upper()):
            monkeypatch.delenv(variable, raising=False)


def test_the_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_proxy("https://api.example/v1") is None
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("ALL_PROXY", OTHER)
    assert find_proxy("https://api.example/v1") == PROXY
    assert find_proxy("http://api.example/v1") == OTHER


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:8000/v1",
        "https://localhost/v1",
        "https://[::1]:80",
        "https://gpu.inside.example/v1",
        "https://10.0.0.7:8000",
    ],
)
def test_this_machine_and_what_is_excepted_are_asked_directly(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", "inside.example,10.0.0.7")
    assert find_proxy(url) is None
    assert find_proxy("https://outside.example") == PROXY


@pytest.mark.parametrize(
    ("exceptions", "url"),
    [
        ("10.0.0.0/8", "https://10.1.2.3:8000"),
        ("fd00::/8", "https://[fd00::7]"),
        (".svc,vllm:8000", "https://vllm:8000/v1"),
        (".svc", "https://models.svc"),
        ("*.example", "https://models.example."),
        ("*", "https://anything.test"),
        ("", "https://0.0.0.0:8000"),
    ],
)
def test_networks_ports_and_domains_are_understood(
    exceptions: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert find_proxy(url) is None


@pytest.mark.parametrize(
    "url", ["https://11.1.2.3", "https://vllm:8001", "https://notsvc", "https://svc.example"]
)
def test_nothing_else_is_excepted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8,.svc,vllm:8000")
    assert find_proxy(url) == PROXY


def test_a_proxy_without_a_scheme_is_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "ada:secret@proxy.example:3128")
    with caplog.at_level("INFO"):
        assert find_proxy("https://api.example") == "http://ada:secret@proxy.example:3128"
    assert "api.example is asked by the proxy proxy.example:3128" in caplog.text
    assert "secret" not in caplog.text


def test_a_proxy_of_another_kind_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example:1080")
    assert find_proxy("https://api.example/v1") is None
