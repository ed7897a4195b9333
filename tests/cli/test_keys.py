"""``liveweights tenants`` and ``liveweights keys`` on a database."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.config import DATABASE_URL
from liveweights.meter.secret import id_of


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def good(*words: str) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*words: str) -> str:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    return result.stderr


def test_a_tenant_and_its_keys(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    good("tenants", "create", "acme", "--time-zone", "Europe/Berlin", "--budget", "month=250.00")
    good(
        "tenants",
        "set",
        "acme",
        "--concurrency",
        "3",
        "--currency",
        "EUR",
        "--budget",
        "month=250.00",
    )
    (tenant,) = json.loads(good("tenants", "list", "--json"))
    assert (tenant["limits"]["concurrency"], tenant["currency"]) == (3, "EUR")
    assert tenant["budgets"] == [{"period": "month", "nanos": 250_000_000_000}]
    good("tenants", "set", "acme", "--no-budgets")
    good("tenants", "credit", "acme", "50.00", "--why", "invoice 1")
    good("tenants", "credit", "acme", "--why", "refund", "--", "-5.50")
    assert "paid in advance: 44.50" in good("tenants", "show", "acme")
    assert "budgets: -" in good("tenants", "show", "acme")

    words = ("--use", "answers", "--model", "code", "--budget", "day=1.5", "--days", "30")
    result = run("keys", "create", "acme", "--name", "CI", *words)
    key = result.stdout.strip()
    id = id_of(key)
    assert id is not None
    assert "shown once" in result.stderr
    assert "answers without keys, too" in result.stderr

    shown = good("keys", "show", id)
    assert "budgets: day=1.50" in shown
    assert "uses: answers" in shown
    assert key not in shown
    file = tmp_path / "settings.toml"
    file.write_text("[api]\nrequire_keys = true\n")
    result = run("keys", "rotate", id, "--grace", "5", "--config", str(file), "--json")
    rotated = json.loads(result.stdout)
    assert rotated["key"] != key
    assert "without keys" not in result.stderr
    assert f"lw-{id} of acme is revoked" in good("keys", "revoke", id, "--why", "lost")
    assert json.loads(good("keys", "list", "--json")) == []
    assert [row["revoked_why"] for row in json.loads(good("keys", "list", "--all", "--json"))] == [
        "lost"
    ]
    assert "was revoked on" in refused("keys", "revoke", id)
    assert "is removed; 0 keys" in good("tenants", "remove", "acme")
    assert "was removed on" in refused("keys", "create", "acme")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("tenants", "create", "a", "--time-zone", "Mars"), "no time zone"),
        (("tenants", "create", "a", "--currency", "euro"), "currency"),
        (("tenants", "create", ""), "the name ''"),
        (("tenants", "create", "a", "--budget", "year=5"), "PERIOD is one of"),
        (("tenants", "create", "a", "--budget", "day=lots"), "no amount of money"),
        (("tenants", "create", "a", "--budget", "day=-1"), "at least 0"),
        (("tenants", "create", "a", "--budget", "day=1", "--budget", "day=2"), "two budgets"),
        (("tenants", "set", "a"), "nothing was said"),
        (("tenants", "credit", "a", "0", "--why", "x"), "the amount is not 0"),
        (("tenants", "credit", "a", "5", "--why", " "), "--why has"),
        (("keys", "create", "a", "--use", "all"), "--use all"),
        (("keys", "create", "a", "--endpoint", "v1"), "endpoints"),
        (("keys", "create", "a", "--route", "{"), "--route is not JSON"),
        (("keys", "create", "a", "--route", '{"near": 1}'), "--route: route"),
        (("keys", "create", "a", "--name", "x" * 200), "--name has at most"),
    ],
)
def test_what_cannot_be_ends_in_one_sentence(words: tuple[str, ...], reason: str) -> None:
    message = refused(*words)
    assert reason in message
    assert len(message.splitlines()) == 1


def test_what_was_learnt_from_a_tenant_alone_is_dropped(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    own = "code@00000000acee"
    (tmp_path / "checkpoints" / own).mkdir(parents=True)
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "insert into checkpoints (id, kind, folder, base, parent, card) values"
            " ('base@0', 'base', '/', null, null, '{}'),"
            " (%s, 'adapter', '/', 'base@0', 'base@0', '{\"tenant\": \"acme\"}')",
            (own,),
        )
        conn.execute("insert into aliases (name, live) values ('code', 'base@0')")
        conn.execute(
            "insert into aliases (name, live, model, tenant)"
            " values ('code:acme', %s, 'code', 'acme')",
            (own,),
        )
    home = ("--home", str(tmp_path))
    (told,) = json.loads(good("status", *home, "--json"))["tenants"]
    assert (told["tenant"], told["alias"], told["live"]) == ("acme", "code:acme", own)
    assert own in good("status", *home)
    assert f"code:acme: {own} is live" in good("status", "--model", "code:acme", *home)
    assert own in good("tenants", "drop-adapters", "acme", *home)
    assert not (tmp_path / "checkpoints" / own).exists()
    (told,) = json.loads(good("status", *home, "--json"))["tenants"]
    assert (told["tenant"], told["live"]) == ("acme", None)
    assert "no adapter of its own" in good("tenants", "drop-adapters", "bolt", *home)
