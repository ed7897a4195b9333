"""What a kernel is told of one product: the layout of its job in memory."""

from __future__ import annotations

BLOCK = 4
"""Rows that are computed together."""
STEP = 64
"""Columns of which a token's activations are rounded with one step."""
JOB = ("codes", "scales", "activations", "sums", "steps", "out", "rows", "columns", "tokens",
       "width", "taken", "share")  # fmt: skip
"""The 64-bit fields of a job: six addresses; N, K, how many tokens, values from one token's output
to the next; the rows that threads have taken so far, and how many they take at once."""
LOW_RANK_JOB = ("x", "down", "up", "hidden", "out", "rank", "inputs", "outputs", "tokens", "phases",
                "rank_taken", "outputs_taken")  # fmt: skip
"""Those of an adapter's job: five addresses; R, K, N, T; the phases that are computed; what threads
have taken so far of the rank, and of the outputs. The scale comes after them, in 32 bits."""
DOWN, UP = 1, 2
"""The phases of an adapter's product; their sum is both."""
