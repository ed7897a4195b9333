"""What operators can ask for, as OpenAPI describes it."""

from __future__ import annotations

from liveweights.meter.key_rows import KeyRow
from liveweights.meter.tenants import Tenant
from liveweights.serve.admin.objects import (
    KeyList,
    MadeKey,
    NewCredit,
    NewKey,
    NewTenant,
    RemovedTenant,
    Revocation,
    Rotation,
    TenantChange,
    TenantList,
)
from liveweights.serve.api.description import Operation

ADMIN = (400, 401, 404, 408, 409, 413, 415, 429, 503)
OPERATORS = (
    Operation(
        "get",
        "/admin/tenants",
        "The tenants that are stored.",
        (TenantList,),
        errors=ADMIN,
        operator=True,
    ),
    Operation(
        "post",
        "/admin/tenants",
        "Make a tenant.",
        (Tenant,),
        (NewTenant,),
        statuses=(201,),
        errors=ADMIN,
        operator=True,
    ),
    Operation(
        "get", "/admin/tenants/{tenant}", "One tenant.", (Tenant,), errors=ADMIN, operator=True
    ),
    Operation(
        "patch",
        "/admin/tenants/{tenant}",
        "Change some of what is set about a tenant.",
        (Tenant,),
        (TenantChange,),
        errors=ADMIN,
        operator=True,
    ),
    Operation(
        "delete",
        "/admin/tenants/{tenant}",
        "End a tenant: its keys are revoked, its rows stay.",
        (RemovedTenant,),
        errors=ADMIN,
        operator=True,
    ),
    Operation(
        "post",
        "/admin/tenants/{tenant}/credit",
        "Say what a tenant has paid in advance.",
        (Tenant,),
        (NewCredit,),
        errors=ADMIN,
        operator=True,
    ),
    Operation(
        "get",
        "/admin/keys",
        "The keys that are stored, without what would open anything.",
        (KeyList,),
        errors=ADMIN,
        query={"tenant": {"type": "string"}},
        operator=True,
    ),
    Operation(
        "post",
        "/admin/keys",
        "Make a key; it is told this once.",
        (MadeKey,),
        (NewKey,),
        statuses=(201,),
        errors=ADMIN,
        operator=True,
    ),
    Operation("get", "/admin/keys/{key}", "One key.", (KeyRow,), errors=ADMIN, operator=True),
    Operation(
        "post",
        "/admin/keys/{key}/rotate",
        "Give a key another secret; it is told this once.",
        (MadeKey,),
        (Rotation,),
        errors=ADMIN,
        operator=True,
    ),
    Operation(
        "post",
        "/admin/keys/{key}/revoke",
        "End a key.",
        (KeyRow,),
        (Revocation,),
        errors=ADMIN,
        operator=True,
    ),
)
"""There where an operator's key is set."""
