"""Which syntax a model's chat template writes."""

from __future__ import annotations

import re

from liveweights.serve.api.syntax import hermes, llama3, mistral
from liveweights.serve.api.syntax.protocol import Syntax
from liveweights.serve.api.tokenization import Tokenizer


def takes_tools(template: str) -> bool:
    """Whether the template itself writes the tools into the prompt."""
    return re.search(r"\btools\b", template) is not None


def find_syntax(tokenizer: Tokenizer) -> Syntax | None:
    """The family's syntax; Hermes' where the template knows nothing of tools; None where it
    writes them in a way that is not known here."""
    template = str(tokenizer.chat_template or "")
    vocabulary = tokenizer.get_vocab()
    marks = vocabulary.get(hermes.BEGIN), vocabulary.get(hermes.END)
    if not takes_tools(template):
        return hermes.Hermes(*marks)
    if hermes.BEGIN in template and "<function=" not in template:
        return hermes.Hermes(*marks)
    if mistral.TRIGGER in template or mistral.TRIGGER in vocabulary:
        return mistral.Mistral(vocabulary.get(mistral.TRIGGER))
    if llama3.TRIGGER in vocabulary or '"parameters"' in template:
        return llama3.Llama3(vocabulary.get(llama3.TRIGGER))
    return None
