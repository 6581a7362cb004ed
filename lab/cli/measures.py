"""Lengths of time and sizes as people say them: in the unit in which they are a small number."""

import re
from typing import Final

_AGES: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_SIZES: Final = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))
_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DAYS_MAX: Final = 36_500


def age(seconds: float) -> str:
    """A time that has passed, such as `3 min`."""
    whole = max(int(seconds), 0)
    unit, of_s = next((one for one in _AGES if whole >= one[1]), _AGES[-1])
    return f"{whole // of_s:,} {unit}"


def size(many: int) -> str:
    """So many bytes, such as `1.2 MB`."""
    for unit, of in _SIZES:
        if many >= of:
            return f"{many / of:.1f} {unit}"
    return f"{many} B"


def length_ms(text: str) -> int:
    """A length of time such as `7d`, `12h`, `30m` or `90s`, in milliseconds; 0 if it is none."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text.strip())
    found_ms = int(found[1]) * _UNITS_MS[found[2]] if found else 0
    return found_ms if found_ms <= _DAYS_MAX * _UNITS_MS["d"] else 0
