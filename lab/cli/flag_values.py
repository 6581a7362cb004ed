"""Values of flags, with the `LAB_*` variables behind them: a flag goes before its variable.

A message names the one that was given: `--seed` or `LAB_SEED`. Not here: which flags there are
(`options`, and the commands with flags of their own).
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from lab.cli.measures import length_ms

_SEED_DIGITS_MAX: Final = 19
_ON_OFF: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


class OptionError(ValueError):
    """A flag or its variable has a value that cannot be used."""


class FlagValues:
    """Reads flags; a method is given the name of one without `--`, and its value on the shell.

    A flag that was not given is None (a switch: False); its variable decides then, else nobody.

    Args:
        has_variables: False: only flags count, as for what must be said each time.
    """

    def __init__(self, *, has_variables: bool = True) -> None:
        from lab.settings import environment

        self._variables: Mapping[str, str] = environment() if has_variables else {}

    def text(self, name: str, flag: str | None) -> str | None:
        """Any text."""
        found = self._find(name, flag)
        return None if found is None else found[1]

    def filled(self, name: str, flag: str | None) -> str | None:
        """Any text but an empty one, such as that of a shell variable that is not set.

        Raises:
            OptionError: it is empty.
        """
        found = self._find(name, flag)
        if found is not None and not found[1].strip():
            raise OptionError(f"{found[0]} is empty: give it a value, or leave it out")
        return None if found is None else found[1]

    def text_or(self, name: str, flag: str | None, usual: str) -> str:
        """Any text; `usual` if it was given nowhere."""
        found = self.text(name, flag)
        return usual if found is None else found

    def matching(self, name: str, flag: str | None, pattern: str, rule: str) -> str | None:
        """A text that matches a regular expression as a whole; `rule` says so in a message.

        Raises:
            OptionError: it does not.
        """
        found = self._find(name, flag)
        if found is None:
            return None
        place, text = found
        if not re.fullmatch(pattern, text):
            raise OptionError(f"{place} must be {rule}, not {text!r}")
        return text

    def whole(self, name: str, flag: str | None) -> int | None:
        """A whole number.

        Raises:
            OptionError: it is none.
        """
        found = self.matching(name, flag, rf"[0-9]{{1,{_SEED_DIGITS_MAX}}}", "a whole number")
        return None if found is None else int(found)

    def number(self, name: str, flag: str | None) -> float | None:
        """A number above 0.

        Raises:
            OptionError: it is none.
        """
        found = self._find(name, flag)
        if found is None:
            return None
        place, text = found
        value = _to_float(text)
        if not 0 < value < math.inf:
            raise OptionError(f"{place} must be a number above 0, not {text!r}")
        return value

    def number_between(
        self, name: str, flag: str | None, bounds: tuple[float, float], unit: str = "a number"
    ) -> float | None:
        """A number within `bounds`, both included; `unit` names its unit in a message.

        Raises:
            OptionError: it is none.
        """
        found = self._find(name, flag)
        if found is None:
            return None
        place, text = found
        least, most = bounds
        if not least <= _to_float(text) <= most:
            raise OptionError(f"{place} must be {unit} from {least:g} to {most:,.0f}, not {text!r}")
        return _to_float(text)

    def length_ms(self, name: str, flag: str | None) -> int | None:
        """A length of time, in milliseconds.

        Raises:
            OptionError: it is none.
        """
        found = self._find(name, flag)
        if found is None:
            return None
        place, text = found
        if not (found_ms := length_ms(text)):
            raise OptionError(
                f"{place} must be a length of time such as 7d, 12h, 30m or 90s, not {text!r}"
            )
        return found_ms

    def word(self, name: str, flag: str | None, choices: Sequence[str]) -> str | None:
        """One of a few words.

        Raises:
            OptionError: it is none of them.
        """
        found = self._find(name, flag)
        if found is None:
            return None
        place, text = found
        if text not in choices:
            raise OptionError(f"{place} must be {' or '.join(choices)}, not {text!r}")
        return text

    def switch(self, name: str, *, flag: bool) -> bool:
        """A flag without a value; its variable is on with `1`, `true` or `yes`.

        Raises:
            OptionError: the variable says neither on nor off.
        """
        if flag:
            return True
        variable = _variable_of(name)
        text = self._variables.get(variable, "0").strip().lower()
        if text not in _ON_OFF:
            raise OptionError(f"LAB_{variable} must be 1 or 0, not {text!r}")
        return _ON_OFF[text]

    def many(
        self, name: str, flags: Sequence[str] | None, *, separator: str | None = None
    ) -> tuple[str, ...]:
        """Texts of a repeatable flag; `separator` cuts each into several, each kept once."""
        texts: Sequence[str] = flags or ()
        if not texts and (found := self._find(name, None)) is not None:
            texts = (found[1],)
        if separator is None:
            return tuple(texts)
        parts = (part.strip() for text in texts for part in text.split(separator))
        return tuple(dict.fromkeys(part for part in parts if part))

    def policies(self, flags: Sequence[str] | None) -> dict[str, str]:
        """Policies that differ: those of `LAB_SET_*`, then the values of `--set` on top.

        Raises:
            OptionError: a `--set` is not KEY=VALUE.
            SettingError: a `LAB_SET_*` variable names no policy.
        """
        changes = _policies_of_variables(self._variables)
        for text in flags or ():
            key, equals, value = text.partition("=")
            if not equals or not key.strip():
                raise OptionError(
                    f"--set must be KEY=VALUE, not {text!r} (see: lab list --settings)"
                )
            changes[key.strip()] = value.strip()
        return changes

    def _find(self, name: str, flag: str | None) -> tuple[str, str] | None:
        """The place in which a value was given, and its text; None if it was given nowhere."""
        if flag is not None:
            return f"--{name}", flag
        variable = _variable_of(name)
        if variable in self._variables:
            return f"LAB_{variable}", self._variables[variable].strip()
        return None


def _variable_of(name: str) -> str:
    """The variable of a flag, without `LAB_`."""
    return name.replace("-", "_").upper()


def _to_float(text: str) -> float:
    """A number; NaN if the text is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _policies_of_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """The policies that `LAB_SET_RETRY_ATTEMPTS_MAX` and the like change."""
    prefix = "SET_"
    given = {
        variable.removeprefix(prefix): value.strip()
        for variable, value in variables.items()
        if variable.startswith(prefix)
    }
    if not given:
        return {}
    from lab.did_you_mean import did_you_mean
    from lab.settings import SettingError
    from lab.settings_table import SETTINGS

    names = {_variable_of(one.name.replace(".", "_")): one.name for one in SETTINGS}
    for short in given:
        if short not in names:
            hint = did_you_mean(short, names, prefix=f"LAB_{prefix}")
            raise SettingError(f"unknown setting in LAB_{prefix}{short}{hint}")
    return {names[short]: value for short, value in given.items()}
