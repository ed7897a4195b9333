"""Ternary weights in files: {-1, 0, 1} with a scale per group, packed and unpacked."""
