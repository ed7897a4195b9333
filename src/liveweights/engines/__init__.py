"""Engines turn prompts into tokens with their log-probabilities."""
