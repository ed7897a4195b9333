"""Whether the models of the settings fit together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from liveweights.model_table import MEMORY, ConfigError, ModelSettings, ModelTable
from liveweights.serve.hosted.chains import find_circle
from liveweights.terms.roster import AUTO


def check_local(models: Iterable[ModelSettings]) -> None:
    """Raises ConfigError for what cannot be learnt so."""
    for model in models:
        if model.learn.per_tenant and model.learn.updater != "lora":
            raise ConfigError(
                f'learn.per_tenant of {model.alias!r} needs `updater = "lora"`: adapters of'
                " tenants share one base in memory, whole models would not"
            )


def check_numbers(models: Mapping[str, object]) -> None:
    """Raises ConfigError for a number among the tables, unless it is the one that there may be."""
    for name, value in models.items():
        if name != MEMORY and not isinstance(value, ModelTable):
            raise ConfigError(
                f"models.{name} is a number: a model is a table, and the one number that "
                f"`[models]` has is `{MEMORY}`"
            )
    if isinstance(models.get(MEMORY), ModelTable):
        raise ConfigError(f"no model can be called {MEMORY!r}: `models.{MEMORY}` is a number")


def check_names(names: Collection[str]) -> None:
    """Raises ConfigError for one that means something else."""
    if AUTO in names:
        raise ConfigError(
            f"no model can be called {AUTO!r}: requests ask by that name for the cheapest that fits"
        )


def check_tables(tables: Mapping[str, ModelTable]) -> None:
    """Raises ConfigError for a table that does not fit its kind of model, or the others."""
    hosted = [name for name, table in tables.items() if table.upstream]
    for name, table in tables.items():
        _check_teacher(name, table, hosted)
        _check_kind(name, table)
        for other in table.fallback:
            if other not in tables:
                listed = ", ".join(tables)
                raise ConfigError(
                    f"models.{name}.fallback: no model is called {other!r}; there are {listed}"
                )
    if circle := find_circle({name: table.fallback for name, table in tables.items()}):
        raise ConfigError(
            f"models.{circle[0]}.fallback: it leads in a circle, {' to '.join(circle)}; leave "
            "one of these out"
        )


def _check_teacher(name: str, table: ModelTable, hosted: Sequence[str]) -> None:
    if not table.learn_from or (table.learn_from in hosted and table.learn is not False):
        return
    why = (
        "the model does not learn (`learn = false`)"
        if table.learn is False
        else f"no hosted model is called {table.learn_from!r}; there are "
        f"{', '.join(hosted) or 'none'}"
    )
    raise ConfigError(f"models.{name}.learn_from: {why}")


def _check_kind(name: str, table: ModelTable) -> None:
    if wrong := table.misplaced():
        one, other = ("hosted", "local") if table.upstream else ("local", "hosted")
        listed = ", ".join(f"`{key}`" for key in wrong)
        raise ConfigError(
            f"models.{name} is a {one} model, {'with' if table.upstream else 'without'} "
            f"`upstream`, so that it cannot have {listed}: that is for {other} ones"
        )
