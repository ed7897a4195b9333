"""Serve an open-weight model, learn from its users, and release better weights with proof."""

__version__ = "0.1.0"
