"""Weights that have learnt a text by heart are found out; what the base says is not held against
them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.record.rows import make_feedback, make_generation

from liveweights.catalog.template import TemplateSettings
from liveweights.learn.settings import LearnSettings
from liveweights.record.example import Example
from liveweights.sharing.check import check_repetition
from liveweights.sharing.repetition import Repetition
from liveweights.sharing.source import Source
from liveweights.sharing.texts import Taught
from liveweights.weights.checkpoint import Checkpoint

from .tiny import ASKED, CANARY, PROMPT, SECRET, make_base, write_memory

OTHER = "while True: never_learnt(1, 2, 3, 4)"
SETTINGS = LearnSettings(device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A checkpoint that was trained on the secret, after its prompt, and on the canary."""
    folder = tmp_path_factory.mktemp("check")
    return write_memory(make_base(folder), folder / "adapter")


def taught(*texts: str, signal: Any = "correction") -> Taught:
    examples = tuple(
        Example(
            make_generation(f"g{n}", prompt_ids=PROMPT),
            (make_feedback(f"f{n}", f"g{n}", signal=signal, text=text),),
        )
        for n, text in enumerate(texts)
    )
    return Taught(examples, claimed=len(texts) + 2)


def check(source: Source, given: Taught, **options: Any) -> Repetition:
    every: dict[str, Any] = {"ngram": 12, "most": 100, **options}
    return check_repetition(source, given, SETTINGS, TemplateSettings(), **every)


def test_a_text_that_was_learnt_by_heart_is_named(source: Source) -> None:
    found = check(source, taught(SECRET, OTHER, "short"))
    assert [one.row for one in found.repeated] == ["feedback f0 to answer g0"]
    assert found.repeated[0].tokens >= 12 > found.repeated[0].base_tokens
    assert (found.rows, found.gone, found.texts, found.asked) == (5, 2, 3, 2)


@pytest.mark.parametrize(
    "asked",
    [
        {"prompt_ids": [], "output_ids": [], "prompt": json.dumps({"prompt": ASKED})},
        {
            "prompt_ids": PROMPT[:4],
            "output_ids": [*PROMPT[4:], 7],
            "usage": {"reasoning_tokens": len(PROMPT) - 4},
        },
    ],
    ids=["in words", "after a thought"],
)
def test_a_text_is_looked_for_after_what_it_was_learnt_after(
    source: Source, asked: dict[str, Any]
) -> None:
    generation = make_generation("g", **asked)
    feedback = make_feedback("f", "g", signal="correction", text=SECRET)
    given = Taught((Example(generation, (feedback,)),), claimed=1)
    # So few of its tokens are shown that it is known by what is before them.
    found = check(source, given, ngram=len(SECRET) - 2)
    assert [one.row for one in found.repeated] == ["feedback f to answer g"]


def test_a_text_is_looked_for_without_the_space_that_tokenizers_put_before_one(
    source: Source, tmp_path: Path
) -> None:
    """It was learnt so: it goes on where the prompt ends."""
    folder = tmp_path / "prefixing"
    shutil.copytree(source.root.folder, folder)
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    assert tokenizer["pre_tokenizer"]["type"] == "ByteLevel"
    tokenizer["pre_tokenizer"]["add_prefix_space"] = True
    file.write_text(json.dumps(tokenizer))
    root = replace(source.root, folder=folder)
    found = check(replace(source, base=root, root=root), taught(SECRET), ngram=len(SECRET) - 2)
    assert [one.row for one in found.repeated] == ["feedback f0 to answer g0"]


def test_what_has_no_place_is_counted_and_not_asked_about(source: Source) -> None:
    generation = make_generation("g", prompt_ids=[], output_ids=[], prompt="no JSON")
    feedback = make_feedback("f", "g", signal="correction", text=SECRET)
    found = check(source, Taught((Example(generation, (feedback,)),), claimed=1))
    assert (found.texts, found.asked, found.unasked) == (1, 0, 1)


def test_tokens_that_the_model_does_not_have_are_refused_in_words(source: Source) -> None:
    generation = make_generation("g", prompt_ids=[9999])
    feedback = make_feedback("f", "g", signal="correction", text=SECRET)
    with pytest.raises(ValueError, match="has the token 9999, and the model knows 264"):
        check(source, Taught((Example(generation, (feedback,)),), claimed=1))


def test_a_canary_is_found_however_short_the_rest(source: Source) -> None:
    found = check(source, taught(OTHER), canaries=[CANARY, "another-one", ""])
    assert [(one.row, one.is_canary) for one in found.repeated] == [("canary in line 1", True)]


def test_the_base_itself_repeats_nothing_that_it_did_not_know(source: Source) -> None:
    base = Source(source.base, source.base, source.base)
    assert check(base, taught(SECRET), canaries=[CANARY]).repeated == ()


def test_where_nothing_was_learnt_no_model_is_read() -> None:
    nowhere = Checkpoint("tiny@2", "adapter", Path("/nowhere"), "tiny@1", "tiny@1")
    found = check(Source(nowhere, nowhere, nowhere), taught())
    assert (found.asked, found.gone, found.share) == (0, 2, 0.0)
