"""Weights for others, and of others: exports that repeat nobody's words, and merges."""
