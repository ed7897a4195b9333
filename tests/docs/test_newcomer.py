"""A new user's walk: what README and docs show, typed on a fresh home, and all of it read.

A service is started as the README starts one, with nothing but its home to find it by; its first
words are followed; a cycle is started, followed and cancelled; then every command of every page is
run in a pipe and on a terminal of 80 columns. Nothing may be cut, empty, broken or missing.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from tests.circle.service import SETTINGS
from tests.docs.commands import all_commands
from tests.docs.pages import ROOT
from tests.docs.terminal import Seen, find_faults, see_on_terminal, see_piped
from tests.docs.test_commands import parse
from tests.serve.api.test_tokenizers import folder_of

from liveweights.cli import COMMANDS
from liveweights.replay.client import Client
from liveweights.replay.service import Service, free_port, write_config

pytestmark = [pytest.mark.model, pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(1800)]

LIVEWEIGHTS = (sys.executable, "-c", "from liveweights.cli import main; main()")
ELSEWHERE = (
    *("up", "serve", "demo", "replay", "db", "upcycle", "import", "gate"),
    *("model", "make-key", "sign", "catalogue recognise", "catalogue refresh"),
    *("bom", "verify-bom", "import-checkpoint", "adoption import", "insight adoption --by maker"),
    *("models add", "models set", "models remove", "ledger verify --expect", "ledger export"),
    *("scoreboard import", "ternary"),
    *("export", "merge", "forget USER --unlearn"),
)
"""What starts a service or needs what a reader brings; other tests run these."""
MAY_REFUSE = (
    *("canary", "rollback", "archive", "restore", "terms end", "lineage", "scorecard"),
    *("models show", "tenants create", "ledger reverse", "switch"),
)
"""What says in a sentence that there is nothing to do it with."""
CYCLES = ("cycle --now", "cycle --follow", "cycle --cancel")
"""Run once, in order."""
AHEAD = ("tenants create",)
"""What other pages suppose was done."""
SOON = datetime.now(UTC).date() + timedelta(days=2)
"""A day that has begun in no time zone."""
WORDS = {
    "code@1a2b3c4d5e6f": "LIVE",
    "NAME@HASH": "LIVE",
    "USER": "u-0",
    "--show 3": "--show 1",
    "--from 2026-11-01": f"--from {SOON}",
    "--from 2026-12-01": f"--from {SOON}",
    "acme-2026-10.pdf": "{folder}/acme-2026-10.pdf",
}


@dataclass(frozen=True)
class Walk:
    """A running service, and a folder to be in."""

    home: Path
    url: str
    greeting: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HOME": os.environ["HOME"]}

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        with urlopen(Request(f"{self.url}{path}", data, headers), timeout=120) as answer:
            return json.load(answer)

    def command(self, line: str) -> list[str]:
        """A line of a page with this home; other words stand for what is there."""
        for shown, meant in WORDS.items():
            line = line.replace(shown, meant.format(folder=self.folder))
        if "LIVE" in line:
            line = line.replace("LIVE", self.ask("/status")["live"])
        _, *words = shlex.split(line)
        own = ["--home", str(self.home)]
        takes_home = parse(f"{line} --home here")[0] == 0
        return [*LIVEWEIGHTS, *words, *(own if takes_home else [])]

    def pipe(self, line: str, timeout: float = 120) -> Seen:
        return see_piped(self.command(line), self.environment, self.folder, timeout)

    def faults(self, line: str, *, refused: bool = False) -> list[str]:
        """What a reader of this command's output would stumble over."""
        piped = self.pipe(line)
        shown = see_on_terminal(self.command(line), self.environment, self.folder)
        return find_faults(piped, shown, frozenset({0, 2} if refused else {0}))


def make_qwen(folder: Path) -> Path:
    """A tiny model of the family with random weights, under the family's own tokenizer."""
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(folder_of("qwen2_5"), trust_remote_code=False)
    torch.manual_seed(0)
    config: Any = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["packaged", "qwen2.5-coder-tiny"])
def walk(request: pytest.FixtureRequest) -> Iterator[Walk]:
    folder = Path(tempfile.mkdtemp(prefix="liveweights-newcomer-"))
    folder.chmod(0o711)
    model = "" if request.param == "packaged" else str(make_qwen(folder / request.param))
    config = folder / "liveweights.toml"
    # Small and quick; commands are not told of it.
    settings = {**SETTINGS, "cycle": {**SETTINGS["cycle"], "min_feedback": 100_000, "every": 1e6}}
    write_config(config, settings)
    service = Service(folder / "home", config, free_port(), folder / "service.log", model=model)

    async def wait() -> None:
        async with Client(service.url, timeout=60) as client:
            await service.wait(client, 600)

    try:
        asyncio.run(wait())
        until = time.monotonic() + 30
        while "answering at" not in (log := service.log.read_text(errors="replace")):
            assert time.monotonic() < until, log[-3000:]
            time.sleep(0.2)
        greeting = log[log.index("answering at") :]
        yield Walk(folder / "home", service.url, greeting, folder)
    except BaseException:
        print(service.log.read_text(errors="replace")[-6000:])
        raise
    finally:
        service.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_the_first_words_can_be_followed(walk: Walk) -> None:
    """The request that a start shows is answered, and its answer's id takes the reaction."""
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    shown = re.findall(r"^  (curl .*)$", walk.greeting.replace("\\\n", " "), re.MULTILINE)
    assert len(shown) == 2
    answer = json.loads(subprocess.check_output(["sh", "-c", f"{shown[0]} -s"], text=True))
    react = shown[1].replace("gen_...", answer["id"])
    assert json.loads(subprocess.check_output(["sh", "-c", f"{react} -s"], text=True))["id"]
    seen = walk.ask(f"/v1/generations/{answer['id']}")
    assert seen["prompt"].startswith("def area(")
    assert [reaction["signal"] for reaction in seen["feedback"]] == ["accepted"]


def test_a_cycle_says_where_it_is(walk: Walk) -> None:
    for number in range(24):
        body = {"model": "code", "prompt": f"def f_{number}(x):\n    return", "max_tokens": 6}
        person = {"user": f"u-{number % 4}", "metadata": {"session": f"s-{number // 2}"}}
        answer = walk.ask("/v1/completions", body | person)
        said = {"generation": answer["id"], "signal": "correction", "text": " None  # not yet"}
        walk.ask("/v1/feedback", {"feedback": [said, said | {"signal": "rejected", "text": None}]})
    started = walk.pipe("liveweights cycle --now")
    assert (started.code, "cycle 1" in started.text) == (0, True), started.text
    followed = walk.pipe("liveweights cycle --follow", 900)
    lines = followed.text.splitlines()
    assert followed.code == 0, followed.text
    assert any(" of " in line and "a second" in line and "left" in line for line in lines), lines
    assert lines[-1].startswith("cycle 1 ended: ")
    again = walk.pipe("liveweights cycle --now")
    assert "cycle 2" in again.text
    cancelled = walk.pipe('liveweights cycle --cancel "enough"')
    assert cancelled.text == "cycle 2 is cancelled: enough\n"
    refused = walk.pipe('liveweights cycle --cancel "enough"')
    assert (refused.code, "nothing to cancel" in refused.text) == (2, True)


def lines() -> list[str]:
    """Every command of the pages, once, in their order, after what they suppose."""
    shown = [c.line for c in all_commands() if c.line.startswith("liveweights ")]
    return sorted(dict.fromkeys(shown), key=lambda line: not begins(line, AHEAD))


def begins(line: str, words: tuple[str, ...]) -> bool:
    return any(f"{line} ".startswith(f"liveweights {one} ") for one in words)


def test_every_command_of_the_pages_can_be_read(walk: Walk) -> None:
    faults: list[str] = []
    for line in lines():
        if not begins(line, (*ELSEWHERE, *CYCLES)):
            found = walk.faults(line, refused=begins(line, MAY_REFUSE))
            faults += [f"{line}: {fault}" for fault in found]
    assert not faults, "\n".join(faults)


def test_every_help_can_be_read(walk: Walk) -> None:
    faults = [f"{n}: {f}" for n in COMMANDS for f in walk.faults(f"liveweights {n} --help")]
    assert not faults, "\n".join(faults)
