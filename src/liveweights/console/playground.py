"""The page where models are talked to, one or two at a time, and told what their answers were
worth."""

from __future__ import annotations

import msgspec

from liveweights.console.subject import Asked, Subject
from liveweights.gate.statistics import wilson
from liveweights.release.deployments import list_ready
from liveweights.release.model_facts import list_duties, list_model_facts
from liveweights.serve.api.objects import Model
from liveweights.store.database import Connection

TOLD = (
    "answers", "maker", "country", "licence", "context", "can", "price of a million tokens", "data",
    "recorded", "teaches", "accepted",
)  # fmt: skip
"""Facts of a model (`release.model_facts`) that the picker shows."""
MOST_TOLD = 15
"""Models that it shows them of; of the others their own page does."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Who can be asked: a model by its public name, or one of its checkpoints; ``standing`` is
    ``live`` or ``canary`` or nothing. ``low`` and ``high`` are a 95% interval (Wilson's) for the
    share that users took of its answers, ever; of a model these are not said."""

    name: str
    model: str
    standing: str = ""
    accepted: int = 0
    clicked: int = 0
    low: float = 0.0
    high: float = 1.0


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model: facts by their names, and what its licence asks for."""

    model: str
    facts: tuple[tuple[str, str], ...]
    duties: tuple[str, ...]


class Playground(msgspec.Struct, frozen=True, kw_only=True):
    """Who can be asked, the model of the address first, and what is known of the models.
    ``keyed``: requests need a key of the API."""

    model: str
    choices: tuple[Choice, ...]
    known: tuple[Known, ...]
    keyed: bool


STANDING = """
select live, canary from standing s where alias = %(model)s
    or (model = %(model)s and tenant = %(tenant)s and exists (
        select from ancestry a where a.id in (s.live, s.canary) and a.tenant = s.tenant))
order by tenant nulls last limit 1
"""
"""Of a tenant that has something of its own that; else what all have."""
COUNTS = """
select checkpoint, sum(accepted)::bigint, sum(rejected)::bigint
from counted where whole and width = 1440 and alias = %s and checkpoint = any(%s) group by 1
"""


async def read_playground(conn: Connection, subject: Subject, asked: Asked) -> Playground:
    """GET /playground and GET /playground.json"""
    listed = subject.list_names(asked.tenant)
    names = [asked.model, *(name for name in listed if name != asked.model)]
    choices: list[Choice] = []
    for name in names:
        choices.append(Choice(name=name, model=name))
        if name in subject.workers:
            choices += await _list_checkpoints(conn, name, asked.tenant)
    models = {model.id: model for model in subject.known(asked.tenant)}
    told = [models[name] for name in names if name in models][:MOST_TOLD]
    return Playground(
        model=asked.model,
        choices=tuple(choices),
        known=tuple(tell(model) for model in told),
        keyed=asked.keyed,
    )


async def _list_checkpoints(conn: Connection, model: str, tenant: str | None) -> list[Choice]:
    """Those that can answer now; what all users took of them is for those who see all."""
    cursor = await conn.execute(STANDING, {"model": model, "tenant": tenant})
    live, canary = await cursor.fetchone() or (None, None)
    ids = [one for one in (live, canary) if one is not None]
    ids += [one for one in await list_ready(conn, model, tenant) if one not in ids]
    clicks: dict[str, tuple[int, int]] = {}
    if tenant is None:
        rows = await (await conn.execute(COUNTS, (model, ids))).fetchall()
        clicks = {id_: (accepted, accepted + rejected) for id_, accepted, rejected in rows}
    choices: list[Choice] = []
    for id_ in ids:
        accepted, clicked = clicks.get(id_, (0, 0))
        low, high = wilson(accepted, clicked)
        choices.append(
            Choice(
                name=id_,
                model=model,
                standing="live" if id_ == live else "canary" if id_ == canary else "",
                accepted=accepted,
                clicked=clicked,
                low=low,
                high=high,
            )
        )
    return choices


def tell(model: Model) -> Known:
    """What the picker says of it."""
    facts = dict(list_model_facts(model))
    return Known(
        model=model.id,
        facts=tuple((name, facts[name]) for name in TOLD if name in facts),
        duties=tuple(list_duties(model)),
    )
