"""What an editor tells its language server."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from liveweights import bounds

EXCLUDED = (
    ".env",
    ".env.*",
    ".netrc",
    ".npmrc",
    ".pypirc",
    ".git-credentials",
    ".aws/",
    ".ssh/",
    "id_rsa*",
    "id_ecdsa*",
    "id_ed25519*",
    "*.key",
    "*.pem",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.kdbx",
    "*.tfvars",
    "*secret*",
    "*credential*",
)


class EditorSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """The section ``liveweights`` of an editor's settings, or its initialization options."""

    enabled: Annotated[bool, Meta(description="Whether anything is suggested.")] = True
    consent: Annotated[
        bool,
        Meta(
            description="Whether text of open files may be sent to the service. Without it nothing"
            " leaves the editor and nothing is suggested."
        ),
    ] = False
    training: Annotated[
        bool,
        Meta(
            description="Whether the service may learn from what is sent; if not, it is recorded"
            " only."
        ),
    ] = True
    url: Annotated[
        str, Meta(pattern=r"^https?://[^\s@?#]+$", description="Of the service, without /v1.")
    ] = "http://127.0.0.1:8090"
    key: Annotated[str, Meta(description="API key; empty: `$OPENAI_API_KEY`, else none.")] = ""
    model: Annotated[
        str, Meta(min_length=1, max_length=128, description="Public name of the model.")
    ] = "code"
    user: Annotated[
        str,
        Meta(
            max_length=256,
            description="Name that the service knows you by; empty: a hash of account and machine.",
        ),
    ] = ""
    languages: Annotated[
        tuple[str, ...],
        Meta(description="Languages as the editor names them, such as `python`; empty: all."),
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        Meta(description="Files of which nothing is sent, as in `.gitignore`."),
    ] = EXCLUDED
    debounce: Annotated[
        float, Meta(ge=0, le=10, description="Seconds without a keystroke before it asks.")
    ] = 0.075
    context_tokens: Annotated[
        int,
        Meta(
            ge=64,
            le=1_000_000,
            description="Tokens of context that are sent, about: 3 characters count as one.",
        ),
    ] = 384
    max_tokens: Annotated[
        int, Meta(ge=1, le=4096, description="Longest suggestion, in tokens.")
    ] = 32
    multiline: Annotated[
        bool, Meta(description="Whether a suggestion may go on behind the end of the line.")
    ] = False
    temperature: Annotated[float, Meta(ge=0, le=2, description="Sampling temperature.")] = 0.4
    timeout: Annotated[
        float,
        Meta(
            ge=bounds.LEAST_SECONDS,
            le=600,
            description="Seconds after which an answer comes too late.",
        ),
    ] = 5.0
    settle: Annotated[
        float,
        Meta(
            ge=0,
            le=bounds.SECONDS,
            description="Seconds from an acceptance until it is told what is left of it.",
        ),
    ] = 30.0

    def __post_init__(self) -> None:
        """White space around a key, such as the end of the line that it was read from, is none of
        it. Raises ValueError for what no header can carry."""
        key = self.key.strip()
        if not (key.isascii() and key.isprintable()):
            raise ValueError("`key` has characters that are no printable ASCII")
        msgspec.structs.force_setattr(self, "key", key)
