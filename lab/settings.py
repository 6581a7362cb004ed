"""The policies of one run as frozen settings, and the `LAB_*` variables of the environment.

The only reader of `os.environ`. `--set KEY=VALUE`, a scenario's `set` and `LAB_SET_*` variables
change a policy. Lengths of time are milliseconds here and microseconds everywhere else. Not here:
which policies there are, with their defaults and limits (`settings_table`).
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from lab.did_you_mean import did_you_mean
from lab.settings_table import SETTINGS, Setting, Value

SIMULATED: Final = "simulated"
WALL_CLOCK: Final = "wall-clock"
MS: Final = 1_000

BROKER_LOOKS_MS: Final = 600_000
"""A broker looks for old segments every five minutes, and removes them a minute later."""

_BY_NAME: Final[Mapping[str, Setting]] = {setting.name: setting for setting in SETTINGS}


_RECOVERY: Final = (
    "bus.session_ms",
    "run.restart_ms",
    "breaker.open_ms",
    "bus.commit_after_ms",
    "api.lame_duck_ms",
)
"""These may have to pass one after the other until a process that died is replaced."""


class SettingError(ValueError):
    """A policy has an unknown name or a senseless value; the message says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The policies of one run. Reading an unknown name is a bug and raises KeyError."""

    profile: Literal["simulated", "wall-clock"]
    values: Mapping[str, Value]

    def number(self, name: str) -> int:
        """A whole number, in the setting's own unit."""
        value = self.values[name]
        assert isinstance(value, int), name
        return value

    def us(self, name: str) -> int:
        """A length given in milliseconds, in microseconds."""
        assert name.endswith("_ms"), name
        return self.number(name) * MS

    def many_us(self, name: str) -> tuple[int, ...]:
        """Lengths given in milliseconds, in microseconds."""
        value = self.values[name]
        assert isinstance(value, tuple), name
        return tuple(length * MS for length in value)

    def real(self, name: str) -> float:
        """A number that may have a fraction."""
        value = self.values[name]
        assert isinstance(value, int | float), name
        return float(value)

    def text(self, name: str) -> str:
        """A word out of the setting's choices."""
        value = self.values[name]
        assert isinstance(value, str), name
        return value

    def with_changes(self, changes: Mapping[str, object]) -> "Settings":
        """These settings with `changes` (texts as of `--set`, or values as of TOML) on top.

        Raises:
            SettingError: unknown name, wrong type, out of range.
        """
        parsed = {name: parse_value(name, value) for name, value in changes.items()}
        changed = replace(self, values={**self.values, **parsed})
        changed.check()
        return changed

    def check(self) -> None:
        """Refuse policies that contradict each other.

        Raises:
            SettingError: a handler may outlive its lease or session, a drain its rebalance, a third
                party answers too late by rule or forgets a key that is still tried under, or the
                run ends before the last fault is got over.
        """
        order = (
            (
                "timeout.handler_ms",
                "dedupe.lease_ms",
                "the lease of a running handler would be taken over",
            ),
            ("dedupe.lease_ms", "bus.session_ms", "a dead owner's lease would outlive its session"),
            (
                "dedupe.lease_ms",
                "retry.max_elapsed_ms",
                "an event whose owner died would be given up before it can be claimed again",
            ),
            ("drain.grace_ms", "bus.rebalance_ms", "a draining member would be expelled"),
            (
                "timeout.provider_ms",
                "timeout.handler_ms",
                "a handler would end before its first call",
            ),
            (
                "dedupe.lease_ms",
                "dedupe.window_ms",
                "a redelivery would come after it was forgotten",
            ),
            *(
                (latency, "timeout.provider_ms", "most calls would go without an answer, for ever")
                for latency in ("validation.latency_ms", "payment.latency_ms", "mailer.latency_ms")
            ),
        )
        for small, large, why in order:
            if self.number(small) >= self.number(large):
                raise SettingError(
                    f"{small} = {self.number(small)} must be below {large} = "
                    f"{self.number(large)}: {why}"
                )
        copies, in_sync = self.number("bus.replication"), self.number("bus.min_insync")
        if copies and in_sync > copies:
            raise SettingError(
                f"bus.min_insync = {in_sync} must not be above bus.replication = {copies}: no "
                "record would ever count as appended"
            )
        self._check_lengths()
        self._check_retention()

    def redelivery_ms(self) -> int:
        """How old a record of a standing system may be that is delivered again; 0: any age."""
        kept = self.number("bus.retention_ms")
        return oldest_ms(kept, segment_ms(kept))

    def _check_retention(self) -> None:
        """Refuse an inbox that forgets an event which can still come again."""
        kept, inbox = self.number("bus.retention_ms"), self.number("retention.inbox_ms")
        oldest = self.redelivery_ms()
        if inbox and (not oldest or inbox < oldest):
            age = f"{oldest} ms old" if oldest else "of any age"
            raise SettingError(
                f"retention.inbox_ms = {inbox} is too short for bus.retention_ms = {kept}: a "
                f"record that is {age} may be delivered again, and would take effect twice; raise "
                "retention.inbox_ms (0: for ever), or lower bus.retention_ms"
            )
        retried = sum(self.many_us("retry.tiers_ms")) // MS + self.number("retry.max_elapsed_ms")
        if kept and kept < retried:
            raise SettingError(
                f"bus.retention_ms = {kept} is shorter than retry.tiers_ms and "
                f"retry.max_elapsed_ms together ({retried} ms): an event would be gone from its "
                "topic before its last attempt; raise bus.retention_ms"
            )

    def _check_lengths(self) -> None:
        """Refuse lengths that leave no time for what has to happen within them."""
        tiers = sum(self.many_us("retry.tiers_ms")) // MS
        drain = self.number("run.drain_ms")
        recovery = {"retry.tiers_ms": tiers, **{name: self.number(name) for name in _RECOVERY}}
        longest = max(recovery, key=lambda name: recovery[name])
        needed = sum(recovery.values())
        if drain < needed:
            raise SettingError(
                f"run.drain_ms = {drain} is shorter than {', '.join(recovery)} together ({needed} "
                "ms): the run would end before the last fault is got over; raise run.drain_ms or "
                f"lower {longest} ({recovery[longest]} ms)"
            )
        key_min = tiers + drain + self.number("retry.max_elapsed_ms")
        if self.number("provider_key.lifetime_ms") < key_min:
            raise SettingError(
                f"provider_key.lifetime_ms = {self.number('provider_key.lifetime_ms')} is shorter "
                f"than retry.tiers_ms, retry.max_elapsed_ms and run.drain_ms together ({key_min} "
                "ms): a provider would forget a key that is still tried under, and do it again; "
                "raise provider_key.lifetime_ms"
            )


def segment_ms(retention_ms: int) -> int:
    """The time that one segment of a topic may span, by how long the topic keeps a record."""
    return max(retention_ms // 7, 60_000)


def oldest_ms(kept_ms: int, segment_ms: int) -> int:
    """How old the oldest record of a topic may be, in milliseconds; 0: of any age.

    A topic is cut by whole segments, when the last record of one is too old and somebody looks.

    Args:
        kept_ms: how long it keeps a record; 0: for ever.
        segment_ms: the time that a segment spans.
    """
    return kept_ms and kept_ms + segment_ms + BROKER_LOOKS_MS


def settings_for(profile: Literal["simulated", "wall-clock"]) -> Settings:
    """The defaults of a profile."""
    pick = "simulated" if profile == SIMULATED else "wall_clock"
    return Settings(
        profile=profile, values={setting.name: getattr(setting, pick) for setting in SETTINGS}
    )


def parse_value(name: str, given: object) -> Value:
    """A value for the policy `name` out of a text (`--set`) or a TOML value.

    Raises:
        SettingError: unknown name (with the nearest one), wrong type, out of range.
    """
    setting = _BY_NAME.get(name)
    if setting is None:
        hint = did_you_mean(name, _BY_NAME)
        raise SettingError(f"unknown setting {name!r}{hint} (see: lab list --settings)")
    default = setting.simulated
    value: Value
    if isinstance(default, str):
        if not isinstance(given, str) or given not in setting.choices:
            raise SettingError(f"{name} must be one of {', '.join(setting.choices)}, not {given!r}")
        return given
    if isinstance(default, tuple):
        parts = given.split(",") if isinstance(given, str) else given
        if not isinstance(parts, list | tuple) or not parts:
            raise SettingError(
                f"{name} must be a list of whole numbers such as 500,2000, not {given!r}"
            )
        return tuple(int(_number(setting, part, whole=True)) for part in parts)
    value = _number(setting, given, whole=isinstance(default, int))
    return int(value) if isinstance(default, int) else value


def _number(setting: Setting, given: object, *, whole: bool) -> float:
    wanted = "a whole number" if whole else "a number"
    try:
        if isinstance(given, bool) or not isinstance(given, int | float | str):
            raise ValueError
        value = float(given)
        if not math.isfinite(value) or (whole and value != int(value)):
            raise ValueError
    except ValueError:
        raise SettingError(f"{setting.name} must be {wanted}, not {given!r}") from None
    if value < setting.at_least:
        raise SettingError(f"{setting.name} must be at least {setting.at_least:g}, not {given!r}")
    if value > setting.at_most:
        raise SettingError(f"{setting.name} must be at most {setting.at_most:,.0f}, not {given!r}")
    return value


_PREFIX: Final = "LAB_"


def environment() -> dict[str, str]:
    """The `LAB_*` variables that are not blank, by their names without `LAB_`: `{"SEED": "7"}`."""
    found = sorted(os.environ.items())  # noqa: TID251 - the one reader of the environment
    return {
        name.removeprefix(_PREFIX): value
        for name, value in found
        if name.startswith(_PREFIX) and value.strip()
    }


def environment_of_a_program(changes: Mapping[str, str]) -> dict[str, str]:
    """All variables that a program is started with, `changes` (by their whole names) on top."""
    return {**os.environ, **changes}  # noqa: TID251 - the one reader of the environment
