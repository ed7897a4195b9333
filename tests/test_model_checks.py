from __future__ import annotations

from pathlib import Path

import pytest
from tests.test_config import AT, read

from liveweights.model_table import ConfigError


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f'[models.a]\n{AT}base = "x"\n', "models.a is a hosted model, .* cannot have `base`"),
        (f"[models.a]\n{AT}learn = false\n", "cannot have `learn`"),
        (f"[models.a]\n{AT}pinned = true\n", "cannot have `pinned`"),
        (f'[models.a]\n{AT}engine = {{ kind = "torch" }}\n', "cannot have `engine`"),
        ('[models.a]\nkey_env = "K"\ntimeout = 5\n', "a local model, .* `key_env`, `timeout`"),
        ('[models.a]\nupstream = "ftp://h"\n', "models"),
        ('[models.a]\nupstream = "http://user:word@h"\n', "models"),
        (f"[models.a]\n{AT}timeout = 0\n", "> 0"),
        (f'[models.a]\n{AT}key_env = "A B"\n', "key_env"),
        (f'[models.a]\n{AT}fallback = ["b"]\n', "models.a.fallback: no model is called 'b'"),
        (f'[models.a]\n{AT}fallback = ["a"]\n', "in a circle, a to a"),
        (
            f'[models.a]\n{AT}fallback = ["b"]\n[models.b]\n{AT}fallback = ["a"]\n',
            "in a circle, a to b to a",
        ),
        ("[models.a]\nquirks = ['max_tokens']\nbudget = { day = 1 }\n", "`quirks`, `budget`"),
        (f"[models.a]\n{AT}quirks = ['odd']\n", "quirks"),
        (f"[models.a]\n{AT}budget = {{ year = 1 }}\n", "budget"),
        (f"[models.a]\n{AT}budget = {{ day = 0 }}\n", "> 0"),
        (f"[models.a]\n{AT}context = 3\n", ">= 64"),
        ('[models.a]\nfallback = ["b"]\n', "models.a.fallback: no model is called 'b'"),
        (
            f'[models.a]\nfallback = ["b"]\n[models.b]\n{AT}fallback = ["a"]\n',
            "in a circle, a to b to a",
        ),
        (
            "[models.a]\ncontext = 512\nengine = { context_length = 256 }\n",
            "models.a.context is 512, and its engine.context_length is 256",
        ),
        (f"[models.auto]\n{AT}", "no model can be called 'auto'"),
        ('[models.a]\nlearn_from = "b"\n', "models.a.learn_from: no hosted model is called 'b'"),
        (
            f'[models.a]\nlearn = false\nlearn_from = "b"\n[models.b]\n{AT}',
            "models.a.learn_from: the model does not learn",
        ),
    ],
)
def test_what_is_wrong_in_a_hosted_table_is_told(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read(tmp_path, text)


def test_whole_models_of_each_tenant_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="per_tenant of 'code' needs"):
        read(tmp_path, '[learn]\nper_tenant = true\nupdater = "full"\n')
