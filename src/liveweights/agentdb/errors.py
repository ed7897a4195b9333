"""What can go wrong that a caller can do something about."""

from __future__ import annotations


class Refused(ValueError):
    """It is not allowed, or not possible now; the message says what would be."""


class NoDatabase(LookupError):
    """There is no such database, or it is somebody else's."""


class HostError(RuntimeError):
    """The server of the databases does not run; the message has the tail of its log."""
