"""One table of routes: methods and paths to endpoints."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from liveweights.http.errors import ApiError
from liveweights.http.wire import reply

ANY = "*"
"""As a method: all that no other route of the path has, but for OPTIONS, by which browsers ask what
pages of other sites may do: that is for this server to say."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_OPEN = re.compile(r"(\{\w+\}|\*)$")


@dataclass(frozen=True, slots=True)
class Route:
    """A ``path`` that ends in ``{name}`` takes the rest of a path as that parameter (ids may hold
    slashes), one that ends in ``*`` takes whatever is below."""

    method: str
    path: str
    endpoint: ASGIApp


@dataclass(frozen=True, slots=True)
class Mount:
    """``routes`` below ``prefix``, such as all pages of one part of the service."""

    prefix: str
    routes: Routes


Routes: TypeAlias = Sequence[Route | Mount]


class Table:
    """Finds endpoints. An exact path is found at once; of the others the longest one wins."""

    def __init__(self, routes: Routes) -> None:
        """Raises ValueError where two routes have the same method and path."""
        self._methods: dict[str, dict[str, ASGIApp]] = {}
        for route in _flat(routes, ""):
            methods = self._methods.setdefault(route.path, {})
            if route.method in methods:
                raise ValueError(f"two routes are {route.method} {route.path}")
            methods[route.method] = route.endpoint
        prefixes = {_OPEN.sub("", path): path for path in self._methods if _OPEN.search(path)}
        self._prefixes = sorted(prefixes.items(), key=lambda item: -len(item[0]))

    def match(self, path: str) -> tuple[str | None, dict[str, str]]:
        """The path of the route for ``path``, None for none, and its parameter."""
        if path in self._methods:
            return path, {}
        for prefix, route in self._prefixes:
            if path.startswith(prefix) and path != prefix:
                name = route[len(prefix) :].strip("{}")
                return route, {name: path[len(prefix) :]}
        return None, {}

    def endpoint(self, route: str | None, scope: Scope) -> ASGIApp:
        """What answers a request that matched ``route``. Raises ApiError 404, 405."""
        method: str = scope["method"]
        if route is None:
            raise ApiError(404, f"Unknown path: {method} {scope['path'][:200]}", code="not_found")
        methods = self._methods[route]
        endpoint = methods.get("GET" if method == "HEAD" else method)
        if endpoint is None and method == "OPTIONS":
            return _Options(methods)
        endpoint = endpoint or methods.get(ANY)
        if endpoint is None:
            allowed = ", ".join(methods)
            message = f"{route} takes {allowed}, not {method[:20]}."
            headers = ((b"allow", allowed.encode()),)
            raise ApiError(405, message, code="method_not_allowed", headers=headers)
        return endpoint


def _flat(routes: Routes, prefix: str) -> Iterator[Route]:
    for route in routes:
        if isinstance(route, Mount):
            yield from _flat(route.routes, prefix + route.prefix)
        else:
            yield Route(route.method, prefix + route.path, route.endpoint)


class _Options:
    """OPTIONS: what else a path takes (RFC 9110, section 9.3.7)."""

    def __init__(self, methods: Mapping[str, ASGIApp]) -> None:
        named = METHODS if ANY in methods else methods
        heads = ["HEAD"] if "GET" in named else []
        self._allowed = ", ".join([*named, *heads, "OPTIONS"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, 204, b"", ((b"allow", self._allowed.encode()),))
