"""The record of what happened: generations and feedback, append-only, joined by id."""
