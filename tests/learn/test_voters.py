from __future__ import annotations

from tests.record.rows import make_generation

from liveweights.learn.voters import Voter, describe, find_voters
from liveweights.record.generation import Generation

KNOWN = 4


def ask(user: str | None, count: int, **changes: str) -> list[Generation]:
    made = f"{user}{sorted(changes.items())}"
    return [make_generation(f"{made}{n}", user=user, **changes) for n in range(count)]


def voters(*asked: list[Generation], earlier: dict[str, int] | None = None) -> list[Voter]:
    """One of each list, in order."""
    everything = [g for some in asked for g in some]
    found = find_voters(everything, earlier or {}, KNOWN)
    assert found.keys() == {g.id for g in everything}
    for some in asked:
        assert len({found[g.id] for g in some}) == 1
    return [found[some[0].id] for some in asked]


def test_new_users_of_a_key_are_one() -> None:
    asked = [ask(f"new-{n}", 1) for n in range(5)]
    known, few, *new = voters(
        ask("ada", 30), ask("bob", 5), *asked, earlier={"default/ada": KNOWN, "default/bob": 9}
    )
    assert len(set(new)) == 1
    assert not new[0].known
    assert known.known
    assert few.known
    assert (known.user, known.group) == ("default/ada", "default/ada")
    assert few.user == "default/bob"
    assert len({known.group, few.group, new[0].group}) == 3


def test_however_much_a_new_user_says_it_is_one_of_many() -> None:
    (loud, quiet, _) = voters(
        ask("loud", 100), ask("quiet", 1), ask("ada", 1), earlier={"default/ada": KNOWN}
    )
    assert loud == quiet


def test_while_nobody_is_known_those_who_say_much_are() -> None:
    often, fresh, other = voters(ask("ada", KNOWN), ask("x1", 1), ask("x2", 1))
    assert often.known
    assert fresh == other
    assert not fresh.known


def test_who_names_no_user_is_not_known_by_session() -> None:
    one, two, new = voters(
        ask(None, 20, session="s1"),
        ask(None, 20, session="s2"),
        ask("x", 1),
        earlier={"default/ada": 100},
    )
    assert one == two == new


def test_keys_and_tenants_have_newcomers_of_their_own() -> None:
    asked = [
        ask("x", 1),
        ask("x", 1, key="k1"),
        ask("x", 1, key="k2"),
        ask("x", 1, tenant="other", key="k1"),
    ]
    found = voters(*asked)
    assert len({voter.user for voter in found}) == len({voter.key for voter in found}) == 4
    assert [voter.tenant for voter in found] == ["default"] * 3 + ["other"]


def test_no_name_passes_for_a_pool() -> None:
    """The names of pools hold what no user's can: a stored name has no NUL."""
    new, named = voters(ask("x", 1), ask("new", KNOWN))
    assert new.group != named.group
    assert "\0" in new.group


def test_reports_name_no_user() -> None:
    known, new = voters(ask("ada", 30), ask("x", 1))
    assert "ada" not in describe(known.group)
    assert len(describe(known.group)) == 12
    assert describe(new.group) == "new users of default"
