"""Folders of documents, indexed in the service's Postgres: words, and parts of words."""
