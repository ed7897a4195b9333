"""Pages of bills of materials: of the service, an alias, or a checkpoint."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import datetime
from threading import Lock

import msgspec

from liveweights.bom.check import read_document
from liveweights.bom.document import can_write, write_document
from liveweights.bom.elements import Element, check_elements
from liveweights.bom.facts import Alias, Bill, Model
from liveweights.bom.read import list_answering, read_aliases, read_bill
from liveweights.console.cursor import PARAM, ROWS, cut_page, read_number
from liveweights.console.page import Encoding
from liveweights.console.subject import Asked, Subject, missing
from liveweights.http.errors import ApiError
from liveweights.store.database import Connection
from liveweights.weights.registry import NotRegistered

Written = tuple[bytes, tuple[Element, ...]]
KEPT = 16
"""Bills that are kept as they were written; one of 200 checkpoints has 0.7 MB."""
SERVICE = "service"
"""What the address calls the whole of it."""


class Bills(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the aliases that have a bill each, by name; ``next`` is where the next one begins,
    None at the end."""

    aliases: tuple[Alias, ...]
    next: str | None


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint of the bill: whose it is by its card, what the cycle that made it read and the
    Merkle root over that, and its verdict. ``duties`` are what its licence asks, and
    those of what it was derived from."""

    id: str
    kind: str
    created_at: datetime
    maker: str | None
    country: str | None
    licence: str | None
    duties: tuple[str, ...]
    files: dict[str, str]
    cycle: int | None
    reactions: int
    root: str | None
    outcome: str | None
    verdict: str | None


class Required(msgspec.Struct, frozen=True, kw_only=True):
    """One of the G7's minimum elements; ``lacking`` names whose it is missing of."""

    number: str
    cluster: str
    name: str
    lacking: tuple[str, ...]
    advice: str


class Materials(msgspec.Struct, frozen=True, kw_only=True):
    """What a bill says in short, and a page of its ``materials``, newest first. ``document`` is the
    whole of it, CycloneDX 1.7. ``hosted`` are names of models elsewhere."""

    subject: str
    as_of: datetime
    materials: tuple[Material, ...]
    hosted: tuple[str, ...]
    packages: int
    elements: tuple[Required, ...]
    document: msgspec.Raw
    next: str | None


async def read_bills(conn: Connection, subject: Subject, asked: Asked) -> Bills:
    """GET /bills and GET /bills.json. Raises ApiError 400, 404 where the extra is not there, 409
    where the catalogue is not understood."""
    _check()
    passed = read_number(asked.get(PARAM)) or 0
    try:
        known = await subject.sources.know_service(conn)
    except ValueError as error:
        raise ApiError(409, f"{error}", code="catalogue_refused") from None
    aliases = list_answering(await read_aliases(conn), known)
    shown, more = cut_page(aliases[passed : passed + ROWS + 1], ROWS, lambda _: str(passed + ROWS))
    return Bills(aliases=shown, next=more)


async def read_materials(conn: Connection, subject: Subject, asked: Asked) -> Materials:
    """GET /bills/ID, also with .json or .cdx; the ID is ``service``, an alias or a checkpoint.
    Raises ApiError 404, 409 where the catalogue is not understood."""
    _check()
    passed = read_number(asked.get(PARAM)) or 0
    about = "" if asked.id == SERVICE else asked.id
    try:
        bill = await read_bill(conn, about, await subject.sources.know_service(conn))
    except NotRegistered as error:
        raise missing(f"{error}.") from None
    except ValueError as error:
        raise ApiError(409, f"{error}", code="catalogue_refused") from None
    content, elements = await asyncio.to_thread(RECENT.write, bill)
    models = list(bill.models.values())
    shown, more = cut_page(models[passed : passed + ROWS + 1], ROWS, lambda _: str(passed + ROWS))
    return Materials(
        subject=bill.subject,
        as_of=bill.as_of,
        materials=tuple(_material(one, bill) for one in shown),
        hosted=tuple(f"{one.model} ({one.alias})" for one in bill.hosted),
        packages=len(bill.packages),
        elements=tuple(
            Required(
                number=one.number,
                cluster=one.cluster,
                name=one.name,
                lacking=one.lacking,
                advice=one.advice,
            )
            for one in elements
        ),
        document=msgspec.Raw(content),
        next=more,
    )


class Recent:
    """Bills as they were written last: of a long chain of checkpoints that takes a second or more,
    and the same facts make the same bytes. For all threads."""

    def __init__(self, most: int = KEPT) -> None:
        """``most`` is of how many subjects one is kept."""
        self._most = most
        self._written: OrderedDict[str, tuple[Bill, Written]] = OrderedDict()
        self._lock = Lock()

    def write(self, bill: Bill) -> Written:
        """The document, and what the G7 ask for."""
        with self._lock:
            known = self._written.get(bill.subject)
            if known is None or known[0] != bill:
                content = write_document(bill)
                known = bill, (content, check_elements(read_document(content), is_signed=False))
                self._written[bill.subject] = known
            self._written.move_to_end(bill.subject)
            if len(self._written) > self._most:
                self._written.popitem(last=False)
            return known[1]


RECENT = Recent()


def _material(model: Model, bill: Bill) -> Material:
    origin = model.origin or bill.base(model.id).origin
    window = model.window
    return Material(
        id=model.id,
        kind=model.kind,
        created_at=model.created_at,
        maker=origin.card.maker if origin else None,
        country=origin.card.country if origin else None,
        licence=origin.licence.id if origin and origin.licence else None,
        duties=tuple(one.text for one in origin.duties) if origin else (),
        files=dict(model.files),
        cycle=window.cycle if window else None,
        reactions=window.reactions if window else 0,
        root=window.root if window else None,
        outcome=model.outcome,
        verdict=model.verdict,
    )


def to_cyclonedx(page: Materials) -> bytes:
    """The document itself, the same bytes as of the command."""
    return bytes(page.document)


ENCODINGS = {"cdx": Encoding(b"application/vnd.cyclonedx+json; version=1.7", to_cyclonedx)}


def _check() -> None:
    if not can_write():
        message = "Bills of materials need the extra: pip install 'liveweights[bom]'."
        raise missing(message)
