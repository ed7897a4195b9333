"""``liveweights prices``, ``ledger`` and ``invoice`` on a service's database."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.meter.test_ledger import record, tamper
from tests.record.rows import make_generation
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.config import DATABASE_URL

SETTINGS = """
[billing]
seller = "Weights & Co"
time_zone = "Europe/Berlin"

[[billing.levies]]
name = "VAT"
rate = 0.19
rule = "Section 12"
"""


@pytest.fixture
def service(database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    file = tmp_path / "settings.toml"
    file.write_text(SETTINGS)
    return ["--home", str(tmp_path), "--config", str(file)]


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return result


def test_prices_are_added_and_listed(service: list[str]) -> None:
    run("prices", "add", "live", "--input", "0.15", "--output", "0.6", *service)
    run("prices", "add", "*", "--request", "0.001", "--plan", "pro", "--currency", "EUR", *service)
    run("prices", "add", "big", "--cost", "--input", "1", "--output", "2", *service)
    run("prices", "plan", "shop", "pro", *service)
    listed = json.loads(run("prices", "list", "--json", *service).stdout)
    assert [(one["model"], one["plan"], one["side"], one["currency"]) for one in listed] == [
        ("live", None, "sale", "USD"),
        (None, "pro", "sale", "EUR"),
        ("big", None, "cost", "USD"),
    ]
    assert (listed[0]["input"], listed[0]["reasoning"]) == (150_000_000, 600_000_000)
    (plan,) = json.loads(run("prices", "plans", "--json", *service).stdout)
    assert (plan["tenant"], plan["plan"]) == ("shop", "pro")
    assert "plan pro" in run("prices", "list", *service).stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["live", "--input", "cheap"], "no amount of money"),
        (["live", "--input", "-1"], "from 0 to a million"),
        (["live", "--currency", "dollars"], "no currency"),
        (["live", "--from", "2020-01-01"], "may have been charged"),
        (["live", "--from", "soon"], "2026-11-01T00:00"),
        (["live", "--tenant", "a", "--plan", "b"], "one of --tenant and --plan"),
        (["live", "--markup", "0.2"], "no cost of live"),
        (["live", "--cost", "--tenant", "a"], "leave these out"),
    ],
)
def test_a_wrong_price_is_refused(service: list[str], words: list[str], told: str) -> None:
    result = run("prices", "add", *words, *service, code=2)
    assert told in result.output.replace("\n", " ")


def charge(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "insert into prices (since, side, model, currency, input, cached_input, output,"
            " reasoning, request, withheld, source) values ('2020-01-01', 'sale', 'live', 'USD',"
            " 1e12, 1e12, 0, 0, 0, 'free', 'operator')"
        )
    record(dsn, make_generation("a"), make_generation("b"))


def test_a_bill_is_shown_in_every_form(
    service: list[str], database_dsn: str, tmp_path: Path
) -> None:
    charge(database_dsn)
    month = ["invoice", "default", "--month", "2026-01", *service]
    shown = run(*month).stdout
    assert "Total in USD" in shown
    assert "0.01" in shown  # 6,000,000 nanos, and nothing to pay VAT on
    draft = json.loads(run(*month, "--format", "json").stdout)
    assert (draft["number"], draft["statements"][0]["net_nanos"]) == (None, 6_000_000)
    assert draft["since"].startswith("2025-12-31T23:00")
    rows = list(csv.DictReader(run(*month, "--format", "csv").stdout.splitlines()))
    assert [(row["kind"], row["amount"]) for row in rows] == [
        ("usage", "0.01"),
        ("levy", "0.00"),
        ("net", "0.01"),
        ("total", "0.01"),
    ]
    page = tmp_path / "bill.html"
    run(*month, "--format", "html", "--output", str(page))
    assert "Weights &amp; Co" in page.read_text()
    run(*month, "--format", "pdf", "--output", str(tmp_path / "bill.pdf"))
    assert (tmp_path / "bill.pdf").read_bytes().startswith(b"%PDF")
    closed = json.loads(run(*month, "--format", "json", "--close").stdout)
    assert closed["number"] == 1
    run("ledger", "reverse", "a", "--reason", "late", *service)
    assert json.loads(run(*month, "--format", "json").stdout) == closed


def test_a_month_that_cannot_be_closed_says_why(service: list[str], database_dsn: str) -> None:
    charge(database_dsn)
    for month, told in (("2199-01", "is not over"), ("2026-02", "close 2026-01 first")):
        words = ["invoice", "default", "--month", month, "--close", *service]
        assert told in run(*words, code=2).output
    assert "no month" in run("invoice", "default", "--month", "May", *service, code=2).output


def test_nothing_is_frozen_whose_invoice_could_not_be_written(
    service: list[str], database_dsn: str, tmp_path: Path
) -> None:
    charge(database_dsn)
    month = ["invoice", "default", "--month", "2026-01", *service]
    for output, told in ((tmp_path / "none" / "x.html", "no folder"), (tmp_path, "be written")):
        words = [*month, "--format", "html", "--close", "--output", str(output)]
        assert told in run(*words, code=2).output.replace("\n", "")
    assert json.loads(run(*month, "--format", "json").stdout)["number"] is None


def test_the_ledger_is_proved(service: list[str], database_dsn: str) -> None:
    charge(database_dsn)
    assert "0 differences" in run("ledger", "verify", *service).stdout
    tamper(database_dsn, "update ledger set day = day - 1")
    (day,) = json.loads(run("ledger", "days", "--json", *service).stdout)
    kept = f"{day['day']}:{day['hash']}"
    run("ledger", "verify", "--expect", kept, *service)
    assert (
        "kept" in run("ledger", "verify", "--expect", kept[:-4] + "0000", *service, code=1).stdout
    )
    tamper(database_dsn, "update ledger set amount = 1 where id = 'b'")
    told = run("ledger", "verify", "--json", *service, code=1).stdout
    found: dict[str, Any] = json.loads(told)
    assert (found["holds"], found["wrong"], len(found["broken_days"])) == (False, 1, 1)


def test_the_ledger_is_handed_on(service: list[str], database_dsn: str, tmp_path: Path) -> None:
    charge(database_dsn)
    words = ["ledger", "export", "openmeter", "--since", "2025-12-01", *service]
    events = [json.loads(line) for line in run(*words).stdout.splitlines()]
    assert [(one["id"], one["data"]["amount"]) for one in events] == [
        ("a", "0.003"),
        ("b", "0.003"),
    ]
    to_come = ["--until", "2126-01-01"]
    assert "still to come" in run(*words, *to_come, code=2).output
    customers = tmp_path / "customers.json"
    customers.write_text('{"default": "cus_9"}')
    words = ["ledger", "export", "stripe", "--since", "2025-12-01", "--customers", str(customers)]
    rows = list(csv.DictReader(run(*words, *service).stdout.splitlines()))
    assert [(row["identifier"], row["payload_stripe_customer_id"]) for row in rows] == [
        ("a", "cus_9"),
        ("b", "cus_9"),
    ]
    assert {row["payload_value"] for row in rows} == {"5"}
