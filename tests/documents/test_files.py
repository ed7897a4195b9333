from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.documents.files import (
    LARGEST,
    PASSAGE,
    File,
    Skipped,
    cut,
    find_title,
    list_files,
    read_file,
)


def read(folder: Path, name: str, data: bytes) -> File | Skipped:
    (folder / name).write_bytes(data)
    return read_file(folder, folder / name)


def test_a_text_is_read_with_its_title(tmp_path: Path) -> None:
    file = read(tmp_path, "a.md", "\ufeffIntro\n\n## Köln\n\nText".encode())
    assert isinstance(file, File)
    assert (file.path, file.title) == ("a.md", "Köln")
    assert file.body.startswith("Intro")


def test_a_page_is_read_without_its_markup(tmp_path: Path) -> None:
    page = b"<html><head><title>A  page</title><style>p {}</style></head><body><h1>Top</h1>"
    page += b"<p>One &amp; two</p><script>evil()</script><p>Three<br>four</p></body></html>"
    file = read(tmp_path, "a.html", page)
    assert isinstance(file, File)
    assert file.title == "A page"
    assert [line for line in file.body.split("\n") if line] == ["Top", "One & two", "Three", "four"]


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        ("<table><tr><th>Port</th><td>8731</td></tr></table>", ["Port 8731"]),
        ("<table><tr><td>a<td>b<tr><td>c</table>", ["a b", "c"]),
        ("<table><caption>All</caption><tbody><tr><td>a</table>b", ["All", "a", "b"]),
        ("<dl><dt>Port</dt><dd>8731</dd></dl>", ["Port", "8731"]),
        ("<article>One</article><article>Two</article>", ["One", "Two"]),
        ("<blockquote>Said</blockquote>by<hr>Ada", ["Said", "by", "Ada"]),
        ("<ul>a<li>b</ul>c<figure><figcaption>d</figcaption></figure>", ["a", "b", "c", "d"]),
        ("<select><option>a<option>b</select>", ["a", "b"]),
        ("w<b>or</b>d", ["word"]),
    ],
)
def test_what_a_page_shows_apart_is_read_apart(tmp_path: Path, body: str, lines: list[str]) -> None:
    file = read(tmp_path, "a.html", body.encode())
    assert isinstance(file, File)
    assert [line for line in file.body.split("\n") if line] == lines


def test_a_name_that_is_no_text_is_told_as_one(tmp_path: Path) -> None:
    for data in (b"x", b"x" * (LARGEST + 1)):
        file = read(tmp_path, os.fsdecode(b"a\xff.md"), data)
        assert file == Skipped("a\\xff.md", "its name is no UTF-8")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xfe\x00", "no UTF-8"),
        (b"a\0b", "no text"),
        (b" \n", "empty"),
        (b"x" * (LARGEST + 1), "larger than 8 MiB"),
    ],
)
def test_what_is_no_text_is_skipped_and_says_why(tmp_path: Path, data: bytes, reason: str) -> None:
    file = read(tmp_path, "a", data)
    assert isinstance(file, Skipped)
    assert reason in file.reason


def test_neither_hidden_files_nor_links_are_followed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / ".git").mkdir()
    (tmp_path / "outside").write_text("secret")
    for name in ("b.txt", "sub/a.txt", ".git/config", ".env"):
        (folder / name).write_text("x")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "links").symlink_to(tmp_path)
    found = [file.relative_to(folder).as_posix() for file in list_files(folder)]
    assert found == ["b.txt", "sub/a.txt"]
    with pytest.raises(NotADirectoryError):
        list_files(folder / "none")


def make_unreadable(folder: Path) -> None:
    """Something below whose path is longer than any that can be opened, also by root."""
    place = os.open(folder, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=place)
        below = os.open("x" * 250, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    make_unreadable(tmp_path)
    with pytest.raises(OSError, match="too long"):
        list_files(tmp_path)


@given(st.text(st.sampled_from("a \n"), max_size=8000))
def test_the_parts_of_a_text_are_the_text(text: str) -> None:
    parts = list(cut(text))
    assert "".join(part for _, part in parts) == text
    assert all(text[start : start + len(part)] == part for start, part in parts)
    assert all(0 < len(part) <= PASSAGE + 2 for _, part in parts)


def test_a_long_first_line_is_no_title() -> None:
    assert find_title("word " * 100) == ""
    assert find_title("First\nsecond") == "First"
