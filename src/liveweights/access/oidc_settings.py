"""What can be set about signing in to the console with OpenID Connect."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Claim = Literal["email", "preferred_username", "sub"]


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[oidc]`` table: whose word is taken for who somebody is. Whom the provider names must
    be a user of the console (`liveweights users add`); passwords hold beside it. Needs the extra
    ``oidc``."""

    issuer: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s?#]+)?$",
            max_length=500,
            description="URL of the OpenID Connect provider, below which "
            "/.well-known/openid-configuration is, exactly as it calls itself; empty: there is "
            "none. http:// only on this machine.",
        ),
    ] = ""
    client_id: Annotated[
        str, Meta(max_length=500, description="What the provider knows this service by.")
    ] = ""
    client_secret: Annotated[
        str,
        Meta(max_length=500, description="The secret that goes with it; empty: a public client."),
    ] = ""
    url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s?#]+[^\s?#/])?$",
            max_length=500,
            description="Under which browsers reach the console, such as https://models.example.com;"
            " the provider has to know URL/login/oidc/callback.",
        ),
    ] = ""
    claim: Annotated[
        Claim,
        Meta(
            description="What the provider says of people that is the name of a user here; an "
            "email has to be verified by it."
        ),
    ] = "email"
    name: Annotated[
        str,
        Meta(min_length=1, max_length=50, description="What the button to sign in calls it."),
    ] = "single sign-on"
