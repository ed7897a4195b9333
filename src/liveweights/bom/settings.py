"""What only its operator knows of a service, for its bills of materials."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class BomSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What bills of materials say beside what the service knows by itself. What is empty is left
    out, and the checklist of `liveweights bom --elements` names it."""

    author: Annotated[
        str, Meta(max_length=200, description="Who makes the bills, and runs the service.")
    ] = ""
    application: Annotated[
        str, Meta(max_length=1000, description="What the service is meant to be used for.")
    ] = ""
    hardware: Annotated[
        str, Meta(max_length=1000, description="What it runs on, such as `4 x NVIDIA L40S`.")
    ] = ""
    compliance: Annotated[
        str,
        Meta(max_length=1000, description="Standards that it was assessed against, and by whom."),
    ] = ""
    security_policy: Annotated[
        str,
        Meta(
            max_length=1000,
            pattern=r"^(https?://[^\s]+)?$",
            description="URL that says how to report a fault, such as a security.txt.",
        ),
    ] = ""
