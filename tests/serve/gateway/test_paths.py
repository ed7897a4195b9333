"""Which paths every server reads alike."""

from __future__ import annotations

import posixpath
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.http.errors import ApiError
from liveweights.serve.gateway.paths import check_path


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/v1/models/meta-llama%2FLlama-3.1",
        "/v1/models/meta-llama/Llama-3.1",
        "/v1/models/ft:gpt:org::id",
        "/v1/files/file-abc_1.2/content",
        "/v1/models/..x",
        "/v1/models/.hidden",
    ],
)
def test_clear_paths_pass(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/%252e%252e/admin",
        "/v1/%25252e%25252e/admin",
        "/v1/.%2e/admin",
        "/v1/..%2fadmin",
        "/v1/..%5cadmin",
        "/v1/..\\admin",
        "/v1/a\\..\\..\\admin",
        "/v1/./models",
        "/v1/models/..",
        "/v1//models",
        "/v1/%2fmodels",
        "/v1/models/",
        "/v1/..;x=1/admin",
        "/v1/;/admin",
        "/v1/.../admin",
        "/v1/%c0%ae%c0%ae/admin",
        "/v1/%ef%bc%8e%ef%bc%8e/admin",
        "/v1/a%00b",
        "/v1/a%0d%0ab",
        "/v1/a%zz",
        "/v1/a%2",
        "/v1/a%u002e",
        "/v1/a%23b",
        "/v1/a%3fb",
        "/v1/a b",
        "/v1/é",
        "/v1/" + quote("/../x", safe="") * 1,
        "/v1/%" + "25" * 40 + "2e%" + "25" * 40 + "2e/admin",
    ],
)
def test_others_are_refused_with_a_reason(path: str) -> None:
    with pytest.raises(ApiError) as refused:
        check_path(path)
    assert refused.value.status == 400
    assert refused.value.code == "invalid_path"


_BITS = st.sampled_from(
    ["..", ".", "/", "\\", "%", "2e", "2E", "%2e", "%2f", "%5c", "%25", "25", ";", "a", "v1", "%00"]
)


@given(st.lists(_BITS, max_size=12), st.integers(0, 4))
def test_no_decoding_of_what_passes_leaves_v1(bits: list[str], times: int) -> None:
    path = "/v1/" + "".join(bits)
    try:
        check_path(path)
    except ApiError:
        return
    for _ in range(times):
        path = unquote(path, encoding="latin-1")
    assert "\\" not in path
    assert posixpath.normpath(path) == path
    assert path.startswith("/v1/")
