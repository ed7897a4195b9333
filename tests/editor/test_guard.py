from __future__ import annotations

from pathlib import Path

import pytest

from liveweights.editor.guard import name_of, path_of, why_not
from liveweights.editor.settings import EditorSettings


def why(file: Path, *folders: Path) -> str:
    return why_not(file.as_uri(), "python", EditorSettings(consent=True), folders)


@pytest.mark.parametrize(
    "uri",
    ["", "file:", "file://", "file:///", "file:a.py", "untitled:Untitled-1", "file://[", "/a.py"],
)
def test_what_has_no_name_is_no_file(uri: str) -> None:
    assert "no file" in why_not(uri, "python", EditorSettings(consent=True), ())


def test_what_was_never_saved_is_no_file(tmp_path: Path) -> None:
    file = tmp_path / "a b.py"
    assert path_of(file.as_uri()) == file
    assert "no file" in why(file)
    assert "no file" in why(tmp_path)
    file.write_text("")
    assert why(file) == ""


def test_a_name_is_that_within_the_repository(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b.py"
    assert name_of(file.as_uri(), []) == "b.py"
    assert name_of(file.as_uri(), [tmp_path]) == "a/b.py"
    assert name_of("file://", [tmp_path]) == ""


def test_a_link_is_judged_by_its_name_and_by_what_it_leads_to(tmp_path: Path) -> None:
    for folder in (".ssh", "secrets", "project"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("")
    links = tmp_path / "project" / "link.txt", tmp_path / "project" / "keys" / "a.txt"
    links[0].symlink_to(tmp_path / ".ssh" / "a.txt")
    links[1].parent.symlink_to(tmp_path / "secrets")
    named = tmp_path / ".ssh" / "b.txt"
    named.symlink_to(tmp_path / "project" / "a.txt")
    for file in (*links, named):
        assert "`exclude`" in why(file, tmp_path / "project")
    assert why(tmp_path / "project" / "a.txt", tmp_path / "project") == ""


def test_a_folder_of_the_editor_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret-santa").mkdir()
    (tmp_path / "secret-santa" / "a.py").write_text("")
    opened = tmp_path / "project"
    opened.symlink_to(tmp_path / "secret-santa")
    assert why(opened / "a.py", opened) == ""
    assert "`exclude`" in why(opened / "a.py")


def test_a_rule_that_is_none_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("build\\\n[z-a]\nhidden.py\n")
    for name, ignored in (("hidden.py", True), ("a.py", False)):
        (tmp_path / name).write_text("")
        assert ("git ignores it" in why(tmp_path / name)) == ignored


def test_what_cannot_be_read_is_not_sent(tmp_path: Path) -> None:
    assert "cannot be read" in why(tmp_path / ("a" * 300))
