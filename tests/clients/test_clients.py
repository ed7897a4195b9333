"""Other people's clients, as they are published, against the API: what docs/connect.md says."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from tests.serve.api.doubles import make_api
from tests.serve.api.servers import serving

from .packages import CLIENTS, CODEX, FETCHES, OPENAI_NODE, Client

CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'
ANSWER = "It is sunny in Rome ☀️."
PAGE = Path(__file__).parents[2] / "docs" / "connect.md"


@FETCHES
@pytest.mark.parametrize("how", ["whole", "streamed"])
@pytest.mark.parametrize(
    ("client", "dialect"),
    [
        pytest.param(client, dialect, id=f"{client.name}-{dialect}")
        for client in CLIENTS
        for dialect in client.dialects
    ],
)
def test_a_tool_is_called_and_its_answer_is_told(client: Client, dialect: str, how: str) -> None:
    api = make_api([CALL, ANSWER], context_length=100_000)
    command = client.command()
    with serving(api.app) as url:
        ended = subprocess.run(
            [*command, url, dialect, how], capture_output=True, text=True, timeout=120
        )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert json.loads(ended.stdout.splitlines()[-1]) == {"text": ANSWER, "cities": ["Rome"]}
    first, second = (api.engine.tokenizer.decode(ids) for _, ids, _ in api.engine.calls)
    assert "How is the weather in Rome?" in first
    assert "sunny in Rome" in second


@FETCHES
def test_the_agents_sdk_runs_as_the_page_says(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (recipe,) = (block for block in blocks if "from agents import" in block)
    sdk = next(client for client in CLIENTS if client.name == "OpenAI Agents SDK")
    program = tmp_path / "recipe.py"
    api = make_api([CALL, ANSWER], context_length=100_000)
    with serving(api.app) as url:
        recipe = recipe.replace("http://127.0.0.1:8090/v1", url)
        program.write_text(recipe.replace('model="code"', 'model="tiny"'))
        command = [str(sdk.installed() / "bin" / "python"), str(program)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.strip() == ANSWER
    assert "sunny in Rome" in api.engine.tokenizer.decode(api.engine.calls[1][1])


def test_the_page_names_them_with_their_versions() -> None:
    page = PAGE.read_text()
    for client in (*CLIENTS, CODEX, OPENAI_NODE):
        assert f"| {client.name} | {client.version} |" in page
