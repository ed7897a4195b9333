"""Transformers in this process with ternary weights, multiplied by kernels of our own."""
