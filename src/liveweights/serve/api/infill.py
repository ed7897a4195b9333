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

    async def encode(self, encoder: Encoder, before: str, after: str, tenant: str) -> list[int]:
        """Control tokens in either text are text; what the tokenizer begins every text with stands
        first. Raises ApiError 400 for what cannot fit, 429."""
        begin = encoder.tokenizer.encode("", add_special_tokens=True)
        head = await encoder.encode_text(before, tenant, special=False)
        tail = await encoder.encode_text(after, tenant, special=False, param="suffix")
        return [*begin, self.prefix, *head, self.suffix, *tail, self.middle]


def find_infill(tokenizer: Tokenizer) -> Infill | None:
    """The tokenizer's fill-in-the-middle tokens, or None if it has none."""
    vocabulary = tokenizer.get_vocab()
    for names in FAMILIES:
        if all(name in vocabulary for name in names):
            return Infill(*(vocabulary[name] for name in names))
    return None
