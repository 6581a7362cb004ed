"""Every policy that can be set: its name, default, unit, meaning and limits.

`lab list --settings` and a reference page print this table. Not here: the policies of one run, and
the reading and checking of a value (`settings`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Value = int | float | str | tuple[int, ...]


_MOST: Final[Mapping[str, float]] = {
    "bus.partitions": 1_000,
    "bus.replication": 100,
    "bus.min_insync": 100,
    "bus.workers": 1_000,
    "run.members": 100,
    "outbox.shards": 1_000,
    "dedupe.phases": 2,
    "%": 100,
    "ms": 315_360_000_000,  # ten years
    "*": 1_000_000_000,
}
"""The largest value of a policy, of the policies with that unit, of all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One policy.

    Attributes:
        simulated, wall_clock: default in each profile.
        unit: of the value; "" for a count or a word.
        meaning: in a few words.
        at_least: the smallest number.
        choices: every word that it may be; () for a number.
    """

    name: str
    simulated: Value
    wall_clock: Value
    unit: str
    meaning: str
    at_least: float = 0
    choices: tuple[str, ...] = ()

    @property
    def at_most(self) -> float:
        """The largest number."""
        return _MOST.get(self.name, _MOST.get(self.unit, _MOST["*"]))


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
    _row(
        "bus.replication",
        0,
        0,
        "",
        "copies of every topic; 0: one for each broker, three at most",
    ),
    _row(
        "bus.min_insync",
        0,
        0,
        "",
        "copies that must have a record before it counts as appended; 0: all but one",
    ),
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
        "commit this long after the first settlement not yet committed",
        1,
    ),
    _row("bus.workers", 16, 16, "", "handlers of one subscription that run at once", 1),
    _row("bus.max_in_flight", 256, 256, "records", "unsettled records, early retries aside", 1),
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
    _row(
        "retry.late_ms",
        15_000,
        5_000,
        "ms",
        "a retry due for longer than this must not wait behind new records",
        1,
    ),
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
    _row("api.max_in_flight", 100, 100, "requests", "the API sheds requests beyond these", 1),
    _row(
        "api.lame_duck_ms",
        0,
        0,
        "ms",
        "an API that is told to stop serves on for this long, though it is ready no more",
    ),
    _row("run.restart_ms", 1_000, 500, "ms", "a killed process is started again after this", 1),
    _row("run.members", 1, 1, "processes", "members of each consumer group", 1),
    _choice(
        "run.order",
        "fifo|shuffle",
        "turn of tasks that are ready: `shuffle` is by the seed, simulated only",
    ),
    _row("operator.redrives", 0, 0, "times", "an operator sends each dead letter back so often"),
    _row(
        "operator.every_ms",
        0,
        0,
        "ms",
        "how often the operator looks before heal; 0: only after it",
    ),
    _row(
        "operator.rate",
        50.0,
        50.0,
        "letters/s",
        "dead letters that the operator answers at most",
        0.1,
    ),
    _choice(
        "operator.discards", "no|yes", "after heal the operator discards the letters still dead"
    ),
    _row("outbox.batch", 200, 200, "events", "events that the relay publishes at once", 1),
    _row("outbox.shards", 4, 4, "", "shards of aggregates, each relayed by one process", 1),
    _row(
        "bus.retention_ms",
        604_800_000,
        604_800_000,
        "ms",
        "topics of a standing system keep a record this long; 0: for ever, as those of a run",
    ),
    _row(
        "retention.every_ms",
        3_600_000,
        3_600_000,
        "ms",
        "how often the relay of a standing system cuts what is old",
        1_000,
    ),
    _row(
        "retention.outbox_ms",
        604_800_000,
        604_800_000,
        "ms",
        "published events are kept this long in the outbox; 0: for ever",
    ),
    _row(
        "retention.inbox_ms",
        1_209_600_000,
        1_209_600_000,
        "ms",
        "the inbox knows this long that an event is done; 0: for ever",
    ),
    _row(
        "retention.http_keys_ms",
        604_800_000,
        604_800_000,
        "ms",
        "answers under an Idempotency-Key are kept this long; 0: for ever",
    ),
    _row(
        "retention.versions_ms",
        2_592_000_000,
        2_592_000_000,
        "ms",
        "what an order has been is kept this long; 0: for ever",
    ),
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
    _choice("process.loop", "uvloop|asyncio", "loop of a real process; uvloop where installed"),
    _choice("payment.key_mode", "stripe|2xx-only|none", "how the gateway treats idempotency keys"),
)
"""Every policy, in the order in which it is printed."""
