"""Which syntax a model's chat template writes, and how its family thinks."""

from __future__ import annotations

import re

from liveweights.catalog.template import THOUGHT_MARKS
from liveweights.serve.api.syntax import (
    deepseek,
    glm,
    harmony,
    hermes,
    kimi,
    llama3,
    minimax,
    mistral,
    nemotron,
    qwen3_coder,
)
from liveweights.serve.api.syntax.protocol import Syntax
from liveweights.serve.api.syntax.thinking import Tags, Thinker
from liveweights.serve.api.tokenization import Tokenizer


def takes_tools(template: str) -> bool:
    """Whether the template itself writes the tools into the prompt."""
    return re.search(r"\btools\b", template) is not None


def find_syntax(tokenizer: Tokenizer) -> Syntax | None:
    """The family's syntax; Hermes' where the template knows nothing of tools; None where it
    writes them in a way that is not known here."""
    template = str(tokenizer.chat_template or "")
    vocabulary = tokenizer.get_vocab()
    if harmony.CHANNEL in template:
        return harmony.Harmony(vocabulary)
    if kimi.SECTION_BEGIN in template:
        return kimi.Kimi(vocabulary)
    if deepseek.CALLS_BEGIN in template:
        return deepseek.DeepSeek(vocabulary, fenced="```json" in template)
    marks = vocabulary.get(hermes.BEGIN), vocabulary.get(hermes.END)
    if not takes_tools(template):
        return hermes.Hermes(*marks)
    if minimax.M3 in template:
        return None
    if minimax.BEGIN in template:
        return minimax.MiniMax(vocabulary)
    if nemotron.BEGIN in template:
        return nemotron.Nemotron(vocabulary)
    if hermes.BEGIN in template:
        if glm.KEY_BEGIN in template:
            return glm.Glm(vocabulary, packed=glm.PACKED in template)
        if qwen3_coder.FUNCTION in template:
            return qwen3_coder.Qwen3Coder(vocabulary)
        return hermes.Hermes(*marks)
    if mistral.TRIGGER in template or mistral.TRIGGER in vocabulary:
        return mistral.Mistral(vocabulary)
    if llama3.TRIGGER in vocabulary or '"parameters"' in template:
        return llama3.Llama3(vocabulary.get(llama3.TRIGGER))
    return None


def find_thinker(tokenizer: Tokenizer) -> Thinker | None:
    """How the family thinks: its template has the marks, or its vocabulary; None where neither
    has."""
    template = str(tokenizer.chat_template or "")
    vocabulary = tokenizer.get_vocab()
    if harmony.CHANNEL in template:
        return harmony.Channels(vocabulary)
    for begin, end in THOUGHT_MARKS:
        ids = vocabulary.get(begin), vocabulary.get(end)
        if begin in template or end in template or None not in ids:
            section = vocabulary.get(kimi.SECTION_BEGIN)
            calls = () if section is None else ((kimi.SECTION_BEGIN, section),)
            return Tags(begin, end, *ids, calls=calls)
    return None
