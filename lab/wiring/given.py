"""Keywords of `lab.run` as people give them: read if the meaning is plain, else refused by name.

A string is a sequence of letters: `off="dedupe"` would be six patterns of one letter each. Not
here: what an option means (`lab.scenarios.run_options`), and whether it can be used (`spec`).
"""

import math
import operator
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import SupportsFloat, SupportsIndex

from lab.scenarios.loader import ScenarioError
from lab.scenarios.run_options import HistoryKept, RunOptions
from lab.scenarios.scenario import Scenario


def options_given(given: Mapping[str, object]) -> RunOptions:
    """The options that the keywords of `lab.run` mean.

    Raises:
        ScenarioError: a keyword has a value that can mean nothing.
    """
    scenario = given["scenario"]
    if not isinstance(scenario, str | Scenario):
        raise _wrong("scenario", "the name of a scenario, or a Scenario", scenario)
    return RunOptions(
        scenario=scenario,
        real=_flag(given, "real"),
        bus=_text(given, "bus"),
        store=_text(given, "store"),
        dedupe=_text(given, "dedupe"),
        wall_clock=_flag(given, "wall_clock"),
        keep=_flag(given, "keep"),
        seed=_whole(given, "seed"),
        orders=None if given["orders"] is None else _whole(given, "orders"),
        rate=None if given["rate"] is None else _number(given, "rate"),
        orders_from=None if given["orders_from"] is None else str(_path(given, "orders_from")),
        speed=_number(given, "speed"),
        faults=_texts(given, "faults", separator=""),
        off=_texts(given, "off", separator=","),
        settings=_settings(given["settings"]),
        only=_texts(given, "only", separator=","),
        scenarios=_paths(given, "scenarios"),
        history=_history(given["history"]),
        out=None if given["out"] is None else _path(given, "out"),
        beyond_contract=_flag(given, "beyond_contract"),
    )


def _flag(given: Mapping[str, object], name: str) -> bool:
    value = given[name]
    if not isinstance(value, bool):
        raise _wrong(name, "True or False", value)
    return value


def _text(given: Mapping[str, object], name: str) -> str:
    value = given[name]
    if not isinstance(value, str):
        raise _wrong(name, "a string", value)
    return value


def _history(value: object) -> HistoryKept:
    if value == "witnesses":
        return "witnesses"
    if value == "all":
        return "all"
    raise _wrong("history", "'witnesses' or 'all'", value)


def _whole(given: Mapping[str, object], name: str) -> int:
    """A whole number, those of other libraries too; True is none."""
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise _wrong(name, "a whole number", value)
    return operator.index(value)


def _number(given: Mapping[str, object], name: str) -> float:
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, SupportsFloat):
        raise _wrong(name, "a number", value)
    number = float(value)
    if not math.isfinite(number):
        raise _wrong(name, "a finite number", value)
    return number


def _texts(given: Mapping[str, object], name: str, *, separator: str) -> tuple[str, ...]:
    """Strings; one alone stands for itself, or for its parts as on the command line."""
    value = given[name]
    if isinstance(value, str):
        parts = value.split(separator) if separator else [value]
        return tuple(part.strip() for part in parts if part.strip())
    if not isinstance(value, Iterable) or isinstance(value, bytes | Mapping):
        raise _wrong(name, "a string or a sequence of strings", value)
    texts = tuple(value)
    for text in texts:
        if not isinstance(text, str):
            raise _wrong(name, "a string or a sequence of strings", text)
    return texts


def _path(given: Mapping[str, object], name: str) -> Path:
    value = given[name]
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise _wrong(name, "the path of a file" if name != "out" else "the path of a folder", value)
    return Path(value)


def _paths(given: Mapping[str, object], name: str) -> tuple[Path, ...]:
    value = given[name]
    if isinstance(value, str | os.PathLike):
        return (_path(given, name),)
    if not isinstance(value, Iterable) or isinstance(value, bytes | Mapping):
        raise _wrong(name, "a path or a sequence of paths", value)
    return tuple(_path({name: one}, name) for one in value)


def _settings(value: object) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _wrong("settings", "a mapping such as {'retry.attempts_max': 3}", value)
    for key in value:
        if not isinstance(key, str):
            raise _wrong("settings", "a mapping such as {'retry.attempts_max': 3}", key)
    return value


def _wrong(name: str, wanted: str, value: object) -> ScenarioError:
    return ScenarioError(f"{name} must be {wanted}, not {value!r:.80}")
