from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

from liveweights.bom.packages import list_packages, plain


def test_what_runs_is_listed_with_versions_and_what_is_only_for_tests_is_not() -> None:
    packages = list_packages()
    assert packages[0].name == "liveweights"
    by_name = {one.name: one for one in packages}
    assert len(by_name) == len(packages)
    assert by_name["msgspec"].version == version("msgspec")
    assert "msgspec" in by_name["liveweights"].requires
    assert "psycopg-binary" in by_name  # what an extra of a requirement brings
    assert not {"pytest", "ruff", "hypothesis"} & set(by_name)
    for one in packages:
        assert set(one.requires) <= set(by_name)


def test_a_name_that_is_not_installed_is_refused() -> None:
    with pytest.raises(PackageNotFoundError):
        list_packages("no-such-distribution")


def test_names_are_as_the_index_has_them() -> None:
    assert plain("Jinja2__X.y") == "jinja2-x-y"
