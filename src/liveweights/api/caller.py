"""Who asks, and what they said about themselves."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers

from liveweights.api.errors import ApiError, bad_request
from liveweights.api.settings import ApiSettings
from liveweights.service_key import PREFIX

# Metadata keys that are columns of the record rather than free text.
SESSION, SURFACE, LANGUAGE, TRAINING = "session", "surface", "language", "training"
NAMED = frozenset({SESSION, SURFACE, LANGUAGE, TRAINING})
ANSWERS = {"yes": True, "true": True, "no": False, "false": False}
LONGEST = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    tenant: str
    user: str | None
    session: str | None
    surface: str
    language: str
    consent: bool
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    key: str = ""
    """A digest of the API key, empty where none is asked for: what rate limits are counted by."""
    own: bool = False
    """The service itself, such as its gate: neither recorded, nor charged, nor limited."""

    @property
    def sticky(self) -> str | None:
        """What keeps a caller on one side of a canary."""
        return self.session or self.user


OWN_TENANT = ""
"""Of what the service asks of itself: nothing is stored under it."""


def is_own(headers: Headers, service_key: str) -> bool:
    """Whether a process of this service asks. Raises ApiError 401 for the key of another one,
    which must not become a tenant's traffic where no keys are asked for."""
    given = _bearer(headers)
    if not given.startswith(PREFIX):
        return False
    if service_key and hmac.compare_digest(given.encode(), service_key.encode()):
        return True
    message = "That key is of another service or of an earlier start of this one; see --home."
    raise ApiError(401, message, code="invalid_api_key")


def tenant_of(headers: Headers, settings: ApiSettings) -> str:
    """The tenant whose key the request carries. Raises ApiError 401."""
    if not settings.keys:
        return "default"
    tenant = settings.keys.get(_bearer(headers))
    if tenant is None:
        message = "Missing or unknown API key. Send it as 'Authorization: Bearer KEY'."
        challenge = ((b"www-authenticate", b"Bearer"),)
        raise ApiError(401, message, code="invalid_api_key", headers=challenge)
    return tenant


def _bearer(headers: Headers) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def identify(
    headers: Headers,
    user: str | None,
    metadata: Mapping[str, str] | None,
    tenant: str,
    settings: ApiSettings,
) -> Caller:
    """Headers win over ``metadata``. Raises ApiError 400."""
    said = metadata or {}
    return Caller(
        tenant=tenant,
        user=user or None,
        session=_said(headers, "x-session-id", said, SESSION) or None,
        surface=_said(headers, "x-surface", said, SURFACE),
        language=_said(headers, "x-language", said, LANGUAGE),
        consent=_consent(headers, said, settings.training_allowed(tenant)),
        metadata={name: value for name, value in said.items() if name not in NAMED},
        key=_digest(_bearer(headers)) if settings.keys else "",
    )


def _digest(key: str) -> str:
    return hashlib.blake2b(key.encode(errors="replace"), digest_size=16).hexdigest()


def _said(headers: Headers, header: str, metadata: Mapping[str, str], name: str) -> str:
    value = headers.get(header)
    if value is None:
        return metadata.get(name, "")
    if len(value) > LONGEST:
        raise bad_request(f"The header '{header}' is longer than {LONGEST} characters.", header)
    return value


def _consent(headers: Headers, metadata: Mapping[str, str], default: bool) -> bool:
    header = headers.get("x-training-consent")
    said = metadata.get(TRAINING) if header is None else header
    if said is None:
        return default
    answer = ANSWERS.get(said.strip().lower())
    if answer is None:
        where = "metadata.training" if header is None else "x-training-consent"
        raise bad_request(f"'{where}' is {said[:100]!r}; say 'yes' or 'no'.", where)
    return answer
