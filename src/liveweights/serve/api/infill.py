"""Fill-in-the-middle prompts, for models that were trained on them."""

from __future__ import annotations

from dataclasses import dataclass

from liveweights.serve.api.encoder import Encoder
from liveweights.serve.api.tokenization import Tokenizer

# Each family's names for prefix, suffix and middle. DeepSeek's "hole" stands where the prefix
# ends, its "end" where the middle begins.
FAMILIES = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen, CodeGemma
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder (arXiv 2305.06161)
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),  # Code Llama (arXiv 2308.12950)
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek
)


@dataclass(frozen=True, slots=True)
class Infill:
    """Prefix-suffix-middle order (arXiv 2207.14255, section 3), as token ids."""

    prefix: int
    suffix: int
    middle: int

    def read(self, encoder: Encoder, before: str, after: str) -> list[int]:
        """Control tokens in either text are text; what the tokenizer begins every text with stands
        first. Raises TooLong."""
        begin = encoder.tokenizer.encode("", add_special_tokens=True)
        head = encoder.read_text(before, special=False)
        tail = encoder.read_text(after, special=False)
        return [*begin, self.prefix, *head, self.suffix, *tail, self.middle]


def find_infill(tokenizer: Tokenizer) -> Infill | None:
    """The tokenizer's fill-in-the-middle tokens, or None if it has none."""
    vocabulary = tokenizer.get_vocab()
    for names in FAMILIES:
        if all(name in vocabulary for name in names):
            return Infill(*(vocabulary[name] for name in names))
    return None
