"""``liveweights manual``: the pages of settings and commands, made from what the code declares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
import typer
from msgspec import inspect

from liveweights.cli.reference import describe, toml_value
from liveweights.config import Config
from liveweights.model_table import ModelTable


def manual(
    page: Annotated[Literal["settings", "commands"], typer.Argument(help="Which page.")],
) -> None:
    """Print a page of the manual, in Markdown."""
    typer.echo(settings_page() if page == "settings" else commands_page(), nl=False)


def settings_page() -> str:
    """Every key of the settings file: what it takes, its default, and what it is for."""
    lines = [
        "# Settings",
        "",
        "Made from the types by `liveweights manual settings`; do not edit. All keys are",
        "optional. `liveweights config` prints the same as a settings file, with the values in",
        "force, and `liveweights up --config FILE` reads one. What is unknown or of the wrong type",
        "is refused, with the file and the key.",
        "",
        *_keys(Config()),
    ]
    lines += ["", "## `[models.NAME]`", "", *_keys(ModelTable())]
    for name, table in _tables(Config(), ""):
        lines += ["", f"## `[{name}]`", "", *_keys(table)]
    return "\n".join(lines) + "\n"


def _tables(of: msgspec.Struct, prefix: str) -> Iterator[tuple[str, msgspec.Struct]]:
    for name in of.__struct_fields__:
        value = getattr(of, name)
        if isinstance(value, msgspec.Struct):
            yield prefix + name, value
            yield from _tables(value, f"{prefix}{name}.")


def _keys(table: msgspec.Struct) -> list[str]:
    lines = ["| key | takes | default | |", "|---|---|---|---|"]
    for field in msgspec.structs.fields(table):
        value = getattr(table, field.name)
        if not isinstance(value, msgspec.Struct):
            takes = takes_of(inspect.type_info(field.type))
            row = (f"`{field.name}`", takes, f"`{toml_value(value)}`", describe(field))
            lines.append(_row(row))
    return lines


def takes_of(info: inspect.Type) -> str:
    """What values a type stands for, in words: ``number, above 0``."""
    match info:
        case inspect.Metadata():
            return takes_of(info.type)
        case inspect.BoolType():
            return "`true` or `false`"
        case inspect.IntType() | inspect.FloatType():
            kind = "whole number" if isinstance(info, inspect.IntType) else "number"
            return ", ".join([kind, *_bounds(info.ge, info.gt, info.le, info.lt)])
        case inspect.StrType():
            return "text" if info.pattern is None else f"text like `{info.pattern}`"
        case inspect.LiteralType():
            return ", ".join(f"`{toml_value(value)}`" for value in info.values)
        case inspect.ListType() | inspect.VarTupleType():
            return f"list of: {takes_of(info.item_type)}"
        case inspect.DictType(value_type=inspect.AnyType()):
            return "table"
        case inspect.DictType():
            return f"table of name to: {takes_of(info.value_type)}"
        case inspect.StructType():
            return "table of " + ", ".join(f"`{field.encode_name}`" for field in info.fields)
        case inspect.UnionType():
            return " or ".join(takes_of(one) for one in info.types)
        case inspect.NoneType():
            return "nothing"
        case _:
            raise TypeError(f"a setting of type {info} cannot be described yet")


def _bounds(
    ge: float | None, gt: float | None, le: float | None, lt: float | None
) -> Iterator[str]:
    named = (("at least", ge), ("above", gt), ("at most", le), ("below", lt))
    yield from (f"{name} {bound:,.12g}" for name, bound in named if bound is not None)


def commands_page() -> str:
    """Every command with its arguments and options."""
    from liveweights.cli import app  # it names this module

    lines = [
        "# Commands",
        "",
        "Made from the code by `liveweights manual commands`; do not edit. `liveweights COMMAND",
        "--help` says the same.",
    ]
    for path, command in _commands(typer.main.get_command(app), "liveweights"):
        lines += ["", f"## `{path}`", "", *_usage(command)]
    return "\n".join(lines) + "\n"


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Those that can be run, depth first."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name in inner:
        yield from _commands(inner[name], f"{path} {name}")


def _usage(command: Any) -> Iterator[str]:
    yield " ".join((command.help or "").split())
    shown = [p for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
    if not shown:
        return
    yield from ("", "| | default | |", "|---|---|---|")
    for parameter in shown:
        yield _row(_parameter(parameter))


def _parameter(parameter: Any) -> tuple[str, str, str]:
    value: str = parameter.metavar or parameter.name.upper()
    flag: bool = getattr(parameter, "is_flag", False)
    names = [f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts)]
    if not any("`-" in name for name in names):
        names = [f"`{value}`"]
    elif not flag:
        names[-1] = f"{names[-1][:-1]} {value}`"
    default = parameter.default
    if parameter.required:
        shown = "required"
    elif flag or callable(default) or default in (None, (), [], ""):
        shown = ""
    else:
        shown = f"`{default}`"
    about = " ".join((parameter.help or "").split())
    if parameter.envvar:
        about += f" Also `${parameter.envvar}`."
    return ", ".join(names), shown, about.strip()


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
