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
