"""Who sends a request, by the key that it shows."""

from __future__ import annotations

import base64
import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from liveweights.http.errors import ApiError
from liveweights.http.wrong_keys import WrongKeys
from liveweights.meter.keys import Client, EndedKey, Keys, digest_of
from liveweights.meter.rights import Use
from liveweights.service_key import PREFIX

OWN_TENANT = ""
"""Of what the service asks of itself: nothing is stored under it."""


class Authenticator:
    """Knows callers by ``keys``, the operator by ``operator_key`` and this service's own processes
    by ``service_key``; with an empty one there is nobody of the kind."""

    def __init__(self, keys: Keys, *, operator_key: str = "", service_key: str = "") -> None:
        self._keys = keys
        self._operator = digest_of(operator_key) if operator_key else ""
        self._service = digest_of(service_key) if service_key else ""
        self._wrong = WrongKeys()

    @property
    def asks_for_keys(self) -> bool:
        """Whether every request needs one."""
        return bool(self._keys)

    @property
    def has_operator(self) -> bool:
        """Whether anybody can be the operator."""
        return bool(self._operator)

    async def authenticate(
        self, scope: Scope, *, use: Use | None = None, own: bool = False
    ) -> Client:
        """Raises ApiError 401; the more wrong keys came from an address, the later. ``own``:
        processes of this service may ask, too. ``use`` is what the path is for: ApiError 403 where
        the key is not; every key may ask about itself and for the models (None)."""
        given = bearer(Headers(scope=scope))
        if given.startswith(PREFIX):
            if self._service and hmac.compare_digest(digest_of(given), self._service):
                if own:
                    return Client(OWN_TENANT, own=True)
                raise _unknown("This is not for processes of the service itself.")
            # It must not become a tenant's traffic where no keys are asked for.
            message = "That key is of another service or an earlier start of this one; see --home."
            raise await self.refuse(scope, _unknown(message))
        try:
            client = self._keys.find(given)
        except EndedKey as ended:
            raise await self.refuse(scope, _unknown(str(ended))) from None
        if client is None:
            error = _unknown("Missing or unknown API key. Send it as 'Authorization: Bearer KEY'.")
            raise await self.refuse(scope, error) if given else error
        if use is not None:
            _check_use(client, use, scope["path"])
        return client

    async def check_reader(self, scope: Scope) -> None:
        """For pages about the whole service. Raises ApiError 401 where keys are asked for and none
        is given that may read them: the operator's, or where there is no such key, any."""
        if not self._keys:
            return
        if not self._operator or bearer(Headers(scope=scope)).startswith(PREFIX):
            await self.authenticate(scope, use="insight", own=True)
        else:
            await self.check_operator(scope)

    async def authenticate_reader(
        self, scope: Scope, *, use: Use | None = "insight", own: bool = False
    ) -> Client:
        """As ``authenticate``; and the operator, who is nobody's tenant and reads about all
        (``Client.own``)."""
        if self._is_operator(scope):
            return Client(OWN_TENANT, own=True)
        return await self.authenticate(scope, use=use, own=own)

    def _is_operator(self, scope: Scope) -> bool:
        return self.is_operator_key(password(Headers(scope=scope)))

    async def check_operator(self, scope: Scope) -> None:
        """Raises ApiError 401 without the operator's key, as a password or as a bearer's."""
        if self._is_operator(scope):
            return
        given = password(Headers(scope=scope))
        challenge = ((b"www-authenticate", b'Basic realm="liveweights", charset="UTF-8"'),)
        message = "These pages need the operator's key, [api] operator_key."
        error = ApiError(401, message, code="invalid_operator_key", headers=challenge)
        raise await self.refuse(scope, error) if given else error

    def is_operator_key(self, given: str) -> bool:
        """Whether it is the operator's key; nothing is where none is set."""
        return bool(self._operator) and hmac.compare_digest(digest_of(given), self._operator)

    @property
    def operator_digest(self) -> str:
        """Another one where the key is another; empty for none."""
        return self._operator

    async def refuse(self, scope: Scope, error: ApiError) -> ApiError:
        """``error`` once it is time to say so; the more wrong keys an address sent, the later."""
        return await self._wrong.refuse(scope.get("client"), error)


def for_readers(authenticator: Authenticator, page: ASGIApp) -> ASGIApp:
    """``page``, for those who may read about the whole service (``check_reader``)."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        await authenticator.check_reader(scope)
        await page(scope, receive, send)

    return guarded


def check_model(client: Client, name: str) -> None:
    """Raises ApiError 403 where the key is for other models."""
    if not client.rights.allow_model(name):
        listed = ", ".join(client.rights.models)
        message = f"This API key is for {listed[:500]}, not for the model {name[:128]!r}."
        raise ApiError(403, message, param="model", code="model_not_allowed")


def _check_use(client: Client, use: Use, path: str) -> None:
    rights = client.rights
    if not rights.allow_use(use):
        message = f"This API key is for {' and '.join(rights.uses)} only, not for {use}."
        raise ApiError(403, message, code="use_not_allowed")
    if not rights.allow_path(path):
        listed = ", ".join(rights.endpoints)
        message = f"This API key is for {listed[:500]}, not for {path[:200]!r}."
        raise ApiError(403, message, code="path_not_allowed")


def _unknown(message: str) -> ApiError:
    challenge = ((b"www-authenticate", b"Bearer"),)
    return ApiError(401, message, code="invalid_api_key", headers=challenge)


def bearer(headers: Headers) -> str:
    """The key of an ``Authorization`` header; empty for none."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def password(headers: Headers) -> str:
    """The same, or what a browser sends after asking its user (RFC 7617); any user name does."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return bearer(headers)
    try:
        return base64.b64decode(given).decode().partition(":")[2]
    except ValueError:
        return ""
