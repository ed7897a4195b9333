from __future__ import annotations

import subprocess
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from liveweights.editor.exclusions import (
    BadPattern,
    Ignored,
    check_patterns,
    find_root,
    is_ignored,
    is_named,
    read_ignored,
)
from liveweights.editor.settings import EXCLUDED

ROOT = PurePosixPath("/home/me/project")


def ignores(path: str, *rules: tuple[str, str]) -> bool:
    ignored = [Ignored(PurePosixPath(folder), tuple(lines.split("\n"))) for folder, lines in rules]
    return is_ignored(ROOT / path, ROOT, ignored)


@pytest.mark.parametrize(
    "path", [".env", "a/.env.local", "deploy/id_rsa", "x.PEM", "My_Secrets.py", ".aws/config"]
)
def test_what_usually_holds_secrets(path: str) -> None:
    assert is_named(ROOT / path, ROOT, EXCLUDED)


@pytest.mark.parametrize("path", ["main.py", "environment.py", "keys.py"])
def test_what_does_not(path: str) -> None:
    assert not is_named(ROOT / path, ROOT, EXCLUDED)


@pytest.mark.parametrize("path", ["/home/me/.ssh/github", "/home/me/.AWS/sso/cache"])
def test_a_folder_that_is_named_is_excluded_also_where_it_is_the_root(path: str) -> None:
    file = PurePosixPath(path)
    assert is_named(file, file.parent, EXCLUDED)


def test_other_patterns_say_nothing_of_what_stands_above_the_root() -> None:
    root = PurePosixPath("/home/me/secret-santa")
    assert not is_named(root / "main.py", root, EXCLUDED)
    assert is_named(root / "main.py", None, EXCLUDED)
    assert is_named(root / "secrets" / "main.py", root, EXCLUDED)


def test_letters_of_either_case_are_alike_also_within_brackets() -> None:
    check_patterns(["[A-_]x"])
    assert is_named(ROOT / "bX", ROOT, ["[A-_]x"])
    assert is_named(ROOT / "_x", ROOT, ["[A-_]x"])
    assert is_named(ROOT / "Ä.PY", ROOT, ["ä.py"])


@pytest.mark.parametrize("pattern", ["build\\", "[z-a]", "[a", "!", "/"])
def test_what_no_file_can_match_is_no_pattern(pattern: str) -> None:
    with pytest.raises(BadPattern) as raised:
        check_patterns([*EXCLUDED, "# a comment", "", pattern])
    assert str(raised.value) == pattern


def test_deeper_rules_go_over_those_above_but_an_ignored_folder_stays() -> None:
    assert ignores("a/b.log", (".", "*.log"))
    assert not ignores("a/b.log", (".", "*.log"), ("a", "!b.log"))
    assert ignores("a/b.log", (".", "a/"), ("a", "!b.log"))
    assert not ignores("c/b.log", ("a", "*.log"))


def test_a_rule_about_a_folder_says_nothing_of_what_is_in_it() -> None:
    assert ignores("a/b/c", (".", "a/b\n!a/"))
    assert not ignores("a/b/b", (".", "*\n!a/"), ("a", "!b"))


NAMES = st.sampled_from(["a", "b", "c.log", "build"])
RULES = st.lists(
    st.sampled_from(
        [
            "*.log",
            "!c.log",
            "build/",
            "/a",
            "a/b",
            "**/b",
            "!b",
            "*",
            "!a/",
            "# x",
            "a ",
            "a \f",
            "a\t ",
        ]
    )
    | st.sampled_from(["build\\", "[z-a]", "[[:alpha:]]", "[[:digit:]]", "![!a]", "!"]),
    max_size=4,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(["a", "a"], [], ["a\f"], "\n", "")
@example(["a"], ["a\t "], [], "\n", "")
@example(["a"], ["a\\\f"], [], "\n", "")
@example(["a"], ["a\u3000"], [], "\n", "")
@example(["b "], ["b\\  "], [], "\n", "")
@example(["a"], ["a\\\\\t"], [], "\n", "")
@given(
    st.lists(NAMES, min_size=1, max_size=3),
    RULES,
    RULES,
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
)
def test_git_itself_says_the_same(
    repository: Path,
    names: list[str],
    above: list[str],
    deeper: list[str],
    end: str,
    mark: str,
) -> None:
    path = repository.joinpath(*names)
    written = {repository / ".gitignore": above}
    if len(names) > 1:
        (repository / names[0]).mkdir(exist_ok=True)
        written[repository / names[0] / ".gitignore"] = deeper
    for file, lines in written.items():
        file.write_bytes((mark + end.join(lines) + end).encode())
    asked = subprocess.run(
        ["git", "-C", str(repository), "check-ignore", "-q", "--no-index", str(path)], check=False
    )
    ours = is_ignored(path, repository, read_ignored(path, repository))
    for file in written:
        file.unlink()
    if len(names) > 1:
        (repository / names[0]).rmdir()  # git looks whether it is a folder
    assert ours == (asked.returncode == 0), (names, above, deeper)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def test_the_root_is_the_repository_else_the_editors_folder(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "c.py"
    assert find_root(file, []) is None
    assert find_root(file, [tmp_path, tmp_path / "a"]) == tmp_path / "a"
    (tmp_path / ".git").mkdir()
    assert find_root(file, [tmp_path / "a"]) == tmp_path


def test_a_worktree_and_a_submodule_have_rules_of_their_own(tmp_path: Path) -> None:
    """As git itself makes them: ``.git`` is a file in both."""

    def git(folder: Path, *arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"]
        subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True)

    main, tree = tmp_path / "main", tmp_path / "tree"
    git(tmp_path, "init", "-q", str(main))
    git(main, "commit", "-q", "--allow-empty", "-m", "a")
    git(main, "worktree", "add", "-q", str(tree))
    git(main, "submodule", "--quiet", "add", str(tmp_path / "main" / ".git"), "sub")
    (main / ".git" / "info" / "exclude").write_text("local/\n")
    modules = main / ".git" / "modules" / "sub" / "info"
    modules.mkdir(exist_ok=True)
    (modules / "exclude").write_text("other/\n")
    for root, name in ((main, "local"), (tree, "local"), (main / "sub", "other")):
        assert (root / ".git").exists()
        for folder, ignored in ((name, True), ("src", False)):
            file = root / folder / "a.py"
            assert find_root(file, []) == root
            assert is_ignored(file, root, read_ignored(file, root)) == ignored
