"""Policies and environment: the frozen settings that everything else is built from.

The only reader of `os.environ`. `lab list --settings` prints this table; `--set KEY=VALUE`, a
scenario's `set` and `LAB_SET_*` variables change it. Lengths of time are milliseconds here and
microseconds everywhere else.
"""

import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

SIMULATED: Final = "simulated"
WALL_CLOCK: Final = "wall-clock"
MS: Final = 1_000

Value = int | float | str | tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One policy: its name, default in each profile, unit and meaning."""

    name: str
    simulated: Value
    wall_clock: Value
    unit: str
    meaning: str
    at_least: float = 0
    choices: tuple[str, ...] = ()


def _row(
    name: str, simulated: Value, wall_clock: Value, unit: str, meaning: str, at_least: float = 0
) -> Setting:
    return Setting(
        name=name,
        simulated=simulated,
        wall_clock=wall_clock,
        unit=unit,
        meaning=meaning,
        at_least=at_least,
    )


def _choice(name: str, choices: str, meaning: str) -> Setting:
    """One of some words, the first by default in both profiles."""
    words = tuple(choices.split("|"))
    return Setting(
        name=name, simulated=words[0], wall_clock=words[0], unit="", meaning=meaning, choices=words
    )


SETTINGS: Final[tuple[Setting, ...]] = (
    _row("bus.partitions", 8, 8, "", "partitions of every topic", 1),
    _row("bus.session_ms", 45_000, 3_000, "ms", "a silent member is expelled after this", 1),
    _row(
        "bus.rebalance_ms",
        30_000,
        5_000,
        "ms",
        "a member may take this long to give partitions up",
        1,
    ),
    _row("bus.commit_every", 200, 200, "settlements", "commit after this many settlements", 1),
    _row(
        "bus.commit_after_ms",
        500,
        500,
        "ms",
        "commit this long after the first unsettled commit",
        1,
    ),
    _row("bus.workers", 16, 16, "", "handlers of one subscription that run at once", 1),
    _row("bus.max_in_flight", 256, 256, "records", "records fetched and not settled", 1),
    _row(
        "bus.max_uncommitted",
        2_000,
        2_000,
        "records",
        "records behind a stuck one before its partition pauses",
        1,
    ),
    _row("retry.attempts_max", 6, 6, "attempts", "attempts of an event in all", 1),
    _row("retry.in_place", 3, 3, "attempts", "attempts before the event moves to a retry topic", 1),
    _row("retry.base_ms", 100, 50, "ms", "backoff of the first retry in place", 1),
    _row("retry.cap_ms", 2_000, 400, "ms", "largest backoff in place; full jitter below it", 1),
    _row(
        "retry.tiers_ms",
        (5_000, 30_000, 120_000),
        (500, 2_000, 5_000),
        "ms",
        "delays of the retry topics",
    ),
    _row(
        "retry.budget_tokens",
        10,
        10,
        "tokens",
        "retries in place that a dependency may cost before tiers take over",
        1,
    ),
    _row("retry.budget_refill", 0.1, 0.1, "tokens", "given back by each success"),
    _row("retry.max_elapsed_ms", 600_000, 60_000, "ms", "throttled events give up after this", 1),
    _row("timeout.handler_ms", 10_000, 1_000, "ms", "deadline of one handler run", 1),
    _row("timeout.provider_ms", 2_000, 600, "ms", "deadline of one call to a third party", 1),
    _row("dedupe.lease_ms", 30_000, 2_000, "ms", "an unfinished claim is taken over after this", 1),
    _row(
        "dedupe.window_ms",
        86_400_000,
        86_400_000,
        "ms",
        "an event that is done is remembered this long",
        1,
    ),
    _row(
        "dedupe.phases",
        2,
        2,
        "",
        "2: claim, then done after the commit; 1: marked before the effect",
        1,
    ),
    _choice("dedupe.when_down", "open|closed", "with Redis down the inbox decides, or work waits"),
    _row(
        "poison_guard.solo_starts",
        3,
        3,
        "starts",
        "unexplained starts alone before the event is dead",
        1,
    ),
    _row("dead_letter.in_a_row", 10, 10, "dead letters", "more in a row pause the subscription", 1),
    _row(
        "dead_letter.share_percent",
        20,
        20,
        "%",
        "a larger share of the last 100 pauses the subscription",
        1,
    ),
    _row("dead_letter.pause_ms", 60_000, 3_000, "ms", "length of that pause", 1),
    _row("breaker.window_ms", 10_000, 5_000, "ms", "failures are counted over this window", 1),
    _row(
        "breaker.calls_min", 10, 10, "calls", "fewer calls in the window never open the breaker", 1
    ),
    _row("breaker.failures_percent", 50, 50, "%", "share of failures that opens the breaker", 1),
    _row("breaker.open_ms", 5_000, 1_000, "ms", "time until a probe is let through", 100),
    _row(
        "provider_key.query_after",
        2,
        2,
        "answers",
        "indeterminate answers before the provider is queried",
        1,
    ),
    _row("provider_key.skew_ms", 2_000, 500, "ms", "clock skew to a provider that is tolerated"),
    _row(
        "provider_key.lifetime_ms",
        86_400_000,
        86_400_000,
        "ms",
        "how long a provider remembers a key",
        1,
    ),
    _row("orders.expiry_ms", 86_400_000, 86_400_000, "ms", "an unpaid order expires after this", 1),
    _row(
        "drain.grace_ms",
        8_000,
        2_000,
        "ms",
        "a stopping process may finish its work for this long",
        1,
    ),
    _row(
        "run.drain_ms",
        900_000,
        60_000,
        "ms",
        "the run waits this long after heal for the last order",
        1,
    ),
    _row("api.max_in_flight", 100, 100, "requests", "the API sheds what comes beyond these", 1),
    _row("run.restart_ms", 1_000, 500, "ms", "a killed process is started again after this", 1),
    _row("run.members", 1, 1, "processes", "members of each consumer group", 1),
    _choice("run.order", "fifo|shuffle", "who runs next: `shuffle` is by the seed, simulated only"),
    _row("operator.redrives", 0, 0, "times", "an operator sends each dead letter back so often"),
    _row("operator.every_ms", 0, 0, "ms", "how often it looks before heal; 0: only after it"),
    _row("operator.rate", 50.0, 50.0, "letters/s", "it answers so many dead letters at most", 0.1),
    _choice("operator.discards", "no|yes", "it gives up, after heal, what is dead after all that"),
    _row("outbox.batch", 200, 200, "events", "events that the relay publishes at once", 1),
    _row("outbox.shards", 4, 4, "", "shards of aggregates, each relayed by one process", 1),
    _row("client.timeout_ms", 5_000, 2_000, "ms", "the client gives up waiting for an answer", 1),
    _row(
        "client.retry_ms",
        1_000,
        500,
        "ms",
        "the client repeats an unanswered request after this",
        1,
    ),
    _row("validation.latency_ms", 30, 5, "ms", "median latency of warehouse and antifraud"),
    _row("payment.latency_ms", 120, 10, "ms", "median latency of the payment gateway"),
    _row("mailer.latency_ms", 20, 5, "ms", "median latency of the mailer"),
    _row("payment.declined_percent", 0, 0, "%", "cards that the payment gateway declines"),
    _row(
        "validation.rejected_percent",
        0,
        0,
        "%",
        "orders that warehouse, antifraud or the customer's record refuse",
    ),
    _choice("payment.key_mode", "stripe|2xx-only|none", "how the gateway treats idempotency keys"),
)
"""Every policy, in the order in which it is printed."""

_MOST: Final[Mapping[str, float]] = {
    "bus.partitions": 1_000,
    "bus.workers": 1_000,
    "run.members": 100,
    "outbox.shards": 1_000,
    "dedupe.phases": 2,
    "%": 100,
    "ms": 315_360_000_000,  # ten years
    "*": 1_000_000_000,
}
"""The largest value of a policy, of those with that unit, of all others."""
_BY_NAME: Final[Mapping[str, Setting]] = {setting.name: setting for setting in SETTINGS}


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
            SettingError: a handler may outlive its lease or session, a drain its rebalance, or the
                run ends before the retry topics have had their turn.
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
        )
        for small, large, why in order:
            if self.number(small) >= self.number(large):
                raise SettingError(
                    f"{small} = {self.number(small)} must be below {large} = "
                    f"{self.number(large)}: {why}"
                )
        tiers = sum(self.many_us("retry.tiers_ms")) // MS
        if self.number("run.drain_ms") < tiers:
            raise SettingError(
                f"run.drain_ms = {self.number('run.drain_ms')} is shorter than the retry topics "
                f"together ({tiers} ms): raise run.drain_ms or lower retry.tiers_ms"
            )
        expiry_min = tiers + self.number("run.drain_ms")
        if self.number("orders.expiry_ms") < expiry_min:
            raise SettingError(
                f"orders.expiry_ms = {self.number('orders.expiry_ms')} is shorter than retry "
                f"topics and drain together ({expiry_min} ms): orders would expire while they "
                "are retried"
            )


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
        near = difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
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
    most = _MOST.get(setting.name, _MOST.get(setting.unit, _MOST["*"]))
    if value > most:
        raise SettingError(f"{setting.name} must be at most {most:,.0f}, not {given!r}")
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
