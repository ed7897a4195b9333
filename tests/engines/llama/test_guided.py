from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.serve.api.doubles import make_tokenizer

from liveweights.engines.guide import GuideMaker
from liveweights.engines.llama.events import Candidate
from liveweights.engines.llama.guided import GuidedDraws
from liveweights.engines.protocol import Constraint, Sampling

TOKENIZER = make_tokenizer()
SIZE = len(TOKENIZER)


def test_tokens_beyond_the_vocabulary_are_left_out() -> None:
    """Qwen's weights have rows for more tokens than its tokenizer has."""
    yes = TOKENIZER.encode("y")[0]

    async def ask(how: dict[str, Any]) -> Sequence[Candidate]:
        top = [SIZE + 3, yes, TOKENIZER.encode("n")[0], SIZE]
        return [Candidate(SIZE + 3, -0.1), *(Candidate(id, -1.0 - id / SIZE) for id in top)]

    async def scenario() -> tuple[int, float, float, list[tuple[int, float]]]:
        constraint = Constraint("lark", 'start: "y" | "n"')
        guide = await GuideMaker(TOKENIZER, {TOKENIZER.eos_token_id}).make(constraint)
        sampling = Sampling(max_tokens=1, temperature=0.0, constraint=constraint)
        draws = GuidedDraws(sampling, guide, None, vocabulary=SIZE, candidates=1)
        return await draws.draw(ask)

    token, _, raw, alternatives = asyncio.run(scenario())
    assert token in (yes, TOKENIZER.encode("n")[0])
    assert raw == -1.0 - token / SIZE
    assert all(id < SIZE for id, _ in alternatives)
