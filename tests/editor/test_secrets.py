from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.editor.secrets import find_end, find_start, has_secret

KEY = 'aws_key = "AKIA' + 'QYLPMN5HFIQR7XYA"\n'
PRIVATE = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\nAAAA\n-----END RSA PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "line", [KEY, PRIVATE, 'password = "hunter2-and-more"\n', "x" * 5000], ids=str.__len__
)
def test_lines_with_secrets(line: str) -> None:
    assert has_secret("a = 1\n" + line, "a.py")


OPENAI = "sk-aB3dE5fG7hI9jK1lM3nO" + "T3BlbkFJ" + "pQ5rS7tU9vW1xY3zA5bC"
AWS = "AKIA" + "QYLPMN5HFIQR7XYA"


@pytest.mark.parametrize(
    "line",
    [
        f'client = OpenAI(api_key="{OPENAI}")',
        f"client = OpenAI(api_key='{OPENAI}",
        f's3 = boto3.client("s3", aws_access_key_id="{AWS}")',
        'conn = psycopg2.connect("postgres://admin:Tr0ub4dor9@db.prod/x")',
        'conn = connect(password="hunter2-and-more")',
        f'key = os.environ.get("KEY", "{OPENAI}")',
        'conn = connect("postgres://a:8f14e45f-ceea-467f-a0e6-1a2b3c4d5e6f@db/x")',
        'password = "8f14e45f-ceea-467f-a0e6-1a2b3c4d5e6f"',
    ],
)
@pytest.mark.parametrize("name", ["a.py", "a.js", "a.go", "a.yaml", "a"])
def test_a_secret_within_a_call_is_one(line: str, name: str) -> None:
    assert has_secret(line + "\n", name)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("password = get_password(user)", "a.py"),
        ('password = request.form["password"]', "a.py"),
        ('const password = form.get("password");', "a.js"),
        ('password := os.Getenv("DB_PASSWORD")', "a.go"),
        ("password := read(user)", "a.go"),
        ('request_id = find("8f14e45f-ceea-467f-a0e6-1a2b3c4d5e6f")', "a.py"),
    ],
)
def test_a_call_itself_is_none(line: str, name: str) -> None:
    assert not has_secret(line + "\n", name)


@pytest.mark.parametrize(
    "text", ["", "def area(width, height):\n    return width * height\n", "import os\n\nx = 1\n"]
)
def test_lines_without(text: str) -> None:
    assert not has_secret(text, "a.py")
    assert find_start(text, "a.py", 0, len(text)) == 0
    assert find_end(text, "a.py", 0, len(text)) == len(text)


@pytest.mark.parametrize("secret", [KEY, PRIVATE])
def test_neither_side_holds_it(secret: str) -> None:
    text = f"a = 1\n{secret}b = 2\n{secret}c = 3\n"
    assert text[find_start(text, "a.py", 0, len(text)) :] == "c = 3\n"
    assert text[: find_end(text, "a.py", 0, len(text))] == "a = 1\n"


@pytest.mark.parametrize("closed", ['"', '!x"', '!x")', "", ")"])
def test_of_a_line_with_a_secret_no_part_is_harmless(closed: str) -> None:
    text = f'a = 1\npassword = "hunter2!{closed}\nb = 2\n'
    for offset in range(text.index("password") + 1, text.index("\nb")):
        assert find_start(text, "a.py", 0, offset) == offset
        assert find_end(text, "a.py", offset, len(text)) == offset


@given(st.integers(0, 80), st.integers(0, 80))
def test_a_key_is_one_wherever_it_is_cut(start: int, size: int) -> None:
    text = f"a = 1\n{PRIVATE}b = 2\n"
    lines = text.splitlines(keepends=True)
    before = [len("".join(lines[:number])) for number in range(len(lines))]
    cut = text[start : start + size]
    key = [
        line
        for at, line in zip(before, lines, strict=True)
        if at < start + size and at + len(line) > start and line not in ("a = 1\n", "b = 2\n")
    ]
    assert has_secret(text, "a.py", start, min(len(text), start + size)) == bool(key and cut)


def test_a_key_without_its_end_goes_on() -> None:
    text = "-----BEGIN PRIVATE KEY-----\n" + "MIIB\n" * 400
    assert has_secret(text, "a.py", len(text) - 5)
    assert not has_secret(text[28:], "a.py", 1000)


def test_half_a_secret_before_the_cursor_is_one_whatever_follows() -> None:
    text = 'password = "hunter2! = f(x)'
    assert find_start(text, "a.py", 0, 20) == 20


def test_nobody_is_asked_whether_it_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, place: asked.append(place))
    assert has_secret('token = "ghp_' + "q7RtY2mWx9Kp4LsV8nBz3HdG6jFc1aQe5uTo" + '"\n', "a.py")
    assert asked == []


def test_values_without_quotes_are_read_where_files_have_them() -> None:
    assert has_secret("password: hunter2-and-more\n", "a.yaml")
    assert has_secret("password: hunter2-and-more\n", "A.YAML")
    assert has_secret("password: Tr0ub4dor(3)\n", "a.yaml")
    assert not has_secret("password = request.password\n", "a.py")
