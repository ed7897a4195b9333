"""``liveweights export``: what was learnt, for others, after a look at what it repeats."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from liveweights import bounds
from liveweights.catalog.template import TemplateSettings
from liveweights.cli.bom import FILE, write_bill
from liveweights.cli.context import (
    HOME,
    Home,
    Json,
    Settings,
    query,
    read_config,
    refuse,
    with_all_added,
)
from liveweights.cli.output import say, show_json
from liveweights.cli.rules import check_export
from liveweights.config import Config
from liveweights.sharing.card import Exported, write_card
from liveweights.sharing.repetition import Repetition
from liveweights.sharing.source import Source
from liveweights.sharing.texts import Taught, read_taught
from liveweights.store.database import Connection
from liveweights.weights import hub, signing
from liveweights.weights.licence_files import copy_licence_files
from liveweights.weights.models import ModelNotFound
from liveweights.weights.staging import publish, staged

if TYPE_CHECKING:
    from liveweights.sharing.forms import Form
    from liveweights.weights.gguf import Precision

SHOWN = 10
"""Rows that are named."""
DEFAULTS: Mapping[Form, Precision] = {"gguf": "q8_0", "gguf-adapter": "f32"}
"""Precision of the forms that have one to choose."""


def export(
    subject: Annotated[str, typer.Argument(help="A checkpoint, NAME@HASH, or an alias.")],
    to: Annotated[
        str,
        typer.Option(
            help="Folder to write, which must not exist, or hf://ORG/NAME: a repository on a hub"
            " that has nothing in it or is not there."
        ),
    ],
    form: Annotated[
        str,
        typer.Option(
            "--as",
            help="peft: the adapter. merged: whole safetensors. gguf: whole, at --precision."
            " gguf-adapter: the adapter for llama.cpp.",
        ),
    ] = "peft",
    precision: Annotated[
        str | None,
        typer.Option(
            help="Of what llama.cpp reads: q8_0, q5_1, q5_0, q4_1, q4_0, bf16, f16 or f32."
            " Default: q8_0 for gguf, f32 for gguf-adapter."
        ),
    ] = None,
    ngram: Annotated[
        int,
        typer.Option(
            min=2, max=96, help="Tokens in a row that the weights repeat of what a user wrote."
        ),
    ] = 16,
    max_repeated: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of users' texts that may be repeated so."),
    ] = 0.0,
    most: Annotated[
        int,
        typer.Option("--texts", min=1, max=bounds.COUNT, help="Users' texts that are looked at."),
    ] = 512,
    canaries: Annotated[
        Path | None,
        typer.Option(help="Strings that were put among the feedback, one a line: none may come."),
    ] = None,
    public: Annotated[
        bool,
        typer.Option(
            "--public",
            help="Everybody may see the repository that is made on a hub; without it only you.",
        ),
    ] = False,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Write a checkpoint for others: weights, card, bill of materials, signature where there is a
    key; loaded by plain Transformers with PEFT, or llama.cpp.

    Before that the rules of use for `export` are applied, and the checkpoint is shown beginnings of
    what users wrote: where it goes on word for word and its base does not, nothing is written, the
    rows are named, and the command ends with status 1.

    A hub is that of HF_ENDPOINT, and is written to with the token of `hf auth login` or HF_TOKEN.
    """
    # Torch and Transformers are slow to import: only where they are needed.
    from liveweights.sharing.check import check_repetition
    from liveweights.sharing.forms import FORMS, write_form

    if form not in FORMS:
        raise refuse(f"--as {form}: there are {', '.join(FORMS)}")
    chosen = FORMS[FORMS.index(form)]
    at = _read_precision(chosen, precision)
    target = _read_target(to, public=public)
    if public and isinstance(target, Path):
        raise refuse(f"--public is for repositories on a hub, and --to {to} is a folder")
    settings = with_all_added(read_config(config, home), home)
    try:
        planted = canaries.read_text(encoding="utf-8").splitlines() if canaries else []
        known = _find(settings, home, subject)
        check_export(
            settings,
            home,
            subject,
            models=known.models,
            names=known.names,
            folder=known.source.root.folder,
        )
        check = check_repetition(
            known.source,
            known.taught,
            settings.learn,
            known.template,
            ngram=ngram,
            most=most,
            canaries=planted,
        )
        _refuse_repeated(check, max_repeated)
        bill = write_bill(settings, home, known.source.checkpoint.id)
        exported = Exported(
            checkpoint=known.source.checkpoint,
            root=known.source.root.id,
            form=chosen,
            precision=at,
            base_name=known.base_name,
            licence=known.licence,
            base_files=known.base_card.get("files") or {},
            check=check,
        )
        here = target if isinstance(target, Path) else settings.cache_folder() / "upload"
        with staged(here) as place:
            folder = place / "export"
            folder.mkdir()
            write_form(
                known.source, chosen, folder, precision=at or "f32", base_name=exported.base_name
            )
            handed_on = copy_licence_files(known.source.root.folder, folder, exported.licence)
            (folder / FILE).write_bytes(bill)
            write_card(exported, known.card, folder)
            if settings.signing.key:
                signing.sign(folder, Path(settings.signing.key).expanduser())
            left = _leave(folder, target, exported, public=public)
    except (OSError, ValueError, hub.HubError, ModelNotFound, signing.SigningUnavailable) as error:
        raise refuse(f"{subject}: {error}") from error
    signed = bool(settings.signing.key)
    _tell(exported, left, handed_on=handed_on, signed=signed, as_json=as_json)


def _read_precision(form: Form, precision: str | None) -> Precision | None:
    """That of the form; None where it has none to choose."""
    from liveweights.sharing.forms import PRECISIONS

    if form not in DEFAULTS:
        if precision is not None:
            raise refuse(f"--precision is for {' and '.join(DEFAULTS)}; {form} stays as it is")
        return None
    if precision is None:
        return DEFAULTS[form]
    if precision not in PRECISIONS:
        raise refuse(f"--precision {precision}: there are {', '.join(PRECISIONS)}")
    return PRECISIONS[PRECISIONS.index(precision)]


def _read_target(to: str, *, public: bool) -> Path | hub.Address:
    """Where it goes, which is free; ends the command before anything is computed where not."""
    if to.startswith(hub.SCHEME):
        from liveweights.sharing.hub import check_room

        try:
            address = hub.Address.parse(to)
            check_room(address, public=public)
        except hub.HubError as error:
            raise refuse(f"--to {to}: {error}") from error
        return address
    folder = Path(to)
    if folder.exists():
        raise refuse(f"--to {to} is there already; name a new folder")
    return folder


def _leave(
    folder: Path, target: Path | hub.Address, exported: Exported, *, public: bool
) -> dict[str, str]:
    """Give what was written to whom it is for; what it is found by then. Raises OSError,
    HubError."""
    if isinstance(target, Path):
        publish(folder, target)
        return {"to": str(target)}
    from liveweights.sharing.hub import upload

    message = f"{exported.checkpoint.id} as {exported.form}"
    done = upload(folder, target, public=public, message=message)
    return {"to": f"{hub.SCHEME}{target.repository}@{done.commit}", "url": done.url}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is to leave, and what is known of it: its ``card`` and that of its root, what it
    learnt from, by which ``template`` prompts are written, the ``models`` that rules of use are
    about, by their public names, and the ``names`` of their base, by which there may be a card."""

    source: Source
    taught: Taught
    template: TemplateSettings
    card: Mapping[str, Any]
    base_card: Mapping[str, Any]
    models: Sequence[str]
    names: Sequence[str]

    @property
    def licence(self) -> str:
        """Of what it is on."""
        return str(self.card.get("licence") or self.base_card.get("licence") or "unknown")

    @property
    def base_name(self) -> str:
        """What a hub calls what it is on; its id where no hub has it."""
        origin = str(self.base_card.get("origin") or "")
        if self.source.base.id != self.source.root.id:
            return self.source.base.id
        if match := hub.ADDRESS.fullmatch(origin):
            return match[1]
        return origin if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", origin) else self.source.root.id


def _find(config: Config, home: Path, subject: str) -> _Known:
    # It reads differences of weights, for which torch is imported.
    from liveweights.sharing.finding import find_models, find_source, read_card, stands_on

    key = config.signing.public_key
    public = Path(key).expanduser() if key else None

    async def ask(conn: Connection) -> _Known:
        source = await find_source(conn, subject, config.cache_folder(), public)
        root = source.root.id
        base_card = await read_card(conn, root)
        models = await find_models(conn, subject, source)
        local = [one for one in config.list_models() if one.alias in models]
        named = [one.base for one in local if await stands_on(conn, one.alias, root)]
        template = local[0].template if local else config.template
        return _Known(
            source=source,
            taught=await read_taught(conn, source.checkpoint.id, root, template),
            template=template,
            card=await read_card(conn, source.checkpoint.id),
            base_card=base_card,
            models=models,
            names=[*named, str(base_card.get("origin") or ""), root],
        )

    return query(config, home, ask)


def _refuse_repeated(check: Repetition, most: float) -> None:
    """End the command where more is repeated than may be; canaries count whatever the bound."""
    planted = any(one.is_canary for one in check.repeated)
    if not planted and check.share <= most:
        return
    say(
        f"{len(check.repeated)} of {check.asked} texts that it learnt from come back word for word,"
        f" {check.share:.1%}; --max-repeated allows {most:.1%}. Nothing was written.",
        fg="red",
        err=True,
    )
    for one in check.repeated[:SHOWN]:
        say(f"  {one.row}: {one.tokens} tokens (its base: {one.base_tokens})", err=True)
    if (left := len(check.repeated) - SHOWN) > 0:
        say(f"  ... and {left} more", err=True)
    raise typer.Exit(1)


def _tell(
    exported: Exported,
    left: Mapping[str, str],
    *,
    handed_on: Sequence[str],
    signed: bool,
    as_json: bool,
) -> None:
    check = exported.check
    if as_json:
        show_json(
            {
                "checkpoint": exported.checkpoint.id,
                "form": exported.form,
                "precision": exported.precision,
                **left,
                "signed": signed,
                "licence": exported.licence,
                "licence_files": handed_on,
                "base": exported.base_name,
                "private_data": check,
            }
        )
        return
    say(f"{left['to']}: {exported.checkpoint.id} as {exported.form}{', signed' if signed else ''}")
    say(f"licence: {exported.licence}, that of {exported.base_name}")
    if not handed_on:
        say(
            "no licence file lies with the base, so none is in it: add what the licence asks to be"
            " handed on",
            fg="yellow",
            err=True,
        )
    say(
        f"of {check.texts} texts that users wrote {check.asked} were looked at; "
        f"{len(check.repeated)} come back with {check.ngram} tokens in a row"
    )
    if check.unasked:
        say(
            f"{check.unasked} were not looked at: what was asked before them cannot be said in this"
            " model's tokens, and so taught nothing",
            fg="yellow",
            err=True,
        )
    if check.gone:
        say(
            f"{check.gone} of {check.rows} answers that it learnt from are not in the record any"
            " more, and were not looked at; `liveweights restore` brings archived days back",
            fg="yellow",
            err=True,
        )
