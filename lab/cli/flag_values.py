"""Values of options: the flags of a command line, with the `LAB_*` variables behind them.

Not here: which options there are (`options`, and the commands with options of their own).
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from lab import settings
from lab.did_you_mean import did_you_mean
from lab.settings_table import SETTINGS

_SEED_DIGITS_MAX: Final = 19
_ON_OFF: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}

Flags = Mapping[str, str | Sequence[str] | bool | None]
"""Options by their long names without `--`, as the shell gave them."""


class OptionError(ValueError):
    """An option or its variable has a value that cannot be used."""


def flags_of(parameters: Mapping[str, str | Sequence[str] | bool | None]) -> Flags:
    """The parameters of a command by the names of its options; `set_` is `--set`."""
    return {name.rstrip("_").replace("_", "-"): value for name, value in parameters.items()}


class Given:
    """Flags with the `LAB_*` variables behind them."""

    def __init__(self, flags: Flags) -> None:
        self._flags = flags
        self._variables = settings.environment()

    def text(self, name: str) -> tuple[str, str] | None:
        """The place and text of one option; None if neither flag nor variable was given."""
        flag = self._flags.get(name)
        if isinstance(flag, str):
            return f"--{name}", flag
        variable = name.replace("-", "_").upper()
        if variable in self._variables:
            return f"LAB_{variable}", self._variables[variable].strip()
        return None

    def whole(self, name: str) -> int | None:
        """A whole number."""
        found = self.text(name)
        if found is None:
            return None
        place, text = found
        if not re.fullmatch(rf"[0-9]{{1,{_SEED_DIGITS_MAX}}}", text):
            raise OptionError(f"{place} must be a whole number, not {text!r}")
        return int(text)

    def number(self, name: str) -> float | None:
        """A number above 0."""
        found = self.text(name)
        if found is None:
            return None
        place, text = found
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise OptionError(f"{place} must be a number above 0, not {text!r}")
        return value

    def word(self, name: str, choices: Sequence[str]) -> str | None:
        """One of a few words."""
        found = self.text(name)
        if found is None:
            return None
        place, text = found
        if text not in choices:
            raise OptionError(f"{place} must be {' or '.join(choices)}, not {text!r}")
        return text

    def switch(self, name: str) -> bool:
        """A flag without a value; its variable is on with `1`, `true` or `yes`."""
        if self._flags.get(name):
            return True
        text = self._variables.get(name.replace("-", "_").upper(), "0").strip().lower()
        if text not in _ON_OFF:
            variable = name.replace("-", "_").upper()
            raise OptionError(f"LAB_{variable} must be 1 or 0, not {text!r}")
        return _ON_OFF[text]

    def many(self, name: str, *, separator: str | None = None) -> tuple[str, ...]:
        """Texts of a repeatable option; `separator` cuts each into several."""
        texts = self._texts(name)
        if not texts and (found := self.text(name)) is not None:
            texts = (found[1],)
        if separator is None:
            return tuple(texts)
        parts = (part.strip() for text in texts for part in text.split(separator))
        return tuple(dict.fromkeys(part for part in parts if part))

    def _texts(self, name: str) -> Sequence[str]:
        flag = self._flags.get(name)
        return () if flag is None or isinstance(flag, str | bool) else flag

    def changes(self) -> dict[str, str]:
        """Changed policies: of `LAB_SET_*`, then those of `--set` on top."""
        changes = _variable_changes(self._variables)
        for text in self._texts("set"):
            key, equals, value = text.partition("=")
            if not equals or not key.strip():
                raise OptionError(
                    f"--set must be KEY=VALUE, not {text!r} (see: lab list --settings)"
                )
            changes[key.strip()] = value.strip()
        return changes


def _variable_changes(variables: Mapping[str, str]) -> dict[str, str]:
    """The policies that `LAB_SET_RETRY_ATTEMPTS_MAX` and the like change."""
    names = {one.name.replace(".", "_").upper(): one.name for one in SETTINGS}
    changes = {}
    for variable, value in variables.items():
        if variable.startswith("SET_"):
            short = variable.removeprefix("SET_")
            if short not in names:
                hint = did_you_mean(short, names, prefix="LAB_SET_")
                raise settings.SettingError(f"unknown setting in LAB_{variable}{hint}")
            changes[names[short]] = value.strip()
    return changes
