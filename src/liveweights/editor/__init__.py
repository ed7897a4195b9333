"""A language server: suggestions in people's own editors, and what becomes of them as feedback."""
