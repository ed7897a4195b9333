from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import msgspec
import psycopg
import pytest
from tests.meter.test_ledger import PRICE, add
from tests.meter.test_ledger import record as charge
from tests.record.rows import make_feedback, make_generation
from tests.record.test_window import record
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.cli.insight import insight
from liveweights.config import DATABASE_URL
from liveweights.insight.catalogue import QUESTIONS as QUESTIONS_BY_NAME
from liveweights.insight.catalogue import Question
from liveweights.meter.prices import EPOCH


@pytest.fixture
def dsn(database_dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    return database_dsn


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_one_question_as_table_json_and_csv(dsn: str) -> None:
    record(dsn, make_generation("g"), make_generation("h"), make_feedback("f", "g"))
    question = ("insight", "accept-rate", "--since", "2025-12-01", "--step", "1d")
    table = run(*question)
    assert table.exit_code == 0, table.output
    assert "base@000000000000" in table.output
    assert "▄" in table.output
    (row,) = json.loads(run(*question, "--json").stdout)
    assert (row["generations"], row["accepted"], row["accept_rate"]) == (2, 1, 1.0)
    (line,) = csv.DictReader(io.StringIO(run(*question, "--csv").stdout))
    assert (line["key"], line["generations"]) == ("base@000000000000", "2")
    assert line["at"] == row["at"]


HOSTILE = (
    "[/nope]",
    "[link=http://evil.example]x[/link]",
    "=cmd|' /C calc'!A0",
    "@sum(1)",
    "\x1b]0;title\x07\x1b[2J",
    "a\rb\nfake line",
    "\u202egnp.exe \x9b31m",
)
QUESTIONS = ("accept-rate", "unhappy", "silence", "usage", "first-token", "feedback-delay")
CONTROL = {chr(code) for code in (*range(32), *range(127, 160), 0x202E)} - {"\n"}


def test_what_users_named_is_data(dsn: str) -> None:
    """Markup, controls and formulas in a surface, a user, a language and a tenant."""
    for number, name in enumerate(HOSTILE):
        metadata = {"language": name}
        for answer in ("g", "h", "i"):
            id = f"{answer}{number}"
            record(
                dsn,
                make_generation(id, user=name, tenant=name, surface=name, metadata=metadata),
                make_feedback(f"f{id}", id, tenant=name, signal="rejected"),
            )
    seen = ""
    for question in QUESTIONS:
        keys = [None] if question == "unhappy" else ["surface", "tenant"]
        for key in keys:
            asked = ["insight", question, "--since", "2025-12-01", *(["--by", key] if key else [])]
            for form in ([], ["--csv"], ["--json"]):
                result = run(*asked, *form)
                assert result.exit_code == 0, (asked, form, result.output)
                assert not CONTROL & set(result.stdout), (asked, form)
                seen += result.stdout
                if form == ["--csv"]:
                    cells = [cell for row in csv.reader(io.StringIO(result.stdout)) for cell in row]
                    assert not [cell for cell in cells if cell.startswith(("=", "@", "+"))]
                if form == ["--json"]:
                    assert json.loads(result.stdout)
                else:
                    assert "fake line" not in result.stdout.splitlines()
    for shown in ("[/nope]", "\\x1b]0;title\\x07", "'=cmd|", "a\\rb\\nfake line", "\\u202egnp.exe"):
        assert shown in seen


def test_money_is_drawn_in_each_currency(dsn: str) -> None:
    for currency, model in (("USD", "a"), ("EUR", "b")):
        add(dsn, replace(PRICE, since=EPOCH, model=model, currency=currency))
    charge(
        dsn,
        *(make_generation(f"a{n}", alias="a", tenant="shop") for n in range(3)),
        *(make_generation(f"b{n}", alias="b", tenant="shop") for n in range(2)),
        make_generation("c", alias="c", tenant="shop"),
        make_generation("d", alias="a", tenant="other"),
    )
    shown = run("insight", "revenue", "--since", "2025-12-01", "--step", "1d")
    assert shown.exit_code == 0, shown.output
    _, *lines, _ = shown.output.splitlines()
    each = [line.split() for line in lines]
    assert sorted((one[0], one[1], one[-1]) for one in each) == [
        ("other", "USD", "1"),
        ("shop", "EUR", "2"),
        ("shop", "USD", "3"),
        ("shop", "XXX", "1"),
    ]


@pytest.mark.parametrize("question", [one for one in QUESTIONS_BY_NAME.values() if one.drawn])
def test_what_is_drawn_is_all_that_tells_rows_apart(question: Question) -> None:
    """Every field of a row that is no number is its time, or what its line is told apart by."""
    words = {one.name for one in msgspec.structs.fields(question.row) if one.type is str}
    assert words == set(question.told)


def test_what_a_model_that_was_added_learns_is_what_its_reactions_are_worth(dsn: str) -> None:
    row = '{"rewards": {"accepted": 0.1, "rejected": 0.2}}'
    with psycopg.connect(dsn) as conn:
        conn.execute("insert into models (name, settings) values ('late', %s)", (row,))
    record(dsn, make_generation("g", alias="late"), make_feedback("f", "g"))
    asked = ("insight", "accept-rate", "--since", "2025-12-01", "--json")
    (found,) = json.loads(run(*asked).stdout)
    assert found["reward"] == pytest.approx(0.1)


def test_every_question_is_a_command() -> None:
    names = {one.name or one.callback.__name__ for one in insight.registered_commands}  # type: ignore[union-attr]
    assert names == {*QUESTIONS_BY_NAME, "adoption"}


def test_nothing_and_nonsense_are_told(dsn: str) -> None:
    assert "nothing between" in run("insight", "usage").output
    assert "and now" in run("insight", "usage").output
    past = run("insight", "usage", "--since", "2020-01-01", "--until", "2020-01-02").output
    assert past == "nothing between 2020-01-01 00:00 and 2020-01-02 00:00\n"
    result = run("insight", "usage", "--by", "mood")
    assert result.exit_code == 2
    assert "checkpoint, tenant" in result.output
    result = run("insight", "usage", "--since", "soon")
    assert result.exit_code == 2
    assert "7d" in result.output
