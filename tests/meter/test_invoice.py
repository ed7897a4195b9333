"""The fold of charges into lines, against sums that are worked out one by one."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.meter.test_periods import ZONES

from liveweights.meter.invoice import Charges, Invoice, Month, Statement, make_statements
from liveweights.meter.invoice_pages import COLUMNS, page, show_price, show_share, shown, table
from liveweights.meter.invoice_pdf import write_pdf
from liveweights.meter.levies import BillingSettings, Levy
from liveweights.meter.periods import find_window
from liveweights.meter.prices import EPOCH, PriceRow

PRICES = {n: PriceRow(id=n, since=EPOCH, input=n * 10**8, output=10**9) for n in (1, 2)}
CENT = Decimal("0.01")


def make_charges(nanos: int, **changes: object) -> Charges:
    values: dict[str, object] = {
        "model": "code",
        "origin": "France",
        "licence": "apache-2.0",
        "currency": "USD",
        "price": 1,
        "rule": "sampled",
        "reversal": False,
        "answers": 1,
        "requests": 1,
        "prompt_tokens": 3,
        "cached_tokens": 0,
        "output_tokens": 2,
        "reasoning_tokens": 0,
        "nanos": nanos,
    }
    return Charges(**{**values, **changes})  # type: ignore[arg-type]


charges = st.lists(
    st.builds(
        make_charges,
        st.integers(-(10**12), 10**12),
        model=st.sampled_from(["code", "chat"]),
        price=st.sampled_from([1, 2]),
        rule=st.sampled_from(["sampled", "sent"]),
        reversal=st.booleans(),
        currency=st.sampled_from(["USD", "EUR"]),
    ),
    max_size=12,
)
LEVIES = (
    Levy(name="VAT", rate=0.19, rule="Section 12"),
    Levy(name="royalty", rate=0.035, added=False, models=["chat"]),
)


@given(charges, charges)
def test_lines_are_rounded_sums_and_the_total_is_theirs(
    some: list[Charges], more: list[Charges]
) -> None:
    statements = make_statements([*some, *more], PRICES, LEVIES)
    sums: dict[tuple[object, ...], int] = defaultdict(int)
    for one in (*some, *more):
        sums[one.currency, one.model, one.reversal, one.price, one.rule] += one.nanos
    lines = [(s, line) for s in statements for line in s.lines]
    assert len(lines) == len(sums)
    for statement, line in lines:
        assert line.price is not None
        key = (statement.currency, line.model, line.kind == "correction", line.price.id, line.rule)
        assert line.nanos == sums[key]
        cents = (Decimal(line.nanos) / 10**9).quantize(CENT, ROUND_HALF_EVEN)
        assert Decimal(line.amount) * CENT == cents
    for statement in statements:
        check_total(statement)


def check_total(statement: Statement) -> None:
    assert statement.net == sum(line.amount for line in statement.lines)
    assert statement.net_nanos == sum(line.nanos for line in statement.lines)
    chat = [line.amount for line in statement.lines if line.model == "chat"]
    due = {"VAT": (statement.net, Decimal("0.19")), "royalty": (sum(chat), Decimal("0.035"))}
    for levy in statement.levies:
        base, rate = due[levy.name]
        assert levy.base == base
        assert levy.amount == int((base * rate).quantize(Decimal(1), ROUND_HALF_EVEN))
    assert {levy.name for levy in statement.levies} == {"VAT"} | ({"royalty"} if chat else set())
    added = sum(levy.amount for levy in statement.levies if levy.added)
    assert statement.total == statement.net + added


@given(charges)
def test_the_order_of_charges_says_nothing(some: list[Charges]) -> None:
    assert make_statements(some, PRICES, LEVIES) == make_statements(some[::-1], PRICES, LEVIES)


def test_what_has_no_price_is_on_no_line() -> None:
    assert make_statements([make_charges(0, currency="XXX", price=None)], PRICES) == ()


def test_a_levy_is_about_what_it_says() -> None:
    some = [make_charges(10**9), make_charges(2 * 10**9, model="chat", origin="China")]
    levies = (
        Levy(name="origin", rate=0.1, origins=["China"]),
        Levy(name="licence", rate=0.1, licences=["apache-2.0"]),
        Levy(name="other tenant", rate=0.1, tenants=["shop"]),
        Levy(name="ended", rate=0.1, last=date(2026, 8, 31)),
        Levy(name="not yet", rate=0.1, first=date(2026, 10, 1)),
        Levy(name="now", rate=0.1, first=date(2026, 9, 1), last=date(2026, 9, 30)),
    )
    (statement,) = make_statements(some, PRICES, levies, tenant="me", month=date(2026, 9, 1))
    found = {levy.name: (levy.base, levy.amount) for levy in statement.levies}
    assert found == {"origin": (200, 20), "licence": (300, 30), "now": (300, 30)}
    assert statement.total == 300 + 20 + 30 + 30


@pytest.mark.parametrize(
    ("zone", "month", "since", "until"),
    [
        ("UTC", "2026-02", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("Europe/Berlin", "2026-10", "2026-09-30T22:00", "2026-10-31T23:00"),  # DST ends
        ("America/New_York", "2026-03", "2026-03-01T05:00", "2026-04-01T04:00"),  # DST begins
        ("Asia/Kolkata", "2026-12", "2026-11-30T18:30", "2026-12-31T18:30"),
        ("Pacific/Kiritimati", "2026-01", "2025-12-31T10:00", "2026-01-31T10:00"),
    ],
)
def test_a_month_is_of_the_tenants_time_zone(zone: str, month: str, since: str, until: str) -> None:
    found = Month.parse(month, ZoneInfo(zone))
    assert found.since == datetime.fromisoformat(since).replace(tzinfo=UTC)
    assert found.until == datetime.fromisoformat(until).replace(tzinfo=UTC)
    assert found.next.since == found.until
    assert str(found) == month


@given(st.sampled_from(ZONES), st.integers(2000 * 12, 2037 * 12 - 1))
def test_a_month_begins_when_a_clock_on_the_wall_first_shows_its_first_day(
    zone: str, number: int
) -> None:
    """Found by looking at the clock every half minute; a budget's month is the same."""
    where, (year, month) = ZoneInfo(zone), divmod(number, 12)
    first = date(year, month + 1, 1)
    look = datetime(year, month + 1, 1, tzinfo=UTC) - timedelta(hours=26)
    while look.astimezone(where).date() < first:
        look += timedelta(seconds=30)
    found = Month.parse(f"{first:%Y-%m}", where)
    assert found.since == look
    window = find_window("month", where, look)
    assert (window.begins, window.ends) == (found.since, found.until)
    just_before = find_window("month", where, look - timedelta(microseconds=1))
    assert just_before.ends == found.since == found.before.until


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "2026-1", "x", "", "2026-10-01", "0000-01"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no month"):
        Month.parse(text, ZoneInfo("UTC"))


def make_invoice(tenant: str = "<shop> & сын") -> Invoice:
    some = [
        make_charges(1_005_000_000),
        make_charges(0, rule="withheld"),
        make_charges(-5_000_000, reversal=True),
    ]
    return Invoice(
        number=7,
        tenant=tenant,
        month="2026-10",
        time_zone="Europe/Berlin",
        since=datetime(2026, 9, 30, 22, tzinfo=UTC),
        until=datetime(2026, 10, 31, 23, tzinfo=UTC),
        closed_at=datetime(2026, 11, 2, tzinfo=UTC),
        seller="Weights & Co\nA street",
        statements=make_statements(some, PRICES, LEVIES),
    )


def test_every_form_says_the_same() -> None:
    invoice = make_invoice()
    (statement,) = invoice.statements
    rows = list(table(invoice))
    assert all(len(row) == len(COLUMNS) for row in rows)
    assert [row[-1] for row in rows] == ["1.00", "0.00", "0.00", "0.19", "1.00", "1.19"]
    assert [row[-2] for row in rows] == ["1.005", "0.00", "-0.005", "", "1.00", ""]
    html = page(invoice)
    assert "&lt;shop&gt; &amp; сын" in html
    assert "<shop>" not in html
    for row in shown(statement):
        assert row.cells[-1] in html
    back = msgspec.json.decode(msgspec.json.encode(invoice), type=Invoice)
    assert back == invoice


def test_a_pdf_is_one() -> None:
    pytest.importorskip("fpdf")
    written = write_pdf(make_invoice())
    assert written.startswith(b"%PDF-")
    assert written.rstrip().endswith(b"%%EOF")


def test_prices_and_shares_are_said_exactly() -> None:
    assert [show_share(ppm) for ppm in (190_000, 35_000, 1, 0)] == ["19%", "3.5%", "0.0001%", "0%"]
    statement = make_invoice().statements[0]
    assert show_price(statement.lines[0].price).startswith("0.10 in, 1.00 out")


def test_billing_settings_name_what_is_wrong() -> None:
    with pytest.raises(msgspec.ValidationError, match="no time zone"):
        msgspec.convert({"time_zone": "Mars/Olympus"}, BillingSettings)
    with pytest.raises(msgspec.ValidationError, match="rate of 'VAT'"):
        msgspec.convert({"levies": [{"name": "VAT", "rate": 0.12345678}]}, BillingSettings)
