from __future__ import annotations

import subprocess
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liveweights.editor.exclusions import Ignored, find_root, read_ignored, why_excluded
from liveweights.editor.settings import EXCLUDED

ROOT = PurePosixPath("/home/me/project")


def why(path: str, *rules: tuple[str, str], patterns: tuple[str, ...] = ()) -> str | None:
    ignored = [Ignored(PurePosixPath(folder), tuple(lines.split("\n"))) for folder, lines in rules]
    return why_excluded(ROOT / path, ROOT, ignored, patterns)


@pytest.mark.parametrize(
    "path", [".env", "a/.env.local", "deploy/id_rsa", "x.PEM", "My_Secrets.py", ".aws/config"]
)
def test_what_usually_holds_secrets(path: str) -> None:
    assert why(path, patterns=EXCLUDED)


@pytest.mark.parametrize("path", ["main.py", "environment.py", "keys.py"])
def test_what_does_not(path: str) -> None:
    assert why(path, patterns=EXCLUDED) is None


@pytest.mark.parametrize("path", ["/home/me/.ssh/github", "/home/me/.AWS/sso/cache"])
def test_a_folder_that_is_named_is_excluded_also_where_it_is_the_root(path: str) -> None:
    file = PurePosixPath(path)
    assert why_excluded(file, file.parent, [], EXCLUDED)


def test_deeper_rules_go_over_those_above_but_an_ignored_folder_stays() -> None:
    assert why("a/b.log", (".", "*.log"))
    assert why("a/b.log", (".", "*.log"), ("a", "!b.log")) is None
    assert why("a/b.log", (".", "a/"), ("a", "!b.log"))
    assert why("c/b.log", ("a", "*.log")) is None


def test_a_rule_about_a_folder_says_nothing_of_what_is_in_it() -> None:
    assert why("a/b/c", (".", "a/b\n!a/"))
    assert why("a/b/b", (".", "*\n!a/"), ("a", "!b")) is None


NAMES = st.sampled_from(["a", "b", "c.log", "build"])
RULES = st.lists(
    st.sampled_from(["*.log", "!c.log", "build/", "/a", "a/b", "**/b", "!b", "*", "!a/", "# x"]),
    max_size=4,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NAMES, min_size=1, max_size=3), RULES, RULES)
def test_git_itself_says_the_same(
    repository: Path, names: list[str], above: list[str], deeper: list[str]
) -> None:
    path = repository.joinpath(*names)
    written = {repository / ".gitignore": above}
    if len(names) > 1:
        (repository / names[0]).mkdir(exist_ok=True)
        written[repository / names[0] / ".gitignore"] = deeper
    for file, lines in written.items():
        file.write_text("\n".join(lines) + "\n")
    asked = subprocess.run(
        ["git", "-C", str(repository), "check-ignore", "-q", "--no-index", str(path)], check=False
    )
    ours = why_excluded(path, repository, read_ignored(path, repository), ())
    for file in written:
        file.unlink()
    if len(names) > 1:
        (repository / names[0]).rmdir()  # git looks whether it is a folder
    assert bool(ours) == (asked.returncode == 0), (names, above, deeper)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def test_the_root_is_the_repository_else_the_editors_folder(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "c.py"
    assert find_root(file, []) == tmp_path / "a" / "b"
    assert find_root(file, [tmp_path, tmp_path / "a"]) == tmp_path / "a"
    (tmp_path / ".git").mkdir()
    assert find_root(file, [tmp_path / "a"]) == tmp_path
