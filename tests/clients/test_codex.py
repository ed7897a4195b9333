"""OpenAI's Codex, as it is published, with a scripted model behind the API."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.serve.api.doubles import make_api
from tests.serve.api.servers import serving

from .packages import CODEX, FETCHES

RUN = {"name": "exec_command", "arguments": {"cmd": "echo sunny > weather.txt"}}
SAID = ("Written down ☀️.", f"<tool_call>\n{json.dumps(RUN)}\n</tool_call>")


@pytest.mark.slow
@FETCHES
def test_a_command_is_run_and_what_came_of_it_is_told(tmp_path: Path) -> None:
    codex = CODEX.installed() / "node_modules" / ".bin" / "codex"
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    answer, call = SAID
    api = make_api([call, answer], context_length=10**6)
    with serving(api.app) as url:
        (home / "config.toml").write_text(
            'model = "tiny"\nmodel_provider = "liveweights"\n'
            '[model_providers.liveweights]\nname = "liveweights"\n'
            f'base_url = "{url}"\nwire_api = "responses"\n'
        )
        command = [str(codex), "exec", "--skip-git-repo-check", "--json"]
        ended = subprocess.run(
            [*command, "-s", "danger-full-access", "Note the weather."],
            cwd=work,
            env={**os.environ, "CODEX_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert (work / "weather.txt").read_text() == "sunny\n"
    items = [json.loads(line).get("item", {}) for line in ended.stdout.splitlines()]
    assert [i["text"] for i in items if i.get("type") == "agent_message"] == [answer]
    prompt = api.engine.tokenizer.decode(api.engine.calls[-1][1])
    assert "Process exited with code 0" in prompt
