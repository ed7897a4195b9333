"""``liveweights export``, ``import-checkpoint`` and ``merge``, on a service that has learnt."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb
from safetensors.torch import load_file, save_file
from tests.audit import read_changes
from tests.hub_server import Hub
from tests.hub_server import running as running_hub
from tests.learn.families import make_family
from tests.record.rows import make_feedback, make_generation
from tests.record.test_window import claim, record
from tests.sharing.tiny import CANARY, PROMPT, SECRET, make_base, write_adapter, write_memory
from typer.testing import CliRunner, Result

from liveweights.catalog.card import read_card
from liveweights.cli import app
from liveweights.config import DATABASE_URL
from liveweights.record.forget import forget
from liveweights.release import aliases
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import find
from liveweights.weights.registry import Registry, register
from liveweights.weights.signing import check_folder, make_keys

pytest.importorskip("cyclonedx", reason="pip install 'liveweights[bom]'")

Done = subprocess.CompletedProcess[str]


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@dataclass
class Service:
    """A home whose alias `live` stands on what its first cycle learnt."""

    home: Path
    dsn: str
    base: Checkpoint
    learnt: Checkpoint
    options: list[str]

    def export(self, to: str, *words: str, subject: str = "live") -> Result:
        return run("export", subject, "--to", str(self.home / to), *words, *self.options)


@pytest.fixture
def service(database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    settings = tmp_path / "settings.toml"
    settings.write_text(
        f'cache = "{tmp_path / "cache"}"\n[models.live]\nbase = "{tmp_path / "tiny"}"\n'
        '[learn]\ndevice = "cpu"\ndtype = "float32"\n'
    )
    base = make_base(tmp_path)
    (base.folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    source = write_adapter(base, tmp_path / "learnt")
    learnt = Registry(tmp_path / "checkpoints").store(
        source.checkpoint.folder,
        base.name,
        kind="adapter",
        base=base.id,
        parent=base.id,
        card={"licence": "apache-2.0", "origin": "learnt from feedback to live"},
    )

    async def fill() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            await register(conn, base, read_card(base, tmp_path / "cache"))
            await register(conn, learnt)
            await aliases.create(conn, "live", learnt.id)
            await conn.execute(
                "insert into cycles (alias, state, incumbent, candidate, settings)"
                " values ('live', 'claiming', %s, %s, '{}')",
                (base.id, learnt.id),
            )

    asyncio.run(fill())
    record(
        database_dsn,
        *(make_generation(f"g{n}", user=f"u{n}", checkpoint=base.id) for n in range(2)),
        *(
            make_feedback(f"f{n}", f"g{n}", signal="correction", text="for one in range(20):" * 2)
            for n in range(2)
        ),
    )
    assert claim(database_dsn, 1).total == 2
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "update cycles set state = 'ended', outcome = 'promoted', verdict = %s,"
            " ended_at = now()",
            (Jsonb({"outcome": "PASS", "reasons": []}),),
        )
    return Service(
        tmp_path, database_dsn, base, learnt, ["--home", str(tmp_path), "--config", str(settings)]
    )


def test_an_export_says_what_it_is_and_comes_in_elsewhere(service: Service) -> None:
    (service.base.folder / "LICENSES").mkdir()
    for name in ("LICENSE", "LICENSES/MIT.txt"):
        (service.base.folder / name).write_text("terms")
    done = service.export("out", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["licence_files"] == ["LICENSE", "LICENSES/MIT.txt"]
    assert told["private_data"]["texts"] == told["private_data"]["asked"] == 2
    folder = service.home / "out"
    assert {one.name for one in folder.iterdir()} == {
        "LICENSE",
        "LICENSES",
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "bom.cdx.json",
        "card.json",
    }
    card = json.loads((folder / "card.json").read_text())
    assert (card["id"], card["base"], card["form"]) == (service.learnt.id, service.base.id, "peft")
    assert card["root"] == service.base.id
    assert card["base_files"]["model.safetensors"]
    assert card["files"].keys() == {
        "LICENSE",
        "LICENSES/MIT.txt",
        "adapter_config.json",
        "adapter_model.safetensors",
        "bom.cdx.json",
    }
    files = [one for one in folder.rglob("*") if one.is_file()]
    assert str(service.home) not in "".join(one.read_text(errors="replace") for one in files)
    again = service.export("again")
    assert again.exit_code == 0, again.output
    for one in files:
        copy = service.home / "again" / one.relative_to(folder)
        assert copy.read_bytes() == one.read_bytes()

    taken = run(
        *("import-checkpoint", str(folder), "--base", "live", "--licence", "apache-2.0"),
        *service.options,
    )
    assert taken.exit_code == 0, taken.output
    assert "rank 4, 10 modules" in taken.stdout


def test_an_export_goes_to_a_hub_and_comes_back(service: Service, tmp_path: Path) -> None:
    def ask(hub: Hub, *words: str, token: str | None = "writer") -> Done:
        # The client reads where the hub is when it is imported.
        start = [sys.executable, "-c", "from liveweights.cli import main; main()"]
        return subprocess.run(
            [*start, *words, *service.options],
            env=hub.environment(tmp_path, token), capture_output=True, text=True, check=False,
        )  # fmt: skip

    with running_hub() as hub:
        to = ("export", "live", "--to", "hf://org/learnt")
        refused = ask(hub, *to, token=None)
        assert refused.returncode == 2
        assert "--to hf://org/learnt: there is no token to write with" in refused.stderr
        done = ask(hub, *to, "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        made = hub.repositories["org/learnt"]
        assert told["to"] == f"hf://org/learnt@{made.head}"
        assert made.private
        files = made.commits[made.head]
        assert json.loads(files["card.json"])["id"] == service.learnt.id
        assert files["README.md"].startswith(b"---\nlicense: apache-2.0\n")
        assert "is there already, with LICENSE and more" in ask(hub, *to).stderr
        come = ask(
            hub, "import-checkpoint", told["to"], "--base", "live", "--licence", "apache-2.0"
        )
        assert come.returncode == 0, come.stderr
        assert "rank 4, 10 modules" in come.stdout


def test_whole_weights_leave_and_come_in_as_a_difference(service: Service) -> None:
    done = service.export("out", "--as", "merged")
    assert done.exit_code == 0, done.output
    assert "no licence file" not in done.stderr  # that of Apache-2.0 is the same for all
    texts = [one for one in (service.home / "out").iterdir() if one.suffix != ".safetensors"]
    assert str(service.home) not in "".join(one.read_text() for one in texts)
    words = ("import-checkpoint", str(service.home / "out"), "--licence", "mit", *service.options)
    taken = run(*words, "--base", "live")
    assert taken.exit_code == 0, taken.output
    assert "weights differ" in taken.stdout
    id = next(one for one in taken.stdout.splitlines() if "is registered" in one).split()[0]
    assert run("verify", id, *service.options).exit_code == 0
    card = json.loads((service.home / "checkpoints" / id / "card.json").read_text())
    assert (card["kind"], card["base"], card["origin"]) == (
        "full",
        service.base.id,
        "imported from out",
    )
    back = service.export("back", "--as", "merged", subject=id)
    assert back.exit_code == 0, back.output
    ours, theirs = (load_file(service.home / n / "model.safetensors") for n in ("back", "out"))
    assert all((ours[name] == theirs[name]).all() for name in theirs)

    whole = service.home / "whole"
    shutil.copytree(service.base.folder, whole)
    refused = run("import-checkpoint", str(whole), *words[2:], "--base", "live")
    assert refused.exit_code == 2
    assert "it changes nothing" in refused.stderr
    tensors = load_file(whole / "model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, whole / "model.safetensors", metadata={"format": "pt"})
    refused = run("import-checkpoint", str(whole), *words[2:], "--base", "live")
    assert "it has no model.norm.weight" in refused.stderr


def test_what_it_repeats_keeps_it_here(service: Service) -> None:
    memory = write_memory(service.base, service.home / "memory")
    taken = run(
        *("import-checkpoint", str(memory.checkpoint.folder), "--base", "live"),
        *("--licence", "mit", *service.options),
    )
    id = next(one for one in taken.stdout.splitlines() if "is registered" in one).split()[0]
    (service.home / "canaries.txt").write_text(f"never-planted-2222\n{CANARY}\n")
    words = ("--canaries", str(service.home / "canaries.txt"), "--max-repeated", "1")
    refused = service.export("out", *words, subject=id)
    assert refused.exit_code == 1, refused.output
    assert "canary in line 2: 12 tokens (its base: " in refused.stderr
    assert "line 1" not in refused.stderr
    assert not (service.home / "out").exists()
    assert service.export("out", *words).exit_code == 0


def test_what_was_said_to_another_base_keeps_it_here(service: Service) -> None:
    shift = 400  # all its tokens are others, and higher than this model has any
    file = make_family("llama", service.home / "former") / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {word: id + shift for word, id in vocabulary.items()}
    for added in tokenizer["added_tokens"]:
        added["id"] += shift
    file.write_text(json.dumps(tokenizer))
    former = find(str(file.parent), service.home / "cache")
    memory = write_memory(service.base, service.home / "memory")
    learnt = Registry(service.home / "checkpoints").store(
        memory.checkpoint.folder,
        service.base.name,
        kind="adapter",
        base=service.base.id,
        parent=service.base.id,
        card={"licence": "mit"},
    )

    async def fill() -> None:
        async with await psycopg.AsyncConnection.connect(service.dsn) as conn:
            await register(conn, former, read_card(former, service.home / "cache"))
            await register(conn, learnt)
            await conn.execute(
                "insert into cycles (alias, state, incumbent, candidate, settings)"
                " values ('live', 'claiming', %s, %s, '{}')",
                (service.base.id, learnt.id),
            )

    asyncio.run(fill())
    record(
        service.dsn,
        make_generation("told", checkpoint=former.id, prompt_ids=[id + shift for id in PROMPT]),
        make_feedback("f", "told", signal="correction", text=SECRET),
    )
    assert claim(service.dsn, 2, others=True).total == 1
    refused = service.export("out", "--ngram", str(len(SECRET) - 2), subject=learnt.id)
    assert refused.exit_code == 1, refused.output
    assert "feedback f to answer told" in refused.stderr


def test_a_gguf_is_told_of_as_json_alone(service: Service) -> None:
    done = service.export("out", "--as", "gguf", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["precision"] == "q8_0"


def test_rows_that_are_gone_are_counted(service: Service) -> None:
    async def go() -> None:
        async with await psycopg.AsyncConnection.connect(service.dsn) as conn:
            await forget(conn, "default", "u1")

    asyncio.run(go())
    done = service.export("out")
    assert done.exit_code == 0, done.output
    assert "1 of 2 answers that it learnt from are not in the record any more" in done.stderr


def test_a_merge_has_two_parents_and_what_one_learnt_is_in_it(service: Service) -> None:
    other = write_adapter(service.base, service.home / "other", 7).checkpoint.folder
    base = ["--base", "live", "--licence", "mit"]
    taken = run("import-checkpoint", str(other), *base, *service.options)
    id = next(one for one in taken.stdout.splitlines() if "is registered" in one).split()[0]
    done = run("merge", id, "live", "--method", "ties", "--json", *service.options)
    assert done.exit_code == 0, done.output
    merged = json.loads(done.stdout)["checkpoint"]
    card = json.loads((service.home / "checkpoints" / merged / "card.json").read_text())
    assert card["merged_of"] == {id: 0.5, service.learnt.id: 0.5}
    assert card["licence"] == "apache-2.0 AND mit"
    lineage = json.loads(run("lineage", merged, "--json", *service.options).stdout)
    assert lineage["base"] == service.base.id
    assert {one["id"] for one in lineage["chain"]} == {
        merged,
        id,
        service.learnt.id,
        service.base.id,
    }
    bill = json.loads(run("bom", merged, *service.options).stdout)
    needs = {one["ref"]: set(one.get("dependsOn", ())) for one in bill["dependencies"]}
    assert needs[merged] >= {id, service.learnt.id, service.base.id}

    async def go() -> list[str]:
        async with await psycopg.AsyncConnection.connect(service.dsn) as conn:
            return (await forget(conn, "default", "u1")).checkpoints

    assert set(asyncio.run(go())) == {service.learnt.id, merged}
    made = [(action, target) for _, action, target in read_changes(service.dsn)]
    assert made == [("import checkpoint", id), ("merge adapters", merged)]
    same = run("merge", "live", service.learnt.id, *service.options)
    assert same.exit_code == 2
    assert "both are" in same.stderr


def test_a_signed_export_holds_until_a_byte_is_changed(service: Service) -> None:
    pytest.importorskip("model_signing", reason="pip install 'liveweights[signing]'")
    from liveweights.weights.registry import Tampered

    public = make_keys(service.home / "key")
    settings = service.home / "settings.toml"
    settings.write_text(f'{settings.read_text()}[signing]\nkey = "{service.home / "key"}"\n')
    done = service.export("out", "--as", "gguf-adapter")
    assert done.exit_code == 0, done.output
    assert "as gguf-adapter, signed" in done.stdout
    folder = service.home / "out"
    check_folder(folder, public)
    with (folder / "card.json").open("a") as file:
        file.write(" ")
    with pytest.raises(Tampered):
        check_folder(folder, public)


def test_what_cannot_be_exported_says_why(service: Service) -> None:
    (service.home / "there").mkdir()
    for words, why in (
        (("out", "--as", "zip"), "there are peft, merged, gguf, gguf-adapter"),
        (("out", "--as", "gguf", "--precision", "q2"), "there are q8_0, q5_1, q5_0, q4_1, q4_0,"),
        (("out", "--precision", "f16"), "--precision is for gguf and gguf-adapter"),
        (("out", "--public"), "is for repositories on a hub"),
        (("there",), "name a new folder"),
        (("out", "--canaries", str(service.home / "none")), "No such file"),
    ):
        refused = service.export(*words)
        assert refused.exit_code == 2, refused.output
        assert why in refused.stderr
    unknown = service.export("out", subject="nobody@1")
    assert "no checkpoint 'nobody@1' is registered" in unknown.stderr
    base = service.export("out", subject=service.base.id)
    assert "nothing of it was learnt here" in base.stderr
    assert not (service.home / "out").exists()
    wrong = run("merge", "live", service.base.id, *service.options)
    assert "is no adapter on" in wrong.stderr
    wrong = run("merge", "live", "live", "--method", "slerp", *service.options)
    assert "--method slerp: PEFT does not have it, and mergekit" in wrong.stderr
    wrong = run("merge", "live", "live", "--method", "best", *service.options)
    assert "--method best: there are svd" in wrong.stderr


def test_rules_of_use_keep_weights_here(service: Service) -> None:
    settings = service.home / "settings.toml"
    rule = '[[terms]]\nname = "ours"\nwhen = ["export"]\nthen = "deny"\nreason = "not for others"\n'
    settings.write_text(settings.read_text() + rule)
    denied = service.export("out")
    assert denied.exit_code == 2
    assert "not for others (rule ours)" in denied.stderr


@pytest.mark.parametrize("on", ['model = ["live"]', 'country = ["CN"]', 'model = ["x/closed"]'])
def test_rules_know_weights_by_public_name_and_by_their_card(service: Service, on: str) -> None:
    (service.home / "catalogue").mkdir()
    digest = hashlib.sha256((service.base.folder / "model.safetensors").read_bytes()).hexdigest()
    (service.home / "catalogue" / "own.toml").write_text(
        '[[models]]\nhub_id = "x/closed"\nname = "Closed"\ncountry = "CN"\nlicence = "MIT"\n'
        f'weights = ["{digest}"]\n'
    )
    settings = service.home / "settings.toml"
    rule = f'[[terms]]\nname = "ours"\nwhen = ["export"]\non = {{ {on} }}\nthen = "deny"\n'
    settings.write_text(settings.read_text() + rule + 'reason = "not for others"\n')
    for subject in ("live", service.learnt.id):
        denied = service.export("out", subject=subject)
        assert denied.exit_code == 2
        assert "not for others" in denied.stderr
    with psycopg.connect(service.dsn) as conn:
        rows = conn.execute("select model, rule from terms_denials").fetchall()
    assert rows == [("live", "ours")] * 2
