"""The command line."""

from __future__ import annotations

from liveweights.cli.commands import app


def main() -> None:
    """Entry point of ``liveweights``."""
    app()
