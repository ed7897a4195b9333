from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serve.api.doubles import make_api

from liveweights.http import wrong_keys
from liveweights.http.errors import ApiError
from liveweights.http.wrong_keys import ADDRESSES, AT_ONCE, FREE, LONGEST, WrongKeys, network_of
from liveweights.serve.api.settings import ApiSettings

KEY = "right-0123456789"
WRONG = ApiError(401, "no")


def test_the_pauses_grow_and_are_forgiven() -> None:
    now = 0.0
    wrong = WrongKeys(lambda: now)
    pauses = [wrong.note("a") for _ in range(FREE + 8)]
    assert pauses[:FREE] == [0.0] * FREE
    assert pauses[FREE:] == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert wrong.note("b") == 0.0
    now = 3600.0
    assert wrong.note("a") == 0.0


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1e6)), max_size=60))
def test_a_pause_is_never_longer_than_the_longest(steps: list[tuple[int, float]]) -> None:
    now = 0.0
    wrong = WrongKeys(lambda: now)
    for address, passed in steps:
        now += passed
        assert 0.0 <= wrong.note(str(address)) <= LONGEST


def test_addresses_are_bounded_and_the_busy_ones_stay() -> None:
    wrong = WrongKeys(lambda: 0.0)
    for place in range(3 * ADDRESSES):
        wrong.note(str(place))
        busy = wrong.note("busy")
    assert len(wrong._records) == ADDRESSES
    assert busy == LONGEST


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("a:socket", "a:socket"),
        ("", ""),
    ],
)
def test_what_one_person_has_many_of_is_one(address: str, network: str) -> None:
    assert network_of((address, 1)) == network
    assert network_of(None) == ""


def test_few_wait_and_the_rest_pays_with_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrong_keys, "LONGEST", 0.2)

    async def scenario() -> list[ApiError]:
        wrong = WrongKeys()
        tries = (wrong.refuse(("192.0.2.1", 1), WRONG) for _ in range(FREE + AT_ONCE + 3))
        found = await asyncio.gather(*tries)
        assert not wrong._waiting
        return found

    found = asyncio.run(scenario())
    closed = [error for error in found if (b"connection", b"close") in error.headers]
    assert len(closed) == 3
    assert all(error.status == 401 for error in found)


def test_a_right_key_is_not_slowed_by_wrong_ones() -> None:
    api = make_api(settings=ApiSettings(keys={KEY: "acme"}, operator_key="operator-0123456"))

    async def ask(authorization: str) -> int:
        headers: dict[str, Any] = {"authorization": authorization} if authorization else {}
        return (await api.acall("GET", "/v1/models", **headers)).status

    async def scenario() -> None:
        for _ in range(FREE):
            assert await ask("Bearer wrong") == 401
        guess = asyncio.create_task(ask("Bearer guessed"))
        assert [await ask(f"Bearer {KEY}") for _ in range(50)] == [200] * 50
        assert await ask("") == 401  # who shows none has not guessed
        assert not guess.done()
        assert await guess == 401

    asyncio.run(scenario())
