from __future__ import annotations

from liveweights.exposure.revenue import Nanos, add, in_units, shares_of, tell, tell_shares


def test_currencies_are_never_added_up() -> None:
    sums: Nanos = {}
    for more in ({"USD": 2 * 10**9, "EUR": 10**9}, {"USD": -(10**9)}, {"GBP": 0}):
        add(sums, more)
    assert in_units(sums) == {"EUR": 1.0, "USD": 1.0}
    assert shares_of({"USD": 10**9}, sums) == {"EUR": 0.0, "USD": 1.0}


def test_amounts_are_told_with_their_currencies() -> None:
    assert tell({"EUR": 1234.5, "USD": 0.004}) == "1,234.50 EUR, 0.00 USD"
    assert tell({}) == tell_shares({}) == "none"
    assert tell_shares({"EUR": 0.5}) == "50.0%"
    assert tell_shares({"EUR": 0.5, "USD": 1.0}) == "50.0% of EUR, 100.0% of USD"
