"""The largest values of settings and options: what timers, dates, Postgres and JSON still hold.

Every number that can be set has a least and a largest value, declared where it is declared, so
that none can be infinite, no number at all, or of a size that something further in breaks on.
"""

from __future__ import annotations

SECONDS = 1e9
"""Thirty years: a timer takes it, and added to a date it is a date."""
DAYS = 36_500
"""A century."""
COUNT = 2**31 - 1
"""What Postgres holds as an ``integer``."""
BYTES = 2**50
MIB = 2**20
"""A tebibyte in MiB: as a limit in kilobytes it still is an ``integer`` of Postgres."""
WEIGHT = 1e6
"""Of factors, weights and ratios: far above any that make sense."""
LEAST_SECONDS = 0.01
"""Between two looks at something: below it the looking is all that is done."""
STOPS = 32
"""Stop strings of one request."""
