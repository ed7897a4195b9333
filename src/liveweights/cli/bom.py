"""``liveweights bom`` and ``verify-bom``: bills of materials, and whether one is still right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from liveweights.app.bills import know_service
from liveweights.bom.check import BrokenBom, compare, find_fault, read_document
from liveweights.bom.document import (
    BomUnavailable,
    Document,
    components_of,
    subject_of,
    write_document,
)
from liveweights.bom.elements import CLUSTERS, Element, check_elements
from liveweights.bom.facts import Bill
from liveweights.bom.merkle import Inclusion
from liveweights.bom.read import read_bill, read_inclusion
from liveweights.bom.spdx import write_spdx
from liveweights.catalog.card_files import CatalogueError
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
from liveweights.config import Config
from liveweights.store.database import Connection
from liveweights.weights import signing
from liveweights.weights.registry import Tampered

FILE = "bom.cdx.json"
"""Of the folder that ``--to`` names; beside it is the signature."""
FILES = {"cyclonedx": FILE, "spdx": "bom.spdx3.json"}
"""By ``--format``."""


def bom(
    subject: Annotated[
        str, typer.Argument(help="A checkpoint, NAME@HASH, or an alias. --all: the whole service.")
    ] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Everything that answers in this service.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option(help=f"Write {FILE} into this folder, signed where [signing] names a key."),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="cyclonedx: CycloneDX 1.7. spdx: SPDX 3.0.1, profiles AI and Dataset, "
            f"{FILES['spdx']}.",
        ),
    ] = "cyclonedx",
    elements: Annotated[
        bool,
        typer.Option("--elements", help="Say which minimum elements of the G7 it has, and lacks."),
    ] = False,
    prove: Annotated[
        str | None,
        typer.Option(
            help="Id of a feedback: print the proof that it was learnt from or judged by."
        ),
    ] = None,
    tenant: Annotated[str, typer.Option(help="With --prove: whose feedback it is.")] = "default",
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Write the bill of materials of a checkpoint, an alias or the service.

    Base and maker, every cycle since with the feedback that it read as counts and a Merkle root,
    hashes of all files, verdicts, licence and duties, code with versions. The same record makes
    the same bytes. Not legal advice.
    """
    if everything == bool(subject):
        raise refuse("name a checkpoint or an alias, or give --all")
    if form not in FILES:
        raise refuse(f"--format {form}: there are {', '.join(FILES)}")
    if form != "cyclonedx" and elements:
        raise refuse("--elements looks at CycloneDX: leave --format out")
    settings = with_all_added(read_config(config, home), home)
    if prove is not None:
        bill = _read(settings, home, subject)
        reaction = tenant, prove

        async def ask(conn: Connection) -> Inclusion:
            return await read_inclusion(conn, bill.models, *reaction)

        show_json(query(settings, home, ask))
        return
    content = write_bill(settings, home, subject, form)
    signed = False
    if to is not None:
        signed = _store(content, to, FILES[form], settings)
        say(f"wrote {to / FILES[form]}{', signed' if signed else ''}", err=True)
    if elements:
        _show_elements(check_elements(read_document(content), is_signed=signed), as_json)
    elif to is None:
        typer.echo(content.decode("ascii"), nl=False)


def verify_bom(
    path: Annotated[Path, typer.Argument(help="A bill, or the folder that --to wrote it into.")],
    record: Annotated[
        bool,
        typer.Option("--record", help="Make it again from HOME's record; name every difference."),
    ] = False,
    proof: Annotated[
        Path | None, typer.Option(help="What --prove printed: check that it leads to a root in it.")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="Public key that the folder is signed with; default: that of [signing]."),
    ] = None,
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Check a bill of materials: the official schema, the signature, the record, a proof.

    Ends with status 1, naming what is wrong.
    """
    settings = read_config(config, home)
    if record:
        settings = with_all_added(settings, home)
    file, folder = (path / FILE, path) if path.is_dir() else (path, path.parent)
    public = key or (Path(settings.signing.public_key) if settings.signing.public_key else None)
    checks_signature = key is not None or path.is_dir() or (folder / signing.SIGNATURE).is_file()
    wrong: list[str] = []
    try:
        content = file.read_bytes()
        document = read_document(content)
        if checks_signature and public is not None:
            signing.check_folder(folder, public.expanduser())
        if fault := find_fault(content):
            wrong.append(f"it does not keep to CycloneDX 1.7: {fault}")
        elif record:
            made = write_bill(settings, home, subject_of(document))
            wrong += compare(document, read_document(made))
        if proof is not None and not fault:
            wrong += _check_proof(proof, document)
    except Tampered as error:
        wrong.append(str(error))
    except (OSError, BrokenBom, BomUnavailable, signing.SigningUnavailable) as error:
        raise refuse(f"{file}: {error}") from error
    for fault in wrong:
        say(f"{file}: {fault}", fg="red", err=True)
    if wrong:
        raise typer.Exit(1)
    checked = ["valid CycloneDX 1.7"]
    if checks_signature and public is not None:
        checked.append("signed")
    checked += ["as the record has it"] if record else []
    checked += ["the reaction was read"] if proof else []
    say(f"{file}: {', '.join(checked)}")


def write_bill(config: Config, home: Path, subject: str, form: str = "cyclonedx") -> bytes:
    """The document; ends the command where it cannot be made."""
    write = write_spdx if form == "spdx" else write_document
    try:
        return write(_read(config, home, subject))
    except BomUnavailable as error:
        raise refuse(str(error)) from error


def _read(config: Config, home: Path, subject: str) -> Bill:

    async def ask(conn: Connection) -> Bill:
        return await read_bill(conn, subject, await know_service(conn, config, home))

    try:
        return query(config, home, ask)
    except CatalogueError as error:
        raise refuse(str(error)) from error


def _store(content: bytes, folder: Path, name: str, config: Config) -> bool:
    """Write the bill, and sign it where there is a key; whether that was so."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = {one.name for one in folder.iterdir()} - {name, signing.SIGNATURE}
        if others:
            raise refuse(
                f"--to {folder} holds {min(others)}, which would be signed too; name a new folder"
            )
        (folder / signing.SIGNATURE).unlink(missing_ok=True)
        (folder / name).write_bytes(content)
        if not config.signing.key:
            return False
        signing.sign(folder, Path(config.signing.key).expanduser())
    except (OSError, ValueError, signing.SigningUnavailable) as error:
        raise refuse(str(error)) from error
    return True


def _show_elements(elements: tuple[Element, ...], as_json: bool) -> None:
    if as_json:
        show_json(
            [
                {
                    "number": one.number,
                    "cluster": one.cluster,
                    "name": one.name,
                    "there": one.is_there,
                    "lacking": one.lacking,
                    "advice": one.advice,
                }
                for one in elements
            ]
        )
        return
    for cluster in CLUSTERS.values():
        say(cluster)
        for one in elements:
            if one.cluster == cluster:
                say(f"  {one.number:<7} {'there  ' if one.is_there else 'lacking'} {one.name}")
                if not one.is_there:
                    say(f"          {_why(one)}", fg="yellow")
    there = sum(one.is_there for one in elements)
    say(f"{there} of {len(elements)} minimum elements of the G7 (2026-05-12) are there")


def _why(element: Element) -> str:
    of = ", ".join(element.lacking[:3]) + (", ..." if len(element.lacking) > 3 else "")
    return f"of {of}{': ' if element.advice else ''}{element.advice}"


def _check_proof(file: Path, document: Document) -> Iterator[str]:
    """What is wrong with a proof against a bill."""
    try:
        inclusion = msgspec.json.decode(file.read_bytes(), type=Inclusion)
    except msgspec.DecodeError as error:
        yield f"{file} is no proof: {error}"
        return
    if not inclusion.holds():
        yield f"{file} does not lead from its reaction to its root"
    elif inclusion.root not in _roots(document):
        yield f"{file} leads to the root {inclusion.root}, which the bill does not name"


def _roots(document: Document) -> set[str]:
    """The roots that a bill names."""
    return {
        one["value"]
        for component in components_of(document)
        for one in component.get("properties", ())
        if one["name"] == "liveweights:merkle-root"
    }
