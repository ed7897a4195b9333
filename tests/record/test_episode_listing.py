"""Episodes page by page are those of an independent count."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import timedelta

from liveweights.record.episode_listing import ListedEpisode, list_episodes
from liveweights.record.generation import Generation

from .rows import START, make_feedback, make_generation
from .test_window import ask, record

OTHERS = ["acme", "beta"]


def draw() -> list[Generation]:
    """Answers of tasks that go on beside each other, over days; some belong to none, some are
    another model's, and ids of some tell no day."""
    chance = random.Random(3)
    moments = [START + timedelta(minutes=chance.randrange(5 * 1440)) for _ in range(120)]
    return [
        make_generation(
            f"gen_{int(at.timestamp() * 1000):012x}7{n:019x}" if n % 5 else f"g{n:03}",
            created_at=at,
            alias=chance.choice(["live", "live", "live", "other"]),
            tenant=chance.choice(OTHERS),
            metadata={"episode": f"task-{task}"} if (task := chance.randrange(14)) else {},
            output_ids=list(range(chance.randrange(1, 9))),
            total_ms=float(chance.randrange(1, 99)),
        )
        for n, at in enumerate(moments)
    ]


def meant(generations: list[Generation], tenant: str | None) -> list[tuple[object, ...]]:
    tasks: dict[tuple[str, str], list[Generation]] = defaultdict(list)
    for one in sorted(generations, key=lambda one: (one.created_at, one.id)):
        name = one.metadata.get("episode")
        if name and one.alias == "live" and tenant in (None, one.tenant):
            tasks[one.tenant, name].append(one)
    listed = [
        (
            *which,
            of[0].created_at,
            of[-1].created_at,
            len(of),
            sum(len(one.output_ids) for one in of),
            sum(one.total_ms for one in of),
            of[-1].id,
        )
        for which, of in tasks.items()
    ]
    return sorted(listed, key=lambda one: (one[3], one[7]), reverse=True)


def facts(one: ListedEpisode) -> tuple[object, ...]:
    names = ("tenant", "name", "began", "ended", "steps", "tokens", "total_ms", "last")
    return tuple(getattr(one, name) for name in names)


def test_pages_of_episodes_are_those_of_an_independent_count(database_dsn: str) -> None:
    generations = draw()
    record(database_dsn, *generations)
    for tenant in (None, "acme"):
        listed: list[ListedEpisode] = []
        before = None
        while page := ask(
            database_dsn,
            lambda conn, tenant=tenant, before=before: list_episodes(
                conn, "live", 4, tenant=tenant, before=before
            ),
        ):
            listed += page
            before = page[-1].ended, page[-1].last
        assert [facts(one) for one in listed] == meant(generations, tenant)


def test_what_was_said_of_the_whole_last_is_told(database_dsn: str) -> None:
    steps = [
        make_generation(
            f"s{n}", created_at=START + timedelta(minutes=n), metadata={"episode": "task"}
        )
        for n in range(2)
    ]
    said = make_feedback("1/s1", "s1", signal="reward", value=0.5, episode="task")
    record(database_dsn, *steps, said)
    (one,) = ask(database_dsn, lambda conn: list_episodes(conn, "live", 9))
    assert (one.outcome, one.value, one.steps) == ("reward", 0.5, 2)
