"""The pages of invoices: those that are closed, and one month of a tenant."""

from __future__ import annotations

import io

import msgspec

from liveweights.console.cursor import PARAM, ROWS, cut_page, read_number
from liveweights.console.page import Encoding
from liveweights.console.subject import Asked, Subject, missing
from liveweights.http.errors import ApiError
from liveweights.meter.invoice import Invoice
from liveweights.meter.invoice_pages import (
    COLUMNS,
    HEADS,
    ROUNDING,
    Shown,
    facts,
    shown,
    table,
    title,
)
from liveweights.meter.invoice_pdf import PdfUnavailable, write_pdf
from liveweights.meter.invoice_rows import ClosedMonth, find_month, list_closed, read_invoice
from liveweights.meter.tenants import read_tenants
from liveweights.spreadsheet import write_csv
from liveweights.store.database import Connection

LISTED = 200
"""Tenants that the form proposes."""


class Invoices(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the closed months of ``tenant`` (None: of all), newest first; ``next`` is where the
    next one begins, None at the end. ``open`` is the month that is now, of a tenant."""

    tenant: str | None
    tenants: tuple[str, ...]
    open: str | None
    invoices: tuple[ClosedMonth, ...]
    next: str | None


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What is owed in one currency, in words."""

    rows: tuple[Shown, ...]


class OneInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """A month of a tenant, as it was closed or as it stands; ``parts`` are its statements in words
    under ``heads``."""

    invoice: Invoice
    title: str
    facts: tuple[tuple[str, str], ...]
    heads: tuple[str, ...]
    parts: tuple[Part, ...]
    rounding: str
    before: str


async def read_invoices(conn: Connection, subject: Subject, asked: Asked) -> Invoices:
    """GET /invoices and GET /invoices.json. Raises ApiError 400."""
    tenant = asked.tenant or asked.get("tenant")
    before = read_number(asked.get(PARAM))
    one_more = await list_closed(conn, ROWS + 1, tenant=tenant, before=before)
    page, following = cut_page(one_more, ROWS, lambda one: str(one.number))
    month = await find_month(conn, tenant, "", subject.billing) if tenant else None
    names = [] if asked.tenant else [one.name for one in await read_tenants(conn)]
    return Invoices(
        tenant=tenant,
        tenants=tuple(names[:LISTED]),
        open=None if month is None else str(month),
        invoices=page,
        next=following,
    )


async def read_one(conn: Connection, subject: Subject, asked: Asked) -> OneInvoice:
    """GET /invoices/TENANT/MONTH, also with .json, .csv or .pdf. Raises ApiError 404."""
    tenant, _, text = asked.id.rpartition("/")
    if not tenant or not text or asked.tenant not in (None, tenant):
        raise missing("An invoice is at /invoices/TENANT/MONTH, such as /invoices/acme/2026-10.")
    try:
        month = await find_month(conn, tenant, text, subject.billing)
    except ValueError as error:
        raise missing(f"{error}.") from None
    invoice = await read_invoice(conn, tenant, month, subject.billing)
    return OneInvoice(
        invoice=invoice,
        title=title(invoice),
        facts=tuple(facts(invoice)),
        heads=HEADS,
        parts=tuple(Part(rows=tuple(shown(one))) for one in invoice.statements),
        rounding=ROUNDING,
        before=str(month.before),
    )


def to_csv(page: OneInvoice) -> bytes:
    """Lines, levies and totals as rows."""
    text = io.StringIO()
    write_csv(text, COLUMNS, table(page.invoice))
    return text.getvalue().encode()


def to_pdf(page: OneInvoice) -> bytes:
    """Raises ApiError 501 where the library is not there."""
    try:
        return write_pdf(page.invoice)
    except PdfUnavailable as error:
        raise ApiError(501, f"{error}", code="not_installed") from None


ENCODINGS = {
    "csv": Encoding(b"text/csv; charset=utf-8", to_csv),
    "pdf": Encoding(b"application/pdf", to_pdf),
}
