"""How many decimals the amounts of a currency have.

Not here: which currencies an order may have (`request`).
"""

from decimal import Decimal
from typing import Final

_DIGITS: Final = 2
_NO_DIGITS: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE_DIGITS: Final = "BHD IQD JOD KWD LYD OMR TND"
_DIGITS_OF: Final = {
    code: digits
    for codes, digits in ((_NO_DIGITS, 0), (_THREE_DIGITS, 3))
    for code in codes.split()
}


def minor_digits(currency: str) -> int:
    """Decimals of an amount in the currency's major unit: 2 for EUR, 0 for JPY, 3 for KWD.

    Source: ISO 4217 list one, minor units.
    """
    return _DIGITS_OF.get(currency, _DIGITS)


def in_major_units(amount: int, currency: str) -> str:
    """An amount in minor units as people write it: 195,305 of GBP is `1,953.05 GBP`."""
    digits = minor_digits(currency)
    return f"{Decimal(amount).scaleb(-digits):,.{digits}f} {currency}"
