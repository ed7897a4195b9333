"""Signing in with OpenID Connect (Core 1.0): the code flow with PKCE (RFC 7636), by Authlib."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import msgspec

from liveweights.access.oidc_settings import OidcSettings
from liveweights.http.hosts import is_loopback

if TYPE_CHECKING:
    from authlib.integrations.httpx_client import AsyncOAuth2Client

PLACE = "/login/oidc"
CALLBACK = f"{PLACE}/callback"
SCOPES = {"email": "openid email", "preferred_username": "openid profile", "sub": "openid"}
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""Of signatures that are taken; none that a secret shared with others makes."""
LEEWAY = 30
"""Seconds by which clocks may differ."""
PATIENCE = 10.0
"""Seconds to wait for the provider."""
Url = Annotated[str, msgspec.Meta(pattern=r"^https?://\S+$")]


class OidcUnavailable(RuntimeError):
    """The library is not installed, or the settings are not whole; the message says what to do."""


class OidcRefused(Exception):
    """The provider did not say who it is, or what it said does not hold; the message says why."""


class Metadata(msgspec.Struct, frozen=True):
    """What a provider says of itself (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: Url
    token_endpoint: Url
    jwks_uri: Url


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One browser on its way to the provider and back: what only it and this service know.
    ``place`` is where it goes on then."""

    state: str
    nonce: str
    verifier: str
    place: str


class Provider:
    """One provider. Nothing is asked of it before somebody signs in."""

    def __init__(self, settings: OidcSettings) -> None:
        """Raises OidcUnavailable."""
        if find_spec("authlib") is None:
            raise OidcUnavailable("[oidc] needs an extra: pip install 'liveweights[oidc]'")
        for name in ("client_id", "url"):
            if not getattr(settings, name):
                raise OidcUnavailable(f"[oidc] has an issuer and no {name}")
        parts = urlsplit(settings.issuer)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise OidcUnavailable("[oidc] issuer has to be an https:// URL, but on this machine")
        self.settings = settings
        self._metadata: Metadata | None = None
        self._discovering = asyncio.Lock()

    async def begin(self, place: str) -> tuple[str, Attempt]:
        """Where to send a browser, and what to remember of it. Raises OidcRefused."""
        attempt = Attempt(
            state=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            place=place,
        )
        async with self._client() as client:
            metadata = await self._discover(client)
            url, _ = client.create_authorization_url(
                metadata.authorization_endpoint,
                state=attempt.state,
                nonce=attempt.nonce,
                code_verifier=attempt.verifier,
            )
        return url, attempt

    async def finish(self, attempt: Attempt, answer: Mapping[str, str]) -> str:
        """Whom the provider names, by what it sent the browser back with. Raises OidcRefused."""
        if not secrets.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
            raise OidcRefused("The answer is to another question; sign in again.")
        if error := answer.get("error"):
            said = answer.get("error_description", "")
            raise OidcRefused(f"The provider refused: {error[:100]} {said[:300]}".rstrip() + ".")
        # RFC 9207: a mix-up of providers is seen where they name themselves.
        if answer.get("iss", self.settings.issuer) != self.settings.issuer:
            raise OidcRefused("The answer is another provider's.")
        if not (code := answer.get("code")):
            raise OidcRefused("The provider sent no code.")
        async with self._client() as client:
            metadata = await self._discover(client)
            token = await self._ask(
                client.fetch_token(
                    metadata.token_endpoint, code=code, code_verifier=attempt.verifier
                )
            )
            keys = await self._read(client, metadata.jwks_uri)
        return self._name(check_token(token, keys, self.settings, attempt.nonce))

    def _name(self, claims: Mapping[str, Any]) -> str:
        claim = self.settings.claim
        name = claims.get(claim)
        if not isinstance(name, str) or not name:
            raise OidcRefused(f"The provider does not say your {claim.replace('_', ' ')}.")
        if claim == "email" and claims.get("email_verified") is not True:
            raise OidcRefused("The provider has not verified your email.")
        return name

    def _client(self) -> Any:
        """An AsyncOAuth2Client; its type stub does not know ``async with``."""
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        settings = self.settings
        return AsyncOAuth2Client(
            client_id=settings.client_id,
            client_secret=settings.client_secret or None,
            redirect_uri=settings.url + CALLBACK,
            scope=SCOPES[settings.claim],
            code_challenge_method="S256",
            timeout=PATIENCE,
        )

    async def _discover(self, client: AsyncOAuth2Client) -> Metadata:
        """Once; who names another issuer than itself is nobody's provider."""
        async with self._discovering:
            if self._metadata is None:
                issuer = self.settings.issuer
                place = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
                try:
                    metadata = msgspec.convert(await self._read(client, place), Metadata)
                except msgspec.ValidationError as error:
                    raise OidcRefused(f"{place} is not understood: {error}.") from None
                if metadata.issuer != issuer:
                    raise OidcRefused(f"{place} is of the issuer {metadata.issuer[:200]!r}.")
                self._metadata = metadata
            return self._metadata

    async def _read(self, client: AsyncOAuth2Client, url: str) -> Any:
        answer = await self._ask(client.request("GET", url, withhold_token=True))
        if answer.status_code != 200:
            raise OidcRefused(f"{url} answers {answer.status_code}.")
        try:
            return msgspec.json.decode(answer.content)
        except msgspec.DecodeError:
            raise OidcRefused(f"{url} is no JSON.") from None

    async def _ask(self, asking: Any) -> Any:
        import httpx2
        from authlib.common.errors import AuthlibBaseError

        try:
            return await asking
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            said = str(error) or type(error).__name__
            raise OidcRefused(f"The provider cannot be reached: {said[:300]}.") from None
        except (AuthlibBaseError, ValueError) as error:
            raise OidcRefused(f"The provider refused: {str(error)[:300]}.") from None


def check_token(
    token: Mapping[str, Any], keys: Any, settings: OidcSettings, nonce: str
) -> Mapping[str, Any]:
    """The claims of the ID token in the answer of a token endpoint, by the keys of the provider
    (Core 1.0, section 3.1.3.7). Raises OidcRefused."""
    from authlib.oidc.core import CodeIDToken
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    if not isinstance(token.get("id_token"), str):
        raise OidcRefused("The provider sent no ID token.")
    try:
        signed = jwt.decode(
            token["id_token"], KeySet.import_key_set(keys), algorithms=list(ALGORITHMS)
        )
        claims = CodeIDToken(
            signed.claims,
            signed.header,
            options={
                "iss": {"essential": True, "value": settings.issuer},
                "aud": {"essential": True, "value": settings.client_id},
            },
            params={
                "nonce": nonce,
                "client_id": settings.client_id,
                "access_token": token.get("access_token"),
            },
        )
        claims.validate(leeway=LEEWAY)
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise OidcRefused(f"What the provider signed does not hold: {str(error)[:300]}.") from None
    return claims
