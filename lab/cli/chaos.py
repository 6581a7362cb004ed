"""`lab chaos`: the default workload under a mixture of faults, and what that costs.

Its own flags are short for `--fault`; everything else it takes and does is `lab run`'s. Not here:
what a fault is (`lab.faults`), how it is run and shown (`run`).
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.cli import options
from lab.cli.flag_values import Given, OptionError, flags_of
from lab.cli.run import run, run_asked

if TYPE_CHECKING:
    from lab.scenarios.scenario import Scenario

DEFAULT_ORDERS: Final = 500
DEFAULT_RATE: Final = 50.0
OUTAGE_FROM: Final = 0.3
"""Outages begin when this share of the load was posted."""
_SECONDS_MAX: Final = 86_400.0
_DELAY_MS_MAX: Final = 600_000.0
_FOR: Final = "for"
_NEXT: Final = 2


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag that is short for a fault.

    Attributes:
        name: without `--`.
        metavar: of its value, in the help.
        most: the largest value; the smallest is 0, which is no fault.
        unit: what the value is, in messages.
        kind: of fault.
        spec: the fault; `{value}` is the value, `{at_ms}` and `{ms}` begin and length of an outage.
        risks: promises that it puts at risk.
        then: what to add next, to see it hurt.
    """

    name: str
    metavar: str
    help: str
    most: float
    unit: str
    kind: str
    spec: str
    risks: tuple[str, ...]
    then: str

    @property
    def is_outage(self) -> bool:
        """It has a begin and an end."""
        return "{at_ms}" in self.spec


def _rate(name: str, kind: str, what: str, *risks: str, then: str) -> Flag:
    help_ = f"Share of {what}."
    return Flag(name, "0..1", help_, 1.0, "a share", kind, f"{kind} rate={{value}}", risks, then)


def _outage(name: str, kind: str, server: str, *risks: str, then: str) -> Flag:
    help_ = f"{server} is down for so long, from {OUTAGE_FROM:.0%} of the load on."
    spec = f"{kind} at={{at_ms}}ms for={{ms}}ms"
    return Flag(name, "SECONDS", help_, _SECONDS_MAX, "seconds", kind, spec, risks, then)


FLAGS: Final = (
    _rate(
        "duplicate-rate",
        "bus.duplicate",
        "deliveries that come twice",
        "effect-once",
        "no-double-charge",
        then="--off dedupe,inbox",
    ),
    _rate(
        "drop-ack-rate",
        "bus.drop_ack",
        "deliveries whose ack is lost",
        "effect-once",
        "no-lost-event",
        then="--off dedupe,inbox",
    ),
    _rate(
        "reorder-rate",
        "bus.reorder",
        "deliveries that those of other orders overtake",
        "per-key-order",
        then="--off commit_prefix",
    ),
    Flag(
        "delay-ms",
        "MS",
        "Every delivery comes so much later.",
        _DELAY_MS_MAX,
        "milliseconds",
        "bus.delay",
        "bus.delay rate=1 by={value}ms",
        ("converges",),
        "--off commit_prefix",
    ),
    _rate(
        "poison-rate",
        "bus.poison",
        "records that nobody can read",
        "dlq-sound",
        "dlq-complete",
        "converges",
        then="--off dead_letter",
    ),
    _rate(
        "error-rate",
        "svc.error",
        "calls to third parties answered with 503",
        "converges",
        then="--off retry",
    ),
    _rate(
        "timeout-rate",
        "svc.timeout",
        "calls to third parties that do nothing and give no answer",
        "converges",
        "deadline",
        then="--off timeout",
    ),
    _rate(
        "hang-rate",
        "svc.hang_after_effect",
        "charges, refunds and mails that are done and not answered",
        "no-double-charge",
        "money-matches",
        then="--off provider_key",
    ),
    _rate(
        "crash-rate",
        "proc.crash",
        "port calls at which their process is killed",
        "accepted-is-durable",
        "no-lost-event",
        "effect-once",
        "no-double-charge",
        then="--off inbox,dedupe",
    ),
    _outage(
        "redis-down",
        "redis.down",
        "Redis",
        "effect-once",
        "converges",
        then="--duplicate-rate 0.2 --off inbox",
    ),
    _outage(
        "postgres-down",
        "pg.shutdown",
        "PostgreSQL",
        "accepted-is-durable",
        "no-lost-event",
        "converges",
        then="--off http_idempotency",
    ),
    _outage(
        "broker-down", "bus.down", "The broker", "no-lost-event", "converges", then="--off outbox"
    ),
)
"""Every flag of its own, but `--for`."""


def chaos(**given: str | list[str] | bool | None) -> int:
    """Run the default workload, 500 orders, under a mixture of faults, and show what that costs.

    The same load runs once more without faults. Every fault that is asked for has to happen, else
    the run proves nothing. More kinds: --fault, see `lab list --faults`.

    Exit code: as of `lab run`.
    """
    flags = flags_of(given)
    asked = options.ask("chaos", flags)
    made = make_scenario(asked, Given(flags))
    return run_asked(replace(asked, made=made))


def make_scenario(asked: options.Asked, given: Given) -> "Scenario":
    """The scenario that the flags ask for.

    Raises:
        OptionError: a value is out of range, the length of the load contradicts itself or is not
            known, or nothing is to go wrong.
        FaultError: a fault cannot be understood.
    """
    from lab.faults.table.spec import parse_fault
    from lab.scenarios.scenario import Scenario

    values = {flag: value for flag in FLAGS if (value := _value(flag, given)) is not None}
    if not values and not asked.faults:
        raise OptionError(
            "say what is to go wrong, such as lab chaos --duplicate-rate 0.2 (see: lab chaos "
            "--help)"
        )
    orders, rate = _load(asked, given.number(_FOR))
    wanted = {flag: value for flag, value in values.items() if value > 0}
    specs = [_spec(flag, value, asked, orders / rate) for flag, value in wanted.items()]
    risks = (promise for flag in wanted for promise in flag.risks)
    kinds = [flag.kind for flag in wanted]
    kinds += [one.kind for one in map(parse_fault, asked.faults) if one.rate > 0]
    command = ("lab", "chaos", *_words(values, given))
    return Scenario(
        name="chaos",
        summary=", ".join([*specs, *asked.faults]) or "nothing goes wrong",
        worlds=("simulated", "real"),
        orders=orders,
        rate=rate,
        faults=tuple(specs),
        promises=tuple(dict.fromkeys(risks)),
        goals=tuple(f"{kind} >= 1" for kind in dict.fromkeys(kinds)),
        next=tuple(f"{' '.join(command)} {flag.then}" for flag in [*wanted][:_NEXT]),
        command=command,
        compares=asked.seeds is None,
    )


def _value(flag: Flag, given: Given) -> float | None:
    """The value of a flag or its variable."""
    found = given.text(flag.name)
    if found is None:
        return None
    place, text = found
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= flag.most:
        raise OptionError(f"{place} must be {flag.unit} from 0 to {flag.most:,.0f}, not {text!r}")
    return value


def _load(asked: options.Asked, seconds: float | None) -> tuple[int, float]:
    """How many orders, and how many a second; of a file of orders what stands in it counts."""
    orders, rate = asked.orders, asked.rate
    if seconds is not None and asked.orders_from is not None:
        raise OptionError(
            "--for and --orders-from contradict each other: a file is as long as it is; take "
            "--orders"
        )
    if seconds is None:
        return orders or DEFAULT_ORDERS, rate or DEFAULT_RATE
    if orders is not None and rate is not None:
        raise OptionError("--orders, --rate and --for contradict each other: leave one of them out")
    if orders is not None:
        return orders, orders / seconds
    from lab.scenarios.loader import MAX_ORDERS

    rate = rate or DEFAULT_RATE
    if rate * seconds > MAX_ORDERS:
        raise OptionError(
            f"--{_FOR} {_number(seconds)} at {_number(rate)} orders a second is more than the "
            f"{MAX_ORDERS:,} orders that a run may have: shorten it"
        )
    return max(round(rate * seconds), 1), rate


def _spec(flag: Flag, value: float, asked: options.Asked, load_s: float) -> str:
    """The fault that a flag is short for."""
    if not flag.is_outage:
        return flag.spec.format(value=_number(value))
    if asked.orders_from is not None:
        raise OptionError(
            f"--{flag.name} begins at {OUTAGE_FROM:.0%} of the load, and nobody knows how long "
            f"{asked.orders_from} is: take --fault '{flag.kind} at=10s for={_number(value)}s'"
        )
    at_ms = round(load_s * OUTAGE_FROM * 1_000)
    return flag.spec.format(at_ms=at_ms, ms=max(round(value * 1_000), 1))


def _words(values: Mapping[Flag, float], given: Given) -> Sequence[str]:
    """The flags that were given, as they are written."""
    words = [word for flag, value in values.items() for word in (f"--{flag.name}", _number(value))]
    seconds = given.number(_FOR)
    return words if seconds is None else [*words, f"--{_FOR}", _number(seconds)]


def _number(value: float) -> str:
    """As short as it can be, and never like 1e-05."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _parameters() -> tuple[inspect.Parameter, ...]:
    """Its own flags, then everything that `lab run` takes but the name of a scenario."""
    own = [_parameter(flag.name, flag.metavar, flag.help) for flag in FLAGS]
    own.append(_parameter(_FOR, "SECONDS", "How long orders come.  [as long as --orders takes]"))
    shared = inspect.signature(run).parameters.values()
    return (*own, *(one for one in shared if one.name != "scenario"))


def _parameter(name: str, metavar: str, told: str) -> inspect.Parameter:
    option = typer.Option(f"--{name}", metavar=metavar, help=told, show_default=False)
    return inspect.Parameter(
        f"{name.replace('-', '_')}_" if name == _FOR else name.replace("-", "_"),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[str | None, option],
    )


def _signed(command: Callable[..., int]) -> None:
    """Say what it takes: the command line is made from signatures."""
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # typer reads it
        _parameters(), return_annotation=int
    )


_signed(chaos)
