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


def test_a_proxy_of_another_kind_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example:1080")
    assert find_proxy("https://api.example/v1") is None
