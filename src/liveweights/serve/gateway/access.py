"""What a tenant may ask of an upstream whose key all tenants share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from starlette.datastructures import Headers

from liveweights.http.errors import RETRY, ApiError, bad_request
from liveweights.record.errors import StoreAway
from liveweights.serve.gateway.objects import (
    Reference,
    Target,
    find_references,
    find_target,
    is_id,
    may_refer,
)
from liveweights.serve.gateway.settings import GatewaySettings

log = logging.getLogger(__name__)

_INLINE = 1 << 15
"""Bytes that are searched on the event loop; more are searched beside it."""
_LONGEST_LINE = 1 << 24


class Owners(Protocol):
    """``record.owners.OwnerStore`` is the real one."""

    async def remember(self, tenant: str, made: Sequence[Reference], /) -> None:
        """Returns once durable, or after a moment of a database that is away."""
        ...

    async def find(self, named: Sequence[Reference], /) -> dict[Reference, str]:
        """The tenants of those that are known. Raises StoreAway."""
        ...

    async def forget(self, key: Reference, /) -> None:
        """Raises StoreAway."""
        ...


class Access:
    """Which paths pass for a tenant, and which objects it may name: those that its own requests
    made, and no others, whether in a path, in a body, or in the file of a batch."""

    def __init__(self, settings: GatewaySettings, owners: Owners) -> None:
        self._settings = settings
        self.owners = owners

    async def admit(self, tenant: str, method: str, path: str) -> Target:
        """What a clear ``path`` is about. Raises ApiError 403 for one that does not pass, 404
        for an object that is not the tenant's, 503."""
        method = "GET" if method == "HEAD" else method
        target = find_target(path)
        listing = target.kind is not None and not (target.id or target.below) and method == "GET"
        if "%" in path and not path.startswith("/v1/models/"):
            raise _closed(tenant, method, path)
        if not any(
            _passes(entry, method, path, exactly=listing)
            for entry in self._settings.paths_of(tenant)
        ):
            raise _unlisted(path) if listing else _closed(tenant, method, path)
        if target.id and target.kind:
            await self.check(tenant, [(target.kind, target.id)])
        return target

    def looks_into(self, target: Target, path: str, headers: Headers) -> bool:
        """Whether a body may name objects. A form brings its files along."""
        if headers.getlist("content-type")[1:]:
            return True  # servers differ in which one counts
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        named = target.kind is not None or path.startswith("/v1/images/")
        return named and kind != "multipart/form-data"

    async def check_body(self, tenant: str, path: str, body: bytes) -> list[Reference]:
        """What ``body`` names. Raises ApiError 404 where that is another's, 400 where it cannot
        be told, 503."""
        if not body or (path.endswith("/completions") and _is_plain(body) and not may_refer(body)):
            return []  # nearly all
        named = await _search(body, "The request body")
        await self.check(tenant, named)
        return named

    async def check_batch(self, tenant: str, parts: AsyncIterator[bytes]) -> None:
        """The same for a file of requests, one a line."""
        held = b""
        async for part in parts:
            *lines, held = (held + part).split(b"\n")
            if len(held) > _LONGEST_LINE:
                raise bad_request(f"A line of the batch is longer than {_LONGEST_LINE} bytes.")
            await self._check_lines(tenant, lines)
        await self._check_lines(tenant, [held])

    async def _check_lines(self, tenant: str, lines: list[bytes]) -> None:
        for line in lines:
            if line.strip():
                await self.check(tenant, await _search(line, "A line of the batch"))

    async def check(self, tenant: str, named: Sequence[Reference]) -> None:
        """Raises ApiError 404 unless all are the tenant's; 503."""
        possible = [reference for reference in named if is_id(reference[1])]
        try:
            found = await self.owners.find(possible) if possible else {}
        except StoreAway as error:
            message = f"Whose the named objects are cannot be told at the moment: {error}."
            code = "database_unavailable"
            raise ApiError(503, message, type="server_error", code=code, headers=RETRY) from error
        for kind, id in named:
            if found.get((kind, id)) != tenant:
                message = (
                    f"No request with a key of yours has made {id[:100]!r} ({kind}) through this "
                    "gateway, so it cannot be used here."
                )
                raise ApiError(404, message, code="not_found")

    async def forget(self, target: Target) -> None:
        """It has been deleted at the upstream."""
        if target.kind is None or not target.id or target.below:
            return
        try:
            await self.owners.forget((target.kind, target.id))
        except StoreAway as error:
            log.warning("the owner of %s %s is kept: %s", target.kind, target.id, error)


def _passes(entry: str, method: str, path: str, *, exactly: bool) -> bool:
    """Whether ``entry`` of the settings allows it; ``exactly``: by method and whole path."""
    allowed, _, place = entry.rpartition(" ")
    if allowed and allowed != method:
        return False
    if exactly:
        return bool(allowed) and place == path
    return path == place or path.startswith(place + "/")


def _is_plain(body: bytes) -> bool:
    """Whether it is not JSON in another encoding, in which names look different."""
    return b"\0" not in body and body.lstrip()[:1] == b"{"


async def _search(body: bytes, what: str) -> list[Reference]:
    try:
        if len(body) <= _INLINE:
            return find_references(body)
        return await asyncio.to_thread(find_references, body)
    except ValueError as error:
        message = f"{what} is not JSON in UTF-8: {error}"
        raise bad_request(message[:500]) from None


def _closed(tenant: str, method: str, path: str) -> ApiError:
    message = (
        f"{method[:20]} {path[:200]!r} does not pass this gateway for the tenant {tenant!r}; its "
        "operator can allow it in `gateway.paths` or `gateway.tenant_paths`."
    )
    return ApiError(403, message, code="path_not_allowed")


def _unlisted(path: str) -> ApiError:
    message = (
        f"The list of {path} would name what other tenants made. Ask for the ids that your own "
        "requests made; each is at its own path below."
    )
    return ApiError(403, message, code="path_not_allowed")
