"""What a user of the console may do: each role may what those before it may."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Role: TypeAlias = Literal["viewer", "rater", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""See; also say what answers are worth; also change what answers; also say who may what."""
OF_TENANTS: tuple[Role, ...] = ("viewer", "rater")
"""Roles of users who see one tenant only: what answers is everybody's."""


def allows(role: Role, needed: Role) -> bool:
    """Whether ``role`` may do what ``needed`` may."""
    return ROLES.index(role) >= ROLES.index(needed)
