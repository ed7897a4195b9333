"""Who asks, and what they said about themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers

from liveweights.http.errors import ApiError, bad_request
from liveweights.http.wire import check_text
from liveweights.meter.keys import ANYBODY, Client
from liveweights.record.generation import EPISODE
from liveweights.serve.api.settings import ApiSettings

# Metadata keys that are columns of the record rather than free text.
SESSION, SURFACE, LANGUAGE, TRAINING = "session", "surface", "language", "training"
NAMED = frozenset({SESSION, SURFACE, LANGUAGE, TRAINING})
ANSWERS = {"yes": True, "true": True, "no": False, "false": False}
LONGEST = {SESSION: 512, SURFACE: 128, LANGUAGE: 128}
"""Characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    tenant: str
    user: str | None
    session: str | None
    surface: str
    language: str
    consent: bool
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    client: Client = ANYBODY
    """By the key that was shown; it says how much may be asked for."""

    @property
    def own(self) -> bool:
        """The service itself, such as its gate: neither recorded, nor charged, nor limited."""
        return self.client.own

    @property
    def recorded_key(self) -> str:
        """What is kept of the key: enough to tell keys apart, too little to find one by."""
        return self.client.key[:8]

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
    *,
    strict: bool = True,
) -> Caller:
    """Headers win over ``metadata``. Raises ApiError 400; where not ``strict``, texts may have any
    length (the record clips them), and consent that cannot be read is none."""
    said = metadata or {}
    session, surface, language = (
        _said(headers, f"x-{name}", said, key, strict=strict)
        for name, key in (("session-id", SESSION), ("surface", SURFACE), ("language", LANGUAGE))
    )
    try:
        consent = _consent(headers, said, settings.training_allowed(client.tenant))
    except ApiError:
        if strict:
            raise
        consent = False
    if not session and not user:  # an episode varies together, and stays on one side of a canary
        session = said.get(EPISODE, "")
    return Caller(
        tenant=client.tenant,
        user=user or None,
        session=session or None,
        surface=surface,
        language=language,
        consent=consent and not client.own,
        metadata={name: value for name, value in said.items() if name not in NAMED},
        client=client,
    )


def _said(
    headers: Headers, header: str, metadata: Mapping[str, str], name: str, *, strict: bool
) -> str:
    value = headers.get(header)
    where, param = f"The header '{header}'", header
    if value is None:
        value = metadata.get(name, "")
        where, param = f"'metadata.{name}'", f"metadata.{name}"
    if strict and len(value) > LONGEST[name]:
        raise bad_request(f"{where} is longer than {LONGEST[name]} characters.", param)
    if strict:
        check_text(value, where, param)
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
