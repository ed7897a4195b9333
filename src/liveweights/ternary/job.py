"""What kernels are told of one product: their arguments, and the layout of their jobs in memory."""

from __future__ import annotations

BLOCK = 4
"""Rows that are computed together."""
STEP = 64
"""Columns of which a token's activations are rounded with one step."""
JOB = ("codes", "scales", "activations", "sums", "steps", "out", "rows", "columns", "tokens",
       "taken", "share")  # fmt: skip
"""The 64-bit fields of a job: six addresses; N, K, how many tokens; the rows that threads have
taken so far, and how many they take at once."""
LOW_RANK_JOB = ("x", "down", "up", "hidden", "out", "rank", "inputs", "outputs", "tokens", "phases",
                "rank_taken", "outputs_taken", "scale")  # fmt: skip
"""Those of an adapter's job: five addresses; R, K, N, T; the phases that are computed; what threads
have taken so far of the rank, and of the outputs; the scale, in the first 32 bits."""
DOWN, UP = 1, 2
"""The phases of an adapter's product; their sum is both."""
ARGUMENTS = ("codes", "scales", "rows", "columns", "x", "tokens", "out", "parallel", "threads")
"""Of a whole multiplication, 64 bits each: addresses, but for N, K, T and how many threads."""
ADAPTER_ARGUMENTS = ("down", "up", "rank", "scale")
"""What it is told of an adapter besides: two addresses, R, and a float of 32 bits."""
