"""Every number that can be set has a least and a largest value, and no other gets in."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
import typer
from msgspec import inspect
from typer.models import ArgumentInfo
from typer.testing import CliRunner

from liveweights.cli import COMMANDS, app
from liveweights.config import Config, load_config
from liveweights.editor.settings import EditorSettings
from liveweights.gate.suites import folder, harbor, suite
from liveweights.model_table import ConfigError
from liveweights.replay.settings import DemoOptions

READ = (Config, DemoOptions, EditorSettings, folder.Description, suite.Case, harbor._Description)
"""What is read from files that people write."""
TOKENS = {"Case.prompt"}
"""Token ids: the engine knows its vocabulary."""


def numbers(found: Any, path: str, within: frozenset[type] = frozenset()) -> Iterator[Any]:
    """Every number in a type, with where it is."""
    match found:
        case inspect.Metadata():
            yield from numbers(found.type, path, within)
        case inspect.IntType() | inspect.FloatType():
            yield path, found
        case inspect.StructType() if found.cls not in within:
            for field in found.fields:
                yield from numbers(field.type, f"{path}.{field.name}", within | {found.cls})
        case inspect.UnionType():
            for one in found.types:
                yield from numbers(one, path, within)
        case inspect.DictType():
            yield from numbers(found.value_type, path, within)
        case inspect.ListType() | inspect.VarTupleType():
            yield from numbers(found.item_type, path, within)
        case inspect.TupleType():
            for one in found.item_types:
                yield from numbers(one, path, within)
        case _:
            pass


SETTINGS = [
    (path, found)
    for kind in READ
    for path, found in numbers(inspect.type_info(kind), kind.__name__)
    if path not in TOKENS
]


def test_every_setting_that_is_a_number_is_bounded_at_both_ends() -> None:
    assert len(SETTINGS) > 100
    open_ = [
        path
        for path, found in SETTINGS
        if (found.ge is None and found.gt is None) or (found.le is None and found.lt is None)
    ]
    assert open_ == []


def sections() -> list[tuple[str, str]]:
    return [
        # A table of tables has one of them.
        tuple(path.replace("Config.models.", "Config.models/one.").split(".")[1:])  # type: ignore[misc]
        for path, _ in SETTINGS
        if path.startswith("Config.") and path.count(".") == 2 and "prices" not in path
    ]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1e14", "1e18"])
def test_no_setting_takes_what_is_no_number_or_beyond_all_bounds(
    tmp_path: Path, value: str
) -> None:
    file, taken = tmp_path / "settings.toml", []
    for section, key in sections():
        file.write_text(f"[{section.replace('/', '.')}]\n{key} = {value}\n")
        try:
            load_config(file)
            taken.append(f"{section}.{key} is taken")
        except ConfigError as error:
            taken += [] if key in str(error) else [f"{section}.{key} is refused as {error}"]
    assert taken == []


def functions() -> Iterator[tuple[list[str], Any]]:
    """Every command's words and the function behind it."""
    for name, place in COMMANDS.items():
        module, _, attribute = place.partition(":")
        found = getattr(import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            yield [name], found
            continue
        for one in found.registered_commands:
            assert one.callback is not None
            yield [name, one.name or one.callback.__name__.replace("_", "-")], one.callback


def options() -> Iterator[tuple[list[str], str, Any]]:
    """Every number on the command line: the command's words, the option ("": a place), what is
    declared."""
    for words, function in functions():
        for name, hint in get_type_hints(function, include_extras=True).items():
            for kind, info in declared(hint):
                if kind & {int, float}:
                    if isinstance(info, ArgumentInfo):
                        yield words, "", info
                        continue
                    said = (info.default, *(info.param_decls or ()))
                    named = [one for one in said if str(one).startswith("--")]
                    yield words, (named or [f"--{name.replace('_', '-')}"])[0], info


def declared(hint: Any) -> Iterator[tuple[set[Any], Any]]:
    """The types and typer's own part of ``Annotated[int | None, typer.Option(...)]``."""
    if get_origin(hint) is Annotated:
        kind, *rest = get_args(hint)
        yield {kind, *get_args(kind)}, rest[-1]


def test_every_option_that_is_a_number_is_bounded_at_both_ends() -> None:
    found = list(options())
    assert len(found) > 20
    assert [(words, option) for words, option, info in found if None in (info.min, info.max)] == []


@pytest.mark.parametrize("value", ["nan", "inf", "1e14", "-1e14"])
def test_no_option_takes_them_either(value: str) -> None:
    for words, option, _ in options():
        given = [f"{option}={value}"] if option else ["--", value]
        result = CliRunner().invoke(app, [*words, *given])
        assert (result.exit_code, "Invalid value" in result.output) == (2, True), (words, option)


def test_the_defaults_are_within_their_bounds() -> None:
    for kind in (Config, DemoOptions):
        assert msgspec.convert(msgspec.to_builtins(kind()), kind) == kind()
