"""Transformers in this process: any architecture, and the reference for the other engines."""
