from __future__ import annotations

import socket

import pytest

from liveweights.editor.secrets import after_secrets, before_secrets, has_secret

KEY = 'aws_key = "AKIA' + 'QYLPMN5HFIQR7XYA"\n'
PRIVATE = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\nAAAA\n-----END RSA PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "line", [KEY, PRIVATE, 'password = "hunter2-and-more"\n', "x" * 5000], ids=str.__len__
)
def test_lines_with_secrets(line: str) -> None:
    assert has_secret("a = 1\n" + line, "a.py")


@pytest.mark.parametrize(
    "text", ["", "def area(width, height):\n    return width * height\n", "import os\n\nx = 1\n"]
)
def test_lines_without(text: str) -> None:
    assert not has_secret(text, "a.py")
    assert after_secrets(text, "a.py") == before_secrets(text, "a.py") == text


@pytest.mark.parametrize("secret", [KEY, PRIVATE])
def test_neither_side_holds_it(secret: str) -> None:
    text = f"a = 1\n{secret}b = 2\n{secret}c = 3\n"
    assert after_secrets(text, "a.py") == "c = 3\n"
    assert before_secrets(text, "a.py") == "a = 1\n"


def test_nobody_is_asked_whether_it_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, place: asked.append(place))
    assert has_secret('token = "ghp_' + "q7RtY2mWx9Kp4LsV8nBz3HdG6jFc1aQe5uTo" + '"\n', "a.py")
    assert asked == []


def test_values_without_quotes_are_read_where_files_have_them() -> None:
    assert has_secret("password: hunter2-and-more\n", "a.yaml")
    assert not has_secret("password = request.password\n", "a.py")
