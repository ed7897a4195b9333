"""Who holds which checkpoint, and who should: the tables ``deployments`` and ``warm``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from psycopg.types.json import Jsonb

from liveweights.release.alias import CHANNEL, Alias, Release
from liveweights.release.alias import COLUMNS as ALIAS_COLUMNS
from liveweights.release.history import former_lives
from liveweights.store.database import Connection

State = Literal["loading", "ready", "failed", "draining"]

ALIVE = 15.0
"""Seconds since its last heartbeat for which an instance counts."""
FORGOTTEN = 3600.0
"""Seconds after which the rows of an instance that is gone are removed."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Where a checkpoint stands on the live instances; ``failed`` maps instance to error."""

    ready: frozenset[str]
    waiting: frozenset[str]
    failed: dict[str, str]

    @property
    def everywhere(self) -> bool:
        """At least one instance lives and every one of them can answer with the checkpoint."""
        return bool(self.ready) and not self.waiting and not self.failed

    @property
    def unservable(self) -> str | None:
        """Why no instance can answer with it, or will; None where one may."""
        if not self.failed or self.ready or self.waiting:
            return None
        return "; ".join(f"{instance}: {error}" for instance, error in self.failed.items())


@dataclass(frozen=True, slots=True)
class Desired:
    """What should be resident. ``former`` are each alias's former live ones, nearest first.

    ``versions`` changes for a checkpoint whenever a row that asks for it changes. ``withdrawn``
    are what each alias was rolled back from, ``stand_ins`` what else it ever had, newest first.
    ``guests`` are canaries of aliases that stand on another base, ``elsewhere`` those of these
    aliases that are on another. ``owned`` are the checkpoints of tenants among these, with whose
    they are.
    """

    aliases: tuple[Alias, ...]
    warm: tuple[str, ...]
    former: dict[str, list[str]]
    versions: dict[str, tuple[str, ...]]
    withdrawn: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    stand_ins: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    guests: tuple[str, ...] = ()
    elsewhere: frozenset[str] = frozenset()
    owned: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def shared(self) -> tuple[Alias, ...]:
        """The aliases that are no tenant's branch."""
        return tuple(alias for alias in self.aliases if alias.tenant is None)

    @property
    def branches(self) -> tuple[Alias, ...]:
        """The branches that have something of their own, live or as a canary: the others' tenants
        get what all get."""
        return tuple(
            alias
            for alias in self.aliases
            if alias.tenant is not None and (alias.live in self.owned or alias.canary in self.owned)
        )

    @property
    def judged(self) -> tuple[Alias, ...]:
        """The branches of tenants for whom a candidate is held warm."""
        whose = {self.owned[one] for one in self.warm if one in self.owned}
        return tuple(alias for alias in self.aliases if alias.tenant in whose)


async def ready(conn: Connection, checkpoint: str) -> Readiness:
    """Where ``checkpoint`` stands on every instance of its base whose heartbeat is fresh."""
    cursor = await conn.execute(
        "select i.instance, d.state, d.error from"
        " (select distinct instance from deployments join ancestry c on c.id = checkpoint"
        "  where updated_at > now() - make_interval(secs => %(alive)s)"
        "  and c.root = (select root from ancestry where id = %(id)s)) i"
        " left join deployments d on d.instance = i.instance and d.checkpoint = %(id)s",
        {"alive": ALIVE, "id": checkpoint},
    )
    rows = await cursor.fetchall()
    return Readiness(
        ready=frozenset(instance for instance, state, _ in rows if state == "ready"),
        waiting=frozenset(i for i, state, _ in rows if state not in ("ready", "failed")),
        failed={i: error or "no reason given" for i, state, error in rows if state == "failed"},
    )


async def list_ready(conn: Connection, alias: str, tenant: str | None = None) -> list[str]:
    """Every checkpoint on the base of what the alias has live that an instance whose heartbeat is
    fresh can answer with, newest first; for a ``tenant`` without those of others."""
    cursor = await conn.execute(
        "select a.id from ancestry a where a.root = (select root from ancestry where id ="
        "  (select live from standing where alias = %(alias)s))"
        " and exists (select from deployments d where d.checkpoint = a.id and d.state = 'ready'"
        "  and d.updated_at > now() - make_interval(secs => %(alive)s))"
        " and (%(tenant)s::text is null or coalesce(a.tenant, %(tenant)s) = %(tenant)s)"
        " order by a.created_at desc, a.id desc",
        {"alias": alias, "alive": ALIVE, "tenant": tenant},
    )
    return [checkpoint for (checkpoint,) in await cursor.fetchall()]


async def keep_warm(conn: Connection, checkpoint: str, seconds: float) -> None:
    """Ask every instance to hold ``checkpoint`` for so long, though no alias points at it.

    Asking again lengthens the time and makes instances try again that had failed.
    """
    await conn.execute(
        "insert into warm (checkpoint, until) values (%s, now() + make_interval(secs => %s))"
        " on conflict (checkpoint) do update set until = excluded.until",
        (checkpoint, seconds),
    )
    await conn.execute("select pg_notify(%s, '')", (CHANNEL,))


async def is_warm(conn: Connection, checkpoint: str) -> bool:
    """Whether somebody asks every instance to hold it."""
    cursor = await conn.execute(
        "select exists (select from warm where checkpoint = %s and until > now())", (checkpoint,)
    )
    row = await cursor.fetchone()
    return row is not None and row[0]


async def let_go(conn: Connection, checkpoint: str) -> None:
    """Take `keep_warm` back; what is not held warm is ignored."""
    await conn.execute("delete from warm where checkpoint = %s", (checkpoint,))
    await conn.execute("select pg_notify(%s, '')", (CHANNEL,))


async def read_desired(
    conn: Connection,
    base: str | None = None,
    *,
    others: Collection[str] = (),
    model: str | None = None,
    whole: bool = False,
) -> Desired:
    """What every instance should hold, or every one of that ``base``, but for the aliases
    ``others``, and those of models that were ever added to a running service, but for ``model``;
    ``whole``: with those too, whoever serves them.

    An alias and its history are of one moment: seen with the history of a moment later, what may
    stand in would pass for unneeded and be unloaded. What is warm is read before, so that a
    checkpoint that is let go once it is live is seen as one or the other.
    """
    cursor = await conn.execute(
        "select checkpoint, until::text, c.tenant from warm join ancestry c on c.id = checkpoint"
        " where until > now() and (%(base)s::text is null or c.root = %(base)s)"
        " order by until desc",
        {"base": base},
    )
    warm = await cursor.fetchall()
    cursor = await conn.execute(
        f"select {ALIAS_COLUMNS}, live_root, canary_root, live_of, canary_of,"
        " r.action, r.checkpoint, r.previous, r.reason"
        " from aliases left join releases r on r.alias = name"
        " join (select id, root, tenant from ancestry) l (live_id, live_root, live_of)"
        " on live_id = live"
        " left join (select id, root, tenant from ancestry) c (canary_id, canary_root, canary_of)"
        " on canary_id = canary"
        " where (%(base)s::text is null or live_root = %(base)s or canary_root = %(base)s)"
        " and not coalesce(model, name) = any(%(others)s)"
        " and (%(whole)s or coalesce(model, name) = %(model)s"
        "  or not exists (select from models m"
        "   where m.name = coalesce(aliases.model, aliases.name)))"
        " order by name, r.id".encode(),
        {"base": base, "others": list(others), "model": model or "", "whole": whole},
    )
    rows = await cursor.fetchall()
    by_name: dict[str, Alias] = {}
    histories: dict[str, list[Release]] = {}
    guests: dict[str, str] = {}
    elsewhere: set[str] = set()
    owned = {checkpoint: tenant for checkpoint, _, tenant in warm if tenant is not None}
    for *columns, stands, tries, live_of, canary_of, action, checkpoint, previous, reason in rows:
        alias = Alias(*columns)
        if base is not None and alias.canary and stands != tries:
            if tries == base:
                guests[alias.canary] = f"{alias.name}:{alias.version}"
                continue
            elsewhere.add(alias.canary)
        for one, tenant in ((alias.live, live_of), (alias.canary, canary_of)):
            if one is not None and tenant is not None:
                owned[one] = tenant
        by_name[alias.name] = alias
        history = histories.setdefault(alias.name, [])
        if action:
            history.append(Release(action, checkpoint, previous, reason))
    aliases = tuple(by_name.values())
    versions: dict[str, tuple[str, ...]] = {}
    for alias in aliases:
        for checkpoint in (alias.live, alias.canary):
            if checkpoint and checkpoint not in elsewhere:
                asked = (f"{alias.name}:{alias.version}",)
                versions[checkpoint] = versions.get(checkpoint, ()) + asked
    for checkpoint, asked in guests.items():
        versions[checkpoint] = (*versions.get(checkpoint, ()), asked)
    for checkpoint, until, _ in warm:
        versions[checkpoint] = (*versions.get(checkpoint, ()), f"warm:{until}")
    return Desired(
        aliases=aliases,
        warm=tuple(checkpoint for checkpoint, _, _ in warm),
        former={alias: former_lives(history) for alias, history in histories.items()},
        versions=versions,
        withdrawn={alias: withdrawn(history) for alias, history in histories.items()},
        stand_ins={alias: stand_ins(history) for alias, history in histories.items()},
        guests=tuple(guests),
        elsewhere=frozenset(elsewhere),
        owned=owned,
    )


BECOMES_LIVE = ("create", "promote", "rollback", "switch")


def withdrawn(releases: Sequence[Release]) -> frozenset[str]:
    """What was rolled back from and has not been live again."""
    out: set[str] = set()
    for release in releases:
        if release.action == "rollback" and release.previous:
            out.add(release.previous)
        if release.action in ("promote", "rollback", "switch"):
            out.discard(release.checkpoint)
    return frozenset(out)


def stand_ins(releases: Sequence[Release]) -> list[str]:
    """Whatever was live and was not rolled back from, newest first: it may answer for a moment,
    until what should be live can."""
    began = max((n for n, r in enumerate(releases) if r.action == "switch"), default=0)
    lives = [r.checkpoint for r in releases[began:] if r.action in BECOMES_LIVE]
    gone = withdrawn(releases)
    return [c for c in dict.fromkeys(reversed(lives)) if c not in gone]


def order(desired: Desired, keep_previous: int, max_resident: int) -> list[str]:
    """The checkpoints that should be resident, most needed first, at most ``max_resident``; those
    of tenants' branches have an order of their own.

    Live ones are never cut; then come canaries (shadows too, and those of aliases that stand on
    another base), warm ones and former live ones.
    """
    lives = [alias.live for alias in desired.shared]
    others = [alias.canary for alias in desired.shared if alias.canary]
    others = [canary for canary in others if canary not in desired.elsewhere]
    others += [*desired.guests, *(one for one in desired.warm if one not in desired.owned)]
    for alias in desired.shared:
        others += desired.former.get(alias.name, [])[:keep_previous]
    wanted = list(dict.fromkeys([*lives, *others]))
    return wanted[: max(max_resident, len(set(lives)))]


def order_own(desired: Desired, recent: Sequence[str], most: int) -> list[str]:
    """The checkpoints of tenants' branches that should be resident, at most ``most``: candidates
    that are judged, with what they are compared with, then what the branches ``recent`` have, the
    one that was asked for last first. One that nobody asked for is not among them."""
    shared = {alias.live for alias in desired.shared}
    by_name = {alias.name: alias for alias in desired.branches}
    used = [by_name[name] for name in recent if name in by_name]
    groups = [[one] for one in desired.warm if one in desired.owned]
    groups += [[alias.live] for alias in desired.judged]
    groups += [[alias.live, *([alias.canary] if alias.canary else [])] for alias in used]
    wanted: list[str] = []
    for group in groups:
        more = [one for one in group if one not in wanted and one not in shared]
        if len(wanted) + len(more) > most:
            break
        wanted += more
    return wanted


async def report(
    conn: Connection,
    instance: str,
    checkpoint: str,
    state: State,
    *,
    probe: Any = None,
    error: str | None = None,
) -> None:
    """Write where a checkpoint stands on this instance; one that is not registered is passed."""
    await conn.execute(
        "insert into deployments (instance, checkpoint, state, probe, error)"
        " select %s, id, %s, %s, %s from ancestry where id = %s"
        " on conflict (instance, checkpoint) do update set"
        " state = excluded.state, error = excluded.error, updated_at = now(),"
        " probe = coalesce(excluded.probe, deployments.probe)",
        (instance, state, None if probe is None else Jsonb(probe), error, checkpoint),
    )
    if state == "ready":
        await conn.execute(
            "update aliases set served_at = now() where live = %s and served_at is null",
            (checkpoint,),
        )


async def withdraw(conn: Connection, instance: str, keep: Sequence[str] = ()) -> None:
    """Remove the rows of this instance but for the checkpoints in ``keep``, and long dead ones."""
    await conn.execute(
        "delete from deployments where (instance = %s and not checkpoint = any(%s))"
        " or updated_at < now() - make_interval(secs => %s)",
        (instance, list(keep), FORGOTTEN),
    )
