"""Money: whole billionths ("nanos") of a currency, never a float."""

from __future__ import annotations

import re
from decimal import Decimal

NANOS = 1_000_000_000
"""Of one unit of a currency: money is counted in whole billionths."""
MOST_NANOS = 10**18
"""A billion units of a currency: far within what Postgres holds as a ``bigint``."""
_AMOUNT = re.compile(r"-?[0-9]{1,10}(\.[0-9]{1,9})?")
NO_CURRENCY = "XXX"
"""ISO 4217's code for where no currency is involved: of what has no price."""
_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF"), 0),
    **dict.fromkeys(("UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("CLF", "UYW"), 4),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


def divide(number: int, by: int) -> int:
    """``number / by`` to the nearest whole number, halves to the even one; ``by`` is positive."""
    whole, rest = divmod(number, by)
    if 2 * rest > by or (2 * rest == by and whole % 2):
        whole += 1
    return whole


def scaled(value: float, digits: int) -> int:
    """``value`` as a settings file writes it, in units of 10^-digits. Raises ValueError where it
    is finer than that."""
    exact = Decimal(repr(value)).scaleb(digits)  # the shortest that reads as this float
    if exact != exact.to_integral_value():
        raise ValueError(f"{value!r} has more than {digits} decimals")
    return int(exact)


def minor_digits(currency: str) -> int:
    """Decimals of the smallest amount that is paid in ``currency`` (ISO 4217)."""
    return _DIGITS.get(currency, 2)


def to_minor(nanos: int, currency: str) -> int:
    """In the smallest amounts that are paid, halves to the even one."""
    return divide(nanos, 10 ** (9 - minor_digits(currency)))


def show_minor(amount: int, currency: str) -> str:
    """An amount of ``to_minor`` for people: ``1234`` of USD is ``12.34``."""
    digits = minor_digits(currency)
    sign, text = ("-" if amount < 0 else ""), f"{abs(amount):0{digits + 1}d}"
    return f"{sign}{text[:-digits]}.{text[-digits:]}" if digits else f"{sign}{text}"


def parse_money(text: str) -> int:
    """Billionths of a currency, of an amount such as ``12.50``. Raises ValueError for what is no
    amount, is finer than a billionth, or beyond a billion."""
    if not _AMOUNT.fullmatch(text):
        raise ValueError(
            f"{text[:50]!r} is no amount of money: write it as 12.50, with at most 9 decimals"
        )
    nanos = int(Decimal(text).scaleb(9))
    if abs(nanos) > MOST_NANOS:
        raise ValueError(f"{text[:50]!r} is more than a billion")
    return nanos


def show_money(nanos: int) -> str:
    """Exactly, with two decimals at least: ``12.50``."""
    sign, whole = ("-" if nanos < 0 else ""), abs(nanos)
    decimals = f"{whole % NANOS:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole // NANOS}.{decimals}"
