"""What is known of the models that the settings name."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from liveweights.app.profiles import CatalogueRefused, Known, read_known
from liveweights.catalog.card_files import FOLDER
from liveweights.catalog.prices import FILE, ListedPrice, PriceList, Provider, encode_prices
from liveweights.config import Config
from liveweights.model_table import ConfigError

FAR = "https://api.example.com/v1"
PRICES = PriceList(
    version="list 7",
    providers={
        "moonshotai": Provider(
            name="Moonshot",
            address=r"https://api\.example\.com",
            prices={
                "kimi-k2.5": ListedPrice(
                    provider="moonshotai",
                    model="kimi-k2.5",
                    input=0.5,
                    output=2.0,
                    version="list 7",
                )
            },
        )
    },
)


def read(home: Path, **models: Any) -> dict[str, Known]:
    folder = home / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_bytes(encode_prices(PRICES))
    return read_known(msgspec.convert({"models": models, "cache": str(home)}, Config), home)


def test_a_hosted_model_is_known_by_its_name_at_the_upstream(tmp_path: Path) -> None:
    far = {"upstream": FAR, "upstream_model": "kimi-k2.5", "fallback": ["b"]}
    known = read(tmp_path, a=far, b={"upstream": FAR, "upstream_model": "no-such"})
    profile, candidate = known["a"].profile, known["a"].candidate
    assert profile.base == "moonshotai/Kimi-K2.5"
    assert (profile.maker, profile.country) == ("Moonshot AI", "CN")
    assert profile.licence is not None
    assert profile.pricing is not None
    assert (profile.pricing.input, profile.pricing.currency) == (0.5, "USD")
    assert profile.pricing.version == "list 7"
    assert known["a"].listed is not None
    assert known["b"].listed is None
    assert profile.data.sent_to == "api.example.com"
    assert (candidate.input, candidate.output, candidate.local) == (0.5, 2.0, False)
    assert candidate.fallback == ("b",)
    assert candidate.facts.origins[0].name == "moonshotai/Kimi-K2.5"
    assert known["b"].profile.maker is None
    assert known["b"].candidate.facts.origins[0].licence_kind == "unknown"


def test_what_its_base_asks_is_told(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "own.toml").write_text(
        '[[models]]\nhub_id = "acme/mit"\nname = "Mit"\nlicence = "MIT"\n'
        'base = "MiniMaxAI/MiniMax-M2.7"\n'
    )
    profile = read(tmp_path, a={"upstream": FAR, "upstream_model": "acme/mit"})["a"].profile
    assert profile.licence is not None
    assert (profile.licence.id, profile.licence.kind) == ("MIT", "open")
    (theirs,) = (duty for duty in profile.duties if duty.kind == "non-commercial")
    assert "of MiniMaxAI/MiniMax-M2.7, which it was derived from" in theirs.text


def test_a_local_model_stays_unless_a_server_elsewhere_computes_it(tmp_path: Path) -> None:
    known = read(
        tmp_path,
        here={"base": "smollm2-135m-instruct"},
        beside={"engine": {"kind": "openai"}},
        there={"engine": {"kind": "openai"}, "openai": {"server": "http://gpu.example.com:1"}},
        many={"engine": {"kind": "vllm"}, "vllm": {"servers": ["localhost:1", "10.0.0.2:1"]}},
    )
    where = {name: one.profile.data.sent_to for name, one in known.items()}
    assert where == {"here": None, "beside": None, "there": "gpu.example.com", "many": "10.0.0.2"}
    assert [name for name, one in known.items() if one.candidate.local] == ["here", "beside"]
    assert known["here"].profile.base == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_it_is_said_whom_an_answer_teaches(tmp_path: Path) -> None:
    known = read(
        tmp_path, code={"learn_from": "big"}, still={"learn": False}, big={"upstream": FAR}
    )
    teaches = {name: one.profile.data.teaches for name, one in known.items()}
    assert teaches == {"code": ("code",), "still": (), "big": ("code",)}
    assert known["code"].candidate.learns
    assert not known["big"].candidate.learns


def test_a_price_of_the_homes_cards_overrules_the_list(tmp_path: Path) -> None:
    card = """
[[models]]
hub_id = "moonshotai/{}"
[[models.prices]]
provider = "moonshotai"
model = "{}"
input = {}
output = 0.4
since = {}
"""
    cards = (
        card.format("Kimi-K2.5", "kimi-k2.5", 0.1, date(2020, 1, 1)),
        # Of what the list lacks, and of what begins only later.
        card.format("Kimi-K3.1-Pro", "kimi-k3.1-pro", 0.2, date(2020, 1, 1)),
        card.format("Kimi-K2.6", "kimi-k2.6", 0.3, date.max),
    )
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "own.toml").write_text("".join(cards))
    models = {
        name: {"upstream": FAR, "upstream_model": f"kimi-{name}"}
        for name in ("k2.5", "k3.1-pro", "k2.6")
    }
    known = read(tmp_path, **models)
    assert {name: one.candidate.input for name, one in known.items()} == {
        "k2.5": 0.1,
        "k3.1-pro": 0.2,
        "k2.6": None,
    }
    assert [one.listed and one.listed.input for one in known.values()] == [0.1, 0.2, None]
    assert known["k3.1-pro"].profile.base == "moonshotai/Kimi-K3.1-Pro"


def test_the_settings_own_price_counts_first(tmp_path: Path) -> None:
    far = {"upstream": FAR, "upstream_model": "kimi-k2.5"}
    config = msgspec.convert(
        {"models": {"a": far}, "prices": {"a": {"input": 3, "output": 4}}}, Config
    )
    (one,) = read_known(config, tmp_path).values()
    assert one.profile.pricing is not None
    assert (one.profile.pricing.input, one.profile.pricing.source) == (3, "settings")
    assert (one.candidate.input, one.candidate.output) == (3, 4)


def test_what_a_hosted_model_can_do_is_what_the_settings_say(tmp_path: Path) -> None:
    far = {"upstream": FAR, "upstream_model": "kimi-k2.5"}
    known = read(tmp_path, a=far, b={**far, "capabilities": ["chat", "tools"]})
    # By its card it sees; of all else nothing is known.
    assert known["a"].candidate.can == {"vision": True}
    assert known["b"].candidate.can == {
        "chat": True, "tools": True, "completion": False, "infill": False, "json": False,
        "vision": False,
    }  # fmt: skip
    assert known["b"].profile.capabilities.tools
    with pytest.raises(ConfigError, match="capabilities"):
        msgspec.convert({"models": {"a": {"capabilities": ["chat"]}}}, Config).check_models()


def test_files_that_a_card_lists_name_a_folder(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / "own.toml").write_text(
        f'[[models]]\nhub_id = "us/mine"\nname = "Mine"\nmaker = "us"\nweights = ["{digest}"]\n'
    )
    (one,) = read(tmp_path, code={"base": str(base)}).values()
    assert (one.profile.base, one.profile.maker) == ("us/mine", "us")
    gone = read(tmp_path, code={"base": str(tmp_path / "gone.gguf")})
    assert gone["code"].profile.base is None
    (tmp_path / "any.gguf").write_bytes(b"weights")
    (quantised,) = read(tmp_path, code={"base": str(tmp_path / "any.gguf")}).values()
    assert quantised.profile.base == "us/mine"


def test_a_catalogue_that_is_not_understood_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / "own.toml").write_text('[[models]]\nhub_id = "us/mine"\nmakr = "us"\n')
    with pytest.raises(CatalogueRefused, match="makr"):
        read(tmp_path, code={})


def test_what_the_settings_say_of_either_kind_counts(tmp_path: Path) -> None:
    known = read(
        tmp_path,
        code={"fallback": ["big"], "visible": False},
        big={"upstream": FAR, "upstream_model": "kimi-k2.5", "context": 4096, "fallback": ["end"]},
        end={"upstream": FAR, "visible": False},
    )
    assert known["code"].candidate.fallback == ("big", "end")
    assert [name for name, one in known.items() if one.candidate.visible] == ["big"]
    assert [name for name, one in known.items() if one.profile.visible] == ["big"]
    assert (known["big"].profile.context, known["big"].candidate.facts.context) == (4096, 4096)
