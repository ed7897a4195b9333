"""Money: whole billionths ("nanos") of a currency, never a float."""

from __future__ import annotations

from decimal import Decimal

NO_CURRENCY = "XXX"
"""ISO 4217's code for where no currency is involved: of what has no price."""
_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF"), 0),
    **dict.fromkeys(("UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
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
