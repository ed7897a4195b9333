"""Turns without a name repeat what the user said before: they go with the user's, as the API names
them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.serve.api.doubles import Api, make_api, make_tokenizer
from tests.serve.api.test_responses import respond

from liveweights.record.archive import archive
from liveweights.record.conversations import ConversationStore
from liveweights.record.forget import Traces, forget
from liveweights.record.forgotten_files import forget_everywhere
from liveweights.record.response import Conversation, generation_of
from liveweights.record.responses import ResponseStore
from liveweights.store.database import Connection, open_pool
from liveweights.store.partitions import day_of

from .rows import make_generation
from .test_rollups import timed_id
from .test_window import ask, record

SECRET = "kanarienvogel"
Talk = Callable[[Api], str]
"""Returns what the first turn is called; ada says the secret in it or, where she comes later, in
hers."""


def turn(api: Api, input: str, **how: Any) -> str:
    return respond(api, input, **how).json()["id"]


def of_a_response(api: Api) -> str:
    first = turn(api, SECRET, user="ada")
    turn(api, "more", previous_response_id=turn(api, "and", previous_response_id=first))
    turn(api, "else", previous_response_id=first, metadata={"episode": "own"})
    return first


def not_stored(api: Api) -> str:
    first = turn(api, SECRET, user="ada")
    turn(api, "and", previous_response_id=first, store=False)
    return first


def in_an_episode(api: Api) -> str:
    first = turn(api, SECRET, user="ada", metadata={"episode": "task"})
    turn(api, "and", previous_response_id=first, store=False)
    return first


def later_than_others(api: Api) -> str:
    first = turn(api, "hello")
    second = turn(api, SECRET, user="ada", previous_response_id=first)
    turn(api, "and", previous_response_id=second, store=False)
    return first


def in_a_conversation(api: Api) -> str:
    made = api.call("POST", "/v1/conversations", {}).json()["id"]
    first = turn(api, SECRET, user="ada", conversation=made)
    turn(api, "and", conversation=made)
    turn(api, "more", conversation=made, store=False)
    return first


TALKS = [of_a_response, not_stored, in_an_episode, later_than_others, in_a_conversation]


def use(dsn: str, talk: Talk) -> str:
    """Record what was said through the API, by ada and, word for word, by others."""
    api = make_api("hello", context_length=4096)
    first = talk(api)
    others = turn(api, "other", user="bob")
    turn(api, "and", previous_response_id=others)
    turn(api, "nobody's")
    record(dsn, *api.recorder.generations.values())

    async def keep() -> None:
        pool = await open_pool(dsn)
        try:
            for row in api.responses.rows.values():
                await ResponseStore(pool).add(row)
            store = ConversationStore(pool)
            for (tenant, id), made in api.conversations.rows.items():
                await store.create(Conversation(id, tenant, made.created_at, {}), [])
                said = list(api.conversations.said[id].values())
                await store.add(tenant, id, said, user="ada")
        finally:
            await pool.close()

    asyncio.run(keep())
    return first


def holding(dsn: str) -> tuple[int, int]:
    """How many answers and stored responses there are; none is left that holds the secret."""
    tokenizer = make_tokenizer()
    with psycopg.connect(dsn) as conn:
        answers = conn.execute("select prompt_ids from generations").fetchall()
        stored = conn.execute("select input::text from responses").fetchall()
    assert not [ids for (ids,) in answers if SECRET in tokenizer.decode(ids)]
    assert not [text for (text,) in stored if SECRET in text]
    return len(answers), len(stored)


@pytest.mark.parametrize("talk", TALKS)
def test_all_turns_of_what_a_user_began_go(database_dsn: str, talk: Talk) -> None:
    use(database_dsn, talk)
    removed = ask(database_dsn, lambda conn: forget(conn, "default", "ada"))
    assert removed.generations >= 2
    others = 1 if talk is later_than_others else 0  # asked before, by nobody
    assert holding(database_dsn) == (3 + others, 3 + others)
    assert ask(database_dsn, lambda c: forget(c, "default", "ada")).generations == 0


@pytest.mark.parametrize("talk", TALKS)
def test_who_read_what_a_user_began_is_found_when_its_day_is_gone(
    database_dsn: str, tmp_path: Path, talk: Talk
) -> None:
    """Each turn without a name that holds the secret was read by a cycle of its own."""
    first, tokenizer = use(database_dsn, talk), make_tokenizer()
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "insert into checkpoints (id, kind, folder, card) values ('b@0', 'base', '/', '{}')"
        )
        conn.execute("insert into aliases (name, live) values ('live', 'b@0')")
        nameless = conn.execute("select id, prompt_ids from generations where user_id is null")
        for id, prompt in nameless.fetchall():
            if SECRET in tokenizer.decode(prompt):
                conn.execute(
                    "with made as (insert into cycles (alias, state, incumbent, settings, ended_at)"
                    " values ('live', 'ended', 'b@0', '{}', now()) returning id)"
                    " insert into cycle_rows (cycle, generation, split)"
                    " select id, %s, 'train' from made",
                    (id,),
                )
        cycles = [id for (id,) in conn.execute("select id from cycles order by id").fetchall()]
    assert cycles
    day = day_of(generation_of(first))
    ask(database_dsn, lambda conn: archive(conn, day, tmp_path, keep=False))
    found: list[int] = []

    async def also(conn: Connection, traces: Traces) -> None:
        found.extend(traces.cycles)

    ask(database_dsn, lambda conn: forget(conn, "default", "ada", also=also))
    assert found == cycles
    for user in ("bob", "cy"):
        ask(database_dsn, lambda conn, user=user: forget(conn, "default", user, also=also))
    assert found == cycles


def test_it_does_not_matter_what_of_them_is_left(database_dsn: str) -> None:
    """The client deleted its first response; the day of the other's answer was dropped."""
    deleted, dropped = use(database_dsn, of_a_response), use(database_dsn, of_a_response)
    with psycopg.connect(database_dsn) as conn:
        conn.execute("delete from responses where id = %s", (deleted,))
        conn.execute("delete from generations where id = %s", (generation_of(dropped),))
    ask(database_dsn, lambda conn: forget(conn, "default", "ada"))
    assert holding(database_dsn) == (6, 6)


def test_others_of_the_same_names_keep_theirs(database_dsn: str) -> None:
    chat: dict[str, Any] = {"endpoint": "chat"}
    mine, theirs = {"metadata": {"episode": "task"}}, {"metadata": {"episode": ""}}
    record(
        database_dsn,
        make_generation("gen_a", **chat, **mine),
        make_generation("gen_b", **chat, **theirs),
        make_generation("bobs", user="bob", **chat, **mine),
        make_generation("elsewhere", user=None, tenant="other", **chat, **mine),
        make_generation("without", user=None, **chat, **theirs),
        make_generation("line", user=None, **mine),
        make_generation("tied", user=None, **chat, metadata={"episode": "resp_b"}),
    )
    assert ask(database_dsn, lambda c: forget(c, "default", "ada")).generations == 3
    with psycopg.connect(database_dsn) as conn:
        left = conn.execute("select id from generations order by id").fetchall()
    assert left == [("bobs",), ("elsewhere",), ("line",), ("without",)]


@pytest.mark.parametrize("by", ["episode", "session", "response"])
def test_turns_in_the_files_of_days_go_too(database_dsn: str, tmp_path: Path, by: str) -> None:
    from .test_archive import DAY, NEXT

    chat: dict[str, Any] = {"endpoint": "chat"}
    ids = [timed_id(at, number) for number, at in enumerate((DAY, NEXT, NEXT))]
    first = f"resp_{ids[0].removeprefix('gen_')}"
    how: dict[str, Any] = {
        "episode": {"metadata": {"note": '"x"', "episode": first}},
        "session": {"session": "s"},
        "response": {},
    }[by]
    named = {"session": "s"} if by == "session" else {}
    record(
        database_dsn,
        make_generation(ids[0], created_at=DAY, **chat, **named),
        make_generation(ids[1], created_at=NEXT, user=None, **chat, **how),
        make_generation(ids[2], created_at=NEXT, user="bob", **chat),
    )
    if by == "response":
        with psycopg.connect(database_dsn) as conn:
            for id, previous in ((first, None), (f"resp_{ids[1][4:]}", first)):
                conn.execute(
                    "insert into responses values (%s, 'default', %s, %s, now(), '[]', '{}')",
                    (id, None if previous else "ada", previous),
                )
    days: list[date] = [day_of(id) for id in ids[:2]]
    for day in days:
        ask(database_dsn, lambda conn, day=day: archive(conn, day, tmp_path))
    done = ask(database_dsn, lambda c: forget_everywhere(c, "default", "ada", tmp_path))
    assert (done.forgotten.generations, done.days, done.left) == (2, days, [])
