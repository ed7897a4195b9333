"""Ways to merge adapters, as PEFT has them."""

from __future__ import annotations

from typing import Literal, get_args

Method = Literal[
    "svd",
    "linear",
    "cat",
    "ties",
    "ties-svd",
    "dare-linear",
    "dare-ties",
    "dare-linear-svd",
    "dare-ties-svd",
    "magnitude-prune",
    "magnitude-prune-svd",
]
METHODS: tuple[Method, ...] = get_args(Method)
ELSEWHERE = {
    "slerp": "PEFT does not have it, and mergekit, which has, cannot be installed beside today's"
    " Transformers; how to use it on exported weights is in docs/sharing.md"
}
"""Known ways that PEFT does not have, and what to do."""
