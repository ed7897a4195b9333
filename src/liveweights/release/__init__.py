"""Immutable checkpoints reach users: probe, canary, promote, roll back; and their lineage."""
