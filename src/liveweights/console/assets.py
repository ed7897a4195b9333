"""Styles and scripts of the pages. Those of others are kept as their packages have them.

``assets/vendored.json`` pins each file of others: package, version, place in the package, licence,
and the SHA-256 of its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import msgspec
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from liveweights.console.headers import GUARDED
from liveweights.http.errors import ApiError
from liveweights.http.wire import reply

PREFIX = "/assets"
KINDS: Mapping[str, bytes] = {
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}
KEPT = b"public, max-age=31536000, immutable"
"""The address of a file has its hash: it never shows another one."""


class Vendored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of somebody else's."""

    file: str
    package: str
    version: str
    place: str
    licence: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent; ``digest`` is the SHA-256 of ``body`` in hex."""

    body: bytes
    kind: bytes
    digest: str


@cache
def list_assets() -> Mapping[str, Asset]:
    """Every file that pages may ask for, by name."""
    listed: dict[str, Asset] = {}
    for file in files("liveweights.console").joinpath("assets").iterdir():
        kind = KINDS.get(file.name.rpartition(".")[2])
        if kind is not None:
            body = file.read_bytes()
            listed[file.name] = Asset(body, kind, hashlib.sha256(body).hexdigest())
    return listed


@cache
def list_vendored() -> tuple[Vendored, ...]:
    """The pins of the files of others."""
    text = files("liveweights.console").joinpath("assets", "vendored.json").read_bytes()
    return msgspec.json.decode(text, type=tuple[Vendored, ...])


@cache
def address_of(name: str) -> str:
    """The path and query of a file; another one where its bytes are others."""
    return f"{PREFIX}/{name}?v={list_assets()[name].digest[:16]}"


async def serve_asset(scope: Scope, receive: Receive, send: Send) -> None:
    """GET /assets/NAME, for everyone: there is nothing of the service in it."""
    name: str = scope["path_params"]["name"]
    asset = list_assets().get(name)
    if asset is None:
        raise ApiError(404, f"There is no file {name[:100]!r}.", code="not_listed")
    pinned = QueryParams(scope["query_string"]).get("v") == asset.digest[:16]
    caching = (b"cache-control", KEPT if pinned else b"no-cache")
    await reply(send, 200, asset.body, (*GUARDED, caching), content_type=asset.kind)
