"""Losses over answer tokens, one per file, pure.

Shapes: B rows, T answer tokens of all rows end to end; ``row_T`` says which row a token belongs
to. ``logprobs_T`` are the trainer's, with gradient. ``behaviour_T`` are the recorded ones of the
policy that sampled the answer; where it matters, ``incumbent_T`` are the trainer's own under the
weights that the update starts from. The two are never mixed up: their difference is the
mismatch between server and trainer.

A loss returns one value per token; a step sums them over the tokens of a row and averages over
rows.
"""
