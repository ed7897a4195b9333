"""An invoice as rows, and as a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from liveweights.meter.invoice import Invoice, LevyLine, Line, Statement, UnitPrice
from liveweights.meter.money import show_minor, show_money
from liveweights.meter.prices import PriceRow

COLUMNS = (
    *("invoice", "tenant", "month", "currency", "kind", "name", "rule", "requests", "answers"),
    *("prompt_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "price"),
    *("exact", "amount"),
)
"""Of an invoice as rows: lines, levies and totals."""
HEADS = ("", "requests", "tokens of prompts", "of them cached", "tokens of answers", "amount")
"""Of the table for people."""

RULES = {
    "sampled": "",
    "sent": "broken off by us: what was sent",
    "withheld": "not shown: free",
}
"""What people read of how answers were charged."""
STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 3rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left }
tr.total td { font-weight: 600; border-bottom: 2px solid #333 }
small { color: #555 } address { white-space: pre-line; font-style: normal }
"""
ROUNDING = (
    "Each line is rounded to the smallest amount of its currency, halves to the even one; the net "
    "amount is the sum of the rounded lines."
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A row for people: what it is, a remark, its numbers, and whether it is a sum."""

    name: str
    remark: str
    cells: tuple[str, ...]
    total: bool = False


def title(invoice: Invoice) -> str:
    number = "draft" if invoice.number is None else f"no. {invoice.number}"
    return f"Invoice {number}: {invoice.month}"


def facts(invoice: Invoice) -> list[tuple[str, str]]:
    """What stands above the lines."""
    form = "%Y-%m-%d %H:%M"
    state = "open" if invoice.closed_at is None else f"closed {invoice.closed_at:{form}} UTC"
    span = f"{invoice.since:{form}} to {invoice.until:{form}} UTC ({invoice.time_zone})"
    return [("For", invoice.tenant), ("Time", span), ("State", state)]


def shown(statement: Statement) -> list[Shown]:
    currency = statement.currency
    rows = [_shown_line(line, currency) for line in statement.lines]
    rows.append(_sum("Net", statement.net, currency))
    for levy in statement.levies:
        remark = f"{show_share(levy.rate_ppm)} of {show_minor(levy.base, currency)}"
        remark += f"; {levy.rule}" if levy.rule else ""
        remark += "" if levy.added else "; included, owed by the seller"
        cells = ("", "", "", "", show_minor(levy.amount, currency))
        rows.append(Shown(levy.name, remark, cells))
    rows.append(_sum(f"Total in {currency}", statement.total, currency))
    return rows


def table(invoice: Invoice) -> Iterator[tuple[object, ...]]:
    """Rows of ``COLUMNS``."""
    for statement in invoice.statements:
        head = (invoice.number, invoice.tenant, invoice.month, statement.currency)
        for line in statement.lines:
            yield (*head, *_line_cells(line, statement.currency))
        for levy in statement.levies:
            yield (*head, *_levy_cells(levy, statement.currency))
        exact = show_money(statement.net_nanos)
        gap = ("", *[None] * 6, "")
        yield (*head, "net", "", *gap, exact, show_minor(statement.net, statement.currency))
        total = show_minor(statement.total, statement.currency)
        yield (*head, "total", "", *gap, "", total)


def page(invoice: Invoice) -> str:
    """A whole HTML page, with nothing from elsewhere."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(title(invoice))}</title><style>{STYLE}</style></head><body>",
        f"<address>{escape(invoice.seller)}</address>",
        f"<h1>{escape(title(invoice))}</h1><p>",
        "<br>".join(f"{escape(name)}: {escape(text)}" for name, text in facts(invoice)),
        "</p>",
    ]
    for statement in invoice.statements:
        heads = "".join(f"<th>{escape(head)}</th>" for head in HEADS)
        parts.append(f"<table><thead><tr>{heads}</tr></thead><tbody>")
        for row in shown(statement):
            cells = "".join(f"<td>{escape(cell)}</td>" for cell in row.cells)
            remark = f"<br><small>{escape(row.remark)}</small>" if row.remark else ""
            total = ' class="total"' if row.total else ""
            parts.append(f"<tr{total}><td>{escape(row.name)}{remark}</td>{cells}</tr>")
        parts.append("</tbody></table>")
    if not invoice.statements:
        parts.append("<p>Nothing was charged.</p>")
    parts.append(f"<p><small>{escape(ROUNDING)}</small></p></body></html>\n")
    return "\n".join(parts)


def show_share(ppm: int) -> str:
    """Millionths as a percentage, exactly."""
    whole, rest = divmod(ppm, 10_000)
    return f"{whole}.{rest:04d}".rstrip("0").rstrip(".") + "%"


def show_price(price: UnitPrice | PriceRow | None) -> str:
    """What is asked per million tokens, in words."""
    if price is None:
        return ""
    said = [f"{show_money(price.input)} in, {show_money(price.output)} out"]
    if price.cached_input != price.input:
        said.append(f"{show_money(price.cached_input)} cached")
    if price.reasoning != price.output:
        said.append(f"{show_money(price.reasoning)} reasoning")
    tokens = [f"{', '.join(said)} per million tokens"] if price.input or price.output else []
    if price.request:
        tokens.append(f"{show_money(price.request)} per request")
    if price.markup_ppm is not None:
        tokens.append(f"the upstream's price and {show_share(price.markup_ppm)}")
    return "; ".join(tokens) or "free"


def _shown_line(line: Line, currency: str) -> Shown:
    remarks = [
        "correction of earlier charges" if line.kind == "correction" else "",
        RULES.get(line.rule, line.rule),
        show_price(line.price),
    ]
    counts = (line.requests, line.prompt_tokens, line.cached_tokens, line.output_tokens)
    cells = (*(f"{count:,}" for count in counts), show_minor(line.amount, currency))
    return Shown(line.model, "; ".join(filter(None, remarks)), cells)


def _sum(name: str, amount: int, currency: str) -> Shown:
    return Shown(name, "", ("", "", "", "", show_minor(amount, currency)), total=True)


def _line_cells(line: Line, currency: str) -> tuple[object, ...]:
    return (
        *(line.kind, line.model, line.rule, line.requests, line.answers),
        *(line.prompt_tokens, line.cached_tokens, line.output_tokens, line.reasoning_tokens),
        *(show_price(line.price), show_money(line.nanos), show_minor(line.amount, currency)),
    )


def _levy_cells(levy: LevyLine, currency: str) -> tuple[object, ...]:
    kind = "levy" if levy.added else "levy included"
    remark = f"{show_share(levy.rate_ppm)} of {show_minor(levy.base, currency)}"
    rule = f"{remark}; {levy.rule}" if levy.rule else remark
    return kind, levy.name, rule, *[None] * 6, "", "", show_minor(levy.amount, currency)
