"""What the operator sends about keys and tenants, and is told."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from liveweights.meter.budgets import Budgets, check_budgets
from liveweights.meter.key_rows import Grace, KeyName, KeyRow, Why
from liveweights.meter.money import MOST_NANOS
from liveweights.meter.rights import EVERYTHING, Rights
from liveweights.meter.settings import RateLimits
from liveweights.meter.tenants import (
    Currency,
    Note,
    Plan,
    Tenant,
    TenantName,
    Terms,
    Zone,
    find_zone,
)


class NewTenant(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: TenantName


class TenantChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is not said stays as it is."""

    time_zone: Zone | msgspec.UnsetType = msgspec.UNSET
    currency: Currency | msgspec.UnsetType = msgspec.UNSET
    plan: Plan | msgspec.UnsetType = msgspec.UNSET
    note: Note | msgspec.UnsetType = msgspec.UNSET
    limits: RateLimits | msgspec.UnsetType | None = msgspec.UNSET
    budgets: Budgets | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if self.time_zone is not msgspec.UNSET:
            find_zone(self.time_zone)
        if self.budgets is not msgspec.UNSET:
            check_budgets(self.budgets)

    def given(self) -> dict[str, Any]:
        pairs = msgspec.structs.asdict(self).items()
        return {name: value for name, value in pairs if value is not msgspec.UNSET}


class NewCredit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``nanos`` are billionths of the tenant's currency; below 0: taken back."""

    nanos: Annotated[int, Meta(ge=-MOST_NANOS, le=MOST_NANOS)]
    why: Annotated[str, Meta(pattern=r"^[^\x00]*$", min_length=1, max_length=500)]


class TenantList(msgspec.Struct, kw_only=True):
    data: list[Tenant]
    object: str = "list"


class RemovedTenant(msgspec.Struct, kw_only=True):
    """``revoked`` is how many keys were."""

    name: str
    revoked: int
    removed: bool = True


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``expires_at`` has a time zone."""

    tenant: TenantName
    name: KeyName = ""
    expires_at: datetime | None = None
    rights: Rights = EVERYTHING


class MadeKey(msgspec.Struct, kw_only=True):
    """``key`` is told this once."""

    key: str
    row: KeyRow


class KeyList(msgspec.Struct, kw_only=True):
    data: list[KeyRow]
    object: str = "list"


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For ``grace_seconds`` the key is also taken as it was."""

    grace_seconds: Grace = 0


class Revocation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    why: Why = ""
