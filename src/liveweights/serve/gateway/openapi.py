"""GET /openapi.json of a gateway: what it answers itself, and what it passes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from liveweights.http.routes import Routes, Table
from liveweights.serve.admin.openapi import OPERATORS
from liveweights.serve.api.description import Operation, write_document
from liveweights.serve.api.operations import CALLER, COSTS, FEEDBACK, HEALTH, KEY, USAGE
from liveweights.serve.gateway.objects import COLLECTIONS
from liveweights.serve.gateway.question import RECORDED
from liveweights.serve.gateway.settings import PATHS, GatewaySettings

OWN = (FEEDBACK, KEY, USAGE, COSTS, *OPERATORS, HEALTH)
_ERRORS = (400, 401, 403, 404, 413, 415, 429, 502, 503)
_OPEN = (
    "Everything else below /v1/ is passed on as it is sent, and answered as the server behind "
    "answers it."
)
_CLOSED = "What is passed on is answered as the server behind answers it; all else is refused."


def describe_gateway(settings: GatewaySettings, routes: Routes, *, by_key: bool) -> bytes:
    """The OpenAPI document, as JSON. ``by_key``: keys tell tenants apart, so that only the paths
    of the settings pass."""
    table = Table(routes)
    own = [operation for operation in OWN if not _is_passed(table, operation)]
    passed = list_passed(list_paths(settings) if by_key else PATHS)
    about = f"A gateway to another server. {_CLOSED if by_key else _OPEN}"
    return write_document([*passed, *own], about)


def list_paths(settings: GatewaySettings) -> list[str]:
    """What passes for any tenant."""
    lists = (settings.paths, *settings.tenant_paths.values())
    return list(dict.fromkeys(path for paths in lists for path in paths))


def list_passed(paths: Iterable[str]) -> Iterator[Operation]:
    """What can be asked of the server behind, by the ``paths`` of the settings. Of objects there is
    more below each one than stands here."""
    for entry in paths:
        method, _, path = entry.rpartition(" ")
        yield _pass_on(method.lower() or "post", path)
        if not method and path.removeprefix("/v1/") in COLLECTIONS:
            yield from (_pass_on(one, path + "/{id}") for one in ("get", "post", "delete"))


def _pass_on(method: str, path: str) -> Operation:
    recorded = method == "post" and path in RECORDED
    return Operation(
        method,
        path,
        "Passed on, and recorded." if recorded else "Passed on.",
        statuses=(),
        errors=_ERRORS,
        headers=CALLER if recorded else {},
        passed=True,
    )


def _is_passed(table: Table, operation: Operation) -> bool:
    """Whether nothing here answers it."""
    route, _ = table.match(operation.path)
    return route is None or route.endswith("*")
