"""Commands that are imported when they are asked for: each brings libraries that others lack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from liveweights.cli.edge import refuse_files


class Commands(Mapping[str, Any]):
    """Names of commands to where they are, ``module:attribute``, a function or a ``Typer``."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = self._places[name].partition(":")
        target = getattr(import_module(module), attribute)
        if isinstance(target, typer.Typer):
            command = typer.main.get_group(target)
        else:
            single = typer.Typer(add_completion=False)
            single.command(name)(target)
            command = typer.main.get_command(single)
        command.name = name
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def lazy_group(places: Mapping[str, str]) -> type[TyperGroup]:
    """A class for ``typer.Typer(cls=...)`` with the commands of ``places``, in that order."""

    class LazyGroup(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands = Commands(places)  # type: ignore[assignment]

        def list_commands(self, ctx: Any) -> list[str]:
            return list(places)  # by their names alone

        def invoke(self, ctx: Any) -> Any:
            with refuse_files():
                return super().invoke(ctx)

    return LazyGroup
