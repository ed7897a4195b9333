"""Who asks, and what they said about themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers

from liveweights.api.authentication import Client
from liveweights.api.errors import bad_request
from liveweights.api.settings import ApiSettings
from liveweights.api.wire import check_text

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
    def recorded_key(self) -> str:
        """What is kept of ``key``: enough to tell keys apart, too little to find one by."""
        return self.key[:8]

    @property
    def sticky(self) -> str | None:
        """What keeps a caller on one side of a canary."""
        return self.session or self.user


def identify(
    headers: Headers,
    user: str | None,
    metadata: Mapping[str, str] | None,
    client: Client,
    settings: ApiSettings,
) -> Caller:
    """Headers win over ``metadata``. Raises ApiError 400."""
    said = metadata or {}
    return Caller(
        tenant=client.tenant,
        user=user or None,
        session=_said(headers, "x-session-id", said, SESSION) or None,
        surface=_said(headers, "x-surface", said, SURFACE),
        language=_said(headers, "x-language", said, LANGUAGE),
        consent=not client.own
        and _consent(headers, said, settings.training_allowed(client.tenant)),
        metadata={name: value for name, value in said.items() if name not in NAMED},
        key=client.key,
        own=client.own,
    )


def _said(headers: Headers, header: str, metadata: Mapping[str, str], name: str) -> str:
    value = headers.get(header)
    if value is None:
        return metadata.get(name, "")
    if len(value) > LONGEST:
        raise bad_request(f"The header '{header}' is longer than {LONGEST} characters.", header)
    check_text(value, f"The header '{header}'", header)
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
