"""Reads scenarios from TOML into frozen data; refuses an unknown name, by place and remedy.

Not here: faults, promises and policies; their own modules say whether they know a name.
"""

import functools
import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from lab import patterns
from lab.checks.registry import NAMES as PROMISE_NAMES
from lab.checks.run_numbers import DEEDS
from lab.checks.tables import NEXT
from lab.checks.verdict import parse_goal
from lab.did_you_mean import did_you_mean
from lab.domain.order import OrderState
from lab.faults.table.kinds import KINDS
from lab.faults.table.spec import FaultError, parse_fault
from lab.resources import resource_path
from lab.scenarios.scenario import WORLDS, Scenario, Spike, parse_spike
from lab.settings import SettingError, parse_value

MAX_ORDERS: Final = 10_000_000
MAX_RATE: Final = 1_000_000.0
_TOML_FILE_BYTES_MAX: Final = 1_000_000


class ScenarioError(ValueError):
    """A scenario file or name that cannot be used; the message names place, value and remedy."""


def load_catalogue(extra: Sequence[Path] = ()) -> dict[str, Scenario]:
    """The shipped scenarios, then those of `extra` files; a later one replaces an equal name.

    Raises:
        ScenarioError: a file cannot be read or says something that is not known.
    """
    found = {scenario.name: scenario for scenario in _shipped()}
    for path in extra:
        for scenario in load_file(path):
            found[scenario.name] = scenario
    return found


@functools.cache
def _shipped() -> tuple[Scenario, ...]:
    """Read once: a thousand runs from Python do not wait for it a thousand times."""
    return tuple(load_file(Path(str(resource_path("scenarios.toml")))))


def find_scenario(catalogue: Mapping[str, Scenario], name: str) -> Scenario:
    """The scenario of that name.

    Raises:
        ScenarioError: unknown name, with the nearest one.
    """
    if name not in catalogue:
        raise ScenarioError(
            f"unknown scenario {name!r}{did_you_mean(name, catalogue)} (see: lab list)"
        )
    return catalogue[name]


def load_file(path: Path) -> list[Scenario]:
    """The scenarios of one TOML file, in its order.

    Raises:
        ScenarioError: see `load_catalogue`.
    """
    text = _read(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as bad:
        raise ScenarioError(f"{path}: not TOML: {bad}") from None
    except RecursionError:
        raise ScenarioError(f"{path}: nested too deeply") from None
    reader = _Reader(path=str(path), text=text)
    for key in document:
        if key != "scenarios":
            raise reader.error("", key, f"unknown table {key!r}; did you mean scenarios?")
    tables = document.get("scenarios", {})
    if not isinstance(tables, dict) or not tables:
        raise ScenarioError(f"{path}: no table [scenarios.NAME] in it")
    return [reader.scenario(name, table) for name, table in tables.items()]


def toml_of(scenario: Scenario) -> str:
    """The table of a loaded scenario, as it stands in its file, as a start for one's own."""
    text = _read(Path(scenario.source))
    table = tomllib.loads(text)["scenarios"][scenario.name]
    parts = re.split(r"^(?=\[scenarios\.)", text, flags=re.MULTILINE)
    for part in parts:
        try:
            if tomllib.loads(part) == {"scenarios": {scenario.name: table}}:
                return part.strip() + "\n"
        except tomllib.TOMLDecodeError:
            continue
    # It is written in some other way, such as inline: its contents are kept, not its form.
    return as_table(scenario.name, table)


def as_table(name: str, table: Mapping[str, object]) -> str:
    """The TOML of a scenario: `table` has the keys and values of its file."""
    lines = [f"{key} = {_as_toml(value)}" for key, value in table.items()]
    return "\n".join([f"[scenarios.{name}]", *lines]) + "\n"


def _as_toml(value: object) -> str:
    match value:
        case dict():
            pairs = (f"{_as_toml(key)} = {_as_toml(one)}" for key, one in value.items())
            return f"{{ {', '.join(pairs)} }}"
        case list():
            return f"[{', '.join(map(_as_toml, value))}]"
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case _:
            return str(value)


def _read(path: Path) -> str:
    try:
        if path.is_dir():
            raise ScenarioError(f"{path} is a directory; name a TOML file")
        with path.open("rb") as file:
            raw = file.read(_TOML_FILE_BYTES_MAX + 1)
    except OSError as bad:
        raise ScenarioError(f"cannot read {path}: {bad.strerror}") from None
    if len(raw) > _TOML_FILE_BYTES_MAX:
        raise ScenarioError(f"{path} is larger than {_TOML_FILE_BYTES_MAX:,} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        raise ScenarioError(f"{path}: not UTF-8 at byte {bad.start}") from None


class _Reader:
    """One file: turns tables into scenarios, and knows the line of a mistake."""

    def __init__(self, *, path: str, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()

    def error(self, table: str, key: str, message: str) -> ScenarioError:
        line = self._line(table, key)
        place = f"{self._path}:{line}" if line else self._path
        where = f" [scenarios.{table}]" if table else ""
        return ScenarioError(
            f"{place}:{where} {key}: {message}" if key else f"{place}:{where} {message}"
        )

    def _line(self, table: str, key: str) -> int:
        start = 0
        if table:
            for n, line in enumerate(self._lines, 1):
                if re.match(rf"\s*\[\s*scenarios\.\"?{re.escape(table)}\"?\s*\]", line):
                    start = n
                    break
        for n in range(start, len(self._lines)):
            line = self._lines[n]
            if n > start and table and line.startswith("[scenarios."):
                break
            if key and re.match(rf"\s*\[?\s*\"?{re.escape(key)}\"?\s*[=\].]", line):
                return n + 1
        return start

    def scenario(self, name: str, table: object) -> Scenario:
        if not isinstance(table, dict):
            raise self.error("", name, "must be a table [scenarios.NAME]")
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,63}", name):
            raise self.error(name, "", "a name is made of a-z, 0-9 and -, and starts with a letter")
        for key in table:
            if key not in _FIELDS:
                raise self.error(name, key, f"unknown key{did_you_mean(key, _FIELDS)}")
        if "summary" not in table:
            raise self.error(name, "", "needs a summary")
        if "spike" in table and "orders_from" in table:
            raise self.error(
                name, "spike", "contradicts orders_from: those orders come when they came"
            )
        values: dict[str, object] = {}
        for key, value in table.items():
            attribute, parse = _FIELDS[key]
            try:
                values[attribute] = parse(value)
            except ValueError as bad:
                raise self.error(name, key, str(bad)) from None
        return Scenario(name=name, source=self._path, **values)  # type: ignore[arg-type]  # each was read by the reader of its field


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be a text, not {value!r}")
    return value.strip()


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"must be a list of texts, not {value!r}")
    return tuple(_text(part) for part in value)


def _one_of(known: Sequence[str], what: str) -> Callable[[object], tuple[str, ...]]:
    def parse(value: object) -> tuple[str, ...]:
        names = _texts(value)
        for name in names:
            if name not in known:
                raise ValueError(f"unknown {what} {name!r}{did_you_mean(name, known)}")
        return names

    return parse


def _orders(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_ORDERS:
        raise ValueError(f"must be a whole number from 1 to {MAX_ORDERS:,}, not {value!r}")
    return value


def _rate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_RATE:
        raise ValueError(
            f"must be orders a second, above 0 and at most {MAX_RATE:,.0f}, not {value!r}"
        )
    return float(value)


def _faults(value: object) -> tuple[str, ...]:
    texts = _texts(value)
    for text in texts:
        try:
            parse_fault(text)
        except FaultError as bad:
            raise ValueError(str(bad)) from None
    return texts


def _goals(value: object) -> tuple[str, ...]:
    texts = _texts(value)
    for text in texts:
        name = parse_goal(text).name
        known = _countable(name)
        if name not in known:
            raise ValueError(f"{text!r} names nothing that can happen{did_you_mean(name, known)}")
    return texts


def _countable(name: str) -> Sequence[str]:
    """Names that a goal may have, as far as they resemble `name`."""
    before, arrow, _ = name.partition("->")
    if arrow and before in NEXT:
        return [f"{before}->{state}" for state in NEXT[before]]
    kind, at, _ = name.partition("@")
    if at and kind in KINDS:
        return [f"{kind}@{site}" for site in KINDS[kind].sites]
    pattern = name.partition(".")[0]
    if DEEDS.get(pattern):
        return [f"{pattern}.{deed}" for deed in DEEDS[pattern]]
    return (*KINDS, *OrderState, "refused", "accepted", "shed", "in_hand", "limiter")


def _spike(value: object) -> Spike:
    return parse_spike(_text(value))


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {value!r}")
    return value


def _settings(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a table of settings, not {value!r}")
    for name, given in value.items():
        if isinstance(given, dict) and given:
            raise ValueError(f'put the name of a setting in quotes: "{name}.{next(iter(given))}"')
        try:
            parse_value(name, given)
        except SettingError as bad:
            raise ValueError(str(bad)) from None
    return dict(value)


_FIELDS: Final[Mapping[str, tuple[str, Callable[[object], object]]]] = {
    "summary": ("summary", _text),
    "story": ("story", _text),
    "worlds": ("worlds", _one_of(WORLDS, "world")),
    "orders": ("orders", _orders),
    "rate": ("rate", _rate),
    "spike": ("spike", _spike),
    "orders_from": ("orders_from", _text),
    "faults": ("faults", _faults),
    "swarm": ("swarm", _switch),
    "patterns": ("patterns", _one_of(patterns.NAMES, "pattern")),
    "promises": ("promises", _one_of(PROMISE_NAMES, "promise")),
    "goals": ("goals", _goals),
    "next": ("next", _texts),
    "set": ("settings", _settings),
}
