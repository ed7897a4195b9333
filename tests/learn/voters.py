"""Whose rows are, where a test does not care."""

from __future__ import annotations

from liveweights.learn.voters import Voter


def make_voter(user: str = "u", tenant: str = "t", *, key: str = "", known: bool = True) -> Voter:
    """A voter of his own."""
    return Voter(tenant, f"{tenant}/{key}", f"{tenant}/{user}", f"{tenant}/{user}", known)


SOMEBODY = make_voter()
