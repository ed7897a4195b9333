"""Keys on the page: who sees which, who changes them, and that a secret is shown once."""

from __future__ import annotations

import re
from datetime import timedelta

import httpx
import pytest

from liveweights.console.keys import read_rights, read_whole
from liveweights.http.errors import ApiError
from liveweights.meter.key_rows import create_key, read_keys, read_sealed
from liveweights.meter.tenants import Terms, create_tenant
from liveweights.store.database import Pool

from .people import BEARER, enter, token_of
from .story import on_pages
from .test_pages import check_safe

SECRET = re.compile(r"lw-[a-z2-7]{8}-[A-Za-z0-9_-]{43}")


async def make_tenants(pool: Pool) -> None:
    async with pool.connection() as conn:
        await create_tenant(conn, "acme", Terms())
        await create_tenant(conn, "<i>evil</i>", Terms(currency="EUR"))


def test_a_key_is_made_rotated_and_revoked(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        await make_tenants(pool)
        await enter(client, pool, "root", "admin")
        page = (await client.get("/keys")).text
        form = {"csrf": token_of(page)}
        create = form | {"do": "create", "tenant": "<i>evil</i>", "name": "<b>ci</b>"}
        create |= {"use": "answers", "only": "m", "days": "7", "amount": "12.5", "period": "week"}
        made = await client.post("/keys", data=create)
        (secret,) = set(SECRET.findall(made.text))
        check_safe(made)
        assert "<b>ci" not in made.text
        assert not SECRET.search((await client.get("/keys")).text)
        listed = (await client.get("/keys.json")).json()
        (one,) = listed["keys"]
        assert (one["state"], one["budgets"]) == ("live", "week=12.50")
        assert (one["row"]["tenant"], one["row"]["name"]) == ("<i>evil</i>", "<b>ci</b>")
        assert one["row"]["rights"]["models"] == ["m"]
        assert set(listed["tenants"]) == {"acme", "<i>evil</i>"}
        assert not {"hash", "salt"} & one["row"].keys()

        async def fits(key: str) -> bool:
            async with pool.connection() as conn:
                (sealed,) = await read_sealed(conn)
            return sealed.current.fits(key)

        assert await fits(secret)
        id = one["row"]["id"]
        turned = await client.post("/keys", data=form | {"do": "rotate", "key": id, "minutes": "5"})
        (other,) = set(SECRET.findall(turned.text))
        assert other != secret
        assert (await fits(other), await fits(secret)) == (True, False)
        async with pool.connection() as conn:
            (row,) = await read_keys(conn)
        assert row.previous_until is not None
        assert row.rotated_at is not None
        assert row.previous_until - row.rotated_at == timedelta(minutes=5)
        revoke = form | {"do": "revoke", "key": id, "why": "<u>lost</u>"}
        assert (await client.post("/keys", data=revoke)).status_code == 303
        page = (await client.get("/keys")).text
        assert "&lt;u&gt;lost" in page
        (one,) = (await client.get("/keys.json")).json()["keys"]
        assert one["state"] == "revoked"
        entries = (await client.get("/audit.json")).json()["entries"]
        told = [(one["action"], one["actor"], one["target"]) for one in entries[:3]]
        assert told == [
            (f"{done} key", "root", "<i>evil</i>") for done in ("revoke", "rotate", "create")
        ]
        audit = await client.get("/audit")
        for key in (secret, other):
            assert key not in audit.text
        for wrong, status in (
            ({"do": "revoke", "key": id}, 404),  # it was revoked
            ({"do": "rotate", "key": "none"}, 404),
            ({"do": "create", "tenant": "nobody"}, 404),
            ({"do": "create", "tenant": "acme", "use": "dance"}, 400),
            ({"do": "create", "tenant": "acme", "amount": "much"}, 400),
            ({"do": "create", "tenant": "acme", "days": "0"}, 400),
            ({"do": "create", "tenant": "acme", "name": "x" * 200}, 400),
            ({"do": "dance"}, 400),
            ({"do": "create", "tenant": "acme", "csrf": "x"}, 403),
        ):
            assert (await client.post("/keys", data=form | wrong)).status_code == status, wrong
        assert len((await client.get("/keys.json")).json()["keys"]) == 1

    on_pages(database_dsn, test, answers=3)


def test_tenants_see_their_own_keys_and_only_admins_change_any(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        await make_tenants(pool)
        async with pool.connection() as conn:
            for number in range(28):
                await create_key(conn, "acme", name=f"k{number}")
            mine, _ = await create_key(conn, "<i>evil</i>", name="mine")
        first = (await client.get("/keys.json", headers=BEARER)).json()
        query = {"before": first["next"]}
        second = (await client.get("/keys.json", params=query, headers=BEARER)).json()
        ids = [one["row"]["id"] for one in (*first["keys"], *second["keys"])]
        assert (len(ids), len(set(ids)), second["next"]) == (29, 29, None)
        page = await client.get("/keys", headers=BEARER)
        assert len(page.content) < 100_000
        await enter(client, pool, "eve", "viewer", "<i>evil</i>")
        seen = (await client.get("/keys.json")).json()
        assert [one["row"]["id"] for one in seen["keys"]] == [mine.id]
        assert seen["tenants"] == ["<i>evil</i>"]
        assert "Make a key" not in (await client.get("/keys")).text
        for role in ("viewer", "rater", "operator"):
            await enter(client, pool, role, role)
            form = {"csrf": token_of((await client.get("/keys")).text), "key": mine.id}
            for do in ("create", "rotate", "revoke"):
                sent = form | {"do": do, "tenant": "acme"}
                assert (await client.post("/keys", data=sent)).status_code == 403
        assert (await client.get("/keys.json")).json()["keys"][0]["state"] == "live"

    on_pages(database_dsn, test, answers=3)


def test_what_a_form_says_of_rights() -> None:
    assert read_rights({}).budgets == ()
    rights = read_rights({"use": "feedback", "only": "m", "amount": "3"})
    assert (rights.uses, rights.models) == (("feedback",), ("m",))
    assert [(one.period, one.nanos) for one in rights.budgets] == [("month", 3 * 10**9)]
    for wrong in ({"amount": "3", "period": "year"}, {"amount": "-1"}, {"use": "x"}):
        with pytest.raises(ApiError):
            read_rights(wrong)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "٣", "9" * 20, "11"])
def test_a_number_of_a_form_is_whole_and_within_its_bounds(text: str) -> None:
    assert read_whole({"n": "10"}, "n", 0, 10) == 10
    assert read_whole({}, "n", 0, 10) is None
    with pytest.raises(ApiError):
        read_whole({"n": text}, "n", 0, 10)
