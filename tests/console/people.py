"""People who sign in to the console of a test."""

from __future__ import annotations

import re

import httpx

from liveweights.access.roles import Role
from liveweights.access.users import add_user
from liveweights.store.database import Pool

from .story import KEY

PASSWORD = "correct horse 😀"
BROWSER = {"accept": "text/html,application/xhtml+xml"}
BEARER = {"authorization": f"Bearer {KEY}"}
OWN = {"origin": "http://here:8090", "sec-fetch-site": "same-origin"}


async def accept(client: httpx.AsyncClient, token: str) -> httpx.Response:
    """Choose the password; the client has the session then."""
    return await client.post(
        "/invite", data={"token": token, "password": PASSWORD, "again": PASSWORD}, headers=OWN
    )


async def enter(
    client: httpx.AsyncClient, pool: Pool, name: str, role: Role, tenant: str | None = None
) -> None:
    """Be a new user."""
    async with pool.connection() as conn:
        token = await add_user(conn, name, role, tenant=tenant)
    client.cookies.clear()
    assert (await accept(client, token)).status_code == 303


def token_of(page: str) -> str:
    match = re.search(r'name="csrf" value="([^"]+)"', page)
    assert match is not None
    return match[1]
