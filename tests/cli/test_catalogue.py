"""``liveweights catalogue``: what it lists, shows, checks, refreshes and recognises."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.catalog.test_price_library import PUBLISHED, published  # noqa: F401
from tests.catalog.test_stored import BASE, make_adapter
from typer.testing import CliRunner, Result

from liveweights.catalog.catalogue import Catalogue
from liveweights.cli import app
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import Registry

KIMI = "moonshotai/Kimi-K2.5"
MINE = f"""
[[models]]
hub_id = "{KIMI}"
context = 65_536

[[models.prices]]
provider = "acme"
model = "kimi"
input = 0.4
output = 2.5
since = 2026-11-01

[[models]]
hub_id = "acme/ours-7b"
name = "Ours\\u001b[2J"
"""


def run(home: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["catalogue", *words, "--home", str(home)])


def lines(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [line.rstrip() for line in result.stdout.splitlines()]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "catalogue"
    folder.mkdir()
    (folder / "mine.toml").write_text(MINE)
    return tmp_path


def test_cards_are_listed_and_filtered(tmp_path: Path) -> None:
    everything = json.loads(run(tmp_path, "list", "--json").stdout)
    assert len(everything) == len(Catalogue().cards)
    found = run(tmp_path, "list", "--maker", "moonshot", "--min-context", "1000000", "--json")
    assert [card["hub_id"] for card in json.loads(found.stdout)] == [
        card["hub_id"]
        for card in everything
        if card["maker"] == "Moonshot AI" and (card["context"] or 0) >= 1_000_000
    ]
    table = run(tmp_path, "list", "--country", "cz")
    assert "1 of 161 cards" in table.stderr
    head, row = lines(table)
    assert head.split() == ["model", "maker", "parameters", "context", "licence", "released"]
    assert row.startswith("JetBrains/Mellum2-12B-A2.5B-Instruct  JetBrains, CZ")
    assert row.index("unknown") == head.index("licence")


def test_a_filter_that_no_card_has_is_refused(tmp_path: Path) -> None:
    found = run(tmp_path, "list", "--family", "Qwen4")
    assert found.exit_code == 2
    assert "no card has the family 'Qwen4'" in found.stderr
    assert "Qwen3" in found.stderr


def test_everything_of_a_model_is_shown(tmp_path: Path) -> None:
    page = lines(run(tmp_path, "show", "kimi k2.5"))
    whole = "\n".join(page)
    card = Catalogue().find(KIMI)
    for wanted in (
        f"Kimi K2.5  {KIMI}",
        "licence       LicenseRef-Modified-MIT-Kimi-K2, not approved by the OSI",
        'show "Kimi K2.5" prominently',
        ">100,000,000 monthly active users",
        "moonshotai kimi-k2.5: in 0.6, cached 0.1, out 3 USD per million tokens (genai-prices ",
        "Cursor Composer 2 (Anysphere (Cursor)): fine-tune, stated, 2026-03-19",
        "NDAA FY2026 section 1532",
        "country CN)",
        "base          moonshotai/Kimi-K2-Base",
    ):
        assert wanted in whole
    for score in card.scores:
        assert score.source in whole
    assert sum("run by" in line and "harness" in line for line in page) == len(card.scores)


def test_what_its_base_asks_is_shown(tmp_path: Path) -> None:
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "mine.toml").write_text(
        '[[models]]\nhub_id = "acme/mit"\nname = "Mit"\nlicence = "MIT"\n'
        'base = "MiniMaxAI/MiniMax-M2.7"\n'
    )
    page = "\n".join(lines(run(tmp_path, "show", "acme/mit")))
    assert "of MiniMaxAI/MiniMax-M2.7, which it was derived from" in page
    told = json.loads(run(tmp_path, "show", "acme/mit", "--json").stdout)
    assert "non-commercial" in [duty["kind"] for duty in told["duties"]]


def test_scores_stand_in_the_order_of_their_names_not_of_their_values(tmp_path: Path) -> None:
    page = lines(run(tmp_path, "show", KIMI))
    names = [re.split(r" [^ ]+: ", line.strip())[0] for line in page if ", run by " in line]
    assert names == sorted(names)


def test_a_model_is_shown_to_programs(tmp_path: Path) -> None:
    found = json.loads(run(tmp_path, "show", "DeepSeek-V4-Flash", "--json").stdout)
    assert found["country"] == "CN"
    assert found["duties"][0]["kind"] == "notice"
    (price, *_) = [one for one in found["prices"] if one["provider"] == "deepseek"]
    assert [hours["begin"] for hours in price["hours"]] == ["01:00:00", "06:00:00"]
    assert {"products", "rules", "sources", "scores", "overrides"} <= set(found)
    unknown = json.loads(run(tmp_path, "show", "Kimi-K3.1-Pro", "--json").stdout)
    assert unknown["licence"] is None
    assert unknown["parameters_total"] is None


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    page = "\n".join(lines(run(tmp_path, "show", "Kimi-K3.1-Pro")))
    assert "licence       unknown: nothing says that it may be used" in page
    assert "parameters    unknown" in page
    assert "shape         layers unknown, hidden unknown, vocab unknown" in page
    assert "prices        unknown" in "\n".join(lines(run(tmp_path, "show", "SmolLM3-3B")))


def test_a_name_that_is_nobody_s_is_refused_with_the_nearest(tmp_path: Path) -> None:
    found = run(tmp_path, "show", "gpt-os-20b")
    assert found.exit_code == 2
    assert "the nearest: openai/gpt-oss-20b" in found.stderr


def test_overrides_are_shown_as_such(mine: Path) -> None:
    page = lines(run(mine, "show", KIMI))
    file = mine / "catalogue" / "mine.toml"
    assert f"context       65,536  (yours, {file})" in page
    (price,) = (line for line in page if "acme kimi" in line)
    assert price.endswith(
        "acme kimi: in 0.4, cached unknown, out 2.5 USD per million tokens "
        "(the card, since 2026-11-01)"
    )
    assert any("moonshotai kimi-k2.5" in line for line in page)
    listed = run(mine, "list", "--maker", "moonshot")
    assert "* yours: 1" in listed.stderr
    own = run(mine, "show", "acme/ours-7b")
    assert "(yours)" in own.stdout
    assert "\x1b" not in own.stdout


def test_a_check_tells_whose_what_is(mine: Path) -> None:
    said = lines(run(mine, "check"))
    assert len(said) == 3  # and every card has its prices
    assert said[0].startswith("in order: 162 cards, 26 licences")
    assert f"{KIMI}: yours are context, prices" in said
    assert "acme/ours-7b is yours" in said


def test_a_check_names_all_that_is_wrong(mine: Path) -> None:
    (mine / "catalogue" / "other.toml").write_text(
        "[[models]]\nhub_id = 'a/b'\nname = 'b'\nlicence = 'free'\n[[licences]]\nid = '?'\n"
    )
    found = run(mine, "check")
    assert found.exit_code == 1
    faults = found.stderr.splitlines()
    assert len(faults) == 2
    assert all(str(mine / "catalogue" / "other.toml") in fault for fault in faults)
    assert run(mine, "list").exit_code == 2
    assert run(mine, "show", KIMI).exit_code == 2


def test_licences_and_figures_of_use_are_listed(tmp_path: Path) -> None:
    found = json.loads(run(tmp_path, "licences", "--json").stdout)
    assert {one["id"] for one in found} == set(Catalogue().licences)
    assert "non-commercial" in run(tmp_path, "licences").stdout
    rows = json.loads(run(tmp_path, "adoption", "--json").stdout)
    assert len(rows) == len(Catalogue().adoption)


def test_prices_are_refreshed(published: dict[str, bytes | str], tmp_path: Path) -> None:  # noqa: F811
    model = PUBLISHED[0]["models"][0]  # type: ignore[index]
    listing = [{**PUBLISHED[0], "id": "moonshotai", "models": [{**model, "id": "kimi-k2.5"}]}]
    published["body"] = json.dumps(listing).encode()
    url = f"{published['url']}/list.json"
    said = lines(run(tmp_path, "refresh", "--url", url))
    assert said == [f"1 prices of 1 providers in {tmp_path / 'catalogue' / 'prices.json'}"]
    page = "\n".join(lines(run(tmp_path, "show", KIMI)))
    assert "moonshotai kimi-k2.5: in 1.5, cached unknown, out 3 USD" in page
    assert "(genai-prices of 20" in page
    assert "openrouter" not in page
    checked = lines(run(tmp_path, "check"))
    version = re.search(r"genai-prices of [\d-]+", page)
    assert version is not None
    assert f"{KIMI}: {version[0]} has no price of openrouter {KIMI.lower()}" in checked
    (tmp_path / "catalogue" / "prices.json").write_text("{}")
    damaged = run(tmp_path, "show", KIMI)
    assert damaged.exit_code == 2
    assert "liveweights catalogue refresh" in damaged.stderr


def test_prices_that_are_not_to_be_had_leave_the_old_ones(
    published: dict[str, bytes | str],  # noqa: F811
    tmp_path: Path,
) -> None:
    found = run(tmp_path, "refresh", "--url", f"{published['url']}/other.json")
    assert found.exit_code == 2
    assert "no prices from" in found.stderr
    assert not (tmp_path / "catalogue").exists()


def test_a_checkpoint_that_is_nobody_s_is_unknown(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 3}')
    found = run(tmp_path, "recognise", str(folder))
    assert found.exit_code == 3
    assert found.stdout.startswith("unknown: its config does not name")
    missing = run(tmp_path, "recognise", str(tmp_path / "none"))
    assert missing.exit_code == 2
    assert "neither a checkpoint folder nor a GGUF file" in missing.stderr
    (folder / "model.safetensors").write_bytes(b"no tensors")
    broken = run(tmp_path, "recognise", str(folder))
    assert broken.exit_code == 2
    assert "model.safetensors is not a whole safetensors file" in broken.stderr
    assert run(tmp_path, "recognise", str(folder), "--against", "nothing").exit_code == 2
    lying = tmp_path / "lying.gguf"
    lying.write_bytes(b"GGUF" + bytes([3, 0, 0, 0]) + b"\xff" * 16)
    refused = run(tmp_path, "recognise", str(lying))
    assert refused.exit_code == 2
    assert "no room for" in refused.stderr
    packed = run(tmp_path, "recognise", str(lying), "--against", "nothing")
    assert "--against compares safetensors" in packed.stderr


def test_a_config_alone_is_alike_all_of_its_shape(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    config = {
        "model_type": "qwen2", "num_hidden_layers": 28, "hidden_size": 3584,
        "vocab_size": 152_064, "_name_or_path": "somebody/else",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    page = lines(run(tmp_path, "recognise", str(folder)))
    assert page[0].startswith("alike family Qwen2.5, 7.62B parameters: ")
    assert [line.split()[0] for line in page if line.startswith("  ")] == [
        "Qwen/Qwen2.5-7B-Instruct",
        "Qwen/Qwen2.5-Coder-7B-Instruct",
    ]
    assert page[-1] == "not proven: config.json says _name_or_path: somebody/else"
    found = json.loads(run(tmp_path, "recognise", str(folder), "--json").stdout)
    assert (found["by"], found["family"]) == ("shape", "Qwen2.5")


def test_a_checkpoint_of_the_home_is_named(tmp_path: Path) -> None:
    stored = Registry(tmp_path / "checkpoints").store(
        make_adapter(tmp_path / "ours", 1.0),
        "tiny",
        kind="adapter",
        base=BASE,
        parent=BASE,
        card={},
    )
    page = lines(run(tmp_path, "recognise", str(tmp_path / "ours")))
    assert page[0] == (
        f"its weights are those of {stored.id} of {tmp_path}, on {BASE}, learnt from {BASE}"
    )
    found = json.loads(run(tmp_path, "recognise", str(tmp_path / "ours"), "--json").stdout)
    assert found["checkpoints"] == [{"id": stored.id, "base": BASE, "parent": BASE}]
    assert found["by"] == "unknown"


@pytest.mark.model
def test_the_packaged_model_is_recognised(base: Checkpoint, tmp_path: Path) -> None:
    page = lines(run(tmp_path, "recognise", str(base.folder), "--against", str(base.folder)))
    assert page[0].startswith("it is family SmolLM2, 135M parameters")
    assert any("are alike those of" in line and "(correlation 1.000)" in line for line in page)
