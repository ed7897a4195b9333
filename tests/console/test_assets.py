from __future__ import annotations

import asyncio
import hashlib
from importlib.resources import files

import httpx

from liveweights.console.assets import PREFIX, address_of, list_assets, list_vendored, serve_asset
from liveweights.http.application import Application
from liveweights.http.hosts import Hosts
from liveweights.http.routes import Mount, Route
from liveweights.serve.api.metrics import Metrics

FOLDER = files("liveweights.console").joinpath("assets")
OURS = {
    "asking.js",
    "console.css",
    "console.js",
    "icon.svg",
    "playground.js",
    "tokens.js",
    "vendored.json",
}


def test_the_files_of_others_are_as_their_packages_have_them() -> None:
    pinned = {one.file: one for one in list_vendored()}
    assert set(pinned) | OURS == {file.name for file in FOLDER.iterdir()}
    assert not set(pinned) & OURS
    for name, one in pinned.items():
        body = FOLDER.joinpath(name).read_bytes()
        assert hashlib.sha256(body).hexdigest() == one.sha256, f"{name}: run `make assets`"
        assert one.licence in ("0BSD", "MIT")


def test_pages_can_do_without_anything_from_elsewhere() -> None:
    for name, asset in list_assets().items():
        text = asset.body.decode()
        if name.endswith(".css"):
            assert "url(" not in text
            assert "@import" not in text
        if name in OURS and name.endswith(".js"):
            assert "http" not in text


def test_a_file_is_kept_under_the_address_with_its_hash_alone() -> None:
    async def go() -> None:
        app = Application(
            [Mount(PREFIX, [Route("GET", "/{name}", serve_asset)])], Metrics(), Hosts(())
        )
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            for name, kind in (("console.css", "text/css"), ("console.js", "text/javascript")):
                answer = await client.get(address_of(name))
                assert answer.content == list_assets()[name].body
                assert answer.headers["content-type"].startswith(kind)
                assert "immutable" in answer.headers["cache-control"]
                assert answer.headers["x-content-type-options"] == "nosniff"
                other = await client.get(f"{PREFIX}/{name}?v=0123456789abcdef")
                assert other.headers["cache-control"] == "no-cache"
            for name in ("nothing.js", "../pages.py", "vendored.json", "%2e%2e/__init__.py"):
                assert (await client.get(f"{PREFIX}/{name}")).status_code == 404

    asyncio.run(go())
