"""Swarm testing: each seed draws its own kinds of faults, their doses, and some policies.

Few faults at a high rate find other mistakes than many at a low one, and the faults left out matter
as much as those drawn: a fault that is always on hides mistakes that need its absence. So a seed
first draws how broad it is, then each fault and policy by a coin of its own. Some seeds draw a
bundle beside them (`bundles.py`), whose faults have to meet at one order.

A draw is a function of the seed and the world alone, not of the load: fewer orders under the same
seed meet the same faults. Nothing beyond the contract is ever drawn.
Not here: the faults, and the reading of their texts (`lab.faults`).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from lab.faults.table.crash_points import ANY, CRASH_POINTS, MID_DRAIN
from lab.faults.table.kinds import KINDS
from lab.faults.table.providers import DEFAULT_STATUS, DOWN, ERROR, HINTED, NOT_EXECUTED
from lab.faults.table.row import PROCESSES, FaultKind, Param, ParamType
from lab.runtime.chance import KeyedChance
from lab.scenarios.bundles import BUNDLES
from lab.scenarios.scenario import REAL, SIMULATED

CRASH: Final = "proc.crash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breadth:
    """How much of everything a seed draws.

    Attributes:
        share: of all faults, each by its own coin.
        low, high: dose of each: its rate as a share of the kind's highest.
    """

    share: float
    low: float
    high: float


BREADTHS: Final = (
    Breadth(share=0.04, low=0.25, high=1.0),
    Breadth(share=0.2, low=0.05, high=0.5),
    Breadth(share=0.6, low=0.01, high=0.15),
)

RATES_MAX: Final[Mapping[str, float]] = {
    "bus.partition": 0.1,
    "bus.poison": 0.1,
    "client.large_order": 0.05,
    CRASH: 0.2,
    "proc.crash_loop": 0.1,
    "proc.pause": 0.05,
    "proc.term": 0.05,
}
_RATE_MAX: Final = 0.5
_ANY_RATE_MAX: Final = 0.03
"""A visit to `any` is every delivery, request and batch."""

LENGTHS_MS: Final[Mapping[tuple[str, str], tuple[int, int]]] = {
    ("proc.pause", "by"): (100, 70_000),
    ("proc.pause", "for"): (100, 70_000),
    ("bus.partition", "by"): (100, 100_000),
    ("bus.delay", "by"): (10, 20_000),
    ("redis.early_expire", "after"): (1, 5_000),
    ("svc.acts_late", "by"): (1, 1_900),
    ("client.cancel", "after"): (1, 2_000),
    ("client.cancel", "pause"): (1, 20_000),
    ("clock.skew", "by"): (10, 300_000),
    ("clock.jump", "by"): (10, 300_000),
}
"""Lengths that have to pass some limit, such as a session; others lie around their default."""

NUMBERS: Final[Mapping[tuple[str, str], tuple[int, int]]] = {
    ("svc.slow", "times"): (2, 40),
    ("svc.rate_limit", "calls"): (1, 20),
    ("client.cancel", "times"): (1, 3),
    ("client.look", "times"): (1, 4),
}

_AT_MS_MAX: Final = 5_000
_FOR_MS: Final = (200, 40_000)
_PARTS_OF_A_SECOND: Final = 1_000
_SCALE: Final[Mapping[str, float]] = {SIMULATED: 1.0, REAL: 0.1}
"""Sessions, leases and deadlines of the real world are about so much shorter."""

POLICIES: Final[Mapping[str, tuple[object, ...]]] = {
    "run.members": (2, 3),
    "retry.attempts_max": (1, 2, 4, 9),
    "retry.in_place": (1, 2, 5),
    "retry.budget_tokens": (1, 3),
    "dedupe.when_down": ("closed",),
    "dead_letter.in_a_row": (1, 3),
    "bus.partitions": (1, 2),
    "bus.workers": (1, 2, 4),
    "bus.max_in_flight": (2, 20),
    "bus.max_uncommitted": (5, 50),
    "bus.commit_every": (1, 7),
    "outbox.batch": (1, 5),
    "outbox.shards": (1, 2),
    "poison_guard.solo_starts": (1, 2),
    "provider_key.query_after": (1, 3),
    "payment.key_mode": ("2xx-only",),
    "payment.declined_percent": (10, 50),
    "validation.rejected_percent": (10, 50),
    "operator.redrives": (1, 2),
    "operator.discards": ("yes",),
    "orders.expiry_ms": (400, 3_000, 20_000),
    "api.max_in_flight": (2, 10),
}
"""Policies of both worlds, and the values that they may have instead of their default."""

SIMULATED_POLICIES: Final[Mapping[str, tuple[object, ...]]] = {
    "run.order": ("shuffle",),
    "run.restart_ms": (100, 5_000),
    "retry.base_ms": (10, 500),
    # Few attempts in place come to the default.
    "retry.cap_ms": (150,),
    "retry.tiers_ms": ("1000", "2000,10000", "300,800,1500", "5000,30000,60000"),
    # Shorter than one deadline of a third party it would promise nothing.
    "drain.grace_ms": (4_000, 20_000),
    "breaker.open_ms": (1_000, 20_000),
    "operator.every_ms": (500, 3_000),
    "client.timeout_ms": (1_000,),
}
"""Those of virtual time."""

_POLICY_SHARE: Final = 0.15
_SHUFFLED_SHARE: Final = 0.5
_BUNDLE_SHARE: Final = 1 / 2
BUNDLE_EVERY: Final = (1, 3, 5, 7)
"""Whatever strikes every order opens breakers and limiters; whatever strikes few does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swarm:
    """The draw of a seed: faults as `--fault` takes them, policies as `--set` does."""

    faults: tuple[str, ...]
    settings: Mapping[str, object]


def draw_swarm(seed: int, world: str) -> Swarm:
    """Faults and policies of one seed.

    Args:
        seed: of the run.
        world: `simulated` or `real`; only faults of that world are drawn.
    """
    chance = KeyedChance(seed)
    breadth = chance.choice(BREADTHS, "swarm", "breadth")
    pens = [_Pen(chance, name, _SCALE[world]) for name in fault_names(world)]
    chosen = [pen for pen in pens if pen.u("in") < breadth.share]
    chosen = chosen or [min(pens, key=lambda pen: pen.u("in"))]
    policies = POLICIES if world == REAL else {**POLICIES, **SIMULATED_POLICIES}
    settings = {
        name: chance.choice(values, "swarm", name, "value")
        for name, values in policies.items()
        if chance.u("swarm", name) < (_SHUFFLED_SHARE if name == "run.order" else _POLICY_SHARE)
    }
    faults = tuple(pen.write(breadth) for pen in chosen)
    if chance.u("swarm", "bundle") >= _BUNDLE_SHARE:
        return Swarm(faults=faults, settings=settings)
    bundle = BUNDLES[seed % len(BUNDLES)]
    orders = f"#every{chance.choice(BUNDLE_EVERY, 'swarm', 'bundle', 'every')}"
    more = {} if world == REAL else bundle.in_virtual_time
    return Swarm(
        faults=(*faults, *bundle.write(orders, _SCALE[world])),
        settings={**settings, **bundle.settings, **more},
    )


_ONE_BROKER: Final = "bus.leader_move"
"""A real run at random has one broker, of which there is none to move to."""


def fault_names(world: str) -> tuple[str, ...]:
    """Names with a coin of their own: every kind, and every crash point, as `proc.crash@POINT`."""
    return tuple(_names(world))


def _names(world: str) -> Iterator[str]:
    for kind in KINDS.values():
        is_there = world in kind.worlds and (world != REAL or kind.name != _ONE_BROKER)
        if is_there and not kind.beyond_contract:
            yield kind.name
            if kind.name == CRASH:
                yield from (f"{CRASH}@{point}" for point in CRASH_POINTS)


class _Pen:
    """Writes the text of one fault, out of coins of its own."""

    def __init__(self, chance: KeyedChance, name: str, scale: float) -> None:
        self._chance = chance
        self._name = name
        self._scale = scale
        kind, _, self._point = name.partition("@")
        self._kind: FaultKind = KINDS[kind]

    def u(self, *key: str) -> float:
        """A number in [0, 1)."""
        return self._chance.u("swarm", self._name, *key)

    def write(self, breadth: Breadth) -> str:
        """The fault, in a dose of that breadth."""
        kind = self._kind
        if kind.is_outage:
            many = len(kind.sites) > 1
            head = f"{kind.name}@{self._choice(kind.sites, 'site')}" if many else kind.name
            words = [head, self._at(), self._for(), *self._params()]
        elif self._is_timed:
            # A pause has a length of its own only where it strikes a delivery.
            rest = [self._for()] if kind.lasts else self._params()
            words = [f"{kind.name}@{self._struck()}", self._at(), *rest]
        else:
            words = [*self._on_visits(breadth), *self._params()]
        return " ".join(words)

    @property
    def _is_timed(self) -> bool:
        kind = self._kind
        if kind.name == CRASH:
            return not self._point
        return kind.is_timed or (kind.takes_processes and self.u("timed") < 1 / 3)

    def _struck(self) -> str:
        """All members of a group, or its first one; the relay and the API are one each."""
        process = self._choice(PROCESSES, "process")
        return f"{process}-1" if self.u("member") < 1 / 3 else process

    def _on_visits(self, breadth: Breadth) -> Iterator[str]:
        kind = self._kind
        site = self._point
        if not site and len(kind.sites) > 1 and self.u("at one site") < 1 / 2:
            site = self._choice(kind.sites, "site")
        head = f"{kind.name}@{site}" if site else kind.name
        how = self.u("how")
        if kind.is_state:
            yield head
        elif how < 1 / 4:
            # Chosen orders, whatever the rate; a drain belongs to none.
            orders = f"#every{self._integer(2, 25, 'subjects')}"
            yield head if site == MID_DRAIN else head + orders
            yield f"first={self._integer(1, 3, 'first')}"
        else:
            yield head
            yield f"rate={self._rate(breadth):.4f}"
        if how > 3 / 4:
            yield self._at()
            yield self._for()

    def _rate(self, breadth: Breadth) -> float:
        highest = RATES_MAX.get(self._kind.name, _RATE_MAX)
        if self._point == ANY:
            highest = _ANY_RATE_MAX
        if self._point == MID_DRAIN:
            highest = 1.0
        return highest * _between(breadth.low, breadth.high, self.u("rate"))

    def _at(self) -> str:
        # Rather early: the load may be short.
        return f"at={round(_AT_MS_MAX * self.u('when') ** 2)}ms"

    def _for(self) -> str:
        return f"for={self._ms(LENGTHS_MS.get((self._kind.name, 'for'), _FOR_MS), 'for')}ms"

    def _params(self) -> list[str]:
        """Every other parameter of the kind; the rest keeps its default."""
        given: dict[str, str] = {}
        for param in self._kind.params:
            if self.u(param.name, "given") < 1 / 2 and param.instead_of not in given:
                given[param.name] = self._value(param)
        status = given.get("status", str(DEFAULT_STATUS))
        if given.get("stored") == "yes" and status in map(str, NOT_EXECUTED):
            del given["stored"]
        if given.get("done") == "yes" and status not in map(str, DOWN):
            del given["done"]
        if self._kind.name == ERROR and status not in map(str, HINTED):
            given.pop("after", None)
        return [f"{name}={value}" for name, value in given.items()]

    def _value(self, param: Param) -> str:
        choices = [each for each in param.choices if each not in param.beyond_contract]
        key = (self._kind.name, param.name)
        match param.type:
            case ParamType.NUMBER | ParamType.WORD if choices:
                return str(choices[self._integer(0, len(choices) - 1, param.name)])
            case ParamType.NUMBER | ParamType.WORD:
                return str(self._integer(*NUMBERS[key], param.name))
            case ParamType.LENGTH:
                return f"{self._ms(self._around(param), param.name)}ms"
            case ParamType.OFFSET:
                sign = "-" if self.u(param.name, "sign") < 1 / 2 else ""
                return f"{sign}{self._ms(self._around(param), param.name)}ms"
            case ParamType.SPAN:
                ends = [self._ms(self._around(param), param.name, end) for end in ("from", "to")]
                return f"{min(ends)}ms..{max(ends)}ms"

    def _around(self, param: Param) -> tuple[int, int]:
        """The shortest and the longest that a length may be, in milliseconds."""
        default = param.default[1] if isinstance(param.default, tuple) else param.default
        assert isinstance(default, int), param.name
        ms = max(default // _PARTS_OF_A_SECOND, 1)
        return LENGTHS_MS.get((self._kind.name, param.name), (max(ms // 10, 1), ms * 5))

    def _ms(self, between: tuple[int, int], *key: str) -> int:
        """A length in milliseconds."""
        return max(round(_between(*between, self.u("ms", *key)) * self._scale), 1)

    def _choice(self, options: tuple[str, ...], key: str) -> str:
        return options[self._integer(0, len(options) - 1, key)]

    def _integer(self, low: int, high: int, key: str) -> int:
        return low + int(self.u("integer", key) * (high - low + 1))


def _between(low: float, high: float, u: float) -> float:
    """A number from `low` to `high`, as likely to double as to halve."""
    return low * math.pow(high / low, u)
